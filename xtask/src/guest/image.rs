//! The disk that the guest starts from: an ext4 file system with the test programs at the places that they
//! were built for, and the first root that mounts it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::compiler;
use super::cpio::Archive;
use super::fetch;
use super::kernel::Kernel;
use super::programs;
use super::suites::{Job, Turn};
use crate::house::{self, PROGRAMS};
use crate::shell::{self, Result};

/// Sparse: only what is written takes room.
const SIZE: &str = "4G";

/// To reach the disk, and what tests mount or make.
const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "overlay",
    "erofs",
    "loop",
    // Quotas of projects and groups, on file systems that tests make.
    "quota_v2",
    "xfs",
    "btrfs",
    "veth",
    "vfat",
    "nls_ascii",
    // By these criu looks at sockets, and holds their connections.
    "unix_diag",
    "tcp_diag",
    "udp_diag",
    "raw_diag",
    "af_packet_diag",
    "netlink_diag",
    "nf_tables",
    "nft_compat",
    "nf_conntrack_netlink",
    "xt_mark",
    // Networks of containers: links, and what our table of the packet filter is made of.
    "bridge",
    "macvlan",
    "ipvlan",
    "8021q",
    "tun",
    "nft_chain_nat",
    "nft_connlimit",
    "nft_ct",
    "nft_fib_inet",
    "nft_limit",
    "nft_masq",
    "nft_nat",
    "nft_objref",
    "nft_reject_inet",
    "sch_tbf",
];

/// What the kernel starts first, in the archive and then on the disk; and who runs one test.
const FIRST: &str = include_str!("first.sh");
const INIT: &str = include_str!("init.sh");
const ONE: &str = include_str!("one.sh");

/// Systemd's only unit, what that starts, and the end.
const UNIT: &str = include_str!("default.target");
const SERVICE: &str = include_str!("tests.service");
const END: &str = include_str!("end.sh");

/// What the guest boots.
pub(super) struct Image {
    pub(super) disk: PathBuf,
    pub(super) archive: PathBuf,
}

/// Builds both for these tests.
pub(super) fn build(kernel: &Kernel, jobs: &[Job]) -> Result<Image> {
    let home = fetch::home("image")?;
    let root = home.join("root");
    let _ = fs::remove_dir_all(&root);
    skeleton(&root)?;
    programs::bring_all(&root)?;
    compiler::bring(&root)?;
    put_tests(&root, jobs)?;
    let disk = home.join("disk.img");
    let _ = fs::remove_file(&disk);
    let mut make = Command::new(if shell::has("mke2fs") { "mke2fs" } else { "/sbin/mke2fs" });
    make.args(["-q", "-F", "-t", "ext4", "-m", "0", "-O", "^metadata_csum", "-E", "root_owner=0:0", "-d"]);
    shell::read(make.arg(&root).arg(&disk).arg(SIZE))?;
    fs::remove_dir_all(&root)?;
    let archive = home.join("first.cpio");
    fs::write(&archive, first(kernel)?)?;
    Ok(Image { disk, archive })
}

fn skeleton(root: &Path) -> Result {
    for folder in "usr/bin usr/sbin usr/lib usr/lib64 etc proc sys dev run tmp var/tmp var/lib root guest/log srv home/ann"
        .split(' ')
    {
        fs::create_dir_all(root.join(folder))?;
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name))?;
    }
    symlink("/proc/self/mounts", root.join("etc/mtab"))?;
    for (name, content) in [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n"),
        ("etc/group", "root:x:0:\nann:x:1000:\n"),
        ("etc/shadow", "root:*::::::\nann:*::::::\n"),
        ("etc/subuid", "ann:300000:65536\n"),
        ("etc/subgid", "ann:300000:65536\n"),
        ("etc/hostname", "guest\n"),
        ("etc/machine-id", "7473756275000000000000000000007a\n"),
        ("etc/hosts", "127.0.0.1 localhost\n"),
        ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
    ] {
        fs::write(root.join(name), content)?;
    }
    fs::create_dir_all(root.join("etc/systemd/system"))?;
    for (name, content) in [("default.target", UNIT), ("tests.service", SERVICE)] {
        fs::write(root.join("etc/systemd/system").join(name), content)?;
    }
    for (name, content) in [("guest/init.sh", INIT), ("guest/one.sh", ONE), ("guest/end.sh", END)] {
        fs::write(root.join(name), content)?;
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// The test programs and the product, each where it lies here; and the lists of what to run.
fn put_tests(root: &Path, jobs: &[Job]) -> Result {
    let built = house::built("debug")?;
    let mut programs: Vec<PathBuf> = PROGRAMS.iter().map(|name| built.join(name)).collect();
    programs.extend(jobs.iter().map(|job| job.binary.clone()));
    programs.sort();
    programs.dedup();
    for program in &programs {
        put_program(root, program)?;
    }
    for job in jobs {
        put_files(root, &job.package.join("tests"))?;
    }
    let list = |turn: Turn| {
        let numbered = jobs.iter().enumerate().filter(|(_, job)| job.turn() == turn);
        let line = |(number, job): (usize, &Job)| {
            format!("{number} {} {} {}\n", job.name, job.binary.display(), job.package.display())
        };
        numbered.map(line).collect::<String>()
    };
    for (name, turn) in
        [("together", Turn::Together), ("alone", Turn::Alone), ("by_systemd", Turn::BySystemd)]
    {
        fs::write(root.join("guest").join(name), list(turn))?;
    }
    Ok(())
}

/// What tests read of their package's folder; not the tests themselves.
fn put_files(root: &Path, folder: &Path) -> Result {
    let to = inside(root, folder);
    if to.exists() || !folder.is_dir() {
        return Ok(fs::create_dir_all(to)?);
    }
    fs::create_dir_all(&to)?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            put_files(root, &path)?;
        } else if path.extension().is_none_or(|extension| extension != "rs") {
            fs::copy(&path, inside(root, &path))?;
        }
    }
    Ok(())
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Without what a debugger wants, which is most of it.
fn put_program(root: &Path, program: &Path) -> Result {
    let to = inside(root, program);
    fs::create_dir_all(to.parent().unwrap_or(root))?;
    let stripped = shell::read(Command::new("strip").arg("--strip-debug").arg("-o").arg(&to).arg(program));
    if stripped.is_err() {
        fs::copy(program, &to).map_err(|e| format!("{}: {e}", program.display()))?;
    }
    Ok(())
}

/// The first root: busybox, the modules in their order, and the script that goes on to the disk.
fn first(kernel: &Kernel) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "modules", "new"] {
        archive.directory(folder);
    }
    archive.program("bin/busybox", &fs::read("/bin/busybox").map_err(|e| format!("/bin/busybox: {e}"))?);
    for (number, (name, content)) in kernel.modules(MODULES)?.iter().enumerate() {
        archive.program(&format!("modules/{number:02}-{name}.ko"), content);
    }
    archive.program("init", FIRST.as_bytes());
    Ok(archive.finish())
}
