//! A program that is run for each question.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use lifecycle::open_files;
use spec::{Error, Result, ResultExt};

use super::{LONGEST, PATIENCE};

/// Whether it is there; one without a folder is looked for when it is run.
pub(super) fn examine(program: &[String]) -> Result<()> {
    let Some(name) = program.first().filter(|name| name.contains('/')) else { return Ok(()) };
    let doing = || format!("looking for the policy {name}");
    match std::fs::metadata(name).doing(doing)?.is_file() {
        true => Ok(()),
        false => {
            Err(Error::user(format!("{name} is no program"))
                .hint("as in policy = [\"/usr/local/bin/how-many\"]"))
        }
    }
}

/// Runs it, and kills it when it takes too long.
pub(super) fn ask(program: &[String], question: &str) -> Result<String> {
    let [name, words @ ..] = program else { return Err(Error::user("a policy without a program")) };
    let doing = || format!("running {name}");
    let mut child = Command::new(name)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .doing(doing)?;
    open_files::as_given_to(&child);
    let (input, output) = (child.stdin.take(), child.stdout.take());
    // What it does not read it did not want to know.
    let _ = input.map(|mut input| input.write_all(question.as_bytes()));
    let reads = std::thread::spawn(move || {
        let mut said = String::new();
        let read = output.map(|output| output.take(LONGEST).read_to_string(&mut said));
        read.and_then(std::io::Result::ok).map(|_| said)
    });
    let end = Instant::now() + PATIENCE;
    let ended = loop {
        match child.try_wait().doing(doing)? {
            Some(_) if reads.is_finished() => break true,
            _ if Instant::now() > end => break false,
            _ => std::thread::sleep(std::time::Duration::from_millis(1)),
        }
    };
    if !ended {
        // What it has begun itself, and left, may still have its output: nobody waits for that.
        let _ = child.kill().and_then(|()| child.wait());
        return Err(Error::failed(format!("{name} takes longer than {PATIENCE:?}")));
    }
    Ok(reads.join().ok().flatten().unwrap_or_default())
}
