//! Packages that were made to do harm: each gives one clear error and leaves nothing behind.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::json;
use spec::ErrorKind;

use crate::support::{Forge, Tar, Yard, quiet, sha256};

/// Installing must fail as the user's error, naming `needles`, and leave nothing.
#[track_caller]
fn refused(package: &[u8], needles: &[&str]) {
    let yard = Yard::new();
    let canary = yard.path("canary");
    std::fs::write(&canary, "alive").expect("write");
    let error = yard.install(package).expect_err("hostile");
    for needle in needles {
        assert!(error.chain().contains(needle), "{:?} lacks {needle:?}", error.chain());
    }
    assert_eq!(error.kind(), ErrorKind::User, "{error:?}");
    assert_eq!(yard.left(), (0, 0, 0), "something is left behind");
    assert_eq!(std::fs::read(&canary).expect("read"), b"alive");
    assert_eq!(canary.metadata().expect("stat").nlink(), 1);
    assert_eq!(std::fs::read_dir(yard.dir.path()).expect("listed").count(), 3, "made outside of the store");
}

/// A package with this layer must be refused.
#[track_caller]
fn layer_refused(tar: Tar, needles: &[&str]) {
    refused(&Forge::package(&tar.end()).bytes(), needles);
}

fn tar() -> Tar {
    Tar::default()
}

#[test]
fn a_forged_package_without_malice_is_fine() {
    let yard = Yard::new();
    let layer =
        tar().dir("./").dir("etc/").file("etc/passwd", b"root").hardlink("etc/other", "etc/passwd").end();
    let image = yard.install(&Forge::package(&layer).bytes()).expect("harmless");
    assert_eq!((image.files, image.bytes), (1, 4));
}

#[test]
fn attack_39_dot_dot() {
    for name in ["../canary", "a/../../canary", "..", "a/.."] {
        layer_refused(tar().file(name, b"x"), &["leaves the root", name]);
    }
    layer_refused(tar().pax("path", b"../../canary").file("x", b"x"), &["leaves the root"]);
    layer_refused(
        tar().entry(b'L', "././@LongLink", "", b"../canary\0").file("x", b"x"),
        &["leaves the root"],
    );
}

#[test]
fn attack_40_absolute_names() {
    layer_refused(tar().file("/etc/passwd", b"x"), &["/etc/passwd", "absolute name"]);
    layer_refused(tar().pax("path", b"/tmp/x").file("x", b"x"), &["absolute name"]);
}

#[test]
fn attack_41_a_symlink_and_a_file_through_it() {
    for target in ["/tmp", "..", "../..", "/", ".", "real", "/proc/self/root/tmp"] {
        layer_refused(
            tar().dir("real/").symlink("link", target).file("link/canary", b"x"),
            &["/link", "symlink", "/link/canary"],
        );
        layer_refused(tar().dir("real/").symlink("link", target).dir("link/a/b/"), &["/link", "symlink"]);
        layer_refused(tar().dir("real/").symlink("link", target).file("link", b"x"), &["/link", "twice"]);
    }
}

#[test]
fn attack_42_hard_links() {
    layer_refused(tar().hardlink("x", "../canary"), &["/x", "leaves the root"]);
    layer_refused(tar().hardlink("x", "/etc/passwd"), &["/x", "absolute name"]);
    layer_refused(tar().hardlink("x", "etc/passwd"), &["/x", "/etc/passwd", "not in the archive before it"]);
    layer_refused(tar().hardlink("x", "x"), &["/x", "not in the archive before it"]);
    layer_refused(tar().symlink("l", "/etc/passwd").hardlink("x", "l"), &["/x", "which is a symlink"]);
    layer_refused(tar().symlink("l", "/etc").hardlink("x", "l/passwd"), &["/x", "behind a symlink"]);
    layer_refused(tar().dir("d/").hardlink("x", "d"), &["/x", "not a file"]);
    layer_refused(tar().hardlink("x", "./"), &["/x", "directory"]);
}

#[test]
fn attack_43_whiteouts() {
    for name in [".wh.x", ".wh..wh..opq", ".wh...", "d/.wh.."] {
        layer_refused(tar().file(name, b""), &["whiteout"]);
    }
}

#[test]
fn attack_44_device_nodes_and_unknown_kinds() {
    for flag in [b'3', b'4'] {
        let device = |header: &mut tar::Header| header.set_device_major(8).expect("ustar");
        layer_refused(tar().entry(flag, "sda", "", b"").header(device), &["/sda", "device node"]);
    }
    for flag in [b'S', b'Z', b'V', 0xff] {
        layer_refused(tar().entry(flag, "odd", "", b""), &["/odd"]);
    }
}

#[test]
fn attack_45_set_uid_stays_out_of_reach_and_host_xattrs_are_refused() {
    let yard = Yard::new();
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let layer = tar().pax("SCHILY.xattr.security.capability", &capability).file("su", b"x");
    let image = yard.install(&Forge::package(&layer.header_of_su().end()).bytes()).expect("installed");
    assert_eq!(image.tree.join("su").metadata().expect("stat").mode() & 0o7777, 0o4755);
    assert!(crate::support::xattrs(&image.tree.join("su")).contains_key(&b"security.capability"[..]));
    for dir in ["state", "state/images", "state/objects", "state/tmp"] {
        assert_eq!(yard.path(dir).metadata().expect("stat").mode() & 0o7777, 0o700, "{dir}");
    }
    for name in
        ["trusted.overlay.opaque", "user.overlay.redirect", "security.selinux", "trusted.x", "system.x"]
    {
        let record = format!("SCHILY.xattr.{name}");
        layer_refused(tar().pax(&record, b"y").file("x", b""), &["/x", name]);
    }
    layer_refused(tar().pax("SCHILY.xattr.user.a", b"y").symlink("x", "y"), &["/x", "xattrs"]);
}

impl Tar {
    /// The last file, of one block, becomes set-uid.
    fn header_of_su(mut self) -> Self {
        let data = self.0.split_off(self.0.len() - 512);
        let mut changed = self.header(|header| header.set_mode(0o4755));
        changed.0.extend(data);
        changed
    }
}

#[test]
fn attack_47_lies_about_sizes() {
    let negative = |header: &mut tar::Header| header.as_old_mut().size = [0xff; 12];
    layer_refused(tar().file("x", b"").header(negative), &["/x", "invalid size"]);
    let text = |header: &mut tar::Header| header.as_old_mut().size = *b"-00000000001";
    layer_refused(tar().file("x", b"").header(text), &["/x", "invalid size"]);
    let huge = |header: &mut tar::Header| header.set_size(1 << 62);
    layer_refused(tar().file("x", b"").header(huge), &["/x", "truncated"]);
    for size in ["-1", "1e9", "", "99999999999999999999999", "9223372036854775808"] {
        layer_refused(tar().pax("size", size.as_bytes()).file("x", b""), &["/x", "invalid size"]);
    }
    layer_refused(tar().pax("size", b"5000").file("x", b""), &["truncated"]);
    layer_refused(tar().pax("GNU.sparse.realsize", b"100000000000").file("x", b""), &["/x", "sparsely"]);
    layer_refused(tar().entry(b'5', "d/", "", b"data in a directory"), &["/d", "not a file"]);
    let extended = |header: &mut tar::Header| header.set_size(100 << 30);
    layer_refused(tar().entry(b'x', "p", "", b"").header(extended), &["extended header", "107374182400"]);
    layer_refused(tar().entry(b'L', "p", "", b"").header(extended), &["extended header", "107374182400"]);
}

#[test]
fn attack_47_long_and_broken_names() {
    let long = "a/".repeat(2048) + "b";
    layer_refused(tar().pax("path", long.as_bytes()).file("x", b""), &["longer than any path"]);
    layer_refused(tar().pax("path", &[b'a'; 256]).file("x", b""), &["longer than 255"]);
    layer_refused(tar().pax("path", b"a\0b").file("x", b""), &["NUL"]);
    layer_refused(tar().pax("path", b"").file("x", b""), &["no name"]);
    layer_refused(tar().pax("linkpath", &[b'a'; 5000]).symlink("x", "y"), &["/x", "invalid target"]);
    layer_refused(tar().pax("linkpath", b"").symlink("x", ""), &["/x", "invalid target"]);
    // The longest name that can be, though, is a name like any other.
    let longest = "abcdefg/".repeat(511) + "abcdef";
    assert_eq!(longest.len(), 4094);
    let layer = tar().pax("path", longest.as_bytes()).file("x", b"deep").end();
    let yard = Yard::new();
    let image = yard.install(&Forge::package(&layer).bytes()).expect("installed");
    yard.store.verify(&image).expect("intact");
    yard.store.remove(&image).expect("removed");
    assert_eq!(yard.left(), (0, 0, 0));
}

#[test]
fn attack_47_broken_headers() {
    layer_refused(Tar(vec![b'x'; 512]), &["checksum"]);
    layer_refused(tar().entry(b'x', "p", "", b"30 path=x\n").file("x", b""), &["malformed"]);
    layer_refused(tar().pax("path", b"a").pax("path", b"b").file("x", b""), &["two extended headers"]);
    layer_refused(tar().pax("path", b"a"), &["ends after an extended header"]);
    layer_refused(tar().pax("uid", b"4294967295").file("x", b""), &["/x", "invalid owner"]);
    layer_refused(tar().pax("gid", b"4294967296").file("x", b""), &["/x", "invalid group"]);
    layer_refused(tar().pax("mtime", b"yesterday").file("x", b""), &["/x", "invalid time"]);
}

#[test]
fn attack_48_wrong_digests_and_sizes() {
    let layer = tar().file("x", b"x").end();
    let other = tar().file("x", b"y").end();
    // Another layer under the name of the first.
    let mut files = Forge::package(&layer).files();
    let swapped = Forge::package(&other);
    files[1].1 = swapped.layers[0].clone();
    let archive = files.into_iter().fold(Tar::default(), |tar, (name, bytes)| tar.file(&name, &bytes)).end();
    refused(&archive, &["the layer is damaged", "digest"]);
    let mut forge = Forge::package(&layer);
    forge.diff_ids = vec![sha256(&other)];
    refused(&forge.bytes(), &["the unpacked layer is damaged"]);
    for (digest, needle) in [
        ("sha256:../../../../etc/passwd", "sha256:../"),
        ("sha256:", "invalid digest"),
        ("md5:d41d8cd98f00b204e9800998ecf8427e", "md5:"),
        (&format!("sha256:{}", "0".repeat(64)), "the image has no blobs/sha256/0000"),
        (&format!("sha256:{}", "A".repeat(64)), "invalid digest"),
    ] {
        let (in_index, in_manifest) = (digest.to_owned(), digest.to_owned());
        let mut forge = Forge::package(&layer);
        forge.index = Box::new(move |index| index["manifests"][0]["digest"] = json!(in_index));
        refused(&forge.bytes(), &[needle]);
        let mut forge = Forge::package(&layer);
        forge.manifest = Box::new(move |manifest| manifest["layers"][0]["digest"] = json!(in_manifest));
        refused(&forge.bytes(), &[needle]);
    }
    let mut forge = Forge::package(&layer);
    forge.manifest = Box::new(|manifest| manifest["layers"][0]["size"] = json!(7));
    refused(&forge.bytes(), &["bytes, but should have 7"]);
    forge.manifest = Box::new(|manifest| manifest["layers"][0]["size"] = json!(-7));
    refused(&forge.bytes(), &["the manifest is not valid"]);
}

#[test]
fn attack_48_truncation_at_every_place() {
    let package = Forge::package(&tar().dir("d/").file("d/x", b"content").end()).bytes();
    for length in (0..package.len() - 1024).step_by(97) {
        refused(&package[..length], &["x.tsubo"]);
    }
    refused(&Forge::package(&tar().file("x", b"content").0[..515]).bytes(), &["truncated"]);
    let unended = tar().file("x", b"content").0;
    refused(&Forge::package(&unended).bytes(), &["truncated: it has no end mark"]);
}

#[test]
fn attack_49_ambiguous_manifests_and_indexes() {
    let layer = tar().file("x", b"x").end();
    let changed_index = |change: fn(&mut serde_json::Value)| {
        let mut forge = Forge::package(&layer);
        forge.index = Box::new(change);
        forge.bytes()
    };
    let changed_manifest = |change: fn(&mut serde_json::Value)| {
        let mut forge = Forge::package(&layer);
        forge.manifest = Box::new(change);
        forge.bytes()
    };
    let twice = |index: &mut serde_json::Value| {
        let first = index["manifests"][0].clone();
        index["manifests"] = json!([first, first]);
    };
    refused(&changed_index(twice), &["has 2"]);
    refused(&changed_index(|index| index["manifests"] = json!([])), &["has 0"]);
    let nested = |index: &mut serde_json::Value| {
        index["manifests"][0]["mediaType"] = json!("application/vnd.oci.image.index.v1+json");
    };
    refused(&changed_index(nested), &["not to an image"]);
    refused(&changed_index(|index| index["layers"] = json!([])), &["ambiguous"]);
    refused(&changed_manifest(|manifest| manifest["manifests"] = json!([])), &["ambiguous"]);
    refused(&changed_manifest(|manifest| manifest["schemaVersion"] = json!(1)), &["version 1"]);
    let many = |manifest: &mut serde_json::Value| {
        let layer = manifest["layers"][0].clone();
        manifest["layers"] = json!(vec![layer; 10_000]);
    };
    refused(&changed_manifest(many), &["has 10000"]);
    refused(&changed_manifest(|manifest| manifest["layers"] = json!([])), &["has 0"]);
}

#[test]
fn attack_49_json_bombs() {
    let layer = tar().file("x", b"x").end();
    let package = |index: Vec<u8>| {
        let files = Forge::package(&layer).files().into_iter();
        let change = |(name, bytes): (String, Vec<u8>)| {
            if name == "index.json" { (name, index.clone()) } else { (name, bytes) }
        };
        files.map(change).fold(Tar::default(), |tar, (name, bytes)| tar.file(&name, &bytes)).end()
    };
    refused(&package(vec![b' '; 100 << 20]), &["index.json is larger"]);
    refused(&package(b"[".repeat(1 << 20)), &["index.json is not valid"]);
    refused(
        &package(br#"{"schemaVersion":2,"schemaVersion":2,"manifests":[]}"#.to_vec()),
        &["duplicate field"],
    );
    refused(&package(b"\xff\xfe".to_vec()), &["index.json is not valid"]);
    let mut forge = Forge::package(&layer);
    forge.labels["io.tsuboniwa.spec"] = json!("[".repeat(100_000));
    refused(&forge.bytes(), &["spec is not valid"]);
    forge.labels["io.tsuboniwa.spec"] = json!("{}");
    refused(&forge.bytes(), &["spec is not valid"]);
    forge.labels = json!({});
    refused(&forge.bytes(), &["not a package", "io.tsuboniwa.spec"]);
}

#[test]
fn a_newer_format_says_so() {
    let yard = Yard::new();
    let mut forge = Forge::package(&tar().end());
    forge.labels["io.tsuboniwa.spec"] = json!(r#"{"version": 999, "unheard-of": true}"#);
    let error = yard.install(&forge.bytes()).expect_err("newer");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
}

#[test]
fn attack_50_an_entry_twice() {
    layer_refused(tar().file("a", b"x").file("a", b"y"), &["/a", "twice"]);
    layer_refused(tar().file("a", b"x").dir("a/"), &["/a", "twice"]);
    layer_refused(tar().dir("a/").file("a", b"x"), &["/a", "twice"]);
    layer_refused(tar().dir("a/").dir("a"), &["/a", "twice"]);
    layer_refused(tar().dir("./").dir("./"), &["entry / is in the archive twice"]);
    layer_refused(tar().file("a", b"x").file("a/b", b"y"), &["/a is, or lies behind, a file", "/a/b"]);
    layer_refused(tar().dir("a/").symlink("a", "/tmp"), &["/a", "twice"]);
    layer_refused(tar().file("b", b"").file("a", b"").hardlink("a", "b"), &["/a", "twice"]);
    layer_refused(tar().file("./", b"x"), &["the root can only be a directory"]);
    let mut forge = Forge::package(&tar().end());
    forge.extra.push(("index.json".to_owned(), b"{}".to_vec()));
    refused(&forge.bytes(), &["index.json is in the archive twice"]);
}

#[test]
fn attack_51_a_fifo_is_neither_opened_nor_followed() {
    let yard = Yard::new();
    let layer = tar().dir("etc/").entry(b'6', "etc/passwd", "", b"").end();
    let image = yard.install(&Forge::package(&layer).bytes()).expect("installed");
    yard.store.verify(&image).expect("does not block");
    rustix::fs::mkfifoat(rustix::fs::CWD, yard.path("fifo"), 0o600.into()).expect("mkfifo");
    let error = yard.store.install(&yard.path("fifo"), crate::support::SWIFT, &quiet).expect_err("a fifo");
    assert!(error.chain().contains("not a regular file"), "{error:?}");
}

#[test]
fn attack_52_names_that_only_look_alike_are_different() {
    let yard = Yard::new();
    let layer = tar().file("a", b"1").file("A", b"2").file("\u{e9}", b"3").file("e\u{301}", b"4").end();
    let image = yard.install(&Forge::package(&layer).bytes()).expect("installed");
    assert_eq!(image.files, 4);
    assert_eq!(std::fs::read_dir(&image.tree).expect("listed").count(), 4);
}

#[test]
fn what_is_no_package_is_told_apart() {
    refused(b"", &["truncated"]);
    refused(&[0; 10_240], &["no oci-layout"]);
    refused(b"garbage, but not much of it", &["truncated within a header"]);
    refused(&b"0123456789abcdef".repeat(1000), &["not a tar archive"]);
    refused(&tar().file("etc/passwd", b"x").end(), &["no oci-layout"]);
    let yard = Yard::new();
    let install =
        |path: &Path| yard.store.install(path, crate::support::SWIFT, &quiet).expect_err("no package");
    assert_eq!(install(yard.dir.path()).kind(), ErrorKind::User);
    assert_eq!(install(&yard.path("missing")).kind(), ErrorKind::NotFound);
    assert_eq!(install(Path::new("/dev/null")).kind(), ErrorKind::User);
}
