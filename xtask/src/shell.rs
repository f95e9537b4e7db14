//! Running other programs: what is run is said in the error, never guessed at.

use std::error::Error;
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

/// What every subcommand returns.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// Set by ^C and by SIGTERM.
static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From now on ^C ends what is running and then us, by way of an error: so everything is put away.
pub(crate) fn outlive_interrupts() -> std::io::Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&INTERRUPTED))?;
    }
    Ok(())
}

/// Whether ^C or SIGTERM came.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// An error once we have been interrupted.
pub(crate) fn unless_interrupted() -> Result {
    if interrupted() { Err("interrupted".into()) } else { Ok(()) }
}

/// Runs `command` with this terminal; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result {
    let status = command.status().map_err(|e| format!("{}: {e}", show(command)))?;
    unless_interrupted()?;
    if status.success() { Ok(()) } else { Err(format!("{}: {status}", show(command)).into()) }
}

/// Runs `command` and returns what it wrote to stdout; what it wrote to stderr is part of the error.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let said = read_even_if_interrupted(command);
    unless_interrupted()?;
    said
}

/// The same for what puts the results away after ^C.
pub(crate) fn read_even_if_interrupted(command: &mut Command) -> Result<String> {
    let done = command.stdin(Stdio::null()).output().map_err(|e| format!("{}: {e}", show(command)))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(format!("{}: {}\n{}", show(command), done.status, said.trim_end()).into())
}

/// A command that is run by root: with sudo where we are not.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Command {
    if is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// The command line as a person would type it.
pub(crate) fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| w.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Whether a program of this name is in PATH or in one of the system's sbin directories.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    dirs.into_iter().any(|dir| dir.join(program).is_file())
}
