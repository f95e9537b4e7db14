//! Programs against their choices, by an interpreter that answers as the kernel does.

use std::collections::BTreeSet;

use spec::seccomp::{Action, Comparison, Condition, Profile, Rule as Written, When};
use sys::seccomp::assemble::{ALLOW, KILL_PROCESS, KILL_THREAD, LOG, TRAP, Verdict, X32, errno};
use sys::seccomp::{Call, evaluate, is_sound};

use super::default::{NO_SUCH_CALL, REFUSE};
use super::*;

const DEFAULT: u64 = spec::container::DEFAULT_CAPABILITIES;
const SYS_ADMIN: u64 = 1 << 21;

fn answer(program: &[Instruction], architecture: Architecture, name: &str, arguments: &[u64]) -> u32 {
    let number = calls::number(name, architecture).expect(name);
    by_number(program, audit(architecture), number, arguments)
}

fn by_number(program: &[Instruction], architecture: u32, number: u32, arguments: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    evaluate(program, &Call { architecture, number, arguments: all }).expect("a sound program")
}

fn native(program: &[Instruction], name: &str, arguments: &[u64]) -> u32 {
    answer(program, Architecture::X86_64, name, arguments)
}

fn observed_program(names: &[&str]) -> Vec<Instruction> {
    let seen = names.iter().map(ToString::to_string).collect();
    program(&Choice::Observed(seen), DEFAULT).expect("a program")
}

fn profile(text: &str) -> Profile {
    Profile::parse(text).expect("a profile").profile
}

#[test]
fn every_call_gets_the_answer_of_its_rule() {
    for capabilities in [0, DEFAULT, u64::MAX] {
        let program = default_program(capabilities);
        assert!(is_sound(&program));
        for architecture in [Architecture::X86_64, Architecture::I386] {
            for (number, rule) in (0..).zip(default::rules(architecture)) {
                let expected = match default::verdict(*rule, capabilities) {
                    Verdict::Always(answer) => answer,
                    // No argument is anything special.
                    Verdict::Depends(..) => ALLOW,
                };
                assert_eq!(by_number(&program, audit(architecture), number, &[]), expected, "{number}");
            }
        }
    }
}

#[test]
fn the_default_program_is_short_and_quick() {
    let program = default_program(DEFAULT);
    assert!(program.len() < 350, "{} instructions", program.len());
    assert!(program.len() > 100, "{} instructions", program.len());
}

/// The kernel remembers calls as allowed if the program reaches ALLOW by number and architecture
/// alone. So it must load nothing else on that way.
#[test]
fn what_is_always_allowed_is_so_without_a_look_at_arguments() {
    let program = default_program(DEFAULT);
    for (number, rule) in (0..).zip(default::rules(Architecture::X86_64)) {
        if *rule != Rule::Allow {
            continue;
        }
        let (mut at, mut word) = (0, 0);
        let found = loop {
            let Instruction { code, jt, jf, k } = program[at];
            at += 1 + match code {
                0x20 => {
                    assert!(k == 0 || k == 4, "call {number} loads {k}");
                    word = if k == 0 { number } else { assemble::X86_64 };
                    0
                }
                0x05 => k as usize,
                0x15 => usize::from(if word == k { jt } else { jf }),
                0x35 => usize::from(if word >= k { jt } else { jf }),
                0x06 => break k,
                other => panic!("{other:x}"),
            };
        };
        assert_eq!(found, ALLOW);
    }
}

#[test]
fn arguments_decide_about_clone_personality_socket_and_ioctl() {
    let program = default_program(DEFAULT);
    let high = 0xdead_beef_0000_0000;
    for (name, arguments, expected) in [
        ("clone", [0x1000_0000, 0], REFUSE),
        ("clone", [high | 0x1000_0000, 0], REFUSE),
        ("clone", [0x003d_0f00, 0], ALLOW),
        ("personality", [8, 0], ALLOW),
        ("personality", [0x40000, 0], REFUSE),
        ("personality", [0x0040_0000, 0], REFUSE),
        ("socket", [2, 0], ALLOW),
        ("socket", [16, 0], ALLOW),
        ("socket", [40, 0], REFUSE),
        ("socket", [38, 0], REFUSE),
        ("socket", [high | 40, 0], REFUSE),
        ("socket", [high | 38, 0], REFUSE),
        ("socket", [46, 0], REFUSE),
        ("socket", [u64::MAX, 0], REFUSE),
        ("ioctl", [0, 0x5413], ALLOW),
        ("ioctl", [0, 0x5412], REFUSE),
        ("ioctl", [0, high | 0x5412], REFUSE),
        ("ioctl", [0, 0x541c], REFUSE),
        ("ioctl", [0, 0x401c_5820], REFUSE),
        ("ioctl", [0, 0x4008_6602], REFUSE),
        ("ioctl", [0, 0x5000_940e], REFUSE),
        // Asking for attributes, and sharing what files hold, are harmless.
        ("ioctl", [0, 0x801c_581f], ALLOW),
        ("ioctl", [0, 0x4004_9409], ALLOW),
    ] {
        assert_eq!(native(&program, name, &arguments), expected, "{name}({arguments:x?})");
        assert_eq!(
            answer(&program, Architecture::I386, name, &arguments),
            expected,
            "i386 {name}({arguments:x?})"
        );
    }
}

#[test]
fn namespaces_mounts_and_probes_take_their_capabilities() {
    let (plain, administrator) = (default_program(DEFAULT), default_program(DEFAULT | SYS_ADMIN));
    for name in [
        "mount",
        "umount2",
        "fsopen",
        "fsmount",
        "move_mount",
        "open_tree",
        "mount_setattr",
        "setns",
        "unshare",
    ] {
        assert_eq!(native(&plain, name, &[]), REFUSE, "{name}");
        assert_eq!(native(&administrator, name, &[]), ALLOW, "{name}");
    }
    for name in ["clone3", "io_setup"] {
        assert_eq!(native(&plain, name, &[]), NO_SUCH_CALL, "{name}");
    }
    assert_eq!(native(&default_program(1 << 24), "io_setup", &[]), ALLOW);
    for name in [
        "bpf",
        "perf_event_open",
        "userfaultfd",
        "io_uring_setup",
        "keyctl",
        "add_key",
        "kexec_load",
        "pivot_root",
    ] {
        assert_eq!(native(&plain, name, &[]), REFUSE, "{name}");
        assert_eq!(native(&administrator, name, &[]), REFUSE, "{name}");
    }
}

#[test]
fn no_i386_call_gets_around_the_rule_of_socket() {
    let program = default_program(DEFAULT);
    let i386 = |name, arguments: &[u64]| answer(&program, Architecture::I386, name, arguments);
    assert_eq!(i386("socketcall", &[1]), REFUSE);
    // What stands in for it.
    for name in ["bind", "connect", "listen", "accept4", "getsockopt", "sendto", "recvfrom"] {
        assert_eq!(i386(name, &[]), ALLOW, "{name}");
    }
}

#[test]
fn foreign_and_future_calls_do_not_get_through() {
    let programs = [
        default_program(u64::MAX),
        observed_program(&["read"]),
        program(&Choice::Profile(profile(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#)), 0).expect("a program"),
    ];
    for (program, others) in programs.iter().zip([REFUSE, REFUSE, KILL_PROCESS]) {
        for number in [X32, X32 + 1, X32 + 59, X32 + 512, u32::MAX] {
            assert_eq!(by_number(program, assemble::X86_64, number, &[]), NO_SUCH_CALL, "x32 {number:x}");
        }
        assert_eq!(by_number(program, assemble::AARCH64, 0, &[]), others);
    }
    assert_eq!(by_number(&programs[0], assemble::X86_64, 9999, &[]), NO_SUCH_CALL);
    assert_eq!(by_number(&programs[0], assemble::X86_64, 400, &[]), NO_SUCH_CALL, "never given out");
}

#[test]
fn observed_is_what_was_seen_and_the_base() {
    let nginx = observed_program(&["accept4", "epoll_wait", "setuid", "chown", "ptrace", "mount", "add_key"]);
    for name in
        ["accept4", "connect", "futex", "openat", "setgroups", "fchownat", "tgkill", "rt_sigreturn", "execve"]
    {
        assert_eq!(native(&nginx, name, &[]), ALLOW, "{name}");
    }
    for name in ["shmget", "mq_open", "chroot", "seccomp", "vmsplice", "inotify_init1"] {
        assert_eq!(native(&nginx, name, &[]), REFUSE, "{name} was not seen");
    }
    for name in ["mount", "add_key", "unshare", "io_uring_setup"] {
        assert_eq!(native(&nginx, name, &[]), REFUSE, "{name} is refused by default");
    }
    assert_eq!(native(&nginx, "clone", &[0x1000_0000]), REFUSE);
    assert_eq!(native(&nginx, "socket", &[40]), REFUSE);
    assert_eq!(answer(&nginx, Architecture::I386, "read", &[]), REFUSE, "no 32-bit program was seen");
    let old = observed_program(&["read", "mmap2"]);
    assert_eq!(answer(&old, Architecture::I386, "mmap2", &[]), ALLOW);
    assert_eq!(answer(&old, Architecture::I386, "socket", &[2]), REFUSE);
    let nothing = program(&Choice::Observed(BTreeSet::new()), 0).expect_err("nothing was seen");
    assert!(nothing.chain().contains("no system calls"), "{nothing:?}");
}

/// Whatever stands in a package: what the default refuses stays refused.
#[test]
fn observed_is_never_weaker_than_the_default() {
    let everything: BTreeSet<String> = calls::TABLE.iter().map(|row| row.0.to_owned()).collect();
    for capabilities in [0, DEFAULT, SYS_ADMIN] {
        let least = default_program(capabilities);
        let program = program(&Choice::Observed(everything.clone()), capabilities).expect("a program");
        for architecture in [Architecture::X86_64, Architecture::I386] {
            for number in 0..calls::KNOWN as u32 + 10 {
                for arguments in [[0; 3], [40, 0x5412, 9], [0x7e02_0000, u64::MAX, 0]] {
                    let answers =
                        [&program, &least].map(|one| by_number(one, audit(architecture), number, &arguments));
                    assert_eq!(answers[0], answers[1], "{number}");
                }
            }
        }
    }
}

#[test]
fn a_profile_means_what_it_says() {
    let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls": [
            {"names": ["read", "write", "capset", "prctl", "close_range", "rt_sigprocmask", "execve", "exit_group"],
             "action": "SCMP_ACT_ALLOW"},
            {"names": ["ptrace"], "action": "SCMP_ACT_KILL_PROCESS"},
            {"names": ["kill"], "action": "SCMP_ACT_KILL"},
            {"names": ["tkill"], "action": "SCMP_ACT_TRAP"},
            {"names": ["tgkill"], "action": "SCMP_ACT_LOG"},
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 2, "op": "SCMP_CMP_GT"}]},
            {"names": ["connect"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["umount2"], "action": "SCMP_ACT_ALLOW", "excludes": {"minKernel": "4.0"}},
            {"names": ["pivot_root"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}}]}"#;
    let choice = Choice::Profile(profile(text));
    assert_eq!(flags(&choice), sys::seccomp::LOG);
    let made = program(&choice, 0).expect("a program");
    for (name, arguments, expected) in [
        ("read", [0, 0], ALLOW),
        ("open", [0, 0], errno(13)),
        ("ptrace", [0, 0], KILL_PROCESS),
        ("kill", [0, 0], KILL_THREAD),
        ("tkill", [0, 0], TRAP),
        ("tgkill", [0, 0], LOG),
        ("socket", [1, 3], ALLOW),
        ("socket", [1, 2], errno(13)),
        ("socket", [2, 3], errno(13)),
        ("mount", [0, 0], errno(13)),
        ("umount2", [0, 0], errno(13)),
        ("pivot_root", [0, 0], errno(13)),
        // Younger than everything that it names.
        ("cachestat", [0, 0], NO_SUCH_CALL),
    ] {
        assert_eq!(native(&made, name, &arguments), expected, "{name}({arguments:?})");
    }
    assert_eq!(native(&program(&choice, SYS_ADMIN).expect("a program"), "mount", &[]), ALLOW);
    let i386 = |name, arguments: &[u64]| answer(&made, Architecture::I386, name, arguments);
    assert_eq!(i386("socketcall", &[3]), ALLOW, "connect");
    assert_eq!(i386("socketcall", &[1]), errno(13), "whether this socket may be is not to be seen");
}

#[test]
fn the_strictest_of_several_rules_holds() {
    let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["ioctl"], "action": "SCMP_ACT_LOG"},
        {"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 21522, "op": "SCMP_CMP_EQ"}]},
        {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}]},
        {"names": ["mmap"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 4294967296, "op": "SCMP_CMP_GE"}]}]}"#;
    let made = program(&Choice::Profile(profile(text)), 0).expect("a program");
    assert_eq!(native(&made, "ioctl", &[0, 0x5413]), LOG);
    assert_eq!(native(&made, "ioctl", &[0, 0x5412]), errno(1));
    assert_eq!(native(&made, "ioctl", &[0, 1 << 32 | 0x5412]), errno(1), "the kernel looks at 32 bits");
    assert_eq!(native(&made, "socket", &[1 << 32 | 40]), errno(1));
    assert_eq!(native(&made, "mmap", &[0, 0xffff_ffff]), ALLOW);
    assert_eq!(native(&made, "mmap", &[0, 1 << 40]), errno(1), "this one is 64 bits wide");
    assert_eq!(native(&made, "read", &[]), ALLOW);
}

#[test]
fn a_profile_under_which_nothing_starts_is_refused() {
    let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["read", "write", "close_range", "rt_sigprocmask", "exit_group"], "action": "SCMP_ACT_ALLOW"}]}"#;
    let refused = program(&Choice::Profile(profile(text)), 0).expect_err("it cannot start");
    assert!(refused.chain().contains("capset, prctl, execve"), "{refused:?}");
}

#[test]
fn a_profile_that_is_too_long_is_refused() {
    let condition = |value| Condition { argument: 0, comparison: Comparison::Equal, value };
    let rule = |value| Written {
        names: vec!["read".into()],
        action: Action::Errno(1),
        conditions: vec![condition(value << 20)],
        when: When::default(),
    };
    let profile = Profile {
        default: Action::Allow,
        architectures: BTreeSet::new(),
        flags: BTreeSet::new(),
        rules: (1..4000_u64).map(rule).collect(),
    };
    let refused = program(&Choice::Profile(profile), 0).expect_err("too long");
    assert!(refused.chain().contains("the kernel takes 4096"), "{refused:?}");
}

#[test]
fn our_process_1_can_do_next_to_nothing() {
    let program = init_program();
    assert!(program.len() < 40, "{} instructions", program.len());
    for (name, expected) in
        [("kill", ALLOW), ("wait4", ALLOW), ("openat", REFUSE), ("execve", REFUSE), ("socket", REFUSE)]
    {
        assert_eq!(native(&program, name, &[]), expected, "{name}");
    }
}
