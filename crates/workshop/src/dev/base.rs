//! What a development container is made from.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use spec::{Error, Result, ResultExt, RootPath};

use super::host_layers::{layers, parse_mountinfo};
use super::overlay::is_overlay;
use super::record::Layer;
use super::stack;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::service::exercise;

/// A base, as named with `--from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// This host's own root.
    Host,
    /// A directory tree.
    Directory(PathBuf),
    /// A tar archive or an OCI layout or archive.
    Archive(PathBuf),
    /// A distribution, bootstrapped by mmdebstrap.
    Distribution {
        /// `debian` or `ubuntu`.
        family: String,
        /// Its suite, e.g. `bookworm`.
        suite: String,
    },
}

impl Base {
    /// Understands what was typed.
    ///
    /// # Errors
    /// What is neither a known word nor a readable path.
    pub fn parse(text: &str) -> Result<Self> {
        if text == "host" {
            return Ok(Self::Host);
        }
        if let Some((family @ ("debian" | "ubuntu"), suite)) = text.split_once(':') {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
            if suite.is_empty() || suite.starts_with('-') || !suite.chars().all(plain) {
                return Err(
                    Error::user(format!("invalid suite {suite:?}")).hint("as in --from debian:bookworm")
                );
            }
            return Ok(Self::Distribution { family: family.to_owned(), suite: suite.to_owned() });
        }
        let forms =
            "a base is host, debian:SUITE, ubuntu:SUITE, a directory, a tar, or an OCI layout or archive";
        let path = std::fs::canonicalize(text)
            .map_err(|cause| Error::io(format!("cannot use {text:?} as a base"), cause).hint(forms))?;
        let meta = std::fs::metadata(&path).doing(|| format!("reading {}", path.display()))?;
        if meta.is_dir() && !path.join("oci-layout").is_file() {
            return Ok(Self::Directory(path));
        }
        if !meta.is_dir() && !meta.is_file() {
            return Err(Error::user(format!(
                "cannot use {text:?} as a base: it is neither file nor directory"
            ))
            .hint(forms));
        }
        std::fs::File::open(&path).doing(|| format!("opening {}", path.display()))?;
        Ok(Self::Archive(path))
    }

    /// Whether a container can be made from it by who we are; said before anything is done.
    ///
    /// # Errors
    /// What takes root.
    pub fn check(&self) -> Result<()> {
        if !lifecycle::rootless::inside() {
            return Ok(());
        }
        let (what, hint) = match self {
            Self::Host => (
                "a development container over the host's own root takes root: the kernel lets no ordinary user lay an overlay over mounts that are not his".to_owned(),
                "name another base: --from DIRECTORY, a tar, or an OCI layout or archive; or run it with sudo".to_owned(),
            ),
            Self::Distribution { family, suite } => (
                format!("bootstrapping {family}:{suite} takes root"),
                format!("make a tar of it first, which needs no root: mmdebstrap --variant=minbase {suite} base.tar, then --from base.tar; or run it with sudo"),
            ),
            Self::Directory(_) | Self::Archive(_) => return Ok(()),
        };
        Err(Error::new(spec::ErrorKind::Denied, what).hint(hint))
    }

    /// Prepares the layers of a new container in `dir`.
    ///
    /// # Errors
    /// As of unpacking or bootstrapping; what was made lies in `dir` and goes with it.
    pub fn prepare(&self, dir: &Path, interrupt: &Interrupt, progress: &dyn Progress) -> Result<Vec<Layer>> {
        let copy = dir.join("base");
        let lowers = match self {
            Self::Host => host(&copy, interrupt)?,
            Self::Directory(path) if is_overlay(path)? => {
                stack::make_dir(&copy)?;
                copy_into(&[path.join(".")], &copy, interrupt)?;
                vec![(RootPath::root(), copy.clone())]
            }
            Self::Directory(path) if lifecycle::rootless::inside() && is_foreign(path)? => {
                progress.note("the base is another user's: it is copied, and what is in it becomes root's");
                adopt(path, &copy, interrupt)?;
                vec![(RootPath::root(), copy.clone())]
            }
            Self::Directory(path) => vec![(RootPath::root(), path.clone())],
            Self::Archive(path) => {
                let amount = |done, total| progress.amount(done, total);
                let imported = store::import::unpack(path, &copy, &amount)?;
                imported.warnings.iter().for_each(|warning| progress.note(&format!("warning: {warning}")));
                vec![(RootPath::root(), copy.clone())]
            }
            Self::Distribution { family, suite } => {
                bootstrap(family, suite, &copy, interrupt)?;
                vec![(RootPath::root(), copy.clone())]
            }
        };
        let mut made = Vec::new();
        for (number, (at, lower)) in lowers.into_iter().enumerate() {
            let layer = PathBuf::from(format!("layers/{number}"));
            let upper = dir.join(&layer).join("upper");
            stack::make_dir(&upper)?;
            stack::make_dir(&dir.join(&layer).join("work"))?;
            stack::mirror(&lower, &upper)?;
            made.push(Layer { at, lower, dir: layer });
        }
        Ok(made)
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Directory(path) | Self::Archive(path) => write!(f, "{}", path.display()),
            Self::Distribution { family, suite } => write!(f, "{family}:{suite}"),
        }
    }
}

/// The host's file systems as lower layers. Where the root is an overlay already, two more would
/// be one too many for the kernel: the base is then a copy.
fn host(copy: &Path, interrupt: &Interrupt) -> Result<Vec<(RootPath, PathBuf)>> {
    if is_overlay(Path::new("/"))? {
        copy_host(copy, interrupt)?;
        return Ok(vec![(RootPath::root(), copy.to_owned())]);
    }
    let info = std::fs::read("/proc/self/mountinfo").doing(|| "reading /proc/self/mountinfo")?;
    let points = layers(&parse_mountinfo(&info));
    Ok(points.into_iter().map(|at| (at.clone(), at.as_path().to_owned())).collect())
}

/// Copies the parts of the host that are shown, each with everything that an inode holds.
fn copy_host(copy: &Path, interrupt: &Interrupt) -> Result<()> {
    stack::make_dir(copy)?;
    let shown = super::host_layers::SHOWN.iter().map(|name| Path::new("/").join(name));
    let present: Vec<PathBuf> = shown.filter(|path| std::fs::symlink_metadata(path).is_ok()).collect();
    copy_into(&present, copy, interrupt)
}

fn copy_into(from: &[PathBuf], into: &Path, interrupt: &Interrupt) -> Result<()> {
    let mut command = Command::new("cp");
    command.args(["--archive", "--one-file-system", "--reflink=auto", "--"]).args(from).arg(into);
    run(command, "copying the base", interrupt)
}

/// Whether it belongs to somebody who does not exist in an ordinary user's namespace: the kernel lets
/// nobody change what is his, not even in an overlay over it.
fn is_foreign(path: &Path) -> Result<bool> {
    /// Who is shown in place of such users (proc_sys_kernel(5), overflowuid).
    const NOBODY: u32 = 65534;
    let meta = std::fs::metadata(path).doing(|| format!("looking at {}", path.display()))?;
    Ok(meta.uid() == NOBODY)
}

/// Copies what can be read of a tree; owners are not kept.
fn adopt(path: &Path, copy: &Path, interrupt: &Interrupt) -> Result<()> {
    stack::make_dir(copy)?;
    let mut command = Command::new("cp");
    command.args(["--recursive", "--no-dereference", "--preserve=mode,timestamps,links"]);
    command.args(["--one-file-system", "--reflink=auto", "--"]).arg(path.join(".")).arg(copy);
    run(command, "copying the base", interrupt)
}

fn bootstrap(family: &str, suite: &str, into: &Path, interrupt: &Interrupt) -> Result<()> {
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=minbase", "--quiet", "--mode=auto", "--", suite]).arg(into);
    if family == "ubuntu" {
        command.arg("http://archive.ubuntu.com/ubuntu");
    }
    run(command, &format!("bootstrapping {family}:{suite} with mmdebstrap"), interrupt)
}

/// Runs a helper program in a process group of its own, which ends with us when we are
/// interrupted; what it complained about becomes the error's hint.
fn run(mut command: Command, what: &str, interrupt: &Interrupt) -> Result<()> {
    let complaints = tempfile::tempfile().doing(|| "making a temporary file")?;
    let stderr = complaints.try_clone().doing(|| "duplicating a descriptor")?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).process_group(0);
    let mut child = command.spawn().map_err(|cause| {
        let name = command.get_program().to_string_lossy().into_owned();
        Error::io(what, cause).hint(format!("install {name} (apt-get install {name}) and try again"))
    })?;
    // Interruption is the only thing that ends the wait early.
    exercise::wait_unreaped(child.id(), Duration::MAX, interrupt);
    exercise::end_group(child.id());
    let status = child.wait().doing(|| format!("waiting for {what}"))?;
    interrupt.check()?;
    if status.success() {
        return Ok(());
    }
    Err(Error::failed(format!("{what} failed ({status})")).hint(exercise::tail(complaints)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_are_told_apart() {
        assert_eq!(Base::parse("host").expect("host"), Base::Host);
        assert!(matches!(Base::parse("debian:bookworm"), Ok(Base::Distribution { .. })));
        assert!(matches!(Base::parse("/usr"), Ok(Base::Directory(_))));
        assert!(matches!(Base::parse("/bin/sh"), Ok(Base::Archive(_))));
        for bad in ["/nonexistent", "debian:", "debian:-x", "/dev/null"] {
            assert!(Base::parse(bad).is_err(), "{bad}");
        }
    }
}
