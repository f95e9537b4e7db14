//! Landlock: what is listed works, what is not does not.

use std::collections::BTreeSet;
use std::fs;

use spec::container::{Landlock, Namespace, Place, Root, RootChange};
use spec::{ErrorKind, RootPath};

use crate::harness::{Box, path, shell};
use crate::namespaces::{bare, with_users};

fn available(least: u32) -> bool {
    let there = sys::landlock::abi().is_ok_and(|abi| abi >= least);
    if !there {
        println!("SKIPPED: this kernel has no Landlock of version {least}");
    }
    there
}

fn paths<const N: usize>(texts: [&str; N]) -> BTreeSet<RootPath> {
    texts.map(path).into()
}

fn restricted(script: &str, rules: Landlock) -> Box {
    let mut made = shell(script).scratch();
    fs::write(made.tree().join("srv/file"), "content\n").expect("file");
    fs::write(made.tree().join("etc/secret"), "secret\n").expect("file");
    fs::copy("/bin/busybox", made.tree().join("srv/true")).expect("busybox");
    made.spec.process.landlock = Some(rules);
    made
}

fn usual() -> Landlock {
    Landlock {
        read: paths(["/srv", "/etc/passwd-like"]),
        write: paths(["/tmp", "/dev/null"]),
        execute: paths(["/bin"]),
        ..Landlock::default()
    }
}

const SCRIPT: &str = "cat /srv/file; cat /etc/secret; echo x > /tmp/x && cat /tmp/x; mkdir /tmp/d && echo made; \
                      echo x > /srv/x || echo unwritten; /srv/true || echo unexecuted; echo n > /dev/null && echo null";

#[test]
fn only_what_is_listed_is_read_written_and_executed() {
    if !available(1) {
        return;
    }
    let mut rules = usual();
    rules.read = paths(["/srv"]);
    for no_new_privs in [true, false] {
        let mut made = restricted(SCRIPT, rules.clone());
        made.spec.process.no_new_privs = no_new_privs;
        let said = made.run().output;
        for wanted in ["content", "x", "made", "unwritten", "unexecuted", "null"] {
            assert!(said.lines().any(|line| line == wanted), "{wanted}: {said}");
        }
        assert!(
            !said.contains("secret\n") && said.contains("/etc/secret: Permission denied")
                || said.contains("can't open '/etc/secret'"),
            "{said}"
        );
    }
    let mut free = restricted(SCRIPT, rules);
    free.spec.process.landlock = None;
    let said = free.run().output;
    assert!(said.contains("secret") && !said.contains("unwritten") && !said.contains("unexecuted"), "{said}");
}

#[test]
fn it_holds_for_another_user_and_behind_an_init() {
    if !available(1) {
        return;
    }
    let rules = Landlock { execute: paths(["/bin", "/srv"]), ..Landlock::default() };
    let mut made = restricted("cat /srv/file; cat /etc/secret || echo denied", rules);
    made.spec.process.user.uid = 33;
    made.spec.init = true;
    let said = made.said();
    assert_eq!(with_users(made).said(), said);
    assert!(said.starts_with("content\n") && said.ends_with("denied"), "{said}");
}

#[test]
fn a_missing_path_is_an_error_that_names_it() {
    if !available(1) {
        return;
    }
    let error = restricted("true", usual()).fails();
    assert!(error.chain().contains("/etc/passwd-like"), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_path_that_is_a_link_leads_to_a_place_inside() {
    if !available(1) {
        return;
    }
    let rules = Landlock { execute: paths(["/bin"]), read: paths(["/link"]), ..Landlock::default() };
    let made = restricted("cat /srv/file; cat /etc/secret || echo denied", rules);
    std::os::unix::fs::symlink("/../../../srv", made.tree().join("link")).expect("link");
    let said = made.said();
    assert!(said.starts_with("content\n") && said.ends_with("denied"), "{said}");
}

#[test]
fn it_holds_in_the_hosts_own_root() {
    if !available(1) {
        return;
    }
    let directory = tempfile::tempdir().expect("dir");
    fs::write(directory.path().join("file"), "content\n").expect("file");
    let file = directory.path().join("file");
    let mut made = bare(&["/bin/busybox", "cat", file.to_str().expect("text"), "/proc/self/comm"]);
    made.spec.root = Root::Host;
    made.spec.root_change = RootChange::None;
    let allowed = path(directory.path().canonicalize().expect("path").to_str().expect("text"));
    let rules = Landlock { read: [allowed].into(), execute: paths(["/bin"]), ..Landlock::default() };
    made.spec.process.landlock = Some(rules);
    let said = made.run().output;
    assert!(said.contains("content") && said.contains("can't open '/proc/self/comm'"), "{said}");
}

#[test]
fn ports_are_restricted_alone() {
    if !available(4) {
        return;
    }
    // Nobody connects: a listener ends by itself when it may listen, by an error when not.
    let script = "cat /etc/secret; for port in 80 8080; do \
                  timeout 1 nc -l -p $port 2>&1 | grep -q 'Permission denied' && echo $port denied; done; \
                  nc 127.0.0.1 9 2>&1 | grep -q 'Permission denied' && echo connect denied; \
                  nc 127.0.0.1 10 2>&1 | grep -o 'Connection refused'; true";
    let rules = Landlock { bind_tcp: [8080].into(), connect_tcp: [10].into(), ..Landlock::default() };
    let mut made = restricted(script, rules);
    fs::copy("/bin/busybox", made.tree().join("bin/timeout")).expect("timeout");
    made.spec.namespaces.insert(Namespace::Net, Place::Own);
    assert_eq!(
        made.run().output.replace("Terminated\n", ""),
        "secret\n80 denied\nconnect denied\nConnection refused"
    );
}

#[test]
fn ports_are_refused_where_the_kernel_knows_none() {
    if !available(1) {
        return;
    }
    if sys::landlock::abi().is_ok_and(|abi| abi >= 4) {
        println!("SKIPPED: this kernel knows ports");
        return;
    }
    let error = restricted("true", Landlock { bind_tcp: [80].into(), ..Landlock::default() }).fails();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.chain().contains("version") && !error.hints().is_empty(), "{error:?}");
}

#[test]
fn nothing_listed_is_refused() {
    if !available(1) {
        return;
    }
    assert_eq!(restricted("true", Landlock::default()).fails().kind(), ErrorKind::User);
}
