//! Why a command did not do what was asked, and the exit code that says so.

use std::fmt;

/// `Result` with [`CliError`].
pub(super) type Result<T> = std::result::Result<T, CliError>;

/// Each holds the text for the user.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CliError {
    /// The worker refused, or could not be reached.
    Failed(String),
    /// The arguments or the files are wrong; nothing was asked.
    Usage(String),
    /// There is no such connector, task or plugin.
    NotFound(String),
    /// What was waited for did not come.
    InVain(String),
}

impl CliError {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            CliError::Failed(_) => 1,
            CliError::Usage(_) => 2,
            CliError::NotFound(_) => 3,
            CliError::InVain(_) => 4,
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (CliError::Failed(text) | CliError::Usage(text) | CliError::NotFound(text) | CliError::InVain(text)) = self;
        f.write_str(text)
    }
}
