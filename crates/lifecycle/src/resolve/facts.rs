//! What the resolver has to know of this host, asked once for each container.

use std::path::Path;

/// Facts of the host.
pub(super) struct Facts {
    /// The lowest port that needs no privilege.
    pub(super) first_free_port: u16,
    /// The file system of the image's tree can be shown with other owners.
    pub(super) mappable: bool,
    /// Only version 2 control groups: one mount shows them all.
    pub(super) unified: bool,
    /// The capabilities that can be had at all.
    pub(super) permitted: u64,
    /// Our root is not the host's: we are in an ordinary user's namespace.
    pub(super) rootless: bool,
}

impl Facts {
    pub(super) fn probe(tree: &Path) -> Self {
        let port = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
        Self {
            first_free_port: port.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1024),
            mappable: rustix::fs::statfs(tree).is_ok_and(|stat| takes_id_mapping(stat.f_type as u64)),
            unified: Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
            permitted: sys::capability::permitted().unwrap_or(0),
            rootless: crate::rootless::inside(),
        }
    }
}

/// File systems with FS_ALLOW_IDMAP in Linux 5.19: ext4, xfs, btrfs, f2fs, EROFS, squashfs. tmpfs
/// has it since 6.3, and tests keep state there.
fn takes_id_mapping(magic: u64) -> bool {
    const KNOWN: [u64; 7] =
        [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0xe0f5_e1e2, 0x7371_7368, 0x0102_1994];
    KNOWN.contains(&magic)
}
