//! What can go wrong, sorted by what the caller can do about it.

use std::error::Error as StdError;
use std::fmt;

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The four answers a caller can give to a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The same call may succeed later: try again, with back-off.
    Retriable,
    /// This record can never pass; others may. `errors.tolerance` decides.
    Data,
    /// A person must change the configuration; the message names the key.
    Config,
    /// The task cannot go on.
    Fatal,
}

/// An error with context for people: what failed, where, what to do.
///
/// The message is lower case without a full stop. Inner causes are kept as `source` and read as a sentence with `{:#}`.
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Builds an error of any kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// The same call may succeed later.
    pub fn retriable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Retriable, message)
    }

    /// This record can never pass.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }

    /// A person must change the configuration.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// The task cannot go on.
    pub fn fatal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Fatal, message)
    }

    /// Keeps the inner cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Puts `context` in front, as a new outer error of the same kind.
    #[must_use]
    pub fn context(self, context: impl Into<String>) -> Self {
        Self { kind: self.kind, message: context.into(), source: Some(Box::new(self)) }
    }

    /// What the caller can do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The outermost message alone.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The name a Connect user knows this kind of failure by; it goes into dead-letter headers.
    #[must_use]
    pub fn java_class(&self) -> &'static str {
        match self.kind {
            ErrorKind::Retriable => "org.apache.kafka.connect.errors.RetriableException",
            ErrorKind::Data => "org.apache.kafka.connect.errors.DataException",
            ErrorKind::Config => "org.apache.kafka.common.config.ConfigException",
            ErrorKind::Fatal => "org.apache.kafka.connect.errors.ConnectException",
        }
    }
}

/// `{}` is the outer message; `{:#}` the whole chain, joined by `: `.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if f.alternate() {
            let mut next = self.source();
            while let Some(cause) = next {
                write!(f, ": {cause}")?;
                next = cause.source();
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self:#}", self.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|e| &**e as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_reads_as_a_sentence() {
        let error = Error::data("not a number").context("cast field price").context("transform cast");
        assert_eq!(format!("{error}"), "transform cast");
        assert_eq!(format!("{error:#}"), "transform cast: cast field price: not a number");
        assert_eq!(error.kind(), ErrorKind::Data);
    }
}
