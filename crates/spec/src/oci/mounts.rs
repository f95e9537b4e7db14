//! Mounts, and what is hidden or protected in them.

use std::path::Path;

use super::options::{Meaning, meaning};
use super::{bad, host_path, ids, inside, written};
use crate::container::{Attributes, Exact, Mount, MountFlags, MountKind, Namespace, Shown, Source, Spec};
use crate::{Error, Result, RootPath};

/// Files of procfs that may be covered (as lxcfs does); anything else there would pretend to be the
/// kernel's, to the runtime too.
const COVERED: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// File systems that take a security label.
const LABELLED: [&str; 3] = ["tmpfs", "devpts", "ramfs"];

pub(super) fn mounts(
    spec: &mut Spec,
    written: Vec<written::Mount>,
    bundle: &Path,
    label: Option<&str>,
    notes: &mut Vec<String>,
) -> Result<()> {
    if !written.is_empty() && !spec.owns(Namespace::Mount) {
        return Err(bad("mounts", "they need a mount namespace of the container's own in linux.namespaces"));
    }
    spec.mounts.reserve(written.len());
    for (index, mount) in written.into_iter().enumerate() {
        let place = format!("mounts[{index}]");
        let mount = one(spec, &place, mount, bundle, label, notes)?;
        spec.mounts.push(mount);
    }
    Ok(())
}

/// What the options of one mount add up to.
#[derive(Default)]
struct Sum {
    own: Attributes,
    below: Attributes,
    bind: Option<bool>,
    remount: bool,
    spread: Option<crate::container::Spread>,
    mapped: Option<bool>,
    copied: bool,
    data: Vec<(String, Option<String>)>,
}

impl Sum {
    fn of(options: Vec<String>) -> Self {
        let mut sum = Self::default();
        for word in options {
            match meaning(&word) {
                Some(Meaning::Own(set, clear)) => change(&mut sum.own, set, clear),
                Some(Meaning::Below(set, clear)) => change(&mut sum.below, set, clear),
                Some(Meaning::Bind(recursive)) => sum.bind = Some(recursive || sum.bind == Some(true)),
                Some(Meaning::Remount) => sum.remount = true,
                Some(Meaning::Spread(spread)) => sum.spread = Some(spread),
                Some(Meaning::Mapped(recursive)) => {
                    sum.mapped = Some(recursive || sum.mapped == Some(true));
                }
                Some(Meaning::CopyUp) => sum.copied = true,
                Some(Meaning::FileSystem) => sum.data.push((word, None)),
                Some(Meaning::Nothing) => {}
                None => sum.data.push(match word.split_once('=') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (word, None),
                }),
            }
        }
        sum
    }
}

/// The later word wins, where it contradicts an earlier one.
fn change(attributes: &mut Attributes, set: u32, clear: u32) {
    attributes.set = (attributes.set & !clear) | set;
    attributes.clear = (attributes.clear & !set) | clear;
}

fn one(
    spec: &Spec,
    place: &str,
    written: written::Mount,
    bundle: &Path,
    label: Option<&str>,
    notes: &mut Vec<String>,
) -> Result<Mount> {
    let destination = format!("{place}.destination");
    if !written.destination.starts_with('/') {
        notes.push(format!("{destination} is not absolute; it is taken from the root"));
    }
    let at = inside(&destination, &written.destination)?;
    if at.is_root() {
        return Err(bad(&destination, "a mount over the root would hide it")
            .hint("name what is to be there as root.path"));
    }
    let mut sum = Sum::of(written.options.unwrap_or_default());
    let kind = written.kind.unwrap_or_default();
    let source = source(place, &kind, written.source, bundle, &mut sum, notes)?;
    check_place(&destination, &at, &source)?;
    let owners = owners(spec, place, &sum, written.uid_mappings, written.gid_mappings, &source)?;
    if sum.copied && !matches!(&source, Source::FileSystem { kind, .. } if kind == "tmpfs") {
        return Err(bad(&format!("{place}.options"), "tmpcopyup is for a tmpfs"));
    }
    let source = labelled(source, label);
    let exact = Exact {
        source,
        attributes: sum.own,
        below: sum.below,
        propagation: sum.spread,
        owners,
        copied: sum.copied,
    };
    Ok(Mount { at, what: MountKind::Exact(Box::new(exact)), flags: MountFlags::default() })
}

fn source(
    place: &str,
    kind: &str,
    source: Option<String>,
    bundle: &Path,
    sum: &mut Sum,
    notes: &mut Vec<String>,
) -> Result<Source> {
    let options = format!("{place}.options");
    if sum.remount {
        no_data(&options, sum, notes)?;
        return Ok(Source::Present);
    }
    if kind == "bind" || sum.bind.is_some() {
        no_data(&options, sum, notes)?;
        let source = source.ok_or_else(|| bad(&format!("{place}.source"), "a bind needs one"))?;
        let path = bundle.join(host_path(&format!("{place}.source"), &source)?);
        return Ok(Source::Bind { path, recursive: sum.bind.unwrap_or(false) });
    }
    match kind {
        "cgroup" => {
            // What hybrid hosts and old bundles name is what they get anyway.
            sum.data.clear();
            Ok(Source::Groups)
        }
        "" | "none" => Err(bad(&format!("{place}.type"), "it is missing, and this is no bind")),
        kind if !is_word(kind) => {
            let shown: String = kind.chars().take(80).collect();
            Err(bad(&format!("{place}.type"), &format!("{shown:?} is no type of a file system")))
        }
        kind => Ok(Source::FileSystem {
            kind: kind.to_owned(),
            device: source.filter(|source| !source.is_empty()).unwrap_or_else(|| kind.to_owned()),
            options: std::mem::take(&mut sum.data),
        }),
    }
}

fn is_word(kind: &str) -> bool {
    kind.len() < 64 && kind.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// A bind takes no option of a file system: it would have no effect.
fn no_data(place: &str, sum: &mut Sum, notes: &mut Vec<String>) -> Result<()> {
    for (name, value) in sum.data.drain(..) {
        if value.is_some() || meaning(&name) != Some(Meaning::FileSystem) {
            let shown: String = name.chars().take(80).collect();
            return Err(bad(place, &format!("{shown:?} is unknown, or means nothing for a bind")));
        }
        notes.push(format!("{place}: {name} has no effect on a bind"));
    }
    Ok(())
}

/// The kernel's own files are covered by nothing else (2019-16884, 2025-52881).
fn check_place(place: &str, at: &RootPath, source: &Source) -> Result<()> {
    let text = at.as_bytes();
    let within = |top: &str| {
        text.strip_prefix(top.as_bytes()).is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'))
    };
    if !within("/proc") || COVERED.iter().any(|path| within(path)) {
        return Ok(());
    }
    let kernels = match source {
        Source::FileSystem { kind, .. } => {
            kind == "proc" && text == b"/proc" || kind == "binfmt_misc" && within("/proc/sys/fs/binfmt_misc")
        }
        Source::Bind { path, .. } => text == b"/proc" && path == Path::new("/proc"),
        Source::Present => true,
        Source::Groups => false,
    };
    if kernels {
        return Ok(());
    }
    Err(bad(place, &format!("{at} lies in proc, where nothing else is mounted"))
        .hint(format!("only a proc at /proc, and binds over {}", COVERED.join(" "))))
}

fn owners(
    spec: &Spec,
    place: &str,
    sum: &Sum,
    uids: Option<Vec<written::IdMapping>>,
    gids: Option<Vec<written::IdMapping>>,
    source: &Source,
) -> Result<Option<Shown>> {
    let (uids, gids) = (uids.unwrap_or_default(), gids.unwrap_or_default());
    let given = !uids.is_empty() || !gids.is_empty();
    if sum.mapped.is_none() && !given {
        return Ok(None);
    }
    if !matches!(source, Source::Bind { .. }) {
        return Err(Error::unsupported(format!("{place}: owners can be mapped for binds only"))
            .hint("a file system of the container's own has its users' owners anyway"));
    }
    let recursive = sum.mapped == Some(true);
    if !given {
        if !spec.namespaces.contains_key(&Namespace::User) {
            return Err(bad(place, "idmap without mappings means the container's users, and it has none"));
        }
        return Ok(Some(Shown { users: None, recursive }));
    }
    let (uid_place, gid_place) = (format!("{place}.uidMappings"), format!("{place}.gidMappings"));
    let users = ids::mapping(&uid_place, &gid_place, &uids, &gids)?;
    Ok(Some(Shown { users: Some(users), recursive }))
}

fn labelled(source: Source, label: Option<&str>) -> Source {
    match (source, label) {
        (Source::FileSystem { kind, device, mut options }, Some(label))
            if LABELLED.contains(&kind.as_str()) =>
        {
            options.push(("context".to_owned(), Some(label.to_owned())));
            Source::FileSystem { kind, device, options }
        }
        (source, _) => source,
    }
}

/// Paths that are hidden, and paths that are made read-only. Those in a proc or sys that the container
/// does not have are left out: the runtime takes no other directory for them.
pub(super) fn covers(
    spec: &mut Spec,
    masked: Option<Vec<String>>,
    read_only: Option<Vec<String>>,
    notes: &mut Vec<String>,
) -> Result<()> {
    let (masked, read_only) = (masked.unwrap_or_default(), read_only.unwrap_or_default());
    if masked.is_empty() && read_only.is_empty() {
        return Ok(());
    }
    if !spec.owns(Namespace::Mount) {
        return Err(bad("linux.maskedPaths", "masks need a mount namespace of the container's own"));
    }
    let has = |top: &[u8]| spec.mounts.iter().any(|mount| mount.at.as_bytes() == top);
    let (proc, sys) = (has(b"/proc"), has(b"/sys"));
    let mut list = |name: &str, paths: Vec<String>| -> Result<Vec<RootPath>> {
        let mut kept = Vec::with_capacity(paths.len());
        for (index, path) in paths.iter().enumerate() {
            let place = format!("linux.{name}[{index}]");
            if !path.starts_with('/') {
                return Err(bad(&place, "it is not absolute"));
            }
            let path = inside(&place, path)?;
            let text = path.as_bytes();
            if (text.starts_with(b"/proc/") && !proc) || (text.starts_with(b"/sys/") && !sys) {
                notes.push(format!("{place}: {path} is not there, as nothing is mounted above it"));
            } else if path.is_root() {
                return Err(bad(&place, "the root cannot be covered").hint("root.readonly protects it"));
            } else {
                kept.push(path);
            }
        }
        Ok(kept)
    };
    let (masked, read_only) = (list("maskedPaths", masked)?, list("readonlyPaths", read_only)?);
    (spec.masked, spec.read_only) = (masked, read_only);
    Ok(())
}
