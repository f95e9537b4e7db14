//! What is told to the kernel by writing to a file of its own.

use std::ffi::CString;
use std::path::Path;

use spec::container::{Clocks, Labels};
use spec::plan::Step;
use spec::{Error, Result};

use super::{Op, c_string};

/// A value for a file of procfs. It is written through an instance that the child makes for itself
/// and that is mounted nowhere, so nothing can lie over it (2025-52881).
#[derive(Debug)]
pub(crate) struct KernelFile {
    /// The path starts in the directory of the process that writes.
    pub(crate) own: bool,
    pub(crate) path: CString,
    pub(crate) value: Vec<u8>,
}

impl KernelFile {
    fn own(path: &str, value: String) -> Result<Self> {
        Ok(Self { own: true, path: c_string(path.as_bytes())?, value: value.into_bytes() })
    }
}

/// The dots of a parameter's name are the directories below `/proc/sys`.
pub(super) fn sysctl(name: &str, value: &str) -> Result<Op> {
    let swapped = name.chars().map(|c| match c {
        '.' => '/',
        // A slash stands for a dot in the name of a directory, as for sysctl(8).
        '/' => '.',
        c => c,
    });
    let path = format!("sys/{}", swapped.collect::<String>());
    let file = KernelFile { own: false, path: c_string(path.as_bytes())?, value: value.into() };
    Ok(Op::KernelFiles(vec![file]))
}

pub(super) fn oom_score(adjustment: i32) -> Result<Op> {
    Ok(Op::KernelFiles(vec![KernelFile::own("oom_score_adj", adjustment.to_string())?]))
}

pub(super) fn clocks(clocks: &Clocks) -> Result<Op> {
    let (monotonic, boot) = clocks.nanoseconds;
    let offsets = format!("monotonic {} {monotonic}\nboottime {} {boot}\n", clocks.monotonic, clocks.boot);
    Ok(Op::Clocks { offsets: KernelFile::own("timens_offsets", offsets)? })
}

/// Refused where the module is not there: a label that nobody reads protects from nothing.
pub(super) fn label(labels: &Labels) -> Result<Op> {
    let mut files = Vec::new();
    if let Some(profile) = &labels.apparmor {
        active("AppArmor", "apparmor", "/sys/module/apparmor/parameters/enabled")?;
        files.push(KernelFile::own("attr/apparmor/exec", format!("exec {profile}"))?);
    }
    if let Some(context) = &labels.selinux {
        active("SELinux", "selinux", "/sys/fs/selinux/enforce")?;
        files.push(KernelFile::own("attr/exec", context.clone())?);
    }
    Ok(Op::KernelFiles(files))
}

/// The list of modules is on securityfs, which not every host mounts; `sign` is what else shows
/// that this one is at work.
fn active(module: &str, word: &str, sign: &str) -> Result<()> {
    let active = match std::fs::read_to_string("/sys/kernel/security/lsm") {
        Ok(list) => list.trim().split(',').any(|one| one == word),
        Err(_) => Path::new(sign).exists() && std::fs::read_to_string(sign).is_ok_and(|text| text != "N\n"),
    };
    match active {
        true => Ok(()),
        false => Err(Error::unsupported(format!("{module} is not active on this host"))
            .hint(format!("leave the {module} label out; Landlock, seccomp and capabilities work without"))),
    }
}

/// Whether a step sets the clocks of a time namespace.
pub(super) fn sets_clocks(step: &Step) -> bool {
    matches!(step, Step::Clocks(_))
}
