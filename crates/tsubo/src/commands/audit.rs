//! `tsubo audit`: a container attacks its own limits, and the host shows what it lost.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use spec::{Error, Result, ResultExt};

use super::Place;

/// The program that audits.
const AUDIT: &str = "tsubo-audit";

/// Let a container attack its own limits, and show what the host and a neighbour lose by that.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// What tsubo-audit understands: tsubo audit --help shows it
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    pub args: Vec<OsString>,
}

/// Executes the program beside us that audits: what starts containers does not carry it. Returns only
/// where that cannot be done.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let program = match std::env::current_exe() {
        Ok(own) => own.with_file_name(AUDIT),
        Err(cause) => return Err(Error::io("looking for our own program", cause)),
    };
    let mut command = Command::new(&program);
    if let Some(root) = place.root() {
        command.arg("--root").arg(root);
    }
    Err(match command.args(&args.args).exec() {
        cause if cause.kind() == ErrorKind::NotFound => {
            Error::unsupported(format!("the program {} is not there", program.display()))
                .hint("install tsubo-audit and tsubo-attack beside tsubo")
        }
        cause => Error::io(format!("executing {}", program.display()), cause),
    })
}

/// Removes what a killed audit has left: its directory, and the image that was made for it. One that is
/// under way holds the lock on its directory.
pub fn collect(place: &Place) -> Result<Option<String>> {
    let dir = place.home()?.lib().join("audit");
    let lock = match std::fs::File::open(&dir) {
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.doing(|| format!("opening {}", dir.display()))?,
    };
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        locked => locked.map_err(std::io::Error::from).doing(|| format!("locking {}", dir.display()))?,
    }
    let store = place.store()?;
    if let Ok(image) = store.image(AUDIT) {
        store.remove(&image)?;
    }
    std::fs::remove_dir_all(&dir).doing(|| format!("removing {}", dir.display()))?;
    Ok(Some("what an audit has left".to_owned()))
}
