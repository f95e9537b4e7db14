//! Exercises: what makes a watched service do its work.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde::{Deserialize, Serialize};
use spec::{Error, Result, ResultExt};

use super::Service;
use crate::interrupt::Interrupt;

/// One exercise, as typed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exercise {
    /// Run by the host's shell, in the container's network.
    Host(String),
    /// Run by the container's shell, inside.
    Inside(String),
}

impl std::fmt::Display for Exercise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(command) => f.write_str(command),
            Self::Inside(command) => write!(f, "inside: {command}"),
        }
    }
}

/// Runs `command` with the host's shell in `folder` beside `service`, at most `limit`.
///
/// # Errors
/// Failed, with the exercise's and the service's last lines, if it fails or the service dies of it.
pub fn run_on_host(
    command: &str,
    folder: &Path,
    service: &mut Service,
    limit: Duration,
    interrupt: &Interrupt,
) -> Result<()> {
    let output = tempfile::tempfile().doing(|| "making a temporary file")?;
    let clone = || output.try_clone().doing(|| "duplicating a descriptor");
    let mut shell = Command::new("/bin/sh");
    shell.current_dir(folder).arg("-c").arg(command).env("TSUBO_PID", service.pid().to_string());
    shell.stdin(Stdio::null()).stdout(clone()?).stderr(clone()?).process_group(0);
    let mut child = shell.spawn().doing(|| format!("running the exercise {command:?}"))?;
    let in_time = wait_unreaped(child.id(), limit, interrupt);
    // The group is ended before its leader is reaped: until then nobody else can have its number.
    end_group(child.id());
    let status = child.wait().doing(|| "waiting for an exercise")?;
    interrupt.check()?;
    match (in_time, status.success()) {
        (true, true) => Ok(()),
        (true, false) => Err(failed(command, &ended_how(status), &tail(output), service)),
        (false, _) => {
            Err(failed(command, &format!("did not end within {} s", limit.as_secs()), &tail(output), service))
        }
    }
}

/// Waits until the child has ended, without reaping it; false if it did not in time.
pub(crate) fn wait_unreaped(pid: u32, limit: Duration, interrupt: &Interrupt) -> bool {
    let begun = Instant::now();
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return true };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    while let Ok(None) = waitid(WaitId::Pid(pid), options) {
        if begun.elapsed() > limit || interrupt.check().is_err() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// The error of an exercise, with what it and the service said last.
pub fn failed(command: &str, how: &str, said: &str, service: &Service) -> Error {
    let error = Error::failed(format!("the exercise {command:?} {how}"));
    let error = if said.trim().is_empty() {
        error
    } else {
        error.hint(format!("its last lines:\n  {}", said.trim_end().replace('\n', "\n  ")))
    };
    error.hint(service.output.as_hint())
}

fn ended_how(status: std::process::ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(127), _) => "was not found (code 127)".to_owned(),
        (Some(code), _) => format!("failed with code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended oddly".to_owned(),
    }
}

/// Whatever an exercise left running ends with it.
pub(crate) fn end_group(pid: u32) {
    if let Some(group) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // Usually nothing is left: no such group is the good case.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// The last 2 KiB of what was written.
pub(crate) fn tail(mut file: File) -> String {
    let length = file.seek(SeekFrom::End(0)).unwrap_or(0);
    let mut text = Vec::new();
    let read =
        file.seek(SeekFrom::Start(length.saturating_sub(2048))).and_then(|_| file.read_to_end(&mut text));
    if read.is_ok() { String::from_utf8_lossy(&text).into_owned() } else { String::new() }
}
