//! What processes have of the world around their container: criu writes only what is inside, and
//! has to be told of the rest by names, and what stands for each when it goes on.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use spec::container::{MountKind, Namespace, Place, Source};
use spec::oci::Bundle;
use spec::{Error, Result, ResultExt};

use crate::record;

/// Where images tell what the first three descriptors were; as in runc's.
const DESCRIPTORS: &str = "descriptors.json";

/// A network namespace of others; as in runc's images.
const NETWORK: &str = "extRootNetNS";

/// Devices that containers may have as files of the host.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Words for criu, and the descriptors that they speak of.
#[derive(Debug, Default)]
pub(super) struct Outside {
    pub(super) words: Vec<String>,
    pub(super) descriptors: Vec<OwnedFd>,
}

impl Outside {
    fn external(&mut self, what: impl Into<String>) {
        self.words.extend(["--external".to_owned(), what.into()]);
    }

    fn mount(&mut self, key: &str, value: &Path) {
        self.external(format!("mnt[{key}]:{}", value.display()));
    }

    /// Lets criu have a copy that stays open in it.
    fn inherit(&mut self, descriptor: BorrowedFd<'_>, name: &str) -> Result<()> {
        let copy = rustix::io::dup(descriptor).map_err(io::Error::from).doing(|| "copying a descriptor")?;
        self.words.extend(["--inherit-fd".to_owned(), format!("fd[{}]:{name}", copy.as_raw_fd())]);
        self.descriptors.push(copy);
        Ok(())
    }
}

/// What is outside of the container with this first process, which is about to be written.
///
/// # Errors
/// What cannot be looked at.
pub(super) fn of(bundle: &Bundle, pid: i32, images: &Path) -> Result<Outside> {
    let mut outside = Outside::default();
    let binds: Vec<_> = binds(bundle).collect();
    binds.iter().for_each(|(at, _)| outside.mount(at, Path::new(at)));
    for at in groups(bundle) {
        outside.mount(&at, Path::new(&at));
    }
    let path = format!("/proc/{pid}/mountinfo");
    let mounts = fs::read_to_string(&path).doing(|| format!("reading {path}"))?;
    for (at, source) in devices(&mounts, pid).filter(|(at, _)| binds.iter().all(|(bind, _)| bind != at)) {
        outside.mount(at, &source);
    }
    if let Some(path) = network(bundle) {
        let number = fs::metadata(path).doing(|| format!("looking at {}", path.display()))?.ino();
        outside.external(format!("net[{number}]:{NETWORK}"));
    }
    let names = descriptors(pid, &mounts)?;
    let files: BTreeSet<&String> = names.iter().filter(|name| name.starts_with("file[")).collect();
    files.into_iter().for_each(|file| outside.external(file));
    let text =
        serde_json::to_vec(&names).map_err(|cause| Error::internal("encoding names").because(cause))?;
    let path = images.join(DESCRIPTORS);
    record::whole(&path, &text, 0o600).doing(|| format!("writing {}", path.display()))?;
    Ok(outside)
}

/// What stands for it in the container that goes on; its control group is in `group`.
///
/// # Errors
/// What is not there.
pub(super) fn again(bundle: &Bundle, images: &Path, group: Option<PathBuf>) -> Result<Outside> {
    let mut outside = Outside::default();
    binds(bundle).for_each(|(at, source)| outside.mount(&at, source));
    let group = group.filter(|_| bundle.spec.owns(Namespace::Cgroup));
    let group = group.unwrap_or_else(|| PathBuf::from("/sys/fs/cgroup"));
    groups(bundle).iter().for_each(|at| outside.mount(at, &group));
    for name in DEVICES {
        let device = format!("/dev/{name}");
        outside.mount(&device, Path::new(&device));
    }
    if let Some(path) = network(bundle) {
        let namespace = fs::File::open(path).doing(|| format!("opening {}", path.display()))?;
        outside.inherit(namespace.as_fd(), NETWORK)?;
    }
    let path = images.join(DESCRIPTORS);
    let names = match fs::read(&path) {
        Ok(text) => serde_json::from_slice::<Vec<String>>(&text)
            .map_err(|cause| Error::user(format!("{} is damaged", path.display())).because(cause))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Error::io(format!("reading {}", path.display()), error)),
    };
    let mut given = BTreeSet::new();
    let ours = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    for (name, ours) in names.iter().zip(ours) {
        // Those of inside come back by themselves.
        let is_outside = name.starts_with("pipe:[") || name.starts_with("file[");
        if is_outside && given.insert(name) {
            outside.inherit(ours, name)?;
        }
    }
    Ok(outside)
}

/// Files and directories of the host in it, by where they are.
fn binds(bundle: &Bundle) -> impl Iterator<Item = (String, &Path)> {
    bundle.spec.mounts.iter().filter_map(|mount| match &mount.what {
        MountKind::Exact(exact) => match &exact.source {
            Source::Bind { path, .. } => Some((mount.at.as_path().display().to_string(), path.as_path())),
            _ => None,
        },
        _ => None,
    })
}

/// Where it sees the control groups of version 2. (criu knows those of version 1.)
fn groups(bundle: &Bundle) -> Vec<String> {
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return Vec::new();
    }
    let is_groups =
        |what: &MountKind| matches!(what, MountKind::Exact(exact) if exact.source == Source::Groups);
    let mounts = bundle.spec.mounts.iter().filter(|mount| is_groups(&mount.what));
    mounts.map(|mount| mount.at.as_path().display().to_string()).collect()
}

/// Devices of the host that are mounted one by one, as those that mask files are.
fn devices(mounts: &str, pid: i32) -> impl Iterator<Item = (&str, PathBuf)> {
    mounts.lines().filter_map(move |line| {
        let mut fields = line.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        let name = root.strip_prefix('/').filter(|name| !name.is_empty())?;
        let about = fs::symlink_metadata(format!("/proc/{pid}/root{at}")).ok()?;
        about.file_type().is_char_device().then(|| (at, Path::new("/dev").join(name)))
    })
}

/// The file of a network namespace of others.
pub(super) fn network(bundle: &Bundle) -> Option<&Path> {
    match bundle.spec.namespaces.get(&Namespace::Net) {
        Some(Place::Path(path)) => Some(path),
        _ => None,
    }
}

/// What the first three descriptors are, in criu's words where they are of outside.
fn descriptors(pid: i32, mounts: &str) -> Result<Vec<String>> {
    let inside: BTreeSet<&str> = mounts.lines().filter_map(|line| line.split(' ').next()).collect();
    let name = |number: i32| {
        let path = format!("/proc/{pid}/fd/{number}");
        let Ok(target) = fs::read_link(&path) else { return Ok(String::new()) };
        let about = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}"))
            .doing(|| format!("looking at descriptor {number} of process {pid}"))?;
        let mount = about.lines().find_map(|line| line.strip_prefix("mnt_id:")).unwrap_or_default().trim();
        if target.is_absolute() && !inside.contains(mount) {
            let file = fs::metadata(&path).doing(|| format!("looking at {path}"))?.ino();
            let mount: u32 = mount.parse().map_err(|_| Error::internal("a descriptor without a mount"))?;
            return Ok(format!("file[{mount:x}:{file:x}]"));
        }
        Ok(target.display().to_string())
    };
    (0..3).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_of_outside_have_names_for_criu() {
        let own = std::process::id() as i32;
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        // Whatever is open here is of here, and from nowhere else.
        assert!(descriptors(own, &mounts).expect("names").iter().all(|name| !name.starts_with("file[")));
        let file = tempfile::tempfile().expect("a file");
        let child = sys::process::fork_child(|| {
            let _ = rustix::stdio::dup2_stdin(&file);
            std::thread::sleep(std::time::Duration::from_secs(20));
            0
        })
        .expect("a child");
        let expected = format!(":{:x}]", file.metadata().expect("a file").ino());
        let mut names = Vec::new();
        for _ in 0..1000 {
            names = descriptors(child, "").expect("names");
            if names[0].ends_with(&expected) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        sys::process::kill(child, 9).expect("kill");
        sys::process::reap(child, true).expect("reap");
        assert!(names[0].starts_with("file[") && names[0].ends_with(&expected), "{names:?}");
    }
}
