//! What a program needs of the kernel: capabilities, system calls, a look at its control groups.

use tsubo_observe::{CAPABILITY_CHECKS, Opens, SYSTEM_CALLS};

use crate::harness::Case;

#[test]
fn capabilities_that_were_used_and_by_whom() {
    for opens in [Opens::Fanotify, Opens::Listener] {
        let case = Case::new(opens);
        case.file("/t/f", "");
        let seen = case.run(&["/bin/busybox", "sh", "-ec", "exec /bin/busybox chown 1234 /t/f"]);
        if !seen.instruments.contains(CAPABILITY_CHECKS) {
            eprintln!("SKIPPED: this kernel does not show checks of capabilities");
            return;
        }
        assert_eq!(seen.capabilities["CAP_CHOWN"], ["busybox".to_owned()].into(), "{opens:?}");
        assert!(!seen.capabilities.contains_key("CAP_NET_BIND_SERVICE"), "{:?}", seen.capabilities);
        assert!(!seen.refused.contains_key("CAP_CHOWN"), "{:?}", seen.refused);
    }
}

#[test]
fn capabilities_that_were_asked_for_in_vain() {
    let case = Case::new(Opens::Listener);
    case.file("/t/f", "");
    let script = "setpriv --reuid 1234 --clear-groups /bin/busybox chown 1234 /t/f || true";
    let seen = case.run(&["/bin/sh", "-c", script]);
    if !seen.instruments.contains(CAPABILITY_CHECKS) {
        eprintln!("SKIPPED: this kernel does not show checks of capabilities");
        return;
    }
    assert_eq!(seen.refused["CAP_CHOWN"], ["busybox".to_owned()].into());
    assert_eq!(seen.capabilities["CAP_SETUID"], ["setpriv".to_owned()].into());
    assert!(!seen.capabilities.contains_key("CAP_CHOWN"), "{:?}", seen.capabilities);
}

#[test]
fn system_calls_are_known_whoever_sees_the_opens() {
    for opens in [Opens::Fanotify, Opens::Listener] {
        let seen = Case::new(opens).run(&["/bin/busybox", "sh", "-c", "umask 22; sleep 0"]);
        if !seen.instruments.contains(SYSTEM_CALLS) {
            eprintln!("SKIPPED: no eBPF here");
            return;
        }
        for name in ["execve", "umask", "exit_group"] {
            assert!(seen.syscalls.contains(name), "{name}: {:?}", seen.syscalls);
        }
        assert!(!seen.syscalls.contains("mount"), "{:?}", seen.syscalls);
    }
}

#[test]
fn a_look_at_control_groups_is_noted() {
    for opens in [Opens::Fanotify, Opens::Listener] {
        let looks = |command: &str| Case::new(opens).run(&["/bin/busybox", "sh", "-c", command]).groups;
        assert!(looks("cat /sys/fs/cgroup/memory.max 2>/dev/null; true"), "{opens:?}");
        assert!(looks("test -e /sys/fs/cgroup; true"), "{opens:?}");
        assert!(!looks("test -e /sys/fs; cat /proc/self/cgroup"), "{opens:?}");
    }
}

/// Their numbers mean other calls than those of 64-bit programs.
#[test]
fn calls_of_32_bit_programs_have_their_own_names() {
    let case = Case::new(Opens::Fanotify);
    let source = case.lower("t/small.c");
    std::fs::write(&source, SMALL).expect("a source");
    case.compile("t/small", &source, &["-m32", "-nostdlib", "-static"]);
    let seen = case.run(&["/t/small"]);
    if !seen.instruments.contains("ebpf") {
        eprintln!("SKIPPED: no eBPF here");
        return;
    }
    assert!(seen.syscalls.contains("ugetrlimit"), "{:?}", seen.syscalls);
    assert!(!seen.syscalls.contains("getxattr"), "191 is that to 64-bit programs: {:?}", seen.syscalls);
}

/// ugetrlimit, exit.
const SMALL: &str = r#"
static long call(long number, long a, long b) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b) : "memory");
    return result;
}
void _start(void) { long limit[2]; call(191, 7, (long)limit); call(1, 0, 0); __builtin_trap(); }
"#;
