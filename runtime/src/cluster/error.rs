//! Why the herder refused, sorted as Connect's REST API sorts it.

use std::fmt;
use std::sync::Arc;

/// `Result` with [`HerderError`].
pub type Result<T> = std::result::Result<T, HerderError>;

/// A request that failed. The text is for the user who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HerderError {
    /// There is no such connector or task: 404.
    NotFound(String),
    /// A connector of that name is there: 409.
    AlreadyExists(String),
    /// The request makes no sense, or not in this state: 400.
    BadRequest(String),
    /// Another operation is in the way: 409, may be tried again.
    Conflict(String),
    /// Only another worker can do it, at this URL if it is known: 409 to a client that is not led there.
    Elsewhere(Option<Arc<str>>),
    /// Whoever asks may not: 403.
    Forbidden(String),
    /// Not done in time: 500. What was asked for may still happen. The text says what the worker is doing since when.
    Timeout { stage: String },
    /// Anything else: 500.
    Internal(String),
}

impl HerderError {
    /// The HTTP status, which is also the `error_code` of the body.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            HerderError::NotFound(_) => 404,
            HerderError::AlreadyExists(_) | HerderError::Conflict(_) | HerderError::Elsewhere(_) => 409,
            HerderError::Forbidden(_) => 403,
            HerderError::BadRequest(_) => 400,
            HerderError::Timeout { .. } | HerderError::Internal(_) => 500,
        }
    }
}

/// The `message` of the body.
impl fmt::Display for HerderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HerderError::NotFound(text)
            | HerderError::AlreadyExists(text)
            | HerderError::BadRequest(text)
            | HerderError::Conflict(text)
            | HerderError::Forbidden(text)
            | HerderError::Internal(text) => f.write_str(text),
            HerderError::Elsewhere(None) => f.write_str(
                "Cannot complete request momentarily due to no known leader URL, likely because a rebalance was underway.",
            ),
            HerderError::Elsewhere(Some(_)) => {
                f.write_str("Cannot complete request because of a conflicting operation (e.g. worker rebalance)")
            }
            HerderError::Timeout { stage } => write!(f, "Request timed out. {stage}"),
        }
    }
}

impl std::error::Error for HerderError {}
