//! Who of the host's owner's says how many instances there should be, in place of our own rule: a program, or a
//! function of a script. It is told what we know, as JSON, and answers likewise.

mod program;
mod script;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use spec::{Error, Result};

use crate::config::Policy;
use script::Script;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// More of an answer is not read.
const LONGEST: u64 = 512 << 10;

/// What it is told.
#[derive(Debug, Serialize)]
pub(crate) struct Question {
    pub(crate) service: String,
    pub(crate) queued: u32,
    pub(crate) in_flight: u32,
    pub(crate) starting: u32,
    pub(crate) ready: u32,
    pub(crate) frozen: u32,
    /// The most requests at once within the calm time.
    pub(crate) peak: u32,
    pub(crate) min: u32,
    pub(crate) max: u32,
    pub(crate) concurrency: u32,
    /// How many there would be without it.
    pub(crate) wanted: u32,
}

/// What it says.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    /// None, said so, where our own rule shall hold.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(crate) instances: Option<u32>,
    /// Lines for whoever reads what the gateway tells.
    #[serde(default)]
    pub(crate) log: Vec<String>,
    /// Why it says nothing else.
    #[serde(default)]
    pub(crate) error: Option<String>,
}

/// It, with what is kept from one question to the next. Each of its clones is the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Advisor(Arc<Mutex<Option<Script>>>);

impl Advisor {
    /// Asks; takes up to some seconds.
    ///
    /// # Errors
    /// It cannot be run, says nothing in time, or nothing that can be understood.
    pub(crate) fn ask(&self, policy: &Policy, question: &Question) -> Result<Answer> {
        let text = serde_json::to_string(question)
            .map_err(|cause| Error::internal("asking a policy").because(cause))?;
        match policy {
            Policy::Own => Ok(Answer::default()),
            Policy::Program(words) => {
                understood(&program::ask(words, &text)?, words.first().map_or("", String::as_str))
            }
            Policy::Script { file, function } => {
                let kept = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
                let (mut before, said) = Script::ask(kept, file, function, &text)?;
                let mut answer = understood(&said, &file.display().to_string())?;
                if answer.error.is_some() {
                    // It may have come to where it can only fail.
                    kept.take();
                }
                before.append(&mut answer.log);
                Ok(Answer { log: before, ..answer })
            }
        }
    }

    /// Whether it can be asked at all.
    ///
    /// # Errors
    /// A script with a mistake, or without that function; a program that is not there.
    pub(crate) fn examine(policy: &Policy) -> Result<()> {
        match policy {
            Policy::Own => Ok(()),
            Policy::Program(words) => program::examine(words),
            Policy::Script { file, function } => Script::examine(file, function),
        }
    }
}

fn understood(said: &str, name: &str) -> Result<Answer> {
    let unclear = |cause| {
        Error::failed(format!("{name} says {:?}", said.trim()))
            .because(cause)
            .hint("as in {\"instances\": 3}")
    };
    serde_json::from_str(said).map_err(unclear)
}

#[cfg(test)]
impl Question {
    pub(crate) fn any() -> Self {
        Self {
            service: "web".to_owned(),
            queued: 7,
            in_flight: 2,
            starting: 0,
            ready: 1,
            frozen: 0,
            peak: 9,
            min: 0,
            max: 4,
            concurrency: 2,
            wanted: 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(program: &str) -> Result<Answer> {
        let program = ["/bin/sh".to_owned(), "-c".to_owned(), program.to_owned()];
        Advisor::default().ask(&Policy::Program(program.to_vec()), &Question::any())
    }

    #[test]
    fn a_program_says_how_many() {
        let answer = asked("grep -q '\"queued\":7' && echo '{\"instances\": 3}'").expect("an answer");
        assert_eq!(answer.instances, Some(3));
        assert_eq!(asked("echo '{\"instances\": null}'").expect("an answer").instances, None);
        assert!(asked("echo many").expect_err("no number").chain().contains("many"));
        assert!(asked("echo '{\"instance\": 3}'").expect_err("another word").chain().contains("instance"));
        assert!(asked("echo '{}'").is_err());
        assert!(asked("exit 1").is_err());
        assert!(asked("exec sleep 60").expect_err("too long").chain().contains("longer"));
        let closed = "echo '{\"instances\": 3}'; exec >&-; exec sleep 60";
        assert!(asked(closed).expect_err("too long").chain().contains("longer"));
    }
}
