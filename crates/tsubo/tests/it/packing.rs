//! Packing: what is kept, what is refused, and how a replay that fails explains itself.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::base::small;
use crate::support::{House, mode};

/// A small base with `one` and `two` in /srv, tested with `cat /srv/one`.
fn tested(house: &House) -> PathBuf {
    let base = small(house);
    for name in ["one", "two"] {
        std::fs::write(base.join("srv").join(name), format!("{name}\n")).expect("write");
    }
    house.dev("app", &base, "true");
    house.test_job("app", &["cat", "/srv/one"]);
    base
}

#[test]
fn keep_and_drop_are_obeyed() {
    let house = House::new();
    tested(&house);
    let file = house.pack_with("app", "exact", &["--keep", "/srv/tw*", "--keep", "/usr/bin/ls"]);
    let kept = &house.contents(&file)["kept"];
    assert_eq!(kept["/srv/two"]["reason"], "asked");
    assert_eq!(house.run(&file, &["ls", "/srv"]), "one\ntwo\n");
    let file = house.pack_with("app", "package", &["--drop", "/srv/two"]);
    assert!(house.contents(&file)["kept"]["/srv/two"].is_null());
}

#[test]
fn a_replay_that_fails_names_the_cut_path_and_leaves_no_package() {
    let house = House::new();
    tested(&house);
    let complaint = house.fails(1, ["pack", "app", "--drop", "/srv/one", "-o", "bad.tsubo"]);
    assert!(complaint.contains("replay") && complaint.contains("/srv/one"), "{complaint}");
    assert!(!house.path("bad.tsubo").exists());
    let names: Vec<_> =
        std::fs::read_dir(house.dir()).expect("readdir").flatten().map(|e| e.file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains(".tsubo")), "{names:?}");
    assert!(!house.here().join("dev/app/pack").exists());
}

#[test]
fn repair_adds_what_the_replay_missed() {
    let house = House::new();
    tested(&house);
    // As if the instruments had not seen it.
    let file = house.here().join("dev/app/observation.json");
    let mut seen: Value = serde_json::from_slice(&std::fs::read(&file).expect("read")).expect("JSON");
    seen["paths"].as_object_mut().expect("paths").remove("/srv/one").expect("was seen");
    std::fs::write(&file, seen.to_string()).expect("write");
    let complaint = house.fails(1, ["pack", "app", "--closure", "exact", "-o", "x.tsubo"]);
    assert!(complaint.contains("/srv/one") && complaint.contains("--repair"), "{complaint}");
    let package = house.pack_with("app", "exact", &["--repair"]);
    assert_eq!(house.contents(&package)["kept"]["/srv/one"]["reason"], "repaired");
    assert_eq!(house.run(&package, &[]), "one\n");
}

#[test]
fn what_changed_after_the_test_must_be_tested_again() {
    let house = House::new();
    tested(&house);
    house.ok(["dev", "app", "--", "/bin/sh", "-c", "echo other > /srv/two"]);
    house.pack("app", "exact");
    house.ok(["dev", "app", "--", "/bin/sh", "-c", "echo changed > /srv/one"]);
    let complaint = house.fails(125, ["pack", "app", "-o", "x.tsubo"]);
    assert!(complaint.contains("/srv/one") && complaint.contains("test"), "{complaint}");
    assert!(!house.path("x.tsubo").exists());
    house.ok(["test", "app", "--fresh", "--", "cat", "/srv/one"]);
    assert_eq!(house.run(&house.pack("app", "exact"), &[]), "changed\n");
}

#[test]
fn what_changed_in_the_base_below_is_noticed_too() {
    let house = House::new();
    let base = tested(&house);
    std::fs::write(base.join("srv/one"), "another text of the host\n").expect("write");
    let complaint = house.fails(125, ["pack", "app", "-o", "x.tsubo"]);
    assert!(complaint.contains("/srv/one"), "{complaint}");
}

#[test]
fn tools_of_an_exercise_inside_ship() {
    let house = House::new();
    let base = small(&house);
    std::fs::write(base.join("srv/text"), "a\nb\n").expect("write");
    house.dev("app", &base, "true");
    let service = ["--", "/bin/sh", "-c", "echo up; exec sleep 1000"];
    let inside = ["test", "app", "--ready", "log:^up$", "--inside", "test $(wc -l < /srv/text) = 2"];
    house.ok(inside.iter().chain(&service));
    let file = house.pack("app", "exact");
    let kept = &house.contents(&file)["kept"];
    assert!(kept["/usr/bin/wc"].is_object() && kept["/srv/text"].is_object(), "{kept:#}");
    assert!(kept["/usr/bin/ls"].is_null());
    let failing = ["test", "app", "--ready", "log:^up$", "--inside", "echo so sad; exit 5"];
    let complaint = house.fails(1, failing.iter().chain(&service));
    assert!(complaint.contains("code 5") && complaint.contains("so sad"), "{complaint}");
}

#[test]
fn what_an_exercise_inside_leaves_running_is_served_and_watched_on() {
    let house = House::new();
    let base = small(&house);
    for name in ["looked", "read"] {
        std::fs::write(base.join("srv").join(name), "x\n").expect("write");
    }
    house.dev("app", &base, "true");
    let service = ["--", "/bin/sh", "-c", "echo up; exec sleep 1000"];
    let later = "(sleep 0.5; test -e /srv/looked && exec cat /srv/read) > /dev/null 2>&1 & sleep 0.1";
    let inside = ["test", "app", "--ready", "log:^up$", "--inside", later, "--inside", "sleep 1"];
    house.ok(inside.iter().chain(&service));
    let file = house.pack("app", "exact");
    let kept = &house.contents(&file)["kept"];
    assert!(kept["/srv/looked"].is_object() && kept["/srv/read"].is_object(), "{kept:#}");
}

#[test]
fn directories_that_were_written_are_fresh_with_their_owner_and_mode() {
    let house = House::new();
    let base = small(&house);
    let data = base.join("srv/data");
    std::fs::create_dir(&data).expect("mkdir");
    std::fs::write(data.join("seed"), "seed\n").expect("write");
    chown(&data, Some(1234), Some(4321)).expect("chown");
    mode(&data, 0o2750);
    house.dev("app", &base, "true");
    let script = "cat /srv/data/seed; echo new > /srv/data/new; stat -c '%u %g %a' /srv/data; \
                  (echo no > /srv/x) 2>/dev/null || echo refused";
    house.ok(["test", "app", "--user", "ann", "--", "/bin/sh", "-c", script]);
    for closure in ["exact", "package"] {
        let file = house.pack("app", closure);
        let spec = &house.contents(&file)["spec"];
        assert_eq!(spec["writable"], serde_json::json!(["/srv/data"]));
        for _ in 0..2 {
            assert_eq!(house.run(&file, &[]), "seed\n1234 4321 2750\nrefused\n");
        }
        let tried =
            house.fails_elsewhere(2, ["run", "--rm", "--user", "0", "app", "/bin/sh", "-c", "echo > /srv/x"]);
        assert!(tried.contains("Read-only file system"), "{tried}");
        let tree = house.tree("app").join("srv/data");
        assert_eq!(std::fs::metadata(&tree).expect("stat").uid(), 1234);
        assert!(!tree.join("new").exists(), "a run wrote into the image");
        house.ok_elsewhere(["rmi", "app"]);
    }
}

#[test]
fn a_service_that_writes_into_the_root_gets_a_writable_root() {
    let house = House::new();
    let command = ["/bin/sh", "-c", "echo x > /marker; cat /marker"];
    let files = house.everywhere(&small(&house), "true", &[], &command, "x\n");
    assert_eq!(house.contents(&files[0])["spec"]["writable_root"], true);
    let tree = house.install("app", &files[0]);
    house.ok_elsewhere(["run", "--rm", "app"]);
    assert!(!tree.join("marker").exists());
}

#[test]
fn no_service_can_mount_neither_watched_nor_in_production() {
    let house = House::new();
    let base = small(&house);
    let script = "mount --bind /srv /root 2>/dev/null || echo refused";
    let files = house.everywhere(&base, "true", &[], &["/bin/sh", "-c", script], "refused\n");
    assert!(Path::new(&files[0]).exists());
}
