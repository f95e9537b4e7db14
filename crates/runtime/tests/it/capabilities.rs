//! The five sets of capabilities, as a program that was executed sees them.

use spec::container::{Capabilities, capability_set};

use crate::harness::{Box, shell};
use crate::namespaces::with_users;

fn set(names: &str) -> u64 {
    capability_set(names.split_whitespace()).expect(names)
}

/// Inheritable, permitted, effective, bounding and ambient set of the command.
fn sets(uid: u32, wanted: Capabilities, no_new_privs: bool) -> [u64; 5] {
    let on_the_host = seen(uid, wanted, no_new_privs, |made| made);
    assert_eq!(on_the_host, seen(uid, wanted, no_new_privs, with_users), "with users of its own");
    on_the_host
}

fn seen(uid: u32, wanted: Capabilities, no_new_privs: bool, change: impl Fn(Box) -> Box) -> [u64; 5] {
    let mut made = shell("grep Cap /proc/self/status");
    made.spec.cgroup = true;
    made.spec.process.user.uid = uid;
    made.spec.process.capabilities = wanted;
    made.spec.process.no_new_privs = no_new_privs;
    spec::container::check(&made.spec).expect("allowed");
    let said = change(made).said();
    let numbers = said.split_whitespace().skip(1).step_by(2);
    let numbers: Vec<u64> = numbers.map(|hex| u64::from_str_radix(hex, 16).expect("hex")).collect();
    numbers.try_into().expect("five sets")
}

#[test]
fn root_has_what_it_is_given() {
    let all = set("CHOWN KILL NET_BIND_SERVICE");
    assert_eq!(sets(0, Capabilities::of(all), true), [0, all, all, all, 0]);
    assert_eq!(sets(0, Capabilities::of(0), true), [0; 5]);
}

#[test]
fn a_user_keeps_the_ambient_set_over_exec() {
    let ambient = set("NET_BIND_SERVICE KILL");
    let all = ambient | set("CHOWN SETUID");
    let wanted = Capabilities { inheritable: ambient, ambient, ..Capabilities::of(all) };
    for no_new_privs in [false, true] {
        assert_eq!(sets(33, wanted, no_new_privs), [ambient, ambient, ambient, all, ambient]);
    }
}

#[test]
fn a_user_without_an_ambient_set_keeps_nothing() {
    let all = set("NET_BIND_SERVICE CHOWN");
    assert_eq!(sets(33, Capabilities::of(all), true), [0, 0, 0, all, 0]);
    let inheritable = Capabilities { inheritable: all, ..Capabilities::of(all) };
    assert_eq!(sets(33, inheritable, true), [all, 0, 0, all, 0]);
}

#[test]
fn an_inheritable_set_without_the_others() {
    // By the kernel's own rule root's program gets all that is bounding or inheritable.
    let one = set("SYS_CHROOT");
    let wanted = Capabilities { bounding: one, inheritable: one, ..Capabilities::default() };
    assert_eq!(sets(0, wanted, false), [one, one, one, one, 0]);
    assert_eq!(sets(33, wanted, false), [one, 0, 0, one, 0]);
}

#[test]
fn sets_that_do_not_lie_within_each_other_are_refused() {
    let (one, none) = (set("KILL"), Capabilities::default());
    for wanted in [
        Capabilities { effective: one, ..none },
        Capabilities { permitted: one, ..none },
        Capabilities { inheritable: one, ..none },
        Capabilities { ambient: one, ..Capabilities::of(one) },
    ] {
        let mut made = shell("true");
        made.spec.cgroup = true;
        made.spec.process.capabilities = wanted;
        assert!(spec::container::check(&made.spec).is_err(), "{wanted:?}");
    }
}
