//! Programs of this host with their libraries, for the guest's root.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::fetch;
use crate::shell::{self, Result};

/// What the tests call. What this host lacks the guest lacks too, and the tests that need it say so.
const PROGRAMS: &str = "sh bash cat ls cp mv rm ln mkdir rmdir mktemp chmod chown touch stat readlink head tail \
    sleep env id true false mknod sort uniq wc pwd grep sed seq sync mount umount uname stty tty tr cut date dd \
    du df kill timeout tar gzip xz zstd find xargs diff cmp ldd getent unshare nsenter setpriv setsid script \
    prlimit nproc newuidmap newgidmap setcap getcap setfattr getfattr strace basename dirname expr tee od test \
    printf yes nice comm install realpath flock criu ip systemctl podman conmon \
    mke2fs resize2fs chattr mkfs.xfs mkfs.btrfs btrfs \
    nft tc pasta passt slirp4netns";

/// Those that are not found by a name in PATH, those that are links to another name, and what programs load
/// or read by themselves.
const FILES: [&str; 9] = [
    "/lib/systemd/systemd",
    "/usr/sbin/iptables-restore",
    "/usr/sbin/iptables-save",
    "/usr/sbin/ip6tables-restore",
    "/usr/sbin/ip6tables-save",
    "/usr/lib/x86_64-linux-gnu/xtables/libxt_mark.so",
    "/usr/lib/x86_64-linux-gnu/xtables/libxt_standard.so",
    "/etc/containers/policy.json",
    "/usr/share/containers/seccomp.json",
];

/// Brings all of them into `root`.
pub(super) fn bring_all(root: &Path) -> Result {
    for name in PROGRAMS.split_whitespace() {
        if let Some(program) = find(name) {
            bring(root, &program, &program)?;
        }
    }
    for file in FILES.map(Path::new).into_iter().filter(|file| file.is_file()) {
        bring(root, file, file)?;
    }
    busybox(root)?;
    if let Some(parser) = apparmor_parser() {
        bring(root, &parser, Path::new("/usr/sbin/apparmor_parser"))?;
    }
    Ok(())
}

fn find(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
    folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

/// At both of its usual places, and under the names of what the host does not have, found last.
fn busybox(root: &Path) -> Result {
    bring(root, Path::new("/bin/busybox"), Path::new("/usr/bin/busybox"))?;
    let local = root.join("usr/local/bin");
    fs::create_dir_all(&local)?;
    for applet in shell::read(Command::new("/bin/busybox").arg("--list"))?.lines() {
        if find(applet).is_none() || !root.join("usr/bin").join(applet).exists() {
            symlink("/usr/bin/busybox", local.join(applet))?;
        }
    }
    Ok(())
}

/// Where it is not installed, out of its package: to install it would start a service.
fn apparmor_parser() -> Option<PathBuf> {
    if let Some(installed) = find("apparmor_parser") {
        return Some(installed);
    }
    let home = fetch::home("apparmor").ok()?;
    let unpacked = ["sbin", "usr/sbin"].map(|folder| home.join(folder).join("apparmor_parser"));
    if !unpacked.iter().any(|path| path.is_file()) {
        fetch::unpack("apparmor", &home).ok()?;
    }
    unpacked.into_iter().find(|path| path.is_file())
}

/// Copies `program` to `to` in the root, with the libraries that it asks for.
pub(super) fn bring(root: &Path, program: &Path, to: &Path) -> Result {
    copy(program, root, to)?;
    // A static program or a script asks for none.
    let Ok(listed) = shell::read(Command::new("ldd").arg(program)) else { return Ok(()) };
    for library in libraries(&listed) {
        copy(Path::new(library), root, Path::new(library))?;
    }
    Ok(())
}

/// The paths in what `ldd` says: `name => /path (0x…)`, or the path of the loader alone.
fn libraries(listed: &str) -> impl Iterator<Item = &str> {
    let paths = listed.lines().map(|line| line.split_once("=> ").map_or(line, |(_, path)| path).trim());
    paths.filter(|path| path.starts_with('/')).filter_map(|path| path.split(' ').next())
}

/// The root has its programs and libraries below `/usr` only, with links from the older places.
pub(super) fn copy(from: &Path, root: &Path, to: &Path) -> Result {
    let below = to.strip_prefix("/").unwrap_or(to);
    let below = if ["usr", "etc"].iter().any(|top| below.starts_with(top)) {
        below.to_owned()
    } else {
        Path::new("usr").join(below)
    };
    let to = root.join(below);
    if to.exists() {
        return Ok(());
    }
    fs::create_dir_all(to.parent().unwrap_or(root))?;
    fs::copy(from, &to).map_err(|e| format!("{} to {}: {e}", from.display(), to.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn libraries_are_told_from_noise() {
        let said = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x2)\n\t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        assert_eq!(
            super::libraries(said).collect::<Vec<_>>(),
            ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]
        );
    }
}
