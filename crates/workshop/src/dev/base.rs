//! What a development container is made from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use spec::{Error, Result, ResultExt, RootPath};

use super::host_layers::{layers, parse_mountinfo};
use super::overlay::is_overlay;
use super::record::Layer;
use super::stack;

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

    /// Prepares the layers of a new container in `dir`.
    ///
    /// # Errors
    /// As of unpacking or bootstrapping; what was made lies in `dir` and goes with it.
    pub fn prepare(&self, dir: &Path, progress: &dyn Fn(u64, u64)) -> Result<Vec<Layer>> {
        let copy = dir.join("base");
        let lowers = match self {
            Self::Host => host(&copy)?,
            Self::Directory(path) => vec![(RootPath::root(), path.clone())],
            Self::Archive(path) => {
                store::import::unpack(path, &copy, progress)?;
                vec![(RootPath::root(), copy.clone())]
            }
            Self::Distribution { family, suite } => {
                bootstrap(family, suite, &copy)?;
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
fn host(copy: &Path) -> Result<Vec<(RootPath, PathBuf)>> {
    if is_overlay(Path::new("/"))? {
        copy_host(copy)?;
        return Ok(vec![(RootPath::root(), copy.to_owned())]);
    }
    let info = std::fs::read("/proc/self/mountinfo").doing(|| "reading /proc/self/mountinfo")?;
    let points = layers(&parse_mountinfo(&info));
    Ok(points.into_iter().map(|at| (at.clone(), at.as_path().to_owned())).collect())
}

/// Copies the parts of the host that are shown, each with everything that an inode holds.
fn copy_host(copy: &Path) -> Result<()> {
    stack::make_dir(copy)?;
    let shown = super::host_layers::SHOWN.iter().map(|name| Path::new("/").join(name));
    let present: Vec<PathBuf> = shown.filter(|path| std::fs::symlink_metadata(path).is_ok()).collect();
    let mut command = Command::new("cp");
    command.args(["--archive", "--one-file-system", "--reflink=auto", "--"]).args(&present).arg(copy);
    run(command, "copying the host's root")
}

fn bootstrap(family: &str, suite: &str, into: &Path) -> Result<()> {
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=minbase", "--quiet", "--mode=auto", "--", suite]).arg(into);
    if family == "ubuntu" {
        command.arg("http://archive.ubuntu.com/ubuntu");
    }
    run(command, &format!("bootstrapping {family}:{suite} with mmdebstrap"))
}

/// Runs a helper program; what it complained about becomes the error's hint.
fn run(mut command: Command, what: &str) -> Result<()> {
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let output = output.map_err(|cause| {
        let name = command.get_program().to_string_lossy().into_owned();
        Error::io(what, cause).hint(format!("install {name} (apt-get install {name}) and try again"))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = complaint.lines().rev().take(8).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Err(Error::failed(format!("{what} failed ({})", output.status)).hint(last.join("\n")))
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
