//! What a test sees.

use serde_json::Value;

use crate::support::base::{compile, small};
use crate::support::{House, have};

const USES: &str = r#"
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
int main(void) {
    struct stat st; char text[100]; DIR *dir;
    stat("/srv/u/stat", &st);
    lstat("/srv/u/lstat", &st);
    access("/srv/u/access", R_OK);
    readlink("/srv/u/readlink", text, sizeof text);
    open("/srv/u/path", O_PATH);
    getxattr("/srv/u/xattr", "user.none", text, sizeof text);
    dir = opendir("/srv/u/listed"); while (readdir(dir));
    open("/srv/u/missing", O_RDONLY);
    stat("/srv/u/missing-stat", &st);
    int at = open("/srv/u/relative", O_PATH | O_DIRECTORY);
    openat(at, "opened", O_RDONLY);
    fstatat(at, "../relative/looked", &st, 0);
    open("/srv/u/link", O_RDONLY);
    chdir("/srv/u/entered");
    open("here", O_RDONLY);
    return 0;
}
"#;

fn used<'a>(observation: &'a Value, path: &str) -> Vec<&'a str> {
    let how = observation["paths"][path]["how"].as_array();
    how.unwrap_or_else(|| panic!("{path} was not seen")).iter().filter_map(Value::as_str).collect()
}

#[test]
fn every_way_of_using_a_path_is_recorded() {
    if !have(&["gcc"]) {
        return;
    }
    let house = House::new();
    compile(&house, "uses", USES, &["-static"]);
    let script = "cp /src/uses /srv; mkdir -p /srv/u/listed /srv/u/relative /srv/u/entered; cd /srv/u
        for name in stat lstat access path xattr target relative/opened relative/looked entered/here; do echo $name > $name; done
        ln -s target readlink; ln -s target link";
    house.dev("app", &small(&house), script);
    house.test_job("app", &["/srv/uses"]);
    let seen = house.json(["observation", "show", "app", "--format", "json"]);
    let expected = [
        ("/srv/uses", "executed"),
        ("/srv/u/stat", "looked-at"),
        ("/srv/u/lstat", "looked-at"),
        ("/srv/u/access", "looked-at"),
        ("/srv/u/readlink", "followed"),
        ("/srv/u/path", "looked-at"),
        ("/srv/u/xattr", "looked-at"),
        ("/srv/u/listed", "listed"),
        ("/srv/u/missing", "missing"),
        ("/srv/u/missing-stat", "missing"),
        ("/srv/u/relative/opened", "opened"),
        ("/srv/u/relative/looked", "looked-at"),
        ("/srv/u/link", "followed"),
        ("/srv/u/target", "opened"),
        ("/srv/u/entered", "entered"),
        ("/srv/u/entered/here", "opened"),
    ];
    for (path, how) in expected {
        let used = used(&seen, path);
        assert!(used.contains(&how), "{path}: {used:?}");
    }
    assert_eq!(seen["paths"]["/srv/u/relative/opened"]["by"][0], "/srv/uses");
    let file = house.pack("app", "exact");
    let tree = house.install("app", &file);
    for (path, how) in expected {
        let there = tree.join(&path[1..]).symlink_metadata().is_ok();
        assert_eq!(there, how != "missing", "{path}");
    }
}

const BURST: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
    char path[100], byte; int count = 0;
    for (int i = 0; i < 20000; i++) {
        sprintf(path, "/srv/many/%d/%d", i % 20, i);
        int file = open(path, O_RDONLY);
        if (file >= 0 && read(file, &byte, 1) == 1) count++;
        close(file);
    }
    printf("%d\n", count);
    return count != 20000;
}
"#;

#[test]
fn of_twenty_thousand_files_opened_in_a_burst_none_is_lost() {
    if !have(&["gcc"]) {
        return;
    }
    let house = House::new();
    compile(&house, "burst", BURST, &["-static"]);
    let base = small(&house);
    for number in 0..20_000 {
        let dir = base.join(format!("srv/many/{}", number % 20));
        if number < 20 {
            std::fs::create_dir_all(&dir).expect("mkdir");
        }
        std::fs::write(dir.join(number.to_string()), number.to_string()).expect("write");
    }
    house.dev("app", &base, "cp /src/burst /srv");
    house.test_job("app", &["/srv/burst"]);
    let file = house.pack("app", "exact");
    assert_eq!(house.contents(&file)["files"], 20_001);
    assert_eq!(house.run(&file, &[]), "20000\n");
}

const URING: &str = r#"
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) { char params[200] = {0}; syscall(425, 4, params); printf("io_uring_setup: %d\n", errno); return errno != 38; }
"#;

#[test]
fn io_uring_is_not_there_while_watching() {
    if !have(&["gcc"]) {
        return;
    }
    let house = House::new();
    compile(&house, "uring", URING, &["-static"]);
    house.dev("app", &small(&house), "cp /src/uring /srv");
    // The program itself fails if the answer is another one.
    house.test_job("app", &["/srv/uring"]);
}

#[test]
fn what_a_test_writes_never_ships() {
    let house = House::new();
    let base = small(&house);
    std::fs::write(base.join("srv/config"), "as it was\n").expect("write");
    std::fs::write(base.join("srv/going"), "still here\n").expect("write");
    let script = "cat /srv/config /srv/going; echo secret > /srv/token; echo secret >> /srv/config; rm /srv/going; mv /srv/token /srv/token2";
    let files = house.everywhere(&base, "true", &[], &["/bin/sh", "-c", script], "as it was\nstill here\n");
    let seen = house.json(["observation", "show", "app", "--format", "json"]);
    assert_eq!(seen["written"]["/srv/token2"]["what"], "created", "{:#}", seen["written"]);
    assert_eq!(seen["written"]["/srv/config"]["what"], "changed");
    assert_eq!(seen["written"]["/srv/going"]["what"], "removed");
    for file in files {
        let tree = house.install("app", &file);
        assert_eq!(std::fs::read_to_string(tree.join("srv/config")).expect("config"), "as it was\n");
        assert_eq!(std::fs::read_to_string(tree.join("srv/going")).expect("going"), "still here\n");
        assert!(!tree.join("srv/token").exists() && !tree.join("srv/token2").exists());
        house.ok_elsewhere(["rmi", "app"]);
    }
    // The development container is as it was, too.
    assert_eq!(house.ok(["dev", "app", "--", "cat", "/srv/config"]), "as it was\n");
}

#[test]
fn tests_add_up_and_observations_compare_and_merge() {
    let house = House::new();
    let base = small(&house);
    for name in ["one", "two"] {
        std::fs::write(base.join("srv").join(name), name).expect("write");
    }
    house.dev("app", &base, "true");
    house.ok(["test", "app", "-o", "first.obs", "--", "cat", "/srv/one"]);
    house.ok(["test", "app", "--fresh", "-o", "second.obs", "--", "cat", "/srv/two"]);
    let diff = house.json(["observation", "diff", "./first.obs", "./second.obs", "--format", "json"]);
    assert_eq!(diff["only_old"][0], "/srv/one");
    assert_eq!(diff["only_new"][0], "/srv/two");
    house.ok(["observation", "merge", "./first.obs", "./second.obs", "-o", "both.obs"]);
    let both = house.json(["observation", "show", "./both.obs", "--format", "json"]);
    assert_eq!(both["runs"].as_array().map(Vec::len), Some(2));
    assert!(both["paths"]["/srv/one"].is_object() && both["paths"]["/srv/two"].is_object());

    house.ok(["test", "app", "--", "cat", "/srv/one"]);
    let file = house.pack("app", "exact");
    assert_eq!(house.run(&file, &[]), "one", "the last test's command is the package's");
    assert_eq!(house.run(&file, &["cat", "/srv/two"]), "two");
    // The replay runs both: without the first test's file it fails.
    let complaint = house.fails(1, ["pack", "app", "--closure", "exact", "--drop", "/srv/two"]);
    assert!(complaint.contains("/srv/two"), "{complaint}");
}
