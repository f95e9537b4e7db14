//! The program `criu`, which writes processes to files and goes on from them.

mod outside;

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use spec::container::{Namespace, Place, Root};
use spec::oci::Bundle;
use spec::{Error, Result, ResultExt};

use self::outside::Outside;
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

/// Lines of its log that are told.
const TOLD: usize = 5;

/// A call of it.
#[derive(Debug)]
pub(crate) struct Call {
    command: Command,
    images: PathBuf,
    log: PathBuf,
    outside: Outside,
}

impl Call {
    /// With what both verbs have in common.
    ///
    /// # Errors
    /// Unsupported where it is not installed; words that it does not have.
    pub(crate) fn new(action: &str, line: &Line) -> Result<Self> {
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
        let log = Path::new(work).join(name);
        Ok(Self { command, images: images.into(), log, outside: Outside::default() })
    }

    /// One more word.
    pub(crate) fn arg(&mut self, word: impl Into<OsString>) -> &mut Self {
        self.command.arg(word.into());
        self
    }

    /// Makes the directories that it writes to, and tells it what of these processes is outside.
    ///
    /// # Errors
    /// What cannot be made or looked at.
    pub(crate) fn writes(&mut self, bundle: &Bundle, pid: i32, frozen_by: Option<&Path>) -> Result<()> {
        let work = self.log.parent().unwrap_or(&self.images);
        for directory in [self.images.as_path(), work] {
            std::fs::create_dir_all(directory).doing(|| format!("making {}", directory.display()))?;
        }
        if let Some(group) = frozen_by {
            self.command.arg("--freeze-cgroup").arg(group);
        }
        self.outside = outside::of(bundle, pid, &self.images)?;
        Ok(())
    }

    /// Tells it what stands for what was outside.
    ///
    /// # Errors
    /// What is not there.
    pub(crate) fn reads(&mut self, bundle: &Bundle, group: Option<PathBuf>) -> Result<()> {
        self.outside = outside::again(bundle, &self.images, group)?;
        Ok(())
    }

    /// Calls it.
    ///
    /// # Errors
    /// What it says at the end of its log.
    pub(crate) fn run(mut self) -> Result<()> {
        let output = self.command.args(&self.outside.words).output().doing(|| "calling criu")?;
        if output.status.success() {
            return Ok(());
        }
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let said =
            told(&log).unwrap_or_else(|| String::from_utf8_lossy(&output.stderr).trim_end().to_owned());
        Err(Error::failed(format!("criu failed: {said}")).hint(format!("{} tells all", self.log.display())))
    }
}

/// The last errors that its log has, or else its last lines; None where it has none.
fn told(log: &str) -> Option<String> {
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("Error")).collect();
    let lines = if errors.is_empty() { log.lines().collect() } else { errors };
    let last = &lines[lines.len().saturating_sub(TOLD)..];
    (!last.is_empty()).then(|| last.join("; "))
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

/// What only a container of the usual kind allows: it comes back by the images, the bundle and the
/// network that it may share.
///
/// # Errors
/// Unsupported: other namespaces of others.
pub(crate) fn check(bundle: &Bundle) -> Result<&Path> {
    let spec = &bundle.spec;
    let foreign = |kind: &Namespace, place: &Place| match place {
        Place::Own => false,
        Place::Path(_) => *kind != Namespace::Net,
        Place::Container(_) => true,
    };
    if let Some((kind, _)) = spec.namespaces.iter().find(|(kind, place)| foreign(kind, place)) {
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

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn the_last_errors_are_told_or_else_the_last_lines() {
        let log = "(00.1) Error (a): one\n(00.2) Warn\n(00.3) Error (b): two\n(00.4) end\n";
        assert_eq!(told(log).as_deref(), Some("(00.1) Error (a): one; (00.3) Error (b): two"));
        assert_eq!(told("1\n2\n3\n4\n5\n6\n").as_deref(), Some("2; 3; 4; 5; 6"));
        assert_eq!(told(""), None);
    }
}
