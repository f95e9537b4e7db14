//! Packages and tars that were made to do harm, given to the command itself: one clear error, the
//! exit code of a refusal, and nothing of them anywhere. The store's own tests try more forms.

use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::busybox::{busybox, places, speaks};
use crate::support::forge::{Forge, Tar};
use crate::support::leftovers::{all_groups, everything, no_empty_group_since};
use crate::support::{House, have, one_clear_error};

/// A house with something outside of the store that must stay as it is.
struct Trap {
    house: House,
    before: BTreeSet<PathBuf>,
}

impl Trap {
    fn new() -> Self {
        let house = House::new();
        std::fs::write(house.path("canary"), "alive").expect("canary");
        house.ok_elsewhere(["images"]);
        let before = all_groups();
        Self { house, before }
    }

    /// The package is neither installed nor run.
    #[track_caller]
    fn refuses(&self, package: &[u8], needles: &[&str]) {
        std::fs::write(self.house.path("x.tsubo"), package).expect("write");
        let before = everything(&self.house.elsewhere());
        for verb in [&["install", "./x.tsubo"][..], &["run", "--rm", "--name", "x", "./x.tsubo"]] {
            let complaint = self.house.fails_elsewhere(125, verb);
            one_clear_error(&complaint, &["./x.tsubo"]);
            one_clear_error(&complaint, needles);
        }
        assert_eq!(before, everything(&self.house.elsewhere()), "left behind");
        self.unharmed();
    }

    /// A package with this layer is neither installed nor run.
    #[track_caller]
    fn refuses_layer(&self, layer: Tar, needles: &[&str]) {
        self.refuses(&Forge::package(&layer.end()).bytes(), needles);
    }

    /// No development container is made from the archive.
    #[track_caller]
    fn refuses_base(&self, archive: &[u8], needles: &[&str]) {
        std::fs::write(self.house.path("x.tar"), archive).expect("write");
        let made = ["dev", "x", "--from", "./x.tar", "--", "/bin/true"];
        one_clear_error(&self.house.fails_elsewhere(125, made), needles);
        assert_eq!(self.house.json_elsewhere(["ps", "-a", "--format", "json"]), json!([]));
        let dev = self.house.elsewhere().join("dev");
        assert_eq!(everything(&dev), Vec::<PathBuf>::new(), "left behind");
        self.unharmed();
    }

    #[track_caller]
    fn unharmed(&self) {
        let canary = self.house.path("canary");
        assert_eq!(std::fs::read(&canary).expect("canary"), b"alive");
        assert_eq!(canary.metadata().expect("stat").nlink(), 1);
        let known = ["canary", "elsewhere", "here", "src", "x.tar", "x.tsubo"];
        let listed = std::fs::read_dir(self.house.dir()).expect("listed").flatten();
        let strange: Vec<_> =
            listed.filter(|entry| !known.iter().any(|name| entry.file_name() == *name)).collect();
        assert!(strange.is_empty(), "made outside of the store: {strange:?}");
        no_empty_group_since(&self.before);
    }
}

fn tar() -> Tar {
    Tar::default()
}

#[test]
fn attacks_39_and_40_names_that_lead_out() {
    let trap = Trap::new();
    for name in ["../canary", "a/../../canary", ".."] {
        trap.refuses_layer(tar().file(name, b"x"), &["leaves the root"]);
        trap.refuses_base(&tar().file(name, b"x").end(), &["leaves the root"]);
    }
    trap.refuses_layer(tar().pax("path", b"../../canary").file("x", b"x"), &["leaves the root"]);
    trap.refuses_layer(tar().file("/etc/passwd", b"x"), &["/etc/passwd", "absolute name"]);
    trap.refuses_layer(tar().pax("path", b"/tmp/x").file("x", b"x"), &["absolute name"]);
}

#[test]
fn attack_41_a_symlink_and_a_file_through_it() {
    let trap = Trap::new();
    let outside = trap.house.dir().to_str().expect("UTF-8").to_owned();
    for target in [outside.as_str(), "/", "../../../../../..", "/proc/self/root"] {
        let through = || tar().symlink("link", target).file("link/canary", b"x");
        trap.refuses_layer(through(), &["/link", "symlink"]);
        trap.refuses_base(&through().end(), &["/link", "symlink"]);
    }
}

#[test]
fn attack_42_hard_links_to_what_is_outside() {
    let trap = Trap::new();
    let absolute = trap.house.path("canary").display().to_string();
    trap.refuses_layer(tar().hardlink("x", "../../../canary"), &["/x", "leaves the root"]);
    trap.refuses_layer(tar().hardlink("x", &absolute), &["/x", "absolute name"]);
    trap.refuses_layer(tar().hardlink("x", "canary"), &["/x", "not in the archive before it"]);
    let parent = trap.house.dir().to_str().expect("UTF-8").to_owned();
    let through = || tar().symlink("l", &parent).hardlink("x", "l/canary");
    trap.refuses_layer(through(), &["/x", "symlink"]);
    trap.refuses_base(&through().end(), &["/x"]);
    trap.refuses_base(&tar().hardlink("x", "../../../canary").end(), &["/x", "leaves the root"]);
    trap.refuses_base(&tar().hardlink("x", &absolute).end(), &["/x"]);
}

#[test]
fn attacks_43_and_44_whiteouts_devices_and_unknown_kinds() {
    let trap = Trap::new();
    for name in [".wh.x", ".wh..wh..opq", "d/.wh.."] {
        trap.refuses_layer(tar().file(name, b""), &["whiteout"]);
    }
    for (flag, name) in [(b'3', "null"), (b'4', "sda")] {
        let device = |header: &mut ::tar::Header| {
            header.set_device_major(8).expect("ustar");
            header.set_device_minor(0).expect("ustar");
        };
        trap.refuses_layer(tar().entry(flag, name, "", b"").header(device), &[name, "device node"]);
    }
    trap.refuses_layer(tar().entry(b'Z', "odd", "", b""), &["/odd"]);
}

#[test]
fn attack_45_attributes_that_belong_to_the_host() {
    let trap = Trap::new();
    for name in ["trusted.overlay.opaque", "user.overlay.redirect", "security.selinux", "system.x"] {
        let record = format!("SCHILY.xattr.{name}");
        trap.refuses_layer(tar().pax(&record, b"y").file("x", b""), &["/x", name]);
    }
}

/// A header for a file of `size` bytes and that many zeros, packed as they are made: small, and
/// as large as one wishes.
fn zeros(size: u64) -> Vec<u8> {
    let head = tar().file("zeros", b"").header(|header| header.set_size(size)).0;
    let stream = head.as_slice().chain(std::io::repeat(0).take(size.next_multiple_of(512) + 1024));
    zstd::encode_all(stream, 1).expect("zstd")
}

fn grows(layer: Vec<u8>, declared: Option<u64>) -> Vec<u8> {
    let mut forge = Forge::package(b"");
    forge.layers = vec![layer];
    match declared {
        Some(size) => forge.labels["io.tsuboniwa.size"] = json!(size.to_string()),
        None => _ = forge.labels.as_object_mut().expect("an object").remove("io.tsuboniwa.size"),
    }
    forge.bytes()
}

#[test]
fn attack_46_a_layer_that_grows_is_refused_early() {
    let trap = Trap::new();
    let small = zeros(64 << 20);
    trap.refuses(&grows(small.clone(), Some(1 << 20)), &["more than the 1048576 bytes"]);
    trap.refuses(&grows(small, Some(100 << 30)), &["declares 107374182400 bytes"]);
    let large = zeros(600 << 20);
    trap.refuses(&grows(large.clone(), None), &["more than the 268435456 bytes"]);
    trap.refuses_base(&large, &["unpacks to more than"]);
    // Looking at it is as safe as installing it.
    one_clear_error(&trap.house.fails_elsewhere(125, ["contents", "./x.tsubo"]), &["./x.tsubo"]);
}

#[test]
fn attack_46_what_is_refused_took_neither_memory_nor_disk() {
    let trap = Trap::new();
    std::fs::write(trap.house.path("x.tsubo"), grows(zeros(600 << 20), None)).expect("write");
    // The address space of a process that unpacks 256 MiB at most, in pieces, and a disk of its own
    // that holds less than that.
    let script = "mount -t tmpfs -o size=300M bomb $S && ulimit -v 700000 && $TSUBO --root $S/r install ./x.tsubo; \
                  c=$?; du -s $S | cut -f1; exit $c";
    let at = trap.house.path("src");
    let mut unshare = std::process::Command::new("unshare");
    unshare.args(["-m", "sh", "-c", script]).current_dir(trap.house.dir()).env("S", at);
    let output = unshare.env("TSUBO", env!("CARGO_BIN_EXE_tsubo")).output().expect("unshare");
    let complaint = String::from_utf8_lossy(&output.stderr);
    one_clear_error(&complaint, &["more than the 268435456 bytes"]);
    let kept: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a size");
    assert!(output.status.code() == Some(125) && kept < 1024, "{kept} KiB are left");
}

#[test]
fn attack_47_lies_about_sizes_and_names_that_are_too_long() {
    let trap = Trap::new();
    let negative = |header: &mut ::tar::Header| header.as_old_mut().size = [0xff; 12];
    trap.refuses_layer(tar().file("x", b"").header(negative), &["/x", "invalid size"]);
    let huge = |header: &mut ::tar::Header| header.set_size(1 << 62);
    trap.refuses_layer(tar().file("x", b"").header(huge), &["/x", "truncated"]);
    trap.refuses_base(&tar().file("x", b"").header(huge).end(), &[]);
    trap.refuses_layer(tar().pax("size", b"99999999999999999999999").file("x", b""), &["/x", "invalid size"]);
    trap.refuses_layer(tar().pax("GNU.sparse.realsize", b"100000000000").file("x", b""), &["/x", "sparsely"]);
    let long = "a/".repeat(2048) + "b";
    trap.refuses_layer(tar().pax("path", long.as_bytes()).file("x", b""), &["longer than any path"]);
    trap.refuses_layer(tar().pax("path", &[b'a'; 256]).file("x", b""), &["longer than 255"]);
    trap.refuses_layer(tar().pax("path", b"a\0b").file("x", b""), &["NUL"]);
    trap.refuses_layer(tar().pax("path", b"a\x1b[31mb").file("x", b"").file("/y", b""), &["absolute name"]);
}

#[test]
fn attack_48_wrong_digests_and_truncation() {
    let trap = Trap::new();
    let layer = tar().file("x", b"x").end();
    let mut files = Forge::package(&layer).files();
    files[1].1 = Forge::package(&tar().file("x", b"y").end()).layers[0].clone();
    let swapped = files.into_iter().fold(tar(), |tar, (name, bytes)| tar.file(&name, &bytes)).end();
    trap.refuses(&swapped, &["the layer is damaged"]);
    let mut forge = Forge::package(&layer);
    forge.diff_ids = vec![format!("sha256:{}", "0".repeat(64))];
    trap.refuses(&forge.bytes(), &["the unpacked layer is damaged"]);
    for digest in ["sha256:../../../../canary", "sha256:", "md5:d41d8cd98f00b204e9800998ecf8427e"] {
        let mut forge = Forge::package(&layer);
        forge.manifest = Box::new(move |manifest| manifest["layers"][0]["digest"] = json!(digest));
        trap.refuses(&forge.bytes(), &["digest"]);
    }
    let mut forge = Forge::package(&layer);
    forge.manifest = Box::new(|manifest| manifest["layers"][0]["size"] = json!(7));
    trap.refuses(&forge.bytes(), &["bytes, but should have 7"]);
    let whole = Forge::package(&layer).bytes();
    for length in [0, 1, 511, 512, 700, whole.len() / 3, whole.len() / 2, whole.len() - 2000] {
        trap.refuses(&whole[..length], &[]);
    }
    let cut = tar().file("x", b"content").0;
    trap.refuses(&Forge::package(&cut[..515]).bytes(), &["truncated"]);
    trap.refuses(&Forge::package(&cut).bytes(), &["truncated: it has no end mark"]);
    trap.refuses_base(&cut[..515], &["truncated"]);
}

#[test]
fn attack_49_ambiguous_manifests_and_json_bombs() {
    let trap = Trap::new();
    let layer = tar().file("x", b"x").end();
    let changed_index = |change: fn(&mut Value)| {
        let mut forge = Forge::package(&layer);
        forge.index = Box::new(change);
        forge.bytes()
    };
    let changed_manifest = |change: fn(&mut Value)| {
        let mut forge = Forge::package(&layer);
        forge.manifest = Box::new(change);
        forge.bytes()
    };
    let twice = |index: &mut Value| {
        let first = index["manifests"][0].clone();
        index["manifests"] = json!([first, first]);
    };
    trap.refuses(&changed_index(twice), &["has 2"]);
    trap.refuses(&changed_index(|index| index["manifests"] = json!([])), &["has 0"]);
    trap.refuses(&changed_index(|index| index["layers"] = json!([])), &["ambiguous"]);
    trap.refuses(&changed_manifest(|manifest| manifest["manifests"] = json!([])), &["ambiguous"]);
    let many = |manifest: &mut Value| {
        let layer = manifest["layers"][0].clone();
        manifest["layers"] = json!(vec![layer; 10_000]);
    };
    trap.refuses(&changed_manifest(many), &["has 10000"]);
    let mut forge = Forge::package(&layer);
    forge.extra.push(("index.json".to_owned(), b"{}".to_vec()));
    trap.refuses(&forge.bytes(), &["index.json is in the archive twice"]);
    let mut forge = Forge::package(&layer);
    forge.labels["io.tsuboniwa.spec"] = json!("[".repeat(100_000));
    trap.refuses(&forge.bytes(), &["spec is not valid"]);
    forge.labels = json!({});
    trap.refuses(&forge.bytes(), &["not a package"]);
    let index = |bytes: Vec<u8>| {
        let files = Forge::package(&layer).files().into_iter();
        let files =
            files.map(|(name, old)| if name == "index.json" { (name, bytes.clone()) } else { (name, old) });
        files.fold(tar(), |tar, (name, bytes)| tar.file(&name, &bytes)).end()
    };
    trap.refuses(&index(b"[".repeat(1 << 20)), &["index.json is not valid"]);
    trap.refuses(&index(vec![b' '; 20 << 20]), &["index.json is larger"]);
    trap.refuses(&index(br#"{"schemaVersion":2,"schemaVersion":2,"manifests":[]}"#.to_vec()), &["duplicate"]);
}

#[test]
fn attack_50_an_entry_that_comes_twice() {
    let trap = Trap::new();
    trap.refuses_layer(tar().file("a", b"x").file("a", b"y"), &["/a", "twice"]);
    trap.refuses_layer(tar().file("a", b"x").dir("a/"), &["/a", "twice"]);
    trap.refuses_layer(tar().file("a", b"x").file("a/b", b"y"), &["/a"]);
    trap.refuses_layer(tar().dir("a/").symlink("a", "/tmp").file("a/b", b"x"), &["/a", "twice"]);
}

#[test]
fn attack_51_a_fifo_as_passwd_neither_blocks_nor_names_anybody() {
    if !have(&["busybox"]) {
        return;
    }
    let trap = Trap::new();
    let layer =
        busybox(|tar| places(tar).entry(b'6', "etc/passwd", "", b"").entry(b'6', "etc/group", "", b""));
    std::fs::write(trap.house.path("x.tsubo"), speaks(&layer, json!({}))).expect("write");
    trap.house.ok_elsewhere(["install", "./x.tsubo"]);
    let before = everything(&trap.house.elsewhere());
    for user in ["name", "root", "root:root", "0:wheel"] {
        let args = ["run", "--rm", "-u", user, "web"];
        one_clear_error(&trap.house.fails_elsewhere(125, args), &["/etc/"]);
    }
    assert_eq!(before, everything(&trap.house.elsewhere()), "left behind");
    // Numbers need no file.
    let script = "while read key id rest; do if [ $key = Uid: ]; then echo $id; fi; done < /proc/self/status";
    let args = ["run", "--rm", "-u", "7:8", "web", "/bin/sh", "-c", script];
    assert_eq!(trap.house.ok_elsewhere(args), "7\n");
    trap.unharmed();
}

#[test]
fn attack_5_proc_sys_and_dev_as_symlinks_start_nothing() {
    if !have(&["busybox"]) {
        return;
    }
    let trap = Trap::new();
    let outside = trap.house.dir().to_str().expect("UTF-8").to_owned();
    for name in ["proc", "sys", "dev"] {
        for target in [outside.as_str(), "/tmp", "etc", ".."] {
            let all = ["proc/", "sys/", "dev/", "etc/", "tmp/"];
            let rest = all.iter().filter(|dir| dir.trim_end_matches('/') != name);
            let layer = busybox(|tar| rest.fold(tar, |tar, dir| tar.dir(dir)).symlink(name, target));
            std::fs::write(trap.house.path("x.tsubo"), speaks(&layer, json!({}))).expect("write");
            let complaint = trap.house.fails_elsewhere(125, ["run", "--rm", "--name", "x", "./x.tsubo"]);
            one_clear_error(&complaint, &[&format!("/{name}")]);
            assert_eq!(trap.house.json_elsewhere(["ps", "-a", "--format", "json"]), json!([]));
            trap.house.ok_elsewhere(["rmi", "web"]);
            trap.unharmed();
        }
    }
}

#[test]
fn attack_4_a_place_of_the_image_that_is_a_symlink_leads_nowhere_on_the_host() {
    if !have(&["busybox"]) {
        return;
    }
    let trap = Trap::new();
    let outside = trap.house.dir().to_str().expect("UTF-8").to_owned();
    let dirs = |tar: Tar| ["proc/", "sys/", "dev/", "tmp/"].iter().fold(tar, |tar, name| tar.dir(name));
    // The directory of the host's own files, and one that is to be written, lie behind links out.
    let layer = busybox(|tar| dirs(tar).symlink("etc", &outside).symlink("srv", &outside));
    let spec = json!({
        "host_files": ["/etc/hosts"], "writable": ["/srv"],
        "command": ["/bin/sh", "-c", "echo mine > /srv/canary; echo mine > /etc/canary; echo it ran"],
    });
    std::fs::write(trap.house.path("x.tsubo"), speaks(&layer, spec)).expect("write");
    for options in [&[][..], &["--writable"]] {
        let args = ["run", "--rm", "--name", "x"].iter().chain(options).chain(&["./x.tsubo"]);
        let output = trap.house.command_elsewhere(args).output().expect("run");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(!complaint.contains("panicked"), "{complaint}");
        assert!(matches!(output.status.code(), Some(0 | 125)), "{}: {complaint}", output.status);
        trap.unharmed();
    }
}

#[test]
fn labels_that_ask_for_what_no_package_may_have() {
    if !have(&["busybox"]) {
        return;
    }
    let trap = Trap::new();
    let layer = busybox(places);
    let user =
        |uid: u64, gid: u64, groups: &[u64]| json!({"user": {"uid": uid, "gid": gid, "groups": groups}});
    let many: Vec<String> = (0..1001).map(|number| format!("/d{number}")).collect();
    let hostile = [
        json!({"version": "1"}),
        json!({"name": "../x"}),
        json!({"name": ""}),
        json!({"name": "a\u{1b}[31m"}),
        json!({"command": "sh"}),
        json!({"command": ["/bin/sh\0x"]}),
        json!({"cwd": "/a/../b"}),
        json!({"cwd": "tmp"}),
        json!({"env": {"A=B": "c"}}),
        json!({"env": {"": "c"}}),
        json!({"env": {"A": "\0"}}),
        json!({"writable": ["/"]}),
        json!({"writable": ["/proc"]}),
        json!({"writable": ["/proc/sys/kernel"]}),
        json!({"writable": ["/sys/fs/cgroup"]}),
        json!({"writable": ["/dev"]}),
        json!({"writable": ["../../etc"]}),
        json!({"writable": many}),
        json!({"volumes": ["/"]}),
        json!({"volumes": ["/dev/x"]}),
        json!({"volumes": ["/proc/1"]}),
        json!({"stop_signal": 0}),
        json!({"stop_signal": -9}),
        json!({"stop_signal": 9999}),
        json!({"ready": "tcp:99999"}),
        json!({"ports": [{"port": 99999, "protocol": "tcp"}]}),
        user(4_294_967_295, 0, &[]),
        user(4_294_967_296, 0, &[]),
        user(0, 4_294_967_295, &[]),
        user(0, 0, &[4_294_967_295]),
    ];
    for change in hostile {
        // What a failure of the next line is about.
        println!("{}", change.to_string().get(..80).unwrap_or("short"));
        trap.refuses(&speaks(&layer, change), &[]);
    }
}

#[test]
fn labels_that_ask_for_files_of_the_host_get_none() {
    if !have(&["busybox"]) {
        return;
    }
    let trap = Trap::new();
    let layer = busybox(|tar| places(tar).file("etc/shadow", b"of the image\n").file("etc/hosts", b""));
    let canary = trap.house.path("canary").display().to_string();
    for file in ["/etc/shadow", "/root/.ssh/id_ed25519", &canary, "/etc/hosts/../shadow"] {
        let spec = json!({"host_files": [file], "command": ["/bin/cat", "/etc/shadow", file]});
        std::fs::write(trap.house.path("x.tsubo"), speaks(&layer, spec)).expect("write");
        let output = trap.house.command_elsewhere(["run", "--rm", "./x.tsubo"]).output().expect("run");
        let (said, complaint) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!said.contains("alive") && !said.contains("root:"), "{file}: {said}");
        assert!(!complaint.contains("panicked"), "{complaint}");
        trap.unharmed();
    }
}

#[test]
fn attack_7_a_working_directory_behind_a_descriptor_is_refused() {
    if !have(&["busybox"]) {
        return;
    }
    let trap = Trap::new();
    for cwd in ["/proc/self/fd/3", "/proc/self/fd/7", "/proc/1/root", "/leak"] {
        let layer = busybox(|tar| places(tar).symlink("leak", "/proc/self/fd/7"));
        let spec = json!({"cwd": cwd, "command": ["/bin/sh", "-c", "pwd; ls -la ."]});
        std::fs::write(trap.house.path("x.tsubo"), speaks(&layer, spec)).expect("write");
        let complaint = trap.house.fails_elsewhere(125, ["run", "--rm", "--name", "x", "./x.tsubo"]);
        one_clear_error(&complaint, &[cwd]);
        assert_eq!(trap.house.json_elsewhere(["ps", "-a", "--format", "json"]), json!([]));
        trap.unharmed();
    }
}

#[test]
fn labels_that_ask_for_more_isolation_of_their_own_are_not_believed() {
    if !have(&["busybox"]) {
        return;
    }
    let trap = Trap::new();
    let layer = busybox(places);
    let (canary, mounts) = (trap.house.path("canary").display().to_string(), "mounts");
    let hostile = [
        json!({"extends": "bare"}),
        json!({"extends": "host-debug"}),
        json!({"extends": "../../../etc/passwd"}),
        json!({"namespaces": {"pid": "host"}}),
        json!({"namespaces": {"mount": "host"}}),
        json!({"namespaces": {"net": "/proc/1/ns/net"}}),
        json!({"namespaces": {"ipc": "container:db"}}),
        json!({"root": "none"}),
        json!({"root": "chroot"}),
        json!({mounts: [{"source": canary, "at": "/srv"}]}),
        json!({mounts: [{"type": "proc", "at": "/srv"}]}),
        json!({mounts: [{"type": "sys", "at": "/srv", "options": ["rw"]}]}),
        json!({mounts: [{"type": "cgroup", "at": "/srv", "options": ["rw"]}]}),
        json!({mounts: [{"type": "tmpfs", "at": "/proc"}]}),
        json!({mounts: [{"type": "tmpfs", "at": "/"}]}),
        json!({"devices": ["/dev/sda"]}),
        json!({"capabilities": {"add": ["SYS_ADMIN"]}}),
        json!({"capabilities": {"only": ["ALL"]}}),
        json!({"capabilities": {"inheritable": ["SYS_PTRACE"]}}),
        json!({"seccomp": "none"}),
        json!({"seccomp": "/etc/passwd"}),
        json!({"masked": []}),
        json!({"read_only": []}),
        json!({"users": ["0:0:65536"]}),
        json!({"groups": ["0:0:65536"]}),
        json!({"apparmor": "unconfined"}),
        json!({"oom_score_adj": -1000}),
        json!({"nice": -20}),
        json!({"scheduler": "rr:99"}),
        json!({"io_priority": "real-time:0"}),
        json!({"rlimits": {"core": "unlimited"}}),
        json!({"rlimits": {"rtprio": "99"}}),
        json!({"sysctls": {"kernel.core_pattern": "|/evil"}}),
        json!({"sysctls": {"net/../kernel.core_pattern": "|/evil"}}),
        json!({"sysctls": {"kernel.shmmax": "1\n2"}}),
        json!({"cgroup": false}),
        json!({"stop_signal": 0}),
    ];
    for isolation in hostile {
        // What a failure of the next lines is about.
        println!("{isolation}");
        let package = speaks(&layer, json!({"isolation": isolation}));
        std::fs::write(trap.house.path("x.tsubo"), package).expect("write");
        one_clear_error(&trap.house.fails_elsewhere(125, ["run", "--rm", "--name", "x", "./x.tsubo"]), &[]);
        assert_eq!(trap.house.json_elsewhere(["ps", "-a", "--format", "json"]), json!([]));
        trap.unharmed();
    }
}

#[test]
fn labels_that_claim_to_need_every_system_call_get_what_any_container_has() {
    if !have(&["busybox"]) {
        return;
    }
    let trap = Trap::new();
    let layer = busybox(places);
    let refused =
        |policy: Value| trap.refuses(&speaks(&layer, json!({"policy": policy})), &["policy", "web"]);
    refused(json!({"syscalls": [], "capabilities": ["CAP_SYS_ADMIN"], "groups_seen": false}));
    let package = |policy: Value| speaks(&layer, json!({"policy": policy}));
    for policy in [
        json!({"syscalls": ["no such call"], "capabilities": [], "groups_seen": false}),
        json!({"syscalls": ["a\0b"], "capabilities": [], "groups_seen": false}),
        json!({"syscalls": [], "capabilities": ["CAP_EVERYTHING"], "groups_seen": false}),
    ] {
        trap.refuses(&package(policy), &[]);
    }
    let calls = "read write close mmap mprotect munmap brk rt_sigaction rt_sigprocmask ioctl execve exit_group wait4 clone \
                 fork vfork stat fstat openat open dup2 unshare setns mount umount2 pivot_root bpf keyctl add_key \
                 io_uring_setup userfaultfd ptrace open_by_handle_at kexec_load init_module perf_event_open";
    let calls: Vec<&str> = calls.split_whitespace().collect();
    let policy = json!({"syscalls": calls, "capabilities": [], "groups_seen": true});
    std::fs::write(trap.house.path("x.tsubo"), package(policy)).expect("write");
    let attempts = "busybox unshare -U true 2>/dev/null && echo unshared; busybox unshare -m true 2>/dev/null && echo unshared; \
                    busybox mount -t tmpfs x /tmp 2>/dev/null && echo mounted; echo tried";
    let run = ["run", "--rm", "./x.tsubo", "/bin/sh", "-c", attempts];
    assert_eq!(trap.house.ok_elsewhere(run), "tried\n");
}
