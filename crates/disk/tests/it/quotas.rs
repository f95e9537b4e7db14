//! What file systems hold to a limit themselves: projects of ext4 and xfs, quota groups of btrfs. They
//! are tried in files of their own, mounted where only the test sees them.

use std::fs;
use std::os::fd::AsFd;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use spec::ErrorKind;
use tsubo_disk::{Kind, Room, Volumes};

use super::support::{House, MIB, about, attached, below, fill, fill_inodes, on, room, walk};

const EXT4: &[&str] =
    &["mke2fs", "-q", "-F", "-t", "ext4", "-O", "quota,project", "-E", "quotatype=prjquota"];
const XFS: &[&str] = &["mkfs.xfs", "-q"];

fn ext4() -> Option<House> {
    on(EXT4, "loop,prjquota", 512)
}

fn xfs() -> Option<House> {
    on(XFS, "loop,prjquota", 512)
}

fn btrfs() -> Option<House> {
    let house = on(&["mkfs.btrfs", "-q"], "loop", 1024)?;
    let top = house.dir.ancestors().nth(2).expect("its top");
    let enabled = Command::new("btrfs").args(["quota", "enable"]).arg(top).status();
    assert!(enabled.is_ok_and(|status| status.success()), "no quotas");
    Some(house)
}

fn id(volumes: &Volumes) -> u32 {
    match volumes.kind() {
        Kind::Project { id } => id,
        other => panic!("{other:?}"),
    }
}

/// `root` of the host with all capabilities is beyond the limits of ext4: containers have not that one.
fn without_privilege() {
    sys::capability::set_effective(sys::capability::permitted().expect("capabilities") & !(1 << 24))
        .expect("less");
}

fn projects(house: &House) {
    let mut volumes = Volumes::make(&house.dir, room(20 * MIB, 200), false).expect("made");
    let other = Volumes::make(&house.dir.with_file_name("other"), room(10 * MIB, 10), false).expect("made");
    assert_ne!(id(&volumes), id(&other));
    without_privilege();
    let fd = attached(&volumes);
    assert_eq!(fill_inodes(&below(&fd, "data"), 300), 199);
    about(fill(&below(&fd, "data/f0")), 20 * MIB);
    let usage = volumes.usage(Some(fd.as_fd())).expect("usage");
    let (bytes, inodes) = walk(&below(&fd, "."));
    assert_eq!(usage.inodes, Some(inodes));
    about(usage.bytes.expect("counted"), bytes);

    volumes.change(room(40 * MIB, 300)).expect("raised when it is full");
    assert_eq!(fill_inodes(&below(&fd, "data"), 400), 299);
    about(fill(&below(&fd, "data/f1")), 20 * MIB);
    volumes.change(room(30 * MIB, 100)).expect("lowered below what is used");
    fs::write(below(&fd, "data/no"), "x").expect_err("full");
    for number in 0..250 {
        fs::remove_file(below(&fd, &format!("data/f{number}"))).expect("removed");
    }
    wait_until_counted(&volumes, 50);
    assert_eq!(fill_inodes(&below(&fd, "data"), 400), 50);
    about(fill(&below(&fd, "data/f0")), 30 * MIB);
    assert_eq!(other.usage(None).expect("usage").inodes, Some(0), "the other one is not concerned");
    volumes.change(Room::default()).expect("no limit at all");
    assert_eq!(volumes.usage(None).expect("usage").limit, Room::default());
    about(fill(&below(&fd, "data/y")).min(60 * MIB), 60 * MIB);
    drop(fd);
    numbers_come_back(house, volumes, other);
}

/// Those in use are never given to another, those of removed volumes may be.
fn numbers_come_back(house: &House, volumes: Volumes, other: Volumes) {
    let (kept, gone) = (id(&other), id(&volumes));
    volumes.remove().expect("removed");
    assert!(!house.dir.exists());
    let file = house.dir.with_file_name("%projects");
    let next = fs::read_to_string(&file).expect("the next number").trim().parse::<u32>().expect("a number");
    assert_eq!(next, (kept + 1) & 0xffff);
    // As if all had been given: whoever is there is passed over.
    fs::write(&file, format!("{}\n", kept & 0xffff)).expect("written");
    let again = Volumes::make(&house.dir, room(MIB, 10), false).expect("made");
    assert_ne!(id(&again), kept);
    assert_eq!(again.usage(None).expect("usage").bytes, Some(0));
    fs::write(&file, format!("{}\n", gone & 0xffff)).expect("written");
    wait_until_free(house, gone);
    let third = Volumes::make(&house.dir.with_file_name("third"), room(MIB, 10), false).expect("made");
    assert_eq!(id(&third), gone);
    // What a command that was killed left goes before the next one begins.
    fs::rename(house.dir.with_file_name("third"), house.dir.with_file_name("%third.new")).expect("named");
    let third = Volumes::make(&house.dir.with_file_name("third"), room(MIB, 10), false).expect("made");
    assert!(!house.dir.with_file_name("%third.new").exists() && id(&third) != gone);
    wait_until_free(house, gone);
}

/// xfs removes files in the background, and waits for that only where bytes are short, not inodes.
fn wait_until_counted(volumes: &Volumes, inodes: u64) {
    let end = Instant::now() + Duration::from_secs(100);
    while volumes.usage(None).expect("usage").inodes != Some(inodes) {
        assert!(Instant::now() < end, "{:?} and not {inodes}", volumes.usage(None));
        sleep(Duration::from_millis(50));
    }
}

fn wait_until_free(house: &House, id: u32) {
    let top = fs::File::open(house.dir.parent().expect("its parent")).expect("opened");
    let end = Instant::now() + Duration::from_secs(100);
    while sys::quota::project(top.as_fd(), id).expect("asked") != Default::default() {
        assert!(Instant::now() < end, "project {id} is still in use");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_project_of_ext4() {
    let Some(house) = ext4() else { return };
    projects(&house);
}

#[test]
fn a_project_of_xfs() {
    let Some(house) = xfs() else { return };
    projects(&house);
}

#[test]
fn nobody_inside_takes_a_file_out_of_its_project() {
    let Some(house) = ext4() else { return };
    let volumes = Volumes::make(&house.dir, room(20 * MIB, 200), false).expect("made");
    let fd = attached(&volumes);
    let data = below(&fd, "data").canonicalize().expect("its path");
    let attributes = |inside: &[&str], change: &[&str]| {
        let words = [inside, &["chattr"], change].concat();
        Command::new(words[0]).args(&words[1..]).arg(&data).output().expect("chattr")
    };
    let own_users = ["unshare", "--user", "--map-root-user"];
    for change in [["-p", "1"].as_slice(), &["-P"]] {
        let refused = attributes(&own_users, change);
        assert!(!refused.status.success(), "{change:?} in a user namespace: {refused:?}");
    }
    assert_eq!(volumes.usage(None).expect("usage").inodes, Some(1));
    // It is the user namespace that makes the difference: without one the filter has to.
    assert!(attributes(&[], &["-p", "1"]).status.success());
    assert_eq!(volumes.usage(None).expect("usage").inodes, Some(0));
}

#[test]
fn a_file_system_that_only_counts_gets_an_image() {
    let Some(house) = on(EXT4, "loop", 512) else { return };
    let volumes = Volumes::make(&house.dir, room(20 * MIB, 200), false).expect("made");
    assert_eq!(volumes.kind(), Kind::Image);
    let fd = attached(&volumes);
    about(fill(&below(&fd, "data/x")), 20 * MIB);
}

#[test]
fn what_shall_be_reserved_is_an_image_in_spite_of_quotas() {
    let Some(house) = ext4().or_else(btrfs) else { return };
    let volumes = Volumes::make(&house.dir, room(20 * MIB, 200), true).expect("made");
    assert_eq!(volumes.kind(), Kind::Image);
}

#[test]
fn a_quota_group_of_btrfs() {
    let Some(house) = btrfs() else { return };
    let bytes = |bytes| Room { bytes: Some(bytes), inodes: None };
    let mut volumes = Volumes::make(&house.dir, bytes(40 * MIB), false).expect("made");
    assert_eq!(volumes.kind(), Kind::Subvolume);
    assert!(volumes.usage(None).expect("usage").bytes < Some(64 * 1024));
    let fd = attached(&volumes);
    about(fill(&below(&fd, "data/x")), 40 * MIB);
    about(volumes.usage(Some(fd.as_fd())).expect("usage").bytes.expect("counted"), 40 * MIB);
    volumes.change(bytes(60 * MIB)).expect("raised when it is full");
    about(fill(&below(&fd, "data/x")), 20 * MIB);
    volumes.change(bytes(30 * MIB)).expect("lowered");
    fs::write(below(&fd, "data/no"), vec![1; 1 << 20]).expect_err("full");
    let refused = volumes.change(room(60 * MIB, 100)).expect_err("inodes");
    assert_eq!((refused.kind(), refused.hints().len()), (ErrorKind::Unsupported, 1));
    drop(fd);
    volumes.remove().expect("removed");
    assert!(!house.dir.exists());
    let inodes = Volumes::make(&house.dir, room(20 * MIB, 100), false).expect("made");
    assert_eq!(inodes.kind(), Kind::Image);
    let fd = attached(&inodes);
    assert_eq!(fill_inodes(&below(&fd, "data"), 200), 99);
}
