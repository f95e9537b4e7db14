//! Images, which are for every file system.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FallocateFlags, XattrFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount};
use spec::ErrorKind;
use tsubo_disk::{Kind, Room, Volumes};

use super::support::{House, MIB, about, attached, below, devices_below, fill, fill_inodes, room, walk};

fn image(house: &House, bytes: u64, inodes: u64) -> Volumes {
    let volumes = Volumes::make(&house.dir, room(bytes, inodes), false).expect("made");
    assert_eq!(volumes.kind(), Kind::Image, "this file system has quotas, which are for other tests");
    volumes
}

#[test]
fn bytes_end_at_the_limit_also_for_root_and_usage_is_what_du_tells() {
    let Some(house) = House::with_images() else { return };
    let volumes = image(&house, 64 * MIB, 5000);
    let empty = volumes.usage(None).expect("usage");
    assert_eq!((empty.bytes, empty.inodes, empty.limit), (Some(0), Some(0), room(64 * MIB, 5000)));
    let fd = attached(&volumes);
    about(fill(&below(&fd, "data/x")), 64 * MIB);
    let usage = volumes.usage(Some(fd.as_fd())).expect("usage");
    let (bytes, inodes) = walk(&below(&fd, "."));
    assert_eq!((usage.bytes, usage.inodes), (Some(bytes), Some(inodes)));
    assert!(bytes <= 64 * MIB, "{bytes}");
    drop(fd);
    assert_eq!(volumes.usage(None).expect("without it being mounted").bytes, Some(bytes));
    volumes.remove().expect("removed");
    assert!(!house.dir.exists() && devices_below(house.top.path()).is_empty());
}

#[test]
fn inodes_end_exactly_at_the_limit() {
    let Some(house) = House::with_images() else { return };
    for limit in [1, 777, 20_000] {
        let volumes = image(&house, 256 * MIB, limit);
        let fd = attached(&volumes);
        // The volume is one of them.
        assert_eq!(fill_inodes(&below(&fd, "data"), limit + 10), limit - 1);
        assert_eq!(volumes.usage(Some(fd.as_fd())).expect("usage").inodes, Some(limit));
        drop(fd);
        assert_eq!(volumes.usage(None).expect("usage").inodes, Some(limit));
        volumes.remove().expect("removed");
    }
}

#[test]
fn the_room_is_raised_when_all_of_it_is_used_and_work_goes_on() {
    let Some(house) = House::with_images() else { return };
    let mut volumes = image(&house, 16 * MIB, 100);
    let fd = attached(&volumes);
    fill(&below(&fd, "data/x"));
    assert_eq!(fill_inodes(&below(&fd, "data"), 200), 98);
    volumes.change(room(48 * MIB, 150)).expect("raised");
    about(fill(&below(&fd, "data/x")), 32 * MIB);
    assert_eq!(fill_inodes(&below(&fd, "data"), 200), 148);
    assert_eq!(volumes.usage(Some(fd.as_fd())).expect("usage").limit, room(48 * MIB, 150));
    drop(fd);
    let again = Volumes::open(&house.dir).expect("opened").expect("there");
    assert_eq!(again.room(), room(48 * MIB, 150));
    let fd = again.attach().expect("attached");
    assert_eq!(fill_inodes(&below(&fd, "data"), 200), 148);
    assert!(fill(&below(&fd, "data/x")) < MIB, "the limit holds after it is mounted again");
}

#[test]
fn the_room_is_lowered_and_a_refusal_changes_nothing() {
    let Some(house) = House::with_images() else { return };
    let mut volumes = image(&house, 64 * MIB, 3000);
    let fd = attached(&volumes);
    fs::write(below(&fd, "data/kept"), vec![1; 30 << 20]).expect("written");
    volumes.change(room(20 * MIB, 500)).expect("lowered below what is used");
    fs::write(below(&fd, "data/no"), vec![1; 8192]).expect_err("full");
    fs::remove_file(below(&fd, "data/kept")).expect("removed");
    assert_eq!(fill_inodes(&below(&fd, "data"), 600), 498);
    about(fill(&below(&fd, "data/f1")), 20 * MIB);
    let refused = volumes.change(room(64 * MIB, 100)).expect_err("more files than that");
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert_eq!(volumes.room(), room(20 * MIB, 500));
    assert!(fill(&below(&fd, "data/f1")) < MIB, "the limit of bytes is the old one");
    fs::write(below(&fd, "data/f498"), "").expect_err("that of inodes as well");
    drop(fd);
    volumes.change(room(20 * MIB, 600)).expect("raised without being in use");
    let fd = volumes.attach().expect("attached");
    fs::remove_file(below(&fd, "data/f1")).expect("removed");
    assert_eq!(fill_inodes(&below(&fd, "data"), 700), 598);
}

#[test]
fn it_grows_beyond_its_headroom() {
    let Some(house) = House::with_images() else { return };
    let mut volumes = image(&house, 16 * MIB, 1000);
    let fd = attached(&volumes);
    fs::write(below(&fd, "data/kept"), "kept").expect("written");
    fill(&below(&fd, "data/x"));
    let more = room(300 * MIB, 40_000);
    let fd = match volumes.change(more) {
        Ok(()) => fd,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
            println!("SKIPPED: growing while it is in use: {}", error.chain());
            assert_eq!(volumes.room(), room(16 * MIB, 1000));
            drop(fd);
            volumes.change(more).expect("grown while nobody uses it");
            attached(&volumes)
        }
    };
    assert_eq!(fs::read_to_string(below(&fd, "data/kept")).expect("read"), "kept");
    let (bytes, inodes) = walk(&below(&fd, "."));
    let usage = volumes.usage(Some(fd.as_fd())).expect("usage");
    assert_eq!((usage.bytes, usage.inodes), (Some(bytes), Some(inodes)));
    assert_eq!(fill_inodes(&below(&fd, "data"), 41_000), 39_997);
    about(fill(&below(&fd, "data/f1")), 284 * MIB);
}

#[test]
fn what_is_kept_is_there_the_next_time_and_deleted_room_is_given_back() {
    let Some(house) = House::with_images() else { return };
    let volumes = image(&house, 64 * MIB, 100);
    let fd = attached(&volumes);
    fs::write(below(&fd, "data/x"), vec![7; 40 << 20]).expect("written");
    fs::write(below(&fd, "data/y"), "kept").expect("written");
    drop(fd);
    let fd = volumes.attach().expect("attached again");
    assert_eq!(fs::read(below(&fd, "data/x")).expect("read"), vec![7; 40 << 20]);
    let taken = || fs::metadata(house.dir.join("%image")).expect("it").blocks() * 512;
    assert!(taken() > 40 * MIB);
    fs::remove_file(below(&fd, "data/x")).expect("removed");
    rustix::fs::syncfs(File::open(below(&fd, ".")).expect("opened")).expect("written back");
    wait_for("the room to be given back", || taken() < 20 * MIB);
    assert_eq!(fs::read_to_string(below(&fd, "data/y")).expect("read"), "kept");
}

#[test]
fn it_is_never_mounted_twice() {
    let Some(house) = House::with_images() else { return };
    let mut volumes = image(&house, 16 * MIB, 100);
    let fd = volumes.attach().expect("attached");
    let other = Volumes::open(&house.dir).expect("opened").expect("there");
    assert_eq!(other.attach().expect_err("a second time").kind(), ErrorKind::Conflict);
    // To change it takes no mount of its own.
    volumes.change(room(32 * MIB, 100)).expect("raised while it is in use");
    drop(fd);
    other.attach().expect("as soon as it is free");
}

#[test]
fn what_lies_in_a_volume_leads_nowhere() {
    let Some(house) = House::with_images() else { return };
    let mut volumes = image(&house, 16 * MIB, 500);
    let fd = attached(&volumes);
    let outside = house.top.path().join("outside");
    fs::create_dir_all(&outside).expect("a directory of the host");
    fs::write(outside.join("3"), "mine").expect("a file of the host");
    std::os::unix::fs::symlink(&outside, below(&fd, "data/%spares")).expect("a trap");
    volumes.change(room(16 * MIB, 300)).expect("fewer inodes");
    volumes.change(room(16 * MIB, 600)).expect("more inodes");
    let there: Vec<_> = fs::read_dir(&outside).expect("read").flatten().collect();
    assert_eq!(there.len(), 1, "{there:?}");
}

#[test]
fn parts_of_it_are_attached_elsewhere_and_hold_it() {
    let Some(house) = House::with_images() else { return };
    let volumes = image(&house, 16 * MIB, 100);
    let fd = attached(&volumes);
    sys::private_mounts::enter().expect("a mount namespace");
    let [whole, part] = ["whole", "part"].map(|name| house.top.path().join(name));
    fs::create_dir(&whole).and_then(|()| fs::create_dir(&part)).expect("directories");
    // Kernels before 6.15 take no part of what is attached nowhere.
    move_to(&fd, &whole);
    let data = open_tree(CWD, whole.join("data"), OpenTreeFlags::OPEN_TREE_CLONE).expect("a part");
    move_to(&data, &part);
    unmount(&whole, UnmountFlags::DETACH).expect("unmounted");
    drop((fd, data));
    fill(&part.join("x"));
    assert!(walk(&part).0 <= 16 * MIB);
    let used = File::open(&part).expect("opened");
    assert_eq!(volumes.usage(Some(used.as_fd())).expect("usage").inodes, Some(2));
    assert_eq!(volumes.attach().expect_err("in use").kind(), ErrorKind::Conflict);
    drop(used);
    unmount(&part, UnmountFlags::DETACH).expect("unmounted");
    volumes.attach().expect("free");
}

fn move_to(mount: &OwnedFd, place: &Path) {
    let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(mount, "", CWD, place, empty).expect("attached");
}

#[test]
fn no_way_of_writing_gets_far_beyond_the_limit() {
    let Some(house) = House::with_images() else { return };
    let volumes = image(&house, 24 * MIB, 2000);
    let fd = attached(&volumes);
    let file = File::create(below(&fd, "data/x")).expect("a file");
    let mut promised = 24 * MIB;
    while rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, promised).is_err() {
        promised -= MIB;
    }
    // Every other block: each is an extent of its own, which takes room to describe.
    for block in (0..promised / 4096).step_by(2) {
        let _ = file.write_at(&[1; 4096], block * 4096);
    }
    let _ = file.sync_all();
    for number in 0..500 {
        let path = below(&fd, &format!("data/y{number}"));
        if File::create(&path).is_ok() {
            let _ = rustix::fs::setxattr(&path, "user.x", &[1; 3000], XattrFlags::empty());
        }
    }
    let used = volumes.usage(Some(fd.as_fd())).expect("usage").bytes.expect("counted");
    assert!(used <= 24 * MIB + 24 * MIB / 50, "{used}");
}

/// What the next test kills; by itself it is none.
#[test]
#[ignore = "started by another test"]
fn holder() {
    let Some(dir) = std::env::var_os("TSUBO_DISK_HOLD") else { return };
    let volumes = Volumes::open(Path::new(&dir)).expect("opened").expect("there");
    let fd = attached(&volumes);
    fs::write(below(&fd, "data/x"), "written").expect("written");
    rustix::fs::syncfs(File::open(below(&fd, ".")).expect("opened")).expect("written back");
    println!("\nHELD");
    std::io::stdout().flush().expect("told");
    sleep(Duration::from_secs(60));
}

fn start(dir: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "images::holder", "--ignored", "--nocapture"]).env("TSUBO_DISK_HOLD", dir);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("started");
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "HELD"), "it holds nothing");
    child
}

#[test]
fn whoever_is_killed_leaves_nothing_behind() {
    let Some(house) = House::with_images() else { return };
    let volumes = image(&house, 16 * MIB, 100);
    let mut child = start(&house.dir);
    assert_eq!(devices_below(house.top.path()).len(), 1);
    child.kill().expect("killed");
    child.wait().expect("dead");
    let fd = volumes.attach().expect("without a pause");
    assert_eq!(fs::read_to_string(below(&fd, "data/x")).expect("read"), "written");
    drop(fd);
    wait_for("the device to be free", || devices_below(house.top.path()).is_empty());
}

#[test]
fn what_a_killed_command_left_is_put_in_order() {
    let Some(house) = House::with_images() else { return };
    let unfinished = house.dir.with_file_name("%box.new");
    fs::create_dir_all(&unfinished).expect("a directory");
    fs::write(unfinished.join("%image"), "half").expect("written");
    let volumes = image(&house, 16 * MIB, 100);
    assert!(!unfinished.exists());
    let fd = attached(&volumes);
    // As if the limit had been changed, and the record not.
    let spares = fs::read_dir(below(&fd, "%spares")).expect("spares").count();
    File::create(below(&fd, &format!("%spares/{spares}"))).expect("one more");
    drop(fd);
    let fd = volumes.attach().expect("attached");
    fs::remove_file(below(&fd, &format!("%spares/{}", spares - 1))).expect("one less");
    drop(fd);
    let fd = volumes.attach().expect("attached");
    fs::remove_dir_all(below(&fd, "%spares")).expect("none left");
    drop(fd);
    let fd = volumes.attach().expect("attached");
    assert_eq!(fill_inodes(&below(&fd, "data"), 200), 99);
}

#[test]
fn the_whole_room_is_taken_at_once() {
    let Some(house) = House::with_images() else { return };
    let mut volumes = Volumes::make(&house.dir, room(32 * MIB, 100), true).expect("made");
    let taken = |house: &House| fs::metadata(house.dir.join("%image")).expect("it").blocks() * 512;
    assert_eq!(volumes.kind(), Kind::Image);
    assert!((32 * MIB..64 * MIB).contains(&taken(&house)), "{}", taken(&house));
    let fd = attached(&volumes);
    about(fill(&below(&fd, "data/x")), 32 * MIB);
    fs::remove_file(below(&fd, "data/x")).expect("removed");
    drop(fd);
    assert!(taken(&house) > 32 * MIB, "deleted room stays reserved");
    volumes.change(room(150 * MIB, 100)).expect("grown");
    assert!(taken(&house) > 150 * MIB);
    let fd = volumes.attach().expect("attached");
    about(fill(&below(&fd, "data/x")), 150 * MIB);
}

#[test]
fn one_limit_alone() {
    let Some(house) = House::with_images() else { return };
    let bytes = Room { bytes: Some(16 * MIB), inodes: None };
    let mut volumes = Volumes::make(&house.dir, bytes, false).expect("made");
    let fd = attached(&volumes);
    assert_eq!(fill_inodes(&below(&fd, "data"), 2000), 2000);
    assert_eq!(volumes.usage(Some(fd.as_fd())).expect("usage").inodes, Some(2001));
    volumes.change(room(16 * MIB, 2100)).expect("limited now");
    assert_eq!(fill_inodes(&below(&fd, "data"), 3000), 2099);
    volumes.change(bytes).expect("no longer");
    assert_eq!(fill_inodes(&below(&fd, "data"), 2500), 2500);
    let endless = volumes.change(Room::default()).expect_err("an image has a size");
    assert_eq!(endless.kind(), ErrorKind::Unsupported);
    drop(fd);
    volumes.remove().expect("removed");

    let inodes = Room { bytes: None, inodes: Some(100) };
    let volumes = Volumes::make(&house.dir, inodes, false).expect("made");
    let fd = attached(&volumes);
    assert_eq!(fill_inodes(&below(&fd, "data"), 200), 99);
    fs::write(below(&fd, "data/f1"), vec![1; 20 << 20]).expect("as many bytes as one likes");
}

#[test]
fn without_a_limit_it_is_a_directory_and_nonsense_is_refused() {
    let house = House::new();
    let mut volumes = Volumes::make(&house.dir, Room::default(), false).expect("made");
    assert_eq!((volumes.kind(), volumes.room()), (Kind::Directory, Room::default()));
    assert_eq!(volumes.usage(None).expect("nobody counts").bytes, None);
    assert_eq!(fs::read_dir(&house.dir).expect("there").count(), 0);
    drop(attached(&volumes));
    assert!(house.dir.join("data").is_dir());
    let late = volumes.change(room(MIB, 10)).expect_err("too late");
    assert_eq!((late.kind(), late.hints().len()), (ErrorKind::Unsupported, 1));
    let there = Volumes::make(&house.dir, room(MIB, 10), false).expect_err("there");
    assert_eq!(there.kind(), ErrorKind::Conflict);
    volumes.remove().expect("removed");
    assert!(Volumes::open(&house.dir).expect("looked").is_none());
    for nonsense in [room(MIB, 0), room(10, 10), room(u64::MAX, 10), room(MIB, u64::MAX)] {
        assert_eq!(Volumes::make(&house.dir, nonsense, false).expect_err("nonsense").kind(), ErrorKind::User);
    }
    assert!(!house.dir.exists());
}

/// What the next test runs as somebody else; by itself it is none.
#[test]
#[ignore = "started by another test"]
fn ordinary_user() {
    let Some(dir) = std::env::var_os("TSUBO_DISK_USER") else { return };
    let dir = Path::new(&dir).join("box");
    let refused = Volumes::make(&dir, room(MIB, 10), false).expect_err("not for us");
    assert_eq!((refused.kind(), refused.hints().len(), dir.exists()), (ErrorKind::Unsupported, 1, false));
    Volumes::make(&dir, Room::default(), false).expect("without a limit it is");
    println!("\nREFUSED");
}

#[test]
fn an_ordinary_user_is_told_what_it_takes() {
    let Some(house) = House::with_images() else { return };
    let program = house.top.path().join("it");
    fs::copy(std::env::current_exe().expect("this program"), &program).expect("copied");
    std::os::unix::fs::chown(house.top.path(), Some(65534), Some(65534)).expect("given away");
    let mut command = Command::new(program);
    command.args(["--exact", "images::ordinary_user", "--ignored", "--nocapture"]);
    command.current_dir("/").env("TSUBO_DISK_USER", house.top.path()).uid(65534).gid(65534);
    let said = command.output().expect("started");
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success() && text.contains("REFUSED"), "{text}");
}

fn wait_for(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < end, "waited for {what}");
        sleep(Duration::from_millis(20));
    }
}

/// Shows, proves nothing: `cargo test -p tsubo-disk how_long -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn how_long() {
    let Some(house) = House::with_images() else { return };
    for limit in [room(10 << 30, 500_000), Room { bytes: Some(10 << 30), inodes: None }] {
        let mut times: [Vec<Duration>; 5] = Default::default();
        let mut taken = 0;
        for _ in 0..20 {
            let mut made = None;
            time(&mut times[0], || made = Volumes::make_attached(&house.dir, limit, false).ok());
            let (volumes, fd) = made.expect("made");
            time(&mut times[1], || assert!(volumes.usage(Some(fd.as_fd())).is_ok()));
            time(&mut times[2], || drop(fd));
            let mut fd = None;
            time(&mut times[3], || fd = volumes.attach().ok());
            drop(fd);
            taken = fs::metadata(house.dir.join("%image")).expect("it").blocks() * 512;
            time(&mut times[4], || volumes.remove().expect("removed"));
        }
        times.iter_mut().for_each(|times| times.sort());
        for (what, times) in ["make and attach", "usage", "end", "attach", "remove"].iter().zip(times) {
            println!("{limit:?}: {what} {:?}, at most {:?}", times[10], times[19]);
        }
        println!("{limit:?}: {} KiB on the disk", taken / 1024);
    }
}

fn time(times: &mut Vec<Duration>, what: impl FnOnce()) {
    let begun = Instant::now();
    what();
    times.push(begun.elapsed());
}
