//! What an inode holds goes through a package unchanged.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::Path;

use crate::support::base::{compile, small};
use crate::support::{House, have, mode, shell};

#[test]
fn prog_beside_prog_11_are_two_things() {
    let house = House::new();
    let base = small(&house);
    for (name, says) in [("prog", "plain"), ("prog.11", "eleven"), ("prog.1", "one")] {
        let path = base.join("srv").join(name);
        std::fs::write(&path, format!("#!/bin/sh\necho {says}\n")).expect("write");
        mode(&path, 0o755);
    }
    let files = house.everywhere(&base, "true", &[], &["/srv/prog"], "plain\n");
    let kept = &house.contents(&files[0])["kept"];
    assert!(kept["/srv/prog"].is_object() && kept["/srv/prog.11"].is_null(), "{kept:#}");
    house.ok(["test", "app", "--fresh", "--", "/srv/prog.11"]);
    let kept = &house.contents(&house.pack("app", "exact"))["kept"];
    assert!(kept["/srv/prog.11"].is_object() && kept["/srv/prog"].is_null(), "{kept:#}");
    assert!(kept["/srv/prog.1"].is_null());
}

#[test]
fn an_empty_directory_that_is_listed_is_there() {
    let house = House::new();
    let base = small(&house);
    std::fs::create_dir_all(base.join("srv/data/empty")).expect("mkdir");
    let command = ["/bin/sh", "-c", "cd /srv/data/empty && ls -A && echo listed"];
    let files = house.everywhere(&base, "true", &[], &command, "listed\n");
    let tree = house.install("app", &files[0]);
    assert!(tree.join("srv/data/empty").is_dir());
}

#[test]
fn hard_links_stay_one_file_and_equal_files_stay_two() {
    let house = House::new();
    let base = small(&house);
    for name in ["a", "equal"] {
        std::fs::write(base.join("srv").join(name), "same content").expect("write");
    }
    std::fs::hard_link(base.join("srv/a"), base.join("srv/b")).expect("link");
    let script = "cat /srv/a /srv/b /srv/equal >/dev/null; [ /srv/a -ef /srv/b ] && echo one; [ /srv/a -ef /srv/equal ] || echo other";
    let files = house.everywhere(&base, "true", &[], &["/bin/sh", "-c", script], "one\nother\n");
    let tree = house.install("app", &files[0]);
    let inode = |name: &str| std::fs::metadata(tree.join("srv").join(name)).expect("stat").ino();
    assert_eq!(inode("a"), inode("b"));
    assert_ne!(inode("a"), inode("equal"));
}

const WHO: &str = r#"
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(void) {
    char line[200]; FILE *status = fopen("/proc/self/status", "r");
    printf("euid %d ", geteuid());
    while (fgets(line, sizeof line, status)) if (!strncmp(line, "CapEff", 6)) printf("%s", line);
    return 0;
}
"#;

#[test]
fn a_set_uid_program_gains_its_privilege_in_the_container() {
    if !have(&["gcc"]) {
        return;
    }
    let house = House::new();
    compile(&house, "who", WHO, &[]);
    let base = small(&house);
    let script = "cp /src/who /srv/who; chown root:root /srv/who; chmod 4755 /srv/who";
    // It becomes root, and needs none of root's capabilities.
    let expected = "euid 0 CapEff:\t0000000000000000\n";
    let files =
        house.everywhere(&base, script, &["--user", "ann"], &["/bin/sh", "-c", "/srv/who; true"], expected);
    assert_eq!(house.contents(&files[0])["spec"]["gain_privilege"], true);
    let tree = house.install("app", &files[0]);
    assert_eq!(std::fs::metadata(tree.join("srv/who")).expect("stat").mode() & 0o7777, 0o4755);
}

#[test]
fn attack_23_nothing_gains_privilege_where_nothing_was_seen_to() {
    if !have(&["gcc"]) {
        return;
    }
    let house = House::new();
    compile(&house, "who", WHO, &[]);
    let script = "cp /src/who /srv/who; cp /src/who /srv/raised; chmod 755 /srv/who; chmod 4755 /srv/raised";
    house.dev("app", &small(&house), script);
    house.ok(["test", "app", "--user", "ann", "--", "/srv/who"]);
    let file = house.pack_with("app", "exact", &["--keep", "/srv/raised"]);
    assert_eq!(house.contents(&file)["spec"]["gain_privilege"], false);
    assert_eq!(house.run(&file, &["/srv/raised"]), "euid 1234 CapEff:\t0000000000000000\n");
}

#[test]
fn file_capabilities_survive() {
    if !have(&["gcc", "setcap"]) {
        return;
    }
    let house = House::new();
    let program = compile(&house, "who", WHO, &[]);
    let base = small(&house);
    let inside = base.join("srv/who");
    std::fs::copy(program, &inside).expect("copy");
    shell(&format!("PATH=$PATH:/usr/sbin:/sbin setcap cap_net_bind_service+ep {}", inside.display()));
    let expected = "euid 1234 CapEff:\t0000000000000400\n";
    let files =
        house.everywhere(&base, "true", &["--user", "ann"], &["/bin/sh", "-c", "/srv/who; true"], expected);
    let tree = house.install("app", &files[0]);
    let read = |path: &Path| {
        let mut value = [0; 64];
        let length =
            rustix::fs::lgetxattr(path, "security.capability", &mut value[..]).expect("a capability");
        value[..length].to_vec()
    };
    assert_eq!(read(&tree.join("srv/who")), read(&inside));
}

#[test]
fn five_symlinks_in_a_row_are_all_there() {
    let house = House::new();
    let base = small(&house);
    for dir in ["d1", "d2", "d3", "d4"] {
        std::fs::create_dir(base.join("srv").join(dir)).expect("mkdir");
    }
    std::fs::create_dir(base.join("usr/data")).expect("mkdir");
    let links = [
        ("srv/one", "../srv/d1/two"),
        ("srv/d1/two", "/srv/d2/three"),
        ("srv/d2/three", "../d3/four"),
        ("srv/d3/four", "./../d4/five"),
        ("srv/d4/five", "/usr/data/file"),
    ];
    for (name, to) in links {
        symlink(to, base.join(name)).expect("symlink");
    }
    std::fs::write(base.join("usr/data/file"), "the end\n").expect("write");
    let files = house.everywhere(&base, "true", &[], &["cat", "/srv/one"], "the end\n");
    let tree = house.install("app", &files[0]);
    for (name, to) in links {
        assert_eq!(std::fs::read_link(tree.join(name)).expect(name), Path::new(to));
    }
}

#[test]
fn owners_modes_and_times_of_files_and_directories_are_exact() {
    let house = House::new();
    let base = small(&house);
    let dir = base.join("srv/exact");
    std::fs::create_dir(&dir).expect("mkdir");
    std::fs::write(dir.join("file"), "text\n").expect("write");
    symlink("file", dir.join("link")).expect("symlink");
    chown(dir.join("file"), Some(4321), Some(1234)).expect("chown");
    mode(&dir.join("file"), 0o2640);
    chown(&dir, Some(1234), Some(4321)).expect("chown");
    mode(&dir, 0o3751);
    let d = dir.display();
    shell(&format!(
        "touch -h -d '2003-03-03 03:03:03.333333333Z' {d}/link; touch -d '2002-02-02 02:02:02.222222222Z' {d}/file; touch -d '2001-01-01 01:01:01.111111111Z' {d}"
    ));
    let files = house.everywhere(&base, "true", &[], &["cat", "/srv/exact/link"], "text\n");
    let tree = house.install("app", &files[0]);
    for name in ["srv/exact", "srv/exact/file", "srv/exact/link", "srv", "usr/bin", "tmp"] {
        let (Ok(now), was) = (std::fs::symlink_metadata(tree.join(name)), base.join(name)) else { continue };
        let was = std::fs::symlink_metadata(was).expect("stat");
        let all =
            |meta: &std::fs::Metadata| (meta.mode(), meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec());
        assert_eq!(all(&now), all(&was), "{name}");
    }
    assert!(tree.join("srv/exact/link").is_symlink());
}

#[test]
fn a_name_that_is_not_utf_8_is_kept_as_it_is() {
    let house = House::new();
    let base = small(&house);
    let name = OsStr::from_bytes(b"caf\xe9 \x01\n\"x\"");
    std::fs::write(base.join("srv").join(name), "coffee\n").expect("write");
    let files = house.everywhere(&base, "true", &[], &["/bin/sh", "-c", "cat /srv/caf*"], "coffee\n");
    let tree = house.install("app", &files[0]);
    assert!(tree.join("srv").join(name).is_file());
    let listed = house.ok(["contents", "--list", &files[0]]);
    assert!(listed.contains("/srv/caf") && !listed.contains('\x01'), "{listed:?}");
}

#[test]
fn long_names_and_deep_paths_are_kept_whole() {
    let house = House::new();
    let base = small(&house);
    let name = "n".repeat(255);
    let deep = ["d".repeat(200), "e".repeat(200), "f".repeat(200)].join("/");
    std::fs::create_dir_all(base.join("srv").join(&deep)).expect("mkdir");
    std::fs::write(base.join("srv").join(&deep).join(&name), "deep\n").expect("write");
    symlink(format!("/srv/{deep}/{name}"), base.join("srv/link")).expect("symlink");
    house.everywhere(&base, "true", &[], &["cat", "/srv/link"], "deep\n");
}

#[test]
fn what_development_removed_renamed_and_linked_is_packed_so() {
    let house = House::new();
    let base = small(&house);
    for (dir, file) in [("gone", "x"), ("old", "inner"), ("anew", "before")] {
        std::fs::create_dir(base.join("srv").join(dir)).expect("mkdir");
        std::fs::write(base.join("srv").join(dir).join(file), format!("{file}\n")).expect("write");
    }
    std::fs::write(base.join("srv/a"), "a\n").expect("write");
    let script = "cd /srv; rm -r gone; mv old new; rm -r anew; mkdir anew; echo after > anew/after; ln a b";
    let job =
        "cd /srv; cat new/inner; cat anew/*; ls -d gone old 2>/dev/null; [ a -ef b ] && echo linked; cat a b";
    let expected = "inner\nafter\nlinked\na\na\n";
    let files = house.everywhere(&base, script, &[], &["/bin/sh", "-c", job], expected);
    let kept = &house.contents(&files[1])["kept"];
    assert!(kept["/srv/gone"].is_null() && kept["/srv/anew/before"].is_null(), "{kept:#}");
}
