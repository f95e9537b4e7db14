//! What a hook has asked for that can only be done when it has ended: to stop, restart or replace its own
//! container ends the keeper, and with it whatever the keeper has started.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use spec::{Error, Result, ResultExt};

/// Starts them, one after the other, in a process that outlives us.
pub(crate) fn start(commands: &[Vec<String>]) -> Result<()> {
    if commands.is_empty() {
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
        .current_dir("/");
    let mut child = sys::child::apart(&mut command).spawn().doing(|| "starting what follows")?;
    let text =
        serde_json::to_vec(commands).map_err(|cause| Error::internal("what follows").because(cause))?;
    let input = child.stdin.take().map_or(Ok(()), |mut input| input.write_all(&text));
    input.doing(|| "telling what follows")
}

/// Runs the mode: the first that fails is the last.
pub(crate) fn run() -> Result<()> {
    let mut text = Vec::new();
    std::io::stdin().lock().take(1 << 20).read_to_end(&mut text).doing(|| "reading the commands")?;
    let commands: Vec<Vec<String>> =
        serde_json::from_slice(&text).map_err(|cause| Error::user("these are no commands").because(cause))?;
    for words in commands {
        let Some((program, rest)) = words.split_first() else { continue };
        let mut command = Command::new(program);
        command.args(rest).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().doing(|| format!("running {}", words.join(" ")))?;
        if !status.success() {
            return Err(Error::failed(format!("{} ended with {status}", words.join(" "))));
        }
    }
    Ok(())
}
