//! Installs the Debian packages that tests and benchmarks need, and only those that are missing.

use std::path::Path;
use std::process::Command;

use crate::shell::{self, Result};

/// A file that shows that something is installed, and the Debian package which brings it.
pub(crate) type Need = (&'static str, &'static str);

/// What the tests run: real services, and the tools that look at them from outside.
pub(crate) const TESTS: &[Need] = &[
    ("/usr/bin/gcc", "gcc"),
    ("/usr/include/stdio.h", "libc6-dev"),
    ("/usr/sbin/nginx", "nginx-light"),
    ("/usr/bin/redis-server", "redis-server"),
    ("/usr/bin/redis-cli", "redis-tools"),
    ("/usr/bin/python3", "python3"),
    ("/bin/busybox", "busybox-static"),
    ("/usr/bin/newuidmap", "uidmap"),
    ("/usr/bin/mmdebstrap", "mmdebstrap"),
    ("/usr/bin/skopeo", "skopeo"),
    ("/usr/bin/strace", "strace"),
    ("/usr/sbin/setcap", "libcap2-bin"),
    ("/usr/bin/setfattr", "attr"),
    ("/usr/sbin/mkfs.vfat", "dosfstools"),
    ("/usr/bin/xz", "xz-utils"),
    ("/usr/bin/zstd", "zstd"),
    ("/usr/bin/script", "bsdutils"),
    ("/sbin/mkfs.ext4", "e2fsprogs"),
    ("/sbin/mkfs.xfs", "xfsprogs"),
    ("/bin/btrfs", "btrfs-progs"),
    ("/usr/bin/shellcheck", "shellcheck"),
    ("/usr/bin/lxcfs", "lxcfs"),
    ("/usr/bin/mruby", "mruby"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("/usr/lib/podman/netavark", "netavark"),
    ("/usr/lib/podman/aardvark-dns", "aardvark-dns"),
    ("/usr/sbin/iptables", "iptables"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/bin/pasta", "passt"),
];

/// The engines that drive `tsubo-oci` in tests.
pub(crate) const ENGINES: &[Need] = &[
    ("/usr/bin/podman", "podman"),
    ("/usr/bin/conmon", "conmon"),
    ("/usr/lib/podman/netavark", "netavark"),
    ("/usr/lib/podman/aardvark-dns", "aardvark-dns"),
    ("/usr/sbin/iptables", "iptables"),
    ("/usr/bin/containerd", "containerd"),
    ("/usr/sbin/dockerd", "docker.io"),
    ("/usr/bin/protoc", "protobuf-compiler"),
    ("/usr/lib/python3/dist-packages/grpc", "python3-grpcio"),
    ("/usr/lib/python3/dist-packages/google/protobuf", "python3-protobuf"),
    ("/usr/bin/script", "bsdutils"),
    ("/bin/busybox", "busybox-static"),
];

/// What boots another kernel; the kernel itself is not installed.
pub(crate) const GUEST: &[Need] = &[
    ("/usr/bin/qemu-system-x86_64", "qemu-system-x86"),
    ("/sbin/mke2fs", "e2fsprogs"),
    ("/sbin/mkfs.xfs", "xfsprogs"),
    ("/bin/btrfs", "btrfs-progs"),
    ("/bin/busybox", "busybox-static"),
    ("/lib/systemd/systemd", "systemd"),
    ("/usr/sbin/criu", "criu"),
    ("/sbin/ip", "iproute2"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/bin/pasta", "passt"),
    ("/usr/sbin/iptables-restore", "iptables"),
    ("/usr/bin/podman", "podman"),
    ("/usr/bin/conmon", "conmon"),
];

/// What the benchmarks compare with and measure by.
pub(crate) const BENCHES: &[Need] = &[
    ("/usr/bin/gcc", "gcc"),
    ("/bin/busybox", "busybox-static"),
    ("/usr/bin/crun", "crun"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/bin/bwrap", "bubblewrap"),
    ("/usr/bin/lxc-execute", "lxc"),
    ("/usr/bin/podman", "podman"),
    ("/usr/bin/containerd", "containerd"),
    ("/usr/sbin/dockerd", "docker.io"),
    ("/usr/bin/time", "time"),
    ("/usr/bin/mmdebstrap", "mmdebstrap"),
    ("/usr/bin/wrk", "wrk"),
    ("/usr/bin/iperf3", "iperf3"),
    ("/usr/sbin/nginx", "nginx-light"),
    ("/sbin/ip", "iproute2"),
    ("/usr/sbin/nft", "nftables"),
    ("/usr/lib/podman/netavark", "netavark"),
    ("/usr/sbin/iptables", "iptables"),
    ("/usr/bin/redis-benchmark", "redis-tools"),
    ("/usr/bin/socat", "socat"),
    ("/usr/sbin/haproxy", "haproxy"),
    ("/usr/bin/h2load", "nghttp2-client"),
    ("/usr/bin/node", "nodejs"),
];

/// Installs what is missing of `needs`. Where that fails it is said, and what needs it is skipped
/// loudly: an unreachable archive must not keep anybody from running the other tests.
pub(crate) fn ensure(needs: &[Need]) {
    let mut missing: Vec<&str> = needs.iter().filter(|n| !Path::new(n.0).exists()).map(|n| n.1).collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return;
    }
    let sudo = if shell::is_root() { "" } else { "sudo " };
    println!("{sudo}apt-get install {}", missing.join(" "));
    if let Err(error) = install(&missing) {
        println!("NOT INSTALLED: {error}\nwhat needs these packages will be SKIPPED");
    }
}

fn install(packages: &[&str]) -> Result {
    let _policy = NoServices::declare();
    update()?;
    let options = ["install", "-y", "-qq", "--no-install-recommends"];
    shell::read(apt_get().args(options).args(packages)).map(drop)
}

/// Reads anew what the archive has.
pub(crate) fn update() -> Result {
    shell::read(apt_get().args(["update", "-qq"])).map(drop)
}

fn apt_get() -> Command {
    let mut command = shell::as_root("env");
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    command
}

/// While it lives, no package starts its service when it is installed (Debian's policy-rc.d).
struct NoServices {
    declared: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";
const DECLARE: &str =
    r"printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d";

impl NoServices {
    /// A policy that is already there is the owner's, and stays.
    fn declare() -> Self {
        let free = !Path::new(POLICY).exists();
        Self { declared: free && shell::read(shell::as_root("sh").args(["-c", DECLARE])).is_ok() }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.declared {
            let _ = shell::as_root("rm").args(["-f", POLICY]).status();
        }
    }
}
