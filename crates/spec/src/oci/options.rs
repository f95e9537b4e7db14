//! Mount options: those of mount(8) that hold for every file system, and the runtime-spec's own.

use crate::container::Spread;

use super::linux;

/// MOUNT_ATTR_…
const READ_ONLY: u32 = 0x1;
const NO_SUID: u32 = 0x2;
const NO_DEV: u32 = 0x4;
const NO_EXEC: u32 = 0x8;
/// The field of access times, and its values.
const TIMES: u32 = 0x70;
const NO_ATIME: u32 = 0x10;
const STRICT_ATIME: u32 = 0x20;
const NO_DIR_ATIME: u32 = 0x80;
const NO_SYMLINKS: u32 = 0x20_0000;

/// What an option means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Attributes of the mount: set, clear.
    Own(u32, u32),
    /// Of it and all below it.
    Below(u32, u32),
    /// A file or directory of the host, perhaps with all below it.
    Bind(bool),
    /// Changes what is there.
    Remount,
    /// Who sees what is mounted there later.
    Spread(Spread),
    /// Owners are mapped, perhaps in all below it.
    Mapped(bool),
    /// A tmpfs gets what the root has there.
    CopyUp,
    /// A flag of the file system itself, which a bind does not have.
    FileSystem,
    /// As it is anyway.
    Nothing,
}

/// By their names without `r`: each is there for the mount, and with an `r` for all below it too.
const ATTRIBUTES: [(&str, u32, u32); 18] = [
    ("ro", READ_ONLY, 0),
    ("rw", 0, READ_ONLY),
    ("nosuid", NO_SUID, 0),
    ("suid", 0, NO_SUID),
    ("nodev", NO_DEV, 0),
    ("dev", 0, NO_DEV),
    ("noexec", NO_EXEC, 0),
    ("exec", 0, NO_EXEC),
    ("nodiratime", NO_DIR_ATIME, 0),
    ("diratime", 0, NO_DIR_ATIME),
    ("relatime", 0, TIMES),
    ("norelatime", STRICT_ATIME, TIMES),
    ("noatime", NO_ATIME, TIMES),
    ("atime", 0, TIMES),
    ("strictatime", STRICT_ATIME, TIMES),
    ("nostrictatime", 0, TIMES),
    ("nosymfollow", NO_SYMLINKS, 0),
    ("symfollow", 0, NO_SYMLINKS),
];

const OTHERS: [(&str, Meaning); 24] = [
    ("bind", Meaning::Bind(false)),
    ("rbind", Meaning::Bind(true)),
    ("remount", Meaning::Remount),
    ("idmap", Meaning::Mapped(false)),
    ("ridmap", Meaning::Mapped(true)),
    ("tmpcopyup", Meaning::CopyUp),
    ("sync", Meaning::FileSystem),
    ("async", Meaning::FileSystem),
    ("dirsync", Meaning::FileSystem),
    ("mand", Meaning::FileSystem),
    ("nomand", Meaning::FileSystem),
    ("lazytime", Meaning::FileSystem),
    ("nolazytime", Meaning::FileSystem),
    // The kernel has taken these from nobody, or given up what they were about.
    ("iversion", Meaning::Nothing),
    ("noiversion", Meaning::Nothing),
    ("silent", Meaning::Nothing),
    ("loud", Meaning::Nothing),
    ("acl", Meaning::Nothing),
    ("noacl", Meaning::Nothing),
    ("defaults", Meaning::Nothing),
    ("auto", Meaning::Nothing),
    ("noauto", Meaning::Nothing),
    ("nofail", Meaning::Nothing),
    ("_netdev", Meaning::Nothing),
];

/// What `word` means; None for what only the file system knows.
pub(super) fn meaning(word: &str) -> Option<Meaning> {
    let attribute = |word: &str| {
        let known = ATTRIBUTES.iter().find(|(name, ..)| *name == word);
        known.map(|(_, set, clear)| (*set, *clear))
    };
    // `ro`, `relatime` and so on begin with an r themselves.
    if let Some((set, clear)) = attribute(word) {
        return Some(Meaning::Own(set, clear));
    }
    if let Some((set, clear)) = word.strip_prefix('r').and_then(attribute) {
        return Some(Meaning::Below(set, clear));
    }
    if let Some(spread) = linux::spread_of(word) {
        return Some(Meaning::Spread(spread));
    }
    OTHERS.iter().find(|(name, _)| *name == word).map(|(_, meaning)| *meaning)
}

/// All that have a meaning, in order.
pub(super) fn all() -> Vec<String> {
    let attributes = ATTRIBUTES.iter().flat_map(|(name, ..)| [(*name).to_owned(), format!("r{name}")]);
    let others = OTHERS.iter().map(|(name, _)| (*name).to_owned());
    let mut all: Vec<String> =
        attributes.chain(others).chain(linux::spread_words().map(str::to_owned)).collect();
    all.sort_unstable();
    all
}
