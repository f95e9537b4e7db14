//! Foreign archives: every form, layers with whiteouts, and hostile ones.

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use spec::{Error, ErrorKind};
use tsubo_store::import::{self, Imported};

use crate::support::{Forge, Tar, Yard, count, listing, quiet};

fn tar() -> Tar {
    Tar::default()
}

fn import(yard: &Yard, bytes: &[u8]) -> Result<Imported, Error> {
    let (from, into) = (yard.path("from"), yard.path("root"));
    std::fs::write(&from, bytes).expect("write");
    let _ = std::fs::remove_dir_all(&into);
    import::unpack(&from, &into, &quiet)
}

fn small_root() -> Vec<u8> {
    tar()
        .dir("./")
        .dir("./bin/")
        .file("./bin/sh", b"#!")
        .symlink("./sh", "bin/sh")
        .hardlink("./bin/bash", "./bin/sh")
        .end()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("gzip");
    encoder.finish().expect("gzip")
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    liblzma::read::XzEncoder::new(bytes, 9).read_to_end(&mut packed).expect("xz");
    packed
}

fn zst(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("zstd")
}

/// What `docker save` wrote up to version 24.
fn docker_archive(layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(|layer| crate::support::sha256(layer)).collect();
    let config = json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let id = "0".repeat(64);
    let names: Vec<_> =
        (0..layers.len()).map(|number| format!("{number}{id}/layer.tar").split_off(1)).collect();
    let names: Vec<_> =
        names.iter().enumerate().map(|(n, name)| name.replacen('0', &n.to_string(), 1)).collect();
    let manifest = json!([{"Config": format!("{id}.json"), "RepoTags": ["x:latest"], "Layers": names}]);
    let mut archive = tar().file(&format!("{id}.json"), config.to_string().as_bytes());
    for (name, layer) in names.iter().zip(layers) {
        archive = archive.file(name, layer);
    }
    archive.file("manifest.json", manifest.to_string().as_bytes()).end()
}

#[test]
fn every_form_gives_the_same_root() {
    let root = small_root();
    let image = Forge::image(std::slice::from_ref(&root)).bytes();
    let docker = docker_archive(std::slice::from_ref(&root));
    let yard = Yard::new();
    import(&yard, &root).expect("plain");
    let wanted = listing(&yard.path("root"));
    assert_eq!(wanted.len(), 5);
    assert_eq!(yard.path("root/bin/bash").metadata().expect("stat").nlink(), 2);
    for (what, bytes) in [
        ("gzip", gzip(&root)),
        ("two gzip members", [gzip(&root[..700]), gzip(&root[700..])].concat()),
        ("xz", xz(&root)),
        ("zstd", zst(&root)),
        ("OCI archive", image.clone()),
        ("packed OCI archive", gzip(&image)),
        ("docker save", docker.clone()),
        ("packed docker save", xz(&docker)),
    ] {
        let imported = import(&yard, &bytes).expect(what);
        assert_eq!(listing(&yard.path("root")), wanted, "{what}");
        assert_eq!((imported.files, imported.bytes), (2, 2), "{what}");
        assert!(imported.warnings.is_empty(), "{what}");
        let named = what.contains("OCI") || what.contains("docker");
        assert_eq!(imported.config.is_some(), named, "{what}");
    }
}

#[test]
fn a_layout_in_a_directory() {
    let yard = Yard::new();
    let layout = yard.path("layout");
    for (name, bytes) in Forge::image(&[small_root()]).files() {
        let path = layout.join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
        std::fs::write(path, bytes).expect("write");
    }
    let imported = import::unpack(&layout, &yard.path("root"), &quiet).expect("unpacked");
    assert_eq!(imported.config.expect("a config").env, Some(vec!["A=b".to_owned()]));
    // A blob that is a symlink out of the layout, or a FIFO, is not read.
    let blobs: Vec<_> = std::fs::read_dir(layout.join("blobs/sha256")).expect("listed").collect();
    let blob = blobs.into_iter().map(|entry| entry.expect("entry").path()).max_by_key(|path| path.clone());
    let blob = blob.expect("a blob");
    std::fs::rename(&blob, yard.path("elsewhere")).expect("rename");
    std::os::unix::fs::symlink(yard.path("elsewhere"), &blob).expect("symlink");
    import::unpack(&layout, &yard.path("other"), &quiet).expect_err("a symlink");
    std::fs::remove_file(&blob).expect("unlink");
    rustix::fs::mkfifoat(rustix::fs::CWD, &blob, 0o600.into()).expect("mkfifo");
    import::unpack(&layout, &yard.path("other"), &quiet).expect_err("a FIFO");
    assert!(!yard.path("other").exists());
}

#[test]
fn layers_lie_over_each_other() {
    let lower = tar()
        .dir("etc/")
        .file("etc/keep", b"1")
        .file("etc/gone", b"1")
        .dir("opaque/")
        .file("opaque/old", b"1");
    let lower =
        lower.dir("was-dir/").file("was-dir/x", b"").file("was-file", b"").symlink("lib", "usr/lib").end();
    let upper = tar().dir("etc/").file("etc/.wh.gone", b"").file("etc/keep", b"22").file("opaque/new", b"1");
    let upper = upper.file("opaque/.wh..wh..opq", b"").file("was-dir", b"now a file").dir("was-file/");
    let upper =
        upper.file("was-file/x", b"").file("missing/.wh.x", b"").file(".wh..wh.plnk", b"").dir("lib/").end();
    let yard = Yard::new();
    import(&yard, &Forge::image(&[lower, upper]).bytes()).expect("unpacked");
    let names: Vec<_> =
        listing(&yard.path("root")).into_keys().map(|name| String::from_utf8(name).expect("utf-8")).collect();
    let names: Vec<_> =
        names.iter().map(String::as_str).filter(|name| !name.starts_with("missing")).collect();
    assert_eq!(
        names,
        ["", "etc", "etc/keep", "lib", "opaque", "opaque/new", "was-dir", "was-file", "was-file/x"]
    );
    assert_eq!(std::fs::read(yard.path("root/etc/keep")).expect("read"), b"22");
}

#[test]
fn attack_43_whiteouts_never_leave_the_root() {
    let yard = Yard::new();
    let canary = yard.path("canary/file");
    std::fs::create_dir(yard.path("canary")).expect("mkdir");
    std::fs::write(&canary, "alive").expect("write");
    let outside = yard.path("canary");
    let target = outside.to_str().expect("utf-8");
    let lower = tar().symlink("link", target).symlink("up", "../canary").end();
    for name in [
        "link/.wh.file",
        "link/.wh..wh..opq",
        "up/.wh.file",
        ".wh...",
        ".wh..",
        ".wh.",
        "../.wh.canary",
        "up/.wh..wh..opq",
    ] {
        let upper = tar().file(name, b"").end();
        let result = import(&yard, &Forge::image(&[lower.clone(), upper]).bytes());
        assert!(canary.exists(), "{name}");
        // An opaque mark in what is no directory means nothing; the others are refused.
        if !name.ends_with("opq") {
            assert_eq!(result.expect_err(name).kind(), ErrorKind::User, "{name}");
            assert!(!yard.path("root").exists(), "{name}");
        }
    }
}

#[test]
fn hostile_tars_are_refused_and_leave_nothing() {
    let yard = Yard::new();
    for (bytes, needle) in [
        (tar().file("../x", b"").end(), "leaves the root"),
        (tar().symlink("l", "/tmp").file("l/canary", b"").end(), "symlink"),
        (tar().hardlink("x", "../../etc/passwd").end(), "leaves the root"),
        (tar().hardlink("x", "etc/passwd").end(), "not in the archive before it"),
        (tar().file("x", b"").hardlink("x", "x").end(), "hard link to itself"),
        (tar().file("x", b"truncated").0[..600].to_vec(), "truncated"),
        (tar().file("x", b"no end").0, "end mark"),
        (vec![b'g'; 5000], "not a tar archive"),
        (b"BZh91AY&SY".repeat(100), "bzip2"),
        ([&gzip(&small_root())[..100], b"garbage"].concat(), ""),
        (zst(b""), ""),
        (Vec::new(), "empty"),
    ] {
        let error = import(&yard, &bytes).expect_err(needle);
        assert!(error.chain().contains(needle), "{error:?} lacks {needle:?}");
        assert_eq!(error.kind(), ErrorKind::User, "{error:?}");
        assert!(!yard.path("root").exists(), "{needle}");
    }
    assert_eq!(count(yard.dir.path()), 2, "something was made outside");
}

#[test]
fn a_failure_leaves_an_empty_directory_empty_and_a_full_one_alone() {
    let yard = Yard::new();
    let (from, into) = (yard.path("from"), yard.path("root"));
    std::fs::create_dir(&into).expect("mkdir");
    std::fs::write(&from, tar().dir("d/").file("d/x", b"").file("../x", b"").end()).expect("write");
    import::unpack(&from, &into, &quiet).expect_err("hostile");
    assert_eq!(count(&into), 0);
    std::fs::write(into.join("mine"), "").expect("write");
    std::fs::write(&from, small_root()).expect("write");
    let error = import::unpack(&from, &into, &quiet).expect_err("not empty");
    assert_eq!((error.kind(), count(&into)), (ErrorKind::Conflict, 1));
    let kind =
        |from: &Path| import::unpack(from, &yard.path("other"), &quiet).expect_err("unreadable").kind();
    assert_eq!(kind(&yard.path("missing")), ErrorKind::NotFound);
    assert_eq!(kind(yard.dir.path()), ErrorKind::User);
    assert_eq!(kind(Path::new("/dev/zero")), ErrorKind::User);
    assert!(!yard.path("other").exists());
}

#[test]
fn attack_44_devices_are_left_out_and_named() {
    let yard = Yard::new();
    let bytes =
        tar().dir("dev/").entry(b'3', "dev/null", "", b"").symlink("dev/fd", "/proc/self/fd").dir("x/");
    let imported =
        import(&yard, &bytes.entry(b'4', "x/sda", "", b"").file("x/y", b"").end()).expect("unpacked");
    assert_eq!(imported.warnings, ["/x/sda is a device node and was left out"]);
    assert_eq!((count(&yard.path("root/dev")), count(&yard.path("root/x"))), (0, 1));
    let bytes = tar().pax("SCHILY.xattr.trusted.overlay.opaque", b"y").dir("x/").end();
    let imported = import(&yard, &bytes).expect("unpacked");
    assert!(imported.warnings[0].contains("trusted.overlay.opaque"), "{imported:?}");
    assert!(crate::support::xattrs(&yard.path("root/x")).is_empty());
}

#[test]
fn attack_49_indexes_are_bounded() {
    let yard = Yard::new();
    // Indexes within each other, deeper than anyone needs.
    let mut forge = Forge::image(&[small_root()]);
    let mut inner = forge.files().pop().expect("the index").1;
    for _ in 0..5 {
        let digest = crate::support::sha256(&inner);
        forge.extra.push((format!("blobs/sha256/{}", &digest[7..]), inner.clone()));
        let entry = json!({"mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest, "size": inner.len()});
        inner = json!({"schemaVersion": 2, "manifests": [entry]}).to_string().into_bytes();
    }
    let outer: serde_json::Value = serde_json::from_slice(&inner).expect("json");
    forge.index = Box::new(move |index| *index = outer.clone());
    let error = import(&yard, &forge.bytes()).expect_err("nested");
    assert!(error.chain().contains("nested more than"), "{error:?}");
    let mut forge = Forge::image(&vec![tar().end(); 501]);
    forge.layers.truncate(501);
    // All layers are one blob; the archive may hold it once only.
    let mut seen = std::collections::BTreeSet::new();
    let files = forge.files().into_iter().filter(|(name, _)| seen.insert(name.clone()));
    let bytes = files.fold(tar(), |tar, (name, bytes)| tar.file(&name, &bytes)).end();
    let error = import(&yard, &bytes).expect_err("too many");
    assert!(error.chain().contains("501 layers"), "{error:?}");
    let mut forge = Forge::image(&[small_root()]);
    forge.index = Box::new(|index| {
        let one = index["manifests"][0].clone();
        index["manifests"] = json!(vec![one; 2000]);
    });
    let error = import(&yard, &forge.bytes()).expect_err("too many");
    assert!(error.chain().contains("more than 1000"), "{error:?}");
}

#[test]
fn what_skopeo_and_umoci_make_can_be_imported() {
    let yard = Yard::new();
    let layout = yard.path("layout");
    let script = r#"umoci init --layout "$1" && umoci new --image "$1:x" && umoci unpack --image "$1:x" "$2" &&
        mkdir -p "$2/rootfs/etc" && echo hello > "$2/rootfs/etc/motd" && umoci repack --image "$1:x" "$2" &&
        rm "$2/rootfs/etc/motd" && echo there > "$2/rootfs/etc/issue" && umoci repack --refresh-bundle --image "$1:x" "$2" &&
        skopeo --insecure-policy copy -q "oci:$1:x" "docker-archive:$3:x:latest" &&
        skopeo --insecure-policy copy -q "oci:$1:x" "oci-archive:$4""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(&layout).arg(yard.path("bundle"));
    let made = command.args([yard.path("docker.tar"), yard.path("oci.tar")]).output().expect("sh");
    if !made.status.success() {
        println!("SKIPPED: umoci and skopeo made no image: {}", String::from_utf8_lossy(&made.stderr));
        return;
    }
    for from in ["layout", "docker.tar", "oci.tar"] {
        let into = yard.path(&format!("{from}-root"));
        import::unpack(&yard.path(from), &into, &quiet).expect(from);
        assert_eq!(std::fs::read(into.join("etc/issue")).expect(from), b"there\n");
    }
}
