//! The program `criu`, which writes processes to files and goes on from them.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use spec::container::{MountKind, Namespace, Place, Root, Source};
use spec::oci::Bundle;
use spec::{Error, Result, ResultExt};

use crate::line::{Flag, Line, switch, value};

/// Options of both verbs.
pub(crate) const IMAGES: Flag = value("image-path", None, "DIR", "where the images are (checkpoint)");
/// Likewise.
pub(crate) const WORK: Flag = value("work-path", None, "DIR", "where criu works and logs (the images')");
/// Likewise.
pub(crate) const TCP: Flag = switch("tcp-established", None, "with TCP connections that are open");
/// Likewise.
pub(crate) const UNIX: Flag = switch("ext-unix-sk", None, "with unix sockets to others");
/// Likewise.
pub(crate) const SHELL: Flag = switch("shell-job", None, "with a terminal from outside");
/// Likewise.
pub(crate) const LOCKS: Flag = switch("file-locks", None, "with locks on files");
/// Likewise.
pub(crate) const GROUPS: Flag =
    value("manage-cgroups-mode", None, "MODE", "soft, full, strict or ignore (soft)");
/// Likewise.
pub(crate) const EMPTY: Flag = value("empty-ns", None, "KIND", "a namespace without its contents: network");
/// Likewise.
pub(crate) const DEDUP: Flag = switch("auto-dedup", None, "do not keep the same memory twice");
/// Likewise.
pub(crate) const LAZY: Flag = switch("lazy-pages", None, "memory comes when it is used");

/// Switches that mean the same to criu.
const SWITCHES: [&str; 6] =
    ["tcp-established", "ext-unix-sk", "shell-job", "file-locks", "auto-dedup", "lazy-pages"];

/// A call of it.
#[derive(Debug)]
pub(crate) struct Call {
    command: Command,
    log: PathBuf,
}

impl Call {
    /// With what both verbs have in common.
    ///
    /// # Errors
    /// Unsupported where it is not installed; directories that cannot be made.
    pub(crate) fn new(action: &str, line: &Line, bundle: &Bundle) -> Result<Self> {
        available()?;
        let images = line.text("image-path").filter(|path| !path.is_empty()).unwrap_or("checkpoint");
        let work = line.text("work-path").filter(|path| !path.is_empty()).unwrap_or(images);
        let name = format!("{action}.log");
        let mut command = Command::new("criu");
        command.arg(action).args(["--images-dir", images, "--work-dir", work, "--log-file", &name, "-v4"]);
        for option in SWITCHES.into_iter().filter(|option| line.on(option)) {
            command.arg(format!("--{option}"));
        }
        let mode = line.text("manage-cgroups-mode").filter(|mode| !mode.is_empty()).unwrap_or("soft");
        command.arg(format!("--manage-cgroups={mode}"));
        match line.text("empty-ns").filter(|kind| !kind.is_empty()) {
            None => {}
            Some("network") => drop(command.args(["--empty-ns", "net"])),
            Some(kind) => {
                return Err(Error::unsupported(format!("--empty-ns {kind}: there is network only")));
            }
        }
        // What lies outside is named by where it is inside.
        for (at, source) in binds(bundle) {
            let outside = if action == "restore" { source.display().to_string() } else { at.clone() };
            command.arg("--external").arg(format!("mnt[{at}]:{outside}"));
        }
        Ok(Self { command, log: Path::new(work).join(name) })
    }

    /// One more word.
    pub(crate) fn arg(&mut self, word: impl Into<OsString>) -> &mut Self {
        self.command.arg(word.into());
        self
    }

    /// Calls it.
    ///
    /// # Errors
    /// What it says at the end of its log.
    pub(crate) fn run(mut self) -> Result<()> {
        let output = self.command.output().doing(|| "calling criu")?;
        if output.status.success() {
            return Ok(());
        }
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let errors: Vec<&str> = log.lines().filter(|line| line.contains("Error")).collect();
        let from = errors.len().saturating_sub(5);
        let said = String::from_utf8_lossy(&output.stderr);
        let said = if errors.is_empty() { said.trim_end().to_owned() } else { errors[from..].join("; ") };
        Err(Error::failed(format!("criu failed: {said}")).hint(format!("{} tells all", self.log.display())))
    }
}

/// Whether it can be called.
///
/// # Errors
/// Unsupported.
fn available() -> Result<()> {
    match Command::new("criu").arg("--version").output() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::unsupported(
            "checkpoint and restore are done by the program criu, which is not installed",
        )
        .hint("install the package criu; 3.17 does not work with kernels from 6.11 on, 4.2 does")),
        Err(error) => Err(Error::io("calling criu", error)),
    }
}

/// Files and directories of the host in it, by where they are.
fn binds(bundle: &Bundle) -> Vec<(String, PathBuf)> {
    let mounts = bundle.spec.mounts.iter().filter_map(|mount| match &mount.what {
        MountKind::Exact(exact) => match &exact.source {
            Source::Bind { path, .. } => Some((mount.at.as_path().display().to_string(), path.clone())),
            _ => None,
        },
        _ => None,
    });
    mounts.collect()
}

/// What only a container of the usual kind allows: all of it comes back by the images alone.
///
/// # Errors
/// Unsupported: namespaces of others.
pub(crate) fn check(bundle: &Bundle) -> Result<&Path> {
    let spec = &bundle.spec;
    if let Some((kind, _)) = spec.namespaces.iter().find(|(_, place)| **place != Place::Own) {
        return Err(Error::unsupported(format!(
            "a container that joins the {} namespace of others is not written to files",
            kind.word()
        )));
    }
    match &spec.root {
        Root::Bundle { path, .. } if spec.owns(Namespace::Mount) => Ok(path),
        _ => Err(Error::unsupported("a container without mounts of its own is not written to files")),
    }
}
