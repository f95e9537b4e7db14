//! What engines read of our failures: lines in a file, in the form of runc.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use serde_json::json;
use spec::{Error, ErrorKind, Result};

/// Where lines go.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log {
    file: Option<PathBuf>,
    json: bool,
    debug: bool,
}

impl Log {
    /// As the command line says.
    ///
    /// # Errors
    /// A form that there is not.
    pub(crate) fn new(file: Option<&str>, form: Option<&str>, debug: bool) -> Result<Self> {
        let json = match form {
            None | Some("" | "text") => false,
            Some("json") => true,
            Some(other) => {
                return Err(
                    Error::user(format!("unknown log-format {other:?}")).hint("there are text and json")
                );
            }
        };
        let file = file.filter(|path| !path.is_empty() && *path != "/dev/stderr").map(PathBuf::from);
        Ok(Self { file, json, debug })
    }

    /// An error.
    pub(crate) fn error(&self, message: &str) {
        self.write("error", message);
    }

    /// What goes on, but not as was wished.
    pub(crate) fn warning(&self, message: &str) {
        self.write("warning", message);
    }

    /// What only who looks for a fault wants to know.
    pub(crate) fn debug(&self, message: &str) {
        if self.debug {
            self.write("debug", message);
        }
    }

    /// A log that cannot be written is no reason to fail: standard error has errors too.
    fn write(&self, level: &str, message: &str) {
        let Some(file) = &self.file else { return };
        let time = jiff::Timestamp::now();
        let time = jiff::Timestamp::from_second(time.as_second()).unwrap_or(time);
        let line = match self.json {
            true => format!("{}\n", json!({ "level": level, "msg": message, "time": time.to_string() })),
            false => format!("time=\"{time}\" level={level} msg={message:?}\n"),
        };
        let options = OpenOptions::new().create(true).append(true).open(file);
        let _ = options.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

/// An error in one line, with the words by which engines tell what it was.
pub(crate) fn text(error: &Error) -> String {
    let text = error.chain();
    let words = match error.kind() {
        ErrorKind::CommandNotFound => "executable file not found in $PATH",
        ErrorKind::NotExecutable => "permission denied",
        _ => return text,
    };
    if text.contains(words) { text } else { format!("{text}: {words}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_find_their_words() {
        let missing = Error::new(ErrorKind::CommandNotFound, "no command \"x\" in the container");
        assert!(text(&missing).ends_with("executable file not found in $PATH"));
        let closed = Error::new(ErrorKind::NotExecutable, "cannot execute \"/etc\"");
        assert!(text(&closed).ends_with("permission denied"));
        assert_eq!(text(&Error::user("a").context("b")), "b: a");
    }

    #[test]
    fn lines() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("log");
        let log = Log::new(path.to_str(), Some("json"), false).expect("a log");
        log.error("one \"word\"");
        log.debug("nothing");
        let line = std::fs::read_to_string(&path).expect("log");
        let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((&read["level"], &read["msg"]), (&json!("error"), &json!("one \"word\"")));
        assert!(read["time"].as_str().expect("time").parse::<jiff::Timestamp>().is_ok());
        assert!(Log::new(None, Some("xml"), false).is_err());
    }
}
