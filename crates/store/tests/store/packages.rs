//! What is packed comes out as it was, for us and for other programs.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags};
use spec::ErrorKind;
use tsubo_store::package::{self, Effort, Extra, Source};

use crate::support::{SWIFT, Yard, all_paths, count, listing, pack, path, portable, quiet, report};

fn set_mtime(path: &Path, secs: i64, nanos: i64) {
    let time = Timespec { tv_sec: secs, tv_nsec: nanos };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("utimensat");
}

/// A tree with one of everything.
fn odd_tree(base: &Path) {
    let at = |name: &str| base.join(name);
    for dir in ["bin", "etc", "empty", "deep/er", "tmp"] {
        std::fs::create_dir_all(at(dir)).expect("mkdir");
    }
    std::fs::set_permissions(at("tmp"), PermissionsExt::from_mode(0o1777)).expect("chmod");
    std::fs::set_permissions(at("empty"), PermissionsExt::from_mode(0o700)).expect("chmod");
    std::fs::write(at("bin/su"), "set-uid").expect("write");
    std::os::unix::fs::chown(at("bin/su"), Some(33), Some(70_000)).expect("chown");
    std::fs::set_permissions(at("bin/su"), PermissionsExt::from_mode(0o6755)).expect("chmod");
    std::fs::hard_link(at("bin/su"), at("deep/er/su")).expect("link");
    std::fs::write(at("bin/ping"), "capable").expect("write");
    // VFS_CAP_REVISION_2, effective, CAP_NET_RAW; a newline is among the bytes.
    let capability = [1, 0, 0, 2, 0x0a, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    rustix::fs::setxattr(at("bin/ping"), "security.capability", &capability, XattrFlags::empty())
        .expect("setxattr");
    rustix::fs::setxattr(at("etc"), "user.note", b"a\nb=c\0", XattrFlags::empty()).expect("setxattr");
    rustix::fs::setxattr(at("etc"), "trusted.overlay.opaque", b"y", XattrFlags::empty()).expect("setxattr");
    symlink("../bin/ping", at("etc/link")).expect("symlink");
    symlink("x".repeat(3000), at("etc/dangling")).expect("symlink");
    std::fs::write(base.join(OsStr::from_bytes(b"etc/\xff\n\\")), "odd").expect("write");
    std::fs::write(at(&format!("etc/{}", "n".repeat(255))), "").expect("write");
    let (one, two) = (at("etc/same1"), at("etc/same2"));
    for same in [&one, &two] {
        std::fs::write(same, "same").expect("write");
        set_mtime(same, 1_500_000_000, 0);
    }
    rustix::fs::mkfifoat(CWD, at("etc/fifo"), rustix::fs::Mode::from_raw_mode(0o620)).expect("mkfifo");
    std::fs::write(at("big"), vec![7; 9 << 20]).expect("write");
    set_mtime(&at("bin/ping"), -2, 123_456_789);
    set_mtime(&at("etc/link"), 1_600_000_000, 5);
    set_mtime(&at("empty"), 10_000_000_000, 999_999_999);
}

/// Without what never ships.
fn portable_listing(base: &Path) -> BTreeMap<Vec<u8>, crate::support::Facts> {
    let mut facts = listing(base);
    facts.values_mut().for_each(|facts| facts.xattrs.retain(|name, _| !name.starts_with(b"trusted.")));
    facts
}

#[test]
fn everything_comes_back_as_it_was() {
    let yard = Yard::new();
    let base = yard.path("base");
    odd_tree(&base);
    let written = pack(&base, &yard.path("web.tsubo"));
    assert_eq!(written.skipped, []);
    let image = yard.store.install(&yard.path("web.tsubo"), SWIFT, &quiet).expect("installed");
    assert_eq!(portable_listing(&base), listing(&image.tree));
    assert_eq!((image.digest, image.files), (written.digest, written.files));
    assert_eq!(image.bytes, written.content_bytes);
    assert!(yard.store.verify(&image).expect("intact").paths > 15);
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let yard = Yard::new();
    odd_tree(&yard.path("base"));
    for effort in [Effort::Quick, Effort::Small] {
        let write = |name: &str| {
            let base = &yard.path("base");
            let source = Source { base, paths: &all_paths(base), empty: BTreeMap::new() };
            package::write_with(effort, &yard.path(name), &source, &portable(), &report(), &quiet)
                .expect("packed");
            std::fs::read(yard.path(name)).expect("read")
        };
        let first = write("a");
        // On one processor.
        let mut one = rustix::thread::CpuSet::new();
        let all = rustix::thread::sched_getaffinity(None).expect("affinity");
        one.set((0..).find(|cpu| all.is_set(*cpu)).expect("a processor"));
        rustix::thread::sched_setaffinity(None, &one).expect("affinity");
        let second = write("b");
        rustix::thread::sched_setaffinity(None, &all).expect("affinity");
        assert!(first == second, "{effort:?}");
    }
}

#[test]
fn other_programs_can_use_a_package() {
    let yard = Yard::new();
    odd_tree(&yard.path("base"));
    // umoci unpacks into a directory where it must be able to make all names.
    pack(&yard.path("base"), &yard.path("web.tsubo"));
    let from = format!("oci-archive:{}", yard.path("web.tsubo").display());
    let to = format!("oci:{}:web", yard.path("layout").display());
    for to in [to.clone(), format!("dir:{}", yard.path("dir").display())] {
        let copied = Command::new("skopeo").args(["--insecure-policy", "copy", "-q", &from, &to]).output();
        let Ok(copied) = copied else {
            println!("SKIPPED: skopeo is not installed");
            return;
        };
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    }
    let shown = Command::new("skopeo").args(["inspect", "--config", &from]).output().expect("skopeo");
    let config: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("json");
    assert_eq!(config["config"]["Cmd"], serde_json::json!(["/bin/web"]));
    assert_eq!(config["config"]["StopSignal"], "SIGTERM");
    // The trip through another program's hands loses the report and nothing else.
    let back = format!("oci-archive:{}", yard.path("back.tsubo").display());
    let copied = Command::new("skopeo")
        .args(["--insecure-policy", "copy", "-q", &to, &back])
        .output()
        .expect("skopeo");
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let (there, back) =
        (package::read_info(&yard.path("web.tsubo")), package::read_info(&yard.path("back.tsubo")));
    let (there, back) = (there.expect("info"), back.expect("info"));
    assert_eq!((there.manifest, there.portable.clone()), (back.manifest, back.portable));
    assert_eq!((there.report, back.report), (Some(report()), None));
    assert_eq!(there.portable, portable());
    let image = yard.store.install(&yard.path("back.tsubo"), SWIFT, &quiet).expect("installed");
    assert_eq!(portable_listing(&yard.path("base")), listing(&image.tree));
}

#[test]
fn gnu_tar_reads_our_layer_as_we_do() {
    let yard = Yard::new();
    odd_tree(&yard.path("base"));
    pack(&yard.path("base"), &yard.path("web.tsubo"));
    let layer = package::read_info(&yard.path("web.tsubo")).expect("info").layers[0].digest.hex();
    let script = format!(
        "mkdir out && tar -xOf web.tsubo blobs/sha256/{layer} | zstd -dc | \
         tar -x -C out --xattrs --xattrs-include='*' --numeric-owner -p"
    );
    let done = Command::new("sh").args(["-ec", &script]).current_dir(yard.dir.path()).output().expect("sh");
    if String::from_utf8_lossy(&done.stderr).contains("zstd: not found") {
        println!("SKIPPED: no zstd program");
        return;
    }
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(portable_listing(&yard.path("base")), listing(&yard.path("out")));
}

#[test]
fn mount_points_are_made_where_the_base_has_nothing() {
    let yard = Yard::new();
    let base = yard.path("base");
    std::fs::create_dir_all(base.join("etc")).expect("mkdir");
    std::fs::write(base.join("etc/hosts"), "real").expect("write");
    let empty = BTreeMap::from([
        (path("/proc"), Extra::Dir { mode: 0o555 }),
        (path("/etc/hosts"), Extra::File { mode: 0o600 }),
        (path("/etc/resolv.conf"), Extra::File { mode: 0o644 }),
    ]);
    let source = Source { base: &base, paths: &all_paths(&base), empty };
    package::write(&yard.path("web.tsubo"), &source, &portable(), &report(), &quiet).expect("packed");
    let image = yard.store.install(&yard.path("web.tsubo"), SWIFT, &quiet).expect("installed");
    assert_eq!(std::fs::read(image.tree.join("etc/hosts")).expect("read"), b"real");
    let resolv = image.tree.join("etc/resolv.conf").metadata().expect("made");
    assert_eq!((resolv.len(), resolv.mode() & 0o7777), (0, 0o644));
    assert_eq!(image.tree.join("proc").metadata().expect("made").mode() & 0o7777, 0o555);
}

#[test]
fn devices_and_sockets_are_skipped_and_named() {
    let yard = Yard::new();
    let base = yard.path("base");
    std::fs::create_dir_all(&base).expect("mkdir");
    let _socket = std::os::unix::net::UnixListener::bind(base.join("socket")).expect("bind");
    let device = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(CWD, base.join("null"), rustix::fs::FileType::CharacterDevice, 0o666.into(), device)
        .expect("mknod");
    let written = pack(&base, &yard.path("web.tsubo"));
    assert_eq!(written.skipped, [path("/null"), path("/socket")]);
    yard.store.install(&yard.path("web.tsubo"), SWIFT, &quiet).expect("installed");
}

#[test]
fn a_failed_pack_leaves_nothing_and_keeps_the_old_file() {
    let yard = Yard::new();
    let (base, out) = (yard.path("base"), yard.path("out"));
    std::fs::create_dir_all(&base).expect("mkdir");
    std::fs::create_dir_all(&out).expect("mkdir");
    std::fs::write(out.join("web.tsubo"), "old").expect("write");
    std::fs::write(out.join(".tsubo-pack-4194305-3"), "left by a killed process").expect("write");
    let paths = BTreeSet::from([path("/missing")]);
    let source = Source { base: &base, paths: &paths, empty: BTreeMap::new() };
    let write = |name: &str| package::write(&out.join(name), &source, &portable(), &report(), &quiet);
    let error = write("web.tsubo").expect_err("missing");
    assert!(error.chain().contains("/missing"), "{error:?}");
    assert_eq!(std::fs::read(out.join("web.tsubo")).expect("read"), b"old");
    pack(&base, &out.join("web.tsubo"));
    assert!(std::fs::read(out.join("web.tsubo")).expect("read").len() > 1000);
    assert_eq!(count(&out), 1, "neither spare names nor leftovers");
    let source = Source { base: &base, paths: &BTreeSet::new(), empty: BTreeMap::new() };
    let error = package::write(&out, &source, &portable(), &report(), &quiet).expect_err("a directory");
    assert_eq!(error.kind(), ErrorKind::User);
}
