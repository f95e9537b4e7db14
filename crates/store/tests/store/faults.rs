//! Full disks, killed processes, many at once. What needs a process of its own is an ignored test
//! of this same program, started by the test that needs it.

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use spec::{Error, ErrorKind};
use tsubo_store::package::{self, Source};
use tsubo_store::{Install, Store, import};

use crate::support::{Forge, SWIFT, Tar, Yard, all_paths, count, pack, portable, quiet, report};

/// Runs the ignored test `name` with a tmpfs of its own at `at`.
fn on_tmpfs(at: &Path, options: &str, name: &str) {
    std::fs::create_dir_all(at).expect("mkdir");
    let script = r#"mount -t tmpfs -o "$1" tmpfs "$2" && exec "$3" --exact "$4" --ignored --nocapture"#;
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh", options]).arg(at).arg(program).arg(name).env("AT", at);
    let done = command.output().expect("unshare");
    assert!(
        done.status.success() && String::from_utf8_lossy(&done.stdout).contains("1 passed"),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
}

fn at() -> std::path::PathBuf {
    std::env::var_os("AT").expect("started by another test").into()
}

#[track_caller]
fn is_full<T>(result: Result<T, Error>) {
    let Err(error) = result else { panic!("the disk was not full") };
    assert!(error.chain().contains("No space left"), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.hints().iter().any(|hint| hint.contains("free some space")), "{error:?}");
}

/// Bytes that do not compress.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..size).map(next).collect()
}

#[test]
fn a_full_disk_is_a_clear_error_and_is_cleaned_up() {
    let yard = Yard::new();
    on_tmpfs(&yard.path("small"), "size=4m,nr_inodes=60", "faults::on_a_full_disk");
}

#[test]
#[ignore = "needs a small disk; a_full_disk_… gives it one"]
fn on_a_full_disk() {
    let at = at();
    let yard = Yard::new();
    let store = Store::open(&at.join("state")).expect("opened");
    let install = |bytes: &[u8]| {
        std::fs::write(yard.path("x.tsubo"), bytes).expect("write");
        store.install(&yard.path("x.tsubo"), SWIFT, &quiet)
    };
    let free = || rustix::fs::statvfs(&at).map(|stat| (stat.f_bfree, stat.f_ffree)).expect("statvfs");
    let before = free();
    // Refused by what it declares, then by what it is, then for lack of inodes.
    let large = Tar::default().file("x", &noise(6 << 20)).end();
    is_full(install(&Forge::package(&large).bytes()));
    let mut silent = Forge::package(&large);
    silent.labels.as_object_mut().expect("labels").remove("io.tsuboniwa.size");
    is_full(install(&silent.bytes()));
    let many = (0..80).fold(Tar::default(), |tar, number| tar.file(&number.to_string(), b"x")).end();
    is_full(install(&Forge::package(&many).bytes()));
    assert_eq!(count(&at.join("state/tmp")) + count(&at.join("state/images")), 0);
    assert_eq!(free().0, before.0, "blocks are free again");
    // Packing onto it, and importing onto it.
    std::fs::create_dir(yard.path("base")).expect("mkdir");
    std::fs::write(yard.path("base/x"), noise(6 << 20)).expect("write");
    let base = &yard.path("base");
    let source = Source { base, paths: &all_paths(base), empty: Default::default() };
    std::fs::create_dir(at.join("out")).expect("mkdir");
    is_full(package::write(&at.join("out/web.tsubo"), &source, &portable(), &report(), &quiet));
    assert_eq!(count(&at.join("out")), 0);
    std::fs::write(yard.path("x.tar"), &large).expect("write");
    is_full(import::unpack(&yard.path("x.tar"), &at.join("root"), &quiet));
    assert!(!at.join("root").exists());
    // And it is all usable afterwards.
    let image = install(&Forge::package(&Tar::default().file("x", b"x").end()).bytes()).expect("fits");
    store.verify(&image).expect("intact");
    std::fs::write(at.join("filler"), vec![0; 16 << 20]).expect_err("full");
    assert_eq!(store.images().expect("listed").len(), 1, "listing works on a full disk");
    store.remove(&image).expect("removing works on a full disk");
}

#[test]
fn a_disk_without_nameless_files_takes_packages_too() {
    let yard = Yard::new();
    // No O_TMPFILE on vfat; it needs a file to live in.
    let script = r#"truncate -s 4M "$1/disk" && mkfs.vfat "$1/disk" && mkdir "$1/at" &&
        mount -o loop "$1/disk" "$1/at" || exit 77; exec "$2" --exact faults::on_vfat --ignored --nocapture"#;
    let mut command = Command::new("unshare");
    command
        .args(["-m", "sh", "-c", script, "sh"])
        .arg(yard.dir.path())
        .arg(std::env::current_exe().expect("me"));
    let done = command.env("AT", yard.path("at")).output().expect("unshare");
    match done.status.code() {
        Some(77) => println!("SKIPPED: no vfat: {}", String::from_utf8_lossy(&done.stderr)),
        code => assert_eq!(code, Some(0), "{}", String::from_utf8_lossy(&done.stdout)),
    }
}

#[test]
#[ignore = "needs a vfat; a_disk_without_… gives it one"]
fn on_vfat() {
    let yard = Yard::new();
    std::fs::create_dir(yard.path("base")).expect("mkdir");
    for _ in 0..2 {
        pack(&yard.path("base"), &at().join("web.tsubo"));
        assert_eq!(count(&at()), 1);
    }
    package::read_info(&at().join("web.tsubo")).expect("readable");
}

/// Ends the process with kill -9, whatever happens.
struct Doomed(Child);

impl Drop for Doomed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn kill_9_at_any_moment_leaves_only_whole_images() {
    let yard = Yard::new();
    std::fs::create_dir(yard.path("base")).expect("mkdir");
    for number in 0..40 {
        std::fs::write(yard.path(&format!("base/{number}")), noise(40_000 + number)).expect("write");
    }
    std::fs::create_dir(yard.path("out")).expect("mkdir");
    for round in 0..40 {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command
            .args(["--exact", "faults::packs_and_installs_for_ever", "--ignored"])
            .env("AT", yard.dir.path());
        let doomed = Doomed(command.stdout(std::process::Stdio::null()).spawn().expect("spawn"));
        std::thread::sleep(Duration::from_millis(5 + round * 3));
        drop(doomed);
        let store = Store::open(&yard.path("state")).expect("opened");
        assert_eq!(yard.left().2, 0, "leftovers are collected");
        let images = store.images().expect("listed");
        for image in &images {
            store.verify(image).expect("every listed image is complete");
        }
        let known: usize = images.iter().map(|image| image.files as usize).sum();
        assert_eq!(yard.left().0, known, "no object without an image");
        for package in std::fs::read_dir(yard.path("out")).expect("listed") {
            package::read_info(&package.expect("entry").path()).expect("every package file is complete");
        }
    }
}

#[test]
#[ignore = "is killed; kill_9_… starts it"]
fn packs_and_installs_for_ever() {
    let (at, base) = (at(), at().join("base"));
    let store = Store::open(&at.join("state")).expect("opened");
    loop {
        pack(&base, &at.join("out/web.tsubo"));
        let image =
            store.install(&at.join("out/web.tsubo"), Install { sync: false }, &quiet).expect("installed");
        store.remove(&image).expect("removed");
    }
}

#[test]
fn many_at_once_get_in_nobodys_way() {
    let yard = Yard::new();
    let package = |marker: usize| {
        let tar = (0..20).fold(Tar::default(), |tar, number| tar.file(&number.to_string(), b"shared"));
        Forge::package(&tar.file("marker", marker.to_string().as_bytes()).end()).bytes()
    };
    for marker in 0..4 {
        std::fs::write(yard.path(&format!("{marker}.tsubo")), package(marker)).expect("write");
    }
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let yard = &yard;
            scope.spawn(move || {
                for round in 0..25 {
                    // Each opens it anew, as processes do.
                    let store = Store::open(&yard.path("state")).expect("opened");
                    let from = yard.path(&format!("{}.tsubo", (thread + round) % 4));
                    let image = match store.install(&from, SWIFT, &quiet) {
                        Ok(image) => image,
                        Err(error) if error.kind() == ErrorKind::Conflict => continue,
                        Err(error) => panic!("{error:?}"),
                    };
                    // Two of the images stay, the others come and go.
                    if (thread + round) % 4 < 2 {
                        store.verify(&image).expect("intact");
                        continue;
                    }
                    match store.remove(&image) {
                        Err(error) if error.kind() != ErrorKind::NotFound => panic!("{error:?}"),
                        _ => {}
                    }
                }
            });
        }
    });
    let store = Store::open(&yard.path("state")).expect("opened");
    for image in store.images().expect("listed") {
        store.verify(&image).expect("intact");
        store.remove(&image).expect("removed");
    }
    assert_eq!(yard.left(), (0, 0, 0));
}
