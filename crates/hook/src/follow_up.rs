//! What a hook has asked for that can only be done when it has ended: to stop, restart or replace its own
//! container ends the keeper, and with it whatever the keeper has started.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use lifecycle::hooks::Owner;
use lifecycle::{Container, Containers, Home};
use serde::{Deserialize, Serialize};
use spec::hooks::{Hook, Outcome, Subject, Verdict};
use spec::{Error, Result, ResultExt};

use crate::reach::Host;

/// So much of what a command says is kept, where it fails.
const SAID: usize = 4 << 10;

/// One command; where it fails nothing behind it is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    run: Vec<String>,
    /// What is done then, whatever comes of each.
    or: Vec<Vec<String>>,
    /// Where, if that matters.
    #[serde(default)]
    folder: Option<PathBuf>,
}

impl Step {
    pub(crate) fn new(run: Vec<String>) -> Self {
        Self { run, or: Vec::new(), folder: None }
    }

    /// What is done where it fails.
    pub(crate) fn or(self, or: impl IntoIterator<Item = Vec<String>>) -> Self {
        Self { or: or.into_iter().collect(), ..self }
    }

    /// Where relative paths in it begin.
    pub(crate) fn within(self, folder: Option<PathBuf>) -> Self {
        Self { folder, ..self }
    }
}

/// Who asks for what.
#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    hook: Hook,
    container: Subject,
    steps: Vec<Step>,
}

/// Starts them, one after the other, in a process that outlives us.
pub(crate) fn start(host: &Host, steps: Vec<Step>) -> Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    crate::fire::lift_limits();
    let own = std::env::current_exe().doing(|| "looking for our own program")?;
    let mut command = Command::new(own);
    command
        .arg("follow-up")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .env_clear()
        .envs(host.environment())
        .current_dir("/");
    let mut child = sys::child::apart(&mut command).spawn().doing(|| "starting what follows")?;
    let (hook, container) = (host.firing().hook.clone(), host.firing().container.clone());
    let text = serde_json::to_vec(&Asked { hook, container, steps })
        .map_err(|cause| Error::internal("what follows").because(cause))?;
    let input = child.stdin.take().map_or(Ok(()), |mut input| input.write_all(&text));
    input.doing(|| "telling what follows")
}

/// Runs the mode: the first that fails is the last, and is told where hooks are told.
pub(crate) fn run() -> Result<()> {
    let mut text = Vec::new();
    std::io::stdin().lock().take(1 << 20).read_to_end(&mut text).doing(|| "reading the commands")?;
    let asked: Asked =
        serde_json::from_slice(&text).map_err(|cause| Error::user("these are no commands").because(cause))?;
    // Before they are done: it may be gone then.
    let own = find(&asked);
    let begun = Instant::now();
    let done = asked.steps.iter().try_for_each(step);
    if let (Err(error), Some(own)) = (&done, own) {
        let why = format!("what it has asked for: {}", error.chain());
        let outcome = Outcome { verdict: Verdict::Failed(why), ..Outcome::default() };
        tell(&asked, &own, &outcome, begun);
    }
    done
}

fn find(asked: &Asked) -> Option<Container> {
    let all = Containers::of(&Home::at(&asked.container.lib, &asked.container.run));
    let found = [&asked.container.name, &asked.container.id].map(|word| all.find(word).ok());
    found.into_iter().flatten().find(|found| found.id().to_string() == asked.container.id)
}

/// In its directory, wherever that is by now.
fn tell(asked: &Asked, own: &Container, outcome: &Outcome, begun: Instant) {
    let now = find(asked);
    let now = now.as_ref().unwrap_or(own);
    let run: PathBuf = asked.container.run.join("containers").join(&asked.container.id);
    let (spec, image) = (&now.record().spec, &now.record().image);
    let status = asked.container.status.as_str();
    let owner = Owner { spec, dir: now.dir(), run: &run, image, status, pid: None };
    owner.settle(&asked.hook, outcome, begun.elapsed());
}

fn step(step: &Step) -> Result<()> {
    let folder = step.folder.as_deref();
    let done = command(&step.run, folder);
    let Err(mut error) = done else { return Ok(()) };
    for (number, words) in step.or.iter().enumerate() {
        // Those before the last only clear the way, where there is something in it.
        if let (Err(other), true) = (command(words, folder), number + 1 == step.or.len()) {
            error = Error::failed(format!("{}; then {}", error.chain(), other.chain()));
        }
    }
    Err(error)
}

/// Into a file of its own: what it leaves running keeps no pipe open.
fn command(words: &[String], folder: Option<&Path>) -> Result<()> {
    let Some((program, rest)) = words.split_first() else { return Ok(()) };
    let doing = || format!("running {}", words.join(" "));
    let said = rustix::fs::memfd_create(c"said", rustix::fs::MemfdFlags::CLOEXEC);
    let said = said.map_err(|errno| Error::io("making a file in memory", errno.into())).doing(doing)?;
    let mut said = std::fs::File::from(said);
    let copy = said.try_clone().doing(doing)?;
    let mut command = Command::new(program);
    command.args(rest).stdin(Stdio::null()).stdout(Stdio::null()).stderr(copy);
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    let status = command.status().doing(doing)?;
    if status.success() {
        return Ok(());
    }
    let mut text = Vec::new();
    let read = std::io::Seek::rewind(&mut said).and_then(|()| said.take(SAID as u64).read_to_end(&mut text));
    let why = read.map(|_| String::from_utf8_lossy(&text).trim().replace('\n', "; ")).unwrap_or_default();
    Err(Error::failed(format!("{} ended with {status}: {why}", words.join(" "))))
}
