//! What an answer means for the records that were sent.

use std::time::{Duration, SystemTime};

use penstock_plugin::{Error, http};

/// What becomes of a batch.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// All were taken but these: index in the batch, and why.
    Taken(Vec<(usize, String)>),
    /// Something in it is wrong, which the answer does not name: try its halves. Of a single record: it can never pass.
    Refused(String),
    /// Nobody is to blame but the moment; perhaps the other side says for how long.
    Later(String, Option<Duration>),
    /// A person must look.
    Never(Error),
}

/// Longer waits that an answer asks for are cut to this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

pub(crate) fn of(answer: Result<http::Response, http::Error>, errors_field: Option<&str>, records: usize) -> Verdict {
    let response = match answer {
        Ok(response) => response,
        Err(error) if matches!(error.kind, http::Kind::Refused | http::Kind::Request) => return Verdict::Never(error.into()),
        Err(error) => return Verdict::Later(error.to_string(), None),
    };
    let said = format!("the answer was {}{}", response.status, excerpt(&response));
    match response.status {
        200..=299 => match errors_field.map(|field| failures(&response.body, field, records)) {
            None => Verdict::Taken(Vec::new()),
            Some(Ok(failures)) => Verdict::Taken(failures),
            Some(Err(why)) => Verdict::Never(Error::fatal(format!("{said}: {why} (errors.field)"))),
        },
        408 | 425 | 429 | 500 | 502..=599 => Verdict::Later(said, retry_after(&response)),
        // What is wrong with the request as such, and not with what is in it.
        401 | 403 | 407 => {
            Verdict::Never(Error::config(format!("{said}: look at http.headers and the secrets that are granted")))
        }
        404 | 405 | 410 | 501 | 300..=399 => Verdict::Never(Error::config(format!("{said}: look at http.url and http.method"))),
        _ => Verdict::Refused(said),
    }
}

/// The records that an answer lists as not taken.
fn failures(body: &[u8], field: &str, records: usize) -> Result<Vec<(usize, String)>, String> {
    if body.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let answer: serde_json::Value = serde_json::from_slice(body).map_err(|e| format!("it is no JSON: {e}"))?;
    let mut listed = &answer;
    for name in field.split('.') {
        listed = &listed[name];
    }
    if listed.is_null() {
        return Ok(Vec::new());
    }
    let listed = listed.as_array().ok_or_else(|| format!("{field} is no array"))?;
    let failure = |entry: &serde_json::Value| {
        let index = entry["index"].as_u64().and_then(|index| usize::try_from(index).ok()).filter(|index| *index < records);
        let index = index.ok_or_else(|| format!("{entry} names no record of the batch by index"))?;
        Ok((index, entry["message"].as_str().unwrap_or("not taken, without a reason").to_owned()))
    };
    listed.iter().map(failure).collect()
}

fn retry_after(response: &http::Response) -> Option<Duration> {
    let text = response.header("retry-after")?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).unwrap_or_default(),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// The begin of a body, for messages.
fn excerpt(response: &http::Response) -> String {
    let text = String::from_utf8_lossy(&response.body[..response.body.len().min(200)]);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() { String::new() } else { format!(" ({text})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Result<http::Response, http::Error> {
        Ok(http::Response { status, headers: vec![("retry-after".into(), b"3".to_vec())], body: body.as_bytes().to_vec() })
    }

    #[test]
    fn statuses_are_sorted_by_who_can_help() {
        for status in [200, 201, 202, 204] {
            assert!(matches!(of(answer(status, ""), None, 1), Verdict::Taken(failed) if failed.is_empty()), "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(matches!(of(answer(status, ""), None, 1), Verdict::Later(_, Some(wait)) if wait.as_secs() == 3), "{status}");
        }
        for status in [400, 409, 413, 415, 422] {
            assert!(matches!(of(answer(status, "bad"), None, 1), Verdict::Refused(why) if why.contains("bad")), "{status}");
        }
        for status in [301, 401, 403, 404, 405] {
            assert!(matches!(of(answer(status, ""), None, 1), Verdict::Never(_)), "{status}");
        }
        let broken = |kind| Err(http::Error { kind, message: "POST http://a: broken".into() });
        assert!(matches!(of(broken(http::Kind::Response), None, 1), Verdict::Later(..)));
        assert!(matches!(of(broken(http::Kind::Refused), None, 1), Verdict::Never(_)));
    }

    #[test]
    fn single_records_of_a_batch_fail() {
        let listed = r#"{"result":{"errors":[{"index":1,"message":"no such customer"},{"index":0}]}}"#;
        let Verdict::Taken(failed) = of(answer(207, listed), Some("result.errors"), 2) else { panic!("taken") };
        assert_eq!(failed, [(1, "no such customer".to_owned()), (0, "not taken, without a reason".to_owned())]);
        assert!(matches!(of(answer(200, r#"{"ok":true}"#), Some("errors"), 2), Verdict::Taken(failed) if failed.is_empty()));
        for garbage in [r#"{"errors":7}"#, r#"{"errors":[{"index":2}]}"#, r#"{"errors":[{}]}"#, "<html>"] {
            assert!(matches!(of(answer(200, garbage), Some("errors"), 2), Verdict::Never(_)), "{garbage}");
        }
    }
}
