//! Bodies as Connect reads them: JSON of any scalar is text, and an empty body is a null.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::{ApiError, ApiResult};
use crate::cluster::view::OffsetPatch;
use crate::config::RawConfig;

/// A body that nobody looks at; its media type is checked all the same.
pub struct Ignored;

/// Keys with values of any scalar type.
pub struct ConfigBody(pub RawConfig);

/// The same, or nothing.
pub struct MaybeConfigBody(pub Option<RawConfig>);

/// `POST /connectors`.
pub struct CreateBody {
    pub name: Option<String>,
    pub config: RawConfig,
    pub initial_state: Option<String>,
}

/// `PATCH /connectors/{c}/offsets`: at least one entry.
pub struct OffsetsBody(pub Vec<OffsetPatch>);

impl<S: Send + Sync> FromRequest<S> for Ignored {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        read(request, state).await.map(|_| Ignored)
    }
}

impl<S: Send + Sync> FromRequest<S> for ConfigBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        let MaybeConfigBody(config) = MaybeConfigBody::from_request(request, state).await?;
        config.map(Self).ok_or_else(missing)
    }
}

impl<S: Send + Sync> FromRequest<S> for MaybeConfigBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        let raw: Option<BTreeMap<String, Box<RawValue>>> = object(request, state).await?;
        Ok(Self(raw.map(texts).transpose()?))
    }
}

impl<S: Send + Sync> FromRequest<S> for CreateBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Raw {
            name: Option<Box<RawValue>>,
            config: Option<BTreeMap<String, Box<RawValue>>>,
            initial_state: Option<Box<RawValue>>,
        }
        let raw: Raw = object(request, state).await?.ok_or_else(missing)?;
        let scalar = |field: &str, value: Option<Box<RawValue>>| value.map_or(Ok(None), |v| text(field, &v));
        Ok(Self {
            name: scalar("name", raw.name)?,
            config: texts(
                raw.config
                    .ok_or_else(|| ApiError::internal("The field config is missing: give the connector's configuration"))?,
            )?,
            initial_state: scalar("initial_state", raw.initial_state)?,
        })
    }
}

impl<S: Send + Sync> FromRequest<S> for OffsetsBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Raw {
            offsets: Option<Vec<OffsetPatch>>,
        }
        let raw: Raw = object(request, state).await?.ok_or_else(missing)?;
        let offsets = raw.offsets.unwrap_or_default();
        if offsets.is_empty() {
            return Err(ApiError::bad_request("Partitions / offsets need to be provided for an alter offsets request"));
        }
        Ok(Self(offsets))
    }
}

pub(super) fn missing() -> ApiError {
    ApiError::internal("The request has no body: send a JSON object")
}

/// The JSON object that is the body; `None`: there is none, or it is null.
async fn object<S: Send + Sync, T: DeserializeOwned>(request: Request, state: &S) -> ApiResult<Option<T>> {
    parse(&read(request, state).await?)
}

async fn read<S: Send + Sync>(request: Request, state: &S) -> ApiResult<Bytes> {
    let media_type = media_type(request.headers());
    let bytes = Bytes::from_request(request, state).await.map_err(|e| ApiError::new(e.status(), e.body_text()))?;
    match media_type {
        Some(is_json) if !is_json => Err(ApiError::of_http(StatusCode::UNSUPPORTED_MEDIA_TYPE)),
        None if !bytes.is_empty() => Err(ApiError::of_http(StatusCode::UNSUPPORTED_MEDIA_TYPE)),
        _ => Ok(bytes),
    }
}

/// Whether the body is declared to be JSON; `None` when nothing is declared.
fn media_type(headers: &HeaderMap) -> Option<bool> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    Some(essence.eq_ignore_ascii_case("application/json"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> ApiResult<Option<T>> {
    // A byte order mark, as some editors leave it.
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    match bytes.trim_ascii_start().first() {
        None => return Ok(None),
        // What begins otherwise is no JSON at all, or `null`, or no object: serde would take an array for one.
        Some(b'[' | b'"' | b'0'..=b'9' | b'-' | b't' | b'f') => {
            return Err(ApiError::internal("The request's body must be a JSON object"));
        }
        Some(_) => {}
    }
    serde_json::from_slice(bytes).map_err(|e| ApiError::internal(format!("The request's body cannot be read: {e}")))
}

fn texts(raw: BTreeMap<String, Box<RawValue>>) -> ApiResult<RawConfig> {
    raw.into_iter().map(|(key, value)| Ok((key.clone(), text(&key, &value)?))).collect()
}

/// A scalar as text: numbers and booleans as they are written.
fn text(key: &str, value: &RawValue) -> ApiResult<Option<String>> {
    let raw = value.get();
    match raw.as_bytes().first() {
        Some(b'"') => {
            serde_json::from_str(raw).map(Some).map_err(|e| ApiError::internal(format!("The value of {key} cannot be read: {e}")))
        }
        Some(b'n') => Ok(None),
        Some(b'{' | b'[') => Err(ApiError::internal(format!("The value of {key} must be text, not an object or an array"))),
        _ => Ok(Some(raw.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_text() {
        let check = |json: &str, expected: Result<Option<&str>, ()>| {
            let raw = RawValue::from_string(json.to_owned()).expect(json);
            assert_eq!(text("k", &raw).map_err(drop), expected.map(|t| t.map(str::to_owned)), "{json}");
        };
        check("\"a\\u00fc\"", Ok(Some("a\u{fc}")));
        check("1.50", Ok(Some("1.50")));
        check("12345678901234567890123", Ok(Some("12345678901234567890123")));
        check("true", Ok(Some("true")));
        check("null", Ok(None));
        check("[1]", Err(()));
        check("{}", Err(()));
    }
}
