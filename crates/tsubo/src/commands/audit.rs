//! `tsubo audit`: a container attacks its own limits, and the host shows what it lost.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use lifecycle::Containers;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use spec::{Error, Result, ResultExt};

use super::{Place, sister};

/// The program that audits.
const AUDIT: &str = "tsubo-audit";

/// The images that it makes: a root with nothing in it, and the package that it audits, by a name of its own.
const IMAGES: [&str; 2] = [AUDIT, "tsubo-audit-package"];

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
    Err(missing(sister::command(AUDIT, place).args(&args.args).exec()))
}

/// What `tsubo build` does at the end, if the definition names attacks: the short form. What it shows goes
/// to the errors, where the other steps are told of.
pub fn package(attacks: &[String], package: &Path, place: &Place) -> Result<()> {
    if attacks.is_empty() {
        return Ok(());
    }
    let mut command = sister::command(AUDIT, place);
    command.arg("--quick").arg(std::path::absolute(package).doing(|| "asking for the current folder")?);
    if !attacks.iter().any(|name| name == "all") {
        command.arg("--only").arg(attacks.join(","));
    }
    let ended = command.stdin(Stdio::null()).stdout(std::io::stderr()).status().map_err(missing)?;
    let shown = package.display();
    match ended.code() {
        Some(0) => Ok(()),
        Some(1) => {
            Err(Error::failed(format!("{shown} does not hold every attack that its definition names"))
                .hint("the lines above mend it"))
        }
        _ => Err(Error::failed(format!("the audit of {shown} failed"))),
    }
}

fn missing(cause: std::io::Error) -> Error {
    sister::missing(AUDIT, "tsubo-audit and tsubo-attack", cause)
}

/// Removes what a killed audit has left: its directory, and the images that were made for it, unless somebody
/// has come to use one. An audit that is under way holds the lock on its directory.
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
    let (store, containers) = (place.store()?, Containers::of(&place.home()?));
    let _images = containers.hold_images()?;
    for name in IMAGES {
        while let Ok(image) = store.image(name) {
            if super::rmi::refuse_if_used(&containers, &image.tree, name).is_err() {
                return Ok(None);
            }
            store.remove(&image)?;
        }
    }
    std::fs::remove_dir_all(&dir).doing(|| format!("removing {}", dir.display()))?;
    Ok(Some("what an audit has left".to_owned()))
}
