//! Capabilities, as bits numbered as in capability.h.

use serde::{Deserialize, Serialize};

/// The five sets of a process (capabilities(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// What it and its children can ever gain by exec.
    pub bounding: u64,
    /// What it may use.
    pub permitted: u64,
    /// What it uses now.
    pub effective: u64,
    /// What a file's inheritable set may keep over exec; empty unless asked for (moby 2022-24769).
    pub inheritable: u64,
    /// What a process that is not root keeps over exec.
    pub ambient: u64,
}

impl Capabilities {
    /// The same bounding, permitted and effective set, and nothing to inherit.
    pub fn of(set: u64) -> Self {
        Self { bounding: set, permitted: set, effective: set, inheritable: 0, ambient: 0 }
    }
}

/// The names of the capabilities without `CAP_`, each at its number of capability.h.
pub const CAPABILITY_NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What Docker grants by default: CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP
/// NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP.
pub const DEFAULT_CAPABILITIES: u64 = 0xa804_25fb;

/// The bit of a capability; the name may start with `CAP_` and be in any case.
pub fn capability(name: &str) -> Option<u64> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    CAPABILITY_NAMES.iter().position(|known| *known == short).map(|number| 1 << number)
}

/// The names of the capabilities in a set, `CAP_` in front.
pub fn capability_names(set: u64) -> impl Iterator<Item = String> {
    let numbered = CAPABILITY_NAMES.iter().enumerate();
    numbered.filter(move |(number, _)| set & (1 << number) != 0).map(|(_, name)| format!("CAP_{name}"))
}

/// The bits of a list of names; `ALL` stands for every capability that is known.
///
/// # Errors
/// The first name that is none.
pub fn capability_set<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<u64, String> {
    let bits = |name: &'a str| match name.to_ascii_uppercase().as_str() {
        "ALL" => Ok((1 << CAPABILITY_NAMES.len()) - 1),
        _ => capability(name).ok_or_else(|| name.to_owned()),
    };
    names.into_iter().try_fold(0, |set, name| Ok(set | bits(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_capabilities_are_dockers_fourteen() {
        let names = "chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw \
                     sys_chroot mknod audit_write setfcap";
        let set = names.split(' ').map(|name| capability(name).expect(name)).fold(0, |all, bit| all | bit);
        assert_eq!(set, DEFAULT_CAPABILITIES);
        assert_eq!(capability_names(set).count(), 14);
        assert_eq!(capability("CAP_NONSENSE"), None);
    }
}
