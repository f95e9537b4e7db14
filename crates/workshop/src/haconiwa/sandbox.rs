//! The throw-away container that a .haco file is run in: the ordinary `mruby` with its libraries, two files, and
//! nothing else of this host.
//!
//! It has namespaces of its own and a network without a way out, a root that cannot be written, users that are nobody
//! on the host, no capability, no kernel files, and bounds on memory, processes, time and what it says.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use spec::container::{Namespace, Spec};
use spec::isolation::{CapabilityWords, Isolation, Origin};
use spec::limits::Limits;
use spec::portable::{Ids, Portable};
use spec::{Error, Name, Result, ResultExt};

/// Seconds of processor time, beside the time that it may take at all.
const CPU: &str = "20";
/// What it may allocate, where it gets no control groups.
const ADDRESSES: &str = "536870912";
/// What it may take.
pub(super) const MEMORY: &str = "256M";
/// Nobody.
const NOBODY: u32 = 65_534;

/// Where things are inside.
pub(super) const PROGRAM: &str = "/bin/mruby";
pub(super) const RECORDER: &str = "/haco/recorder.rb";
pub(super) const FILE: &str = "/haco/definition.haco";

/// Makes its root in `tree`.
///
/// # Errors
/// When mruby is not there, or a file cannot be copied.
pub(super) fn furnish(tree: &Path, text: &[u8]) -> Result<()> {
    let program = find("mruby").ok_or_else(|| {
        Error::unsupported("there is no mruby on this host, which runs .haco files")
            .hint("apt-get install mruby (any version from 2.0 on); it is needed for this command only")
    })?;
    for directory in ["haco", "dev", "proc", "sys", "tmp"] {
        fs::create_dir_all(tree.join(directory))
            .doing(|| format!("making {directory} in {}", tree.display()))?;
    }
    bring(&program, tree, Path::new(PROGRAM))?;
    for library in libraries(&program)? {
        bring(&library, tree, &library)?;
    }
    let files = [(RECORDER, include_str!("recorder.rb").as_bytes()), (FILE, text)];
    files.into_iter().try_for_each(|(at, text)| {
        fs::write(inside(tree, Path::new(at)), text).doing(|| format!("writing {at} in {}", tree.display()))
    })
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(usual).map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn inside(tree: &Path, at: &Path) -> PathBuf {
    tree.join(at.strip_prefix("/").unwrap_or(at))
}

fn bring(file: &Path, tree: &Path, at: &Path) -> Result<()> {
    let to = inside(tree, at);
    let copied = to.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::copy(file, &to));
    copied.map(drop).doing(|| format!("copying {}", file.display()))
}

/// What the dynamic loader would load for a program of this host, and itself.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let mut command = Command::new(program);
    let command = command.env("LD_TRACE_LOADED_OBJECTS", "1").stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().doing(|| format!("asking what {} loads", program.display()))?;
    Ok(loaded(&String::from_utf8_lossy(&output.stdout)))
}

/// `libm.so.6 => /lib/libm.so.6 (0x…)`, `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn loaded(text: &str) -> Vec<PathBuf> {
    let paths = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    paths.map(PathBuf::from).collect()
}

/// Its spec; `name` is what the file goes by, `env` what it sees as its environment.
///
/// # Errors
/// What this host cannot do.
pub(super) fn spec(tree: &Path, name: &str, env: &[String]) -> Result<Spec> {
    let argv = [PROGRAM, RECORDER, FILE, name].map(str::to_owned).into_iter().chain(env.iter().cloned());
    let own: Name = "import-haco".parse()?;
    let mut portable = Portable::new(own.clone(), argv.collect());
    portable.user = Ids { uid: NOBODY, gid: NOBODY, groups: Vec::new() };
    portable.env = BTreeMap::new();
    let mut options = lifecycle::RunOptions::named(own);
    options.isolation = isolation()?;
    options.limits = limits()?;
    lifecycle::resolve(&portable, tree, &options)
}

fn isolation() -> Result<Isolation> {
    let kinds = Namespace::ALL.into_iter().filter(|kind| *kind != Namespace::Time);
    let limits =
        [("cpu", CPU), ("as", ADDRESSES), ("nproc", "8"), ("nofile", "32"), ("fsize", "0"), ("core", "0")];
    let without = ["/proc", "/sys", "/sys/fs/cgroup", "/dev"].into_iter().map(str::parse);
    Ok(Isolation {
        namespaces: kinds.map(|kind| (kind, Origin::Own)).collect(),
        without: without.collect::<Result<_>>()?,
        capabilities: CapabilityWords { drop: vec!["ALL".to_owned()], ..CapabilityWords::default() },
        no_new_privileges: Some(true),
        rlimits: limits.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        masked: Some(Vec::new()),
        read_only: Some(Vec::new()),
        lxcfs: Some(false),
        ..Isolation::default()
    })
}

/// Where there are no control groups, the limits of processes hold.
fn limits() -> Result<Limits> {
    Ok(Limits {
        memory: Some(MEMORY.parse()?),
        pids: Some("8".parse()?),
        cpus: Some("1".parse()?),
        best_effort: Some(true),
        ..Limits::default()
    })
}

/// The name of a file as messages have it.
pub(super) fn named(file: &Path) -> String {
    let name = file.file_name().unwrap_or(OsStr::new("definition.haco")).to_string_lossy();
    // Where a name ends and a line begins is seen by the colon.
    name.chars().map(|c| if c.is_control() || c == ':' { '_' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_as_the_loader_tells_them() {
        let text = "\tlinux-vdso.so.1 (0x7ff)\n\tlibm.so.6 => /lib/libm.so.6 (0x7f)\n\t/lib64/ld.so.2 (0x7f)\n\tlibx => not found\n";
        assert_eq!(loaded(text), ["/lib/libm.so.6", "/lib64/ld.so.2"].map(PathBuf::from));
        assert!(loaded("\tstatically linked\n").is_empty());
    }

    #[test]
    fn names_cannot_pretend_to_be_lines() {
        assert_eq!(named(Path::new("a/b:3\n.haco")), "b_3_.haco");
    }
}
