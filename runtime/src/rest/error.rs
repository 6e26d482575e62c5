//! Every failure as Connect answers it: a status and `{"error_code", "message"}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;

use super::forward::Elsewhere;
use crate::cluster::HerderError;

/// A refused or failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub status: StatusCode,
    pub message: String,
    /// Set when another worker must answer; its URL if it is known.
    elsewhere: Option<Option<Arc<str>>>,
}

/// What handlers answer.
pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// An error of that status.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), elsewhere: None }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 500, also for what is the client's mistake: Connect answers so to bodies it cannot read.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// What the HTTP layer itself says: `HTTP 404 Not Found`.
    #[must_use]
    pub fn of_http(status: StatusCode) -> Self {
        Self::new(status, format!("HTTP {} {}", status.as_u16(), status.canonical_reason().unwrap_or_default()))
    }
}

impl From<HerderError> for ApiError {
    fn from(error: HerderError) -> Self {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if matches!(error, HerderError::Internal(_)) {
            tracing::error!(%error, "a request failed");
        }
        let elsewhere = if let HerderError::Elsewhere(url) = &error { Some(url.clone()) } else { None };
        Self { elsewhere, ..Self::new(status, error.to_string()) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body<'a> {
            error_code: u16,
            message: &'a str,
        }
        let mut response = (self.status, Json(Body { error_code: self.status.as_u16(), message: &self.message })).into_response();
        if let Some(url) = self.elsewhere {
            response.extensions_mut().insert(Elsewhere(url));
        }
        response
    }
}
