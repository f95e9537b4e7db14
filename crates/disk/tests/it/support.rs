//! Filling, counting, and file systems of another kind.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tsubo_disk::{Room, Volumes};

pub const MIB: u64 = 1 << 20;

/// Where volumes may be made, until the test ends.
pub struct House {
    pub top: TempDir,
    pub dir: PathBuf,
}

impl House {
    pub fn new() -> Self {
        let top = tempfile::tempdir().expect("a directory");
        let dir = top.path().join("volumes").join("box");
        Self { top, dir }
    }

    /// None, said loudly, where nobody can mount an image.
    pub fn with_images() -> Option<Self> {
        let ready = rustix::process::geteuid().is_root() && Path::new("/dev/loop-control").exists();
        if !ready {
            println!("SKIPPED: no root, or no loop devices");
        }
        ready.then(Self::new)
    }
}

pub fn room(bytes: u64, inodes: u64) -> Room {
    Room { bytes: Some(bytes), inodes: Some(inodes) }
}

/// A path below the directory that the descriptor stands for, attached or not.
pub fn below(fd: &OwnedFd, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", fd.as_raw_fd()))
}

/// Writes until nothing more is taken; tells how much was.
pub fn fill(path: &Path) -> u64 {
    let mut file = File::options().append(true).create(true).open(path).expect("a file");
    let before = file.metadata().expect("its size").len();
    let mut piece = vec![0x5a; 1 << 20];
    while piece.len() >= 4096 {
        match file.write(&piece) {
            Ok(0) => panic!("nothing was written"),
            Ok(_) => {}
            Err(error) if is_full(&error) => piece.truncate(piece.len() / 2),
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
    file.metadata().expect("its size").len() - before
}

/// Makes empty files until no more can be made; tells how many.
pub fn fill_inodes(dir: &Path, most: u64) -> u64 {
    for number in 0..most {
        match File::options().write(true).create_new(true).open(dir.join(format!("f{number}"))) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if is_full(&error) => return number,
            Err(error) => panic!("{error}"),
        }
    }
    most
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Bytes and inodes as `du` counts them, without the directory itself.
pub fn walk(dir: &Path) -> (u64, u64) {
    let mut sum = (0, 0);
    for entry in fs::read_dir(dir).expect("a directory") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('%') && !name.starts_with("%25") && !name.starts_with("%2f") {
            continue;
        }
        let meta = entry.metadata().expect("its figures");
        sum = (sum.0 + meta.blocks() * 512, sum.1 + 1);
        if meta.is_dir() {
            let (bytes, inodes) = walk(&entry.path());
            sum = (sum.0 + bytes, sum.1 + inodes);
        }
    }
    sum
}

/// Within two hundredths.
#[track_caller]
pub fn about(have: u64, want: u64) {
    assert!(have.abs_diff(want) <= want / 50, "{have} is not about {want}");
}

/// A volume `data`, attached.
pub fn attached(volumes: &Volumes) -> OwnedFd {
    let fd = volumes.attach().expect("attached");
    match rustix::fs::mkdirat(&fd, "data", rustix::fs::Mode::from(0o777)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => fd,
        Err(error) => panic!("{error}"),
    }
}

/// Mounts a new file system where only this thread sees it, and goes there; None, said loudly, where
/// that is not possible. `make` is a command that the image is added to.
pub fn on(make: &[&str], options: &str, megabytes: u64) -> Option<House> {
    let house = House::with_images()?;
    let image = house.top.path().join("host.img");
    File::create(&image).and_then(|file| file.set_len(megabytes * MIB)).expect("a file");
    let made = Command::new(make[0]).args(&make[1..]).arg(&image).output();
    if !made.as_ref().is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: {} cannot be run: {made:?}", make[0]);
        return None;
    }
    sys::private_mounts::enter().expect("a mount namespace");
    let place = house.top.path().join("host");
    fs::create_dir(&place).expect("a directory");
    let mounted =
        Command::new("mount").arg("-o").arg(options).args([&image, &place]).output().expect("mount");
    if !mounted.status.success() {
        println!("SKIPPED: {make:?} with {options}: {}", String::from_utf8_lossy(&mounted.stderr).trim());
        return None;
    }
    Some(House { dir: place.join("volumes").join("box"), ..house })
}

/// Loop devices that are bound to something below `dir`.
pub fn devices_below(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir("/sys/block").expect("sysfs").flatten();
    let files = entries.filter_map(|entry| fs::read_to_string(entry.path().join("loop/backing_file")).ok());
    files.filter(|file| file.starts_with(&dir.display().to_string())).collect()
}
