//! The error that people see: a kind, what happened, the causes, the ways out.
//!
//! Crates that need to match on a failure keep a typed error of their own and convert it here at
//! their border; the kind alone fixes the exit code (as Docker and Podman use them).

use std::error::Error as StdError;
use std::fmt;

/// What sort of failure this is, from the point of view of the person who typed the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The input was wrong: a flag, a name, a file that the user gave.
    User,
    /// What was named does not exist.
    NotFound,
    /// It exists already, or is in use by another command.
    Conflict,
    /// The host has no room for it: others were promised what it asks for.
    NoRoom,
    /// This host or kernel cannot do it.
    Unsupported,
    /// The kernel or the file system refused for lack of privilege.
    Denied,
    /// The service or an exercise failed: the tool worked, what it ran did not.
    Failed,
    /// The container's command exists and cannot be executed (exit code 126).
    NotExecutable,
    /// The container's command does not exist (exit code 127).
    CommandNotFound,
    /// The user interrupted it (exit code 130).
    Interrupted,
    /// A defect of ours or a fault of the machine (disk full, I/O error).
    Internal,
}

/// The way out where the kernel makes no more processes (EAGAIN).
pub const TOO_MANY_PROCESSES: &str = "a limit of processes is reached: a control group's (pids.max), the user's (ulimit -u) or \
                                      the host's (kernel.pid_max): raise it, or end some";

impl ErrorKind {
    /// The process exit code for this kind.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::NotExecutable => 126,
            Self::CommandNotFound => 127,
            Self::Interrupted => 130,
            Self::Failed => 1,
            _ => 125,
        }
    }
}

/// An error with its kind, its cause and its way out.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    cause: Option<Box<dyn StdError + Send + Sync>>,
    hints: Vec<String>,
}

/// Shorthand for results of this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`; `message` names the thing and what happened to it.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), cause: None, hints: Vec::new() }))
    }

    /// Bad input.
    pub fn user(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::User, message)
    }

    /// A missing thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// A thing in the way.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// A host that cannot.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }

    /// A service or exercise that failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    /// A defect or a fault of the machine.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// An I/O failure while doing `what`; the kind follows from the error number.
    pub fn io(what: impl Into<String>, cause: std::io::Error) -> Self {
        let kind = match cause.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            std::io::ErrorKind::AlreadyExists => ErrorKind::Conflict,
            std::io::ErrorKind::Interrupted => ErrorKind::Interrupted,
            std::io::ErrorKind::Unsupported => ErrorKind::Unsupported,
            _ => ErrorKind::Internal,
        };
        let full = matches!(cause.kind(), std::io::ErrorKind::StorageFull);
        let error = Self::new(kind, what).because(cause);
        if full { error.hint("free some space, or move the state with --root DIR") } else { error }
    }

    /// A process that could not be made: [`io`](Self::io), and what limits how many there may be.
    pub fn process(what: impl Into<String>, cause: std::io::Error) -> Self {
        let limited = cause.kind() == std::io::ErrorKind::WouldBlock;
        let error = Self::io(what, cause);
        if limited { error.hint(TOO_MANY_PROCESSES) } else { error }
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Adds a way out: one sentence that says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }

    /// Puts `what` (what was being done) in front, keeping kind and hints.
    #[must_use]
    pub fn context(mut self, what: impl Into<String>) -> Self {
        let (kind, hints) = (self.0.kind, std::mem::take(&mut self.0.hints));
        let mut outer = Self::new(kind, what).because(self);
        outer.0.hints = hints;
        outer
    }

    /// The kind, which fixes the exit code.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The ways out.
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }

    /// The message and all causes on one line: `what: why: why`.
    pub fn chain(&self) -> String {
        let mut text = self.0.message.clone();
        let mut cause = StdError::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.chain())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.as_ref().map(|cause| cause.as_ref() as &(dyn StdError + 'static))
    }
}

/// Says what was being done when something below failed.
pub trait ResultExt<T> {
    /// Turns the failure into an [`Error`] that starts with `what()`.
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T> ResultExt<T> for std::io::Result<T> {
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|cause| Error::io(what(), cause))
    }
}

impl<T> ResultExt<T> for Result<T> {
    fn doing<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.context(what()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_keeps_kind_and_hints() {
        let error = Error::not_found("no container web").hint("tsubo ps -a").context("stopping");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.hints(), ["tsubo ps -a"]);
        assert_eq!(error.chain(), "stopping: no container web");
    }

    #[test]
    fn a_full_disk_says_what_to_do() {
        let error = Error::io("writing x", std::io::Error::from_raw_os_error(28));
        assert_eq!(error.kind(), ErrorKind::Internal);
        assert!(error.hints()[0].contains("--root"));
    }
}
