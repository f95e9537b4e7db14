//! A program of the host's owner that says how many instances there should be, in place of our own rule. It is
//! told what we know, as JSON, and answers likewise; an answer holds for a while.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use spec::activation::Activation;
use spec::{Error, Result, ResultExt};

use super::{Service, Stage};

/// Between two questions.
const EACH: Duration = Duration::from_millis(250);

/// How long an answer holds: after that our own rule does.
const HOLDS: Duration = Duration::from_secs(5);

/// How long the program may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// More of an answer is not read.
const LONGEST: u64 = 64 << 10;

/// What it is told.
#[derive(Serialize)]
struct Question {
    service: String,
    queued: u32,
    in_flight: u32,
    starting: u32,
    ready: u32,
    frozen: u32,
    /// The most requests at once within the calm time.
    peak: u32,
    min: u32,
    max: u32,
    concurrency: u32,
    /// How many there would be without it.
    wanted: u32,
}

/// What it says.
#[derive(Deserialize)]
struct Answer {
    instances: u32,
}

/// What it has said.
#[derive(Debug, Default)]
pub(crate) struct Advice {
    instances: Option<(u32, Instant)>,
    asked: Option<Instant>,
    is_bad: bool,
}

impl Advice {
    /// How many, if it has said so lately.
    pub(super) fn now(&self, now: Instant) -> Option<u32> {
        self.instances.filter(|(_, at)| now.duration_since(*at) < HOLDS).map(|(count, _)| count)
    }
}

impl Service {
    /// Asks the program, if there is one and it is time.
    pub(super) fn ask(self: &Rc<Self>, choices: &Activation, now: Instant) {
        let program = self.told.borrow().policy.clone();
        let asked = self.history.borrow().advice.asked;
        if program.is_empty() || asked.is_some_and(|at| now.duration_since(at) < EACH) {
            return;
        }
        let Some(house) = self.house.upgrade() else { return };
        self.history.borrow_mut().advice.asked = Some(now);
        let question = self.question(choices, now);
        let service = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let answer = house.hand(false, move || put(&program, &question)).await;
            let now = Instant::now();
            let advice = &mut service.history.borrow_mut().advice;
            advice.asked = Some(now);
            match answer {
                Ok(count) => {
                    advice.instances = Some((count, now));
                    advice.is_bad = false;
                }
                // Told once, not four times a second.
                Err(error) if !std::mem::replace(&mut advice.is_bad, true) => {
                    service.tell_error("its policy says nothing: our own rule holds", &error);
                }
                Err(_) => {}
            }
        });
    }

    fn question(&self, choices: &Activation, now: Instant) -> Question {
        let load = self.load();
        let frozen = self.instances().iter().filter(|one| one.stage.get() == Stage::Frozen).count() as u32;
        // Each of them looks at what was, by itself.
        let peak = self.history.borrow_mut().peak.most(now);
        let wanted = self.own_rule(choices, now);
        Question {
            service: self.name(),
            queued: load.queued,
            in_flight: load.in_flight,
            starting: load.coming,
            ready: load.ready,
            frozen,
            peak,
            min: choices.min,
            max: choices.max,
            concurrency: choices.concurrency,
            wanted,
        }
    }
}

/// Runs the program, and kills it when it takes too long.
fn put(program: &[String], question: &Question) -> Result<u32> {
    let text =
        serde_json::to_string(question).map_err(|cause| Error::internal("asking a policy").because(cause))?;
    let [name, words @ ..] = program else { return Err(Error::user("a policy without a program")) };
    let doing = || format!("running {name}");
    let mut child = Command::new(name)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .doing(doing)?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    // What it does not read it did not want to know.
    let _ = input.map(|mut input| input.write_all(text.as_bytes()));
    let reads = std::thread::spawn(move || {
        let mut said = String::new();
        let read = output.map(|output| output.take(LONGEST).read_to_string(&mut said));
        read.and_then(std::io::Result::ok).map(|_| said)
    });
    let end = Instant::now() + PATIENCE;
    while !reads.is_finished() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    let in_time = reads.is_finished();
    if !in_time {
        let _ = child.kill();
    }
    child.wait().doing(doing)?;
    if !in_time {
        return Err(Error::failed(format!("{name} takes longer than {PATIENCE:?}")));
    }
    let said = reads.join().ok().flatten().unwrap_or_default();
    let unclear = |cause| {
        Error::failed(format!("{name} says {:?}", said.trim()))
            .because(cause)
            .hint("as in {\"instances\": 3}")
    };
    serde_json::from_str::<Answer>(&said).map(|answer| answer.instances).map_err(unclear)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServiceConfig;

    fn asked(program: &str) -> Result<u32> {
        let program = ["/bin/sh".to_owned(), "-c".to_owned(), program.to_owned()];
        let question = Question {
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
        };
        put(&program, &question)
    }

    #[test]
    fn a_service_knows_what_to_tell() {
        let service = Service::new(ServiceConfig::called("web"), std::rc::Weak::new());
        let question = service.question(&Activation::default(), Instant::now());
        assert_eq!((question.service.as_str(), question.wanted), ("web", 0));
    }

    #[test]
    fn a_program_says_how_many() {
        assert_eq!(asked("grep -q '\"queued\":7' && echo '{\"instances\": 3}'").expect("an answer"), 3);
        assert!(asked("echo many").expect_err("no number").chain().contains("many"));
        assert!(asked("exit 1").is_err());
        assert!(asked("exec sleep 60").expect_err("too long").chain().contains("longer"));
    }
}
