//! A user's profile as tables.
//!
//! It means what it means to runc and libseccomp, with three differences, all on the strict side:
//! where several rules match, the strictest answer holds (libseccomp lets a rule without conditions
//! win); arguments that the kernel takes as an int are compared by their 32 bits; x32 calls are never
//! let through.

use spec::seccomp::{Action, Architecture, Comparison, Condition, Profile, Rule, When, calls};
use spec::{Error, Result};
use sys::seccomp::assemble::{self, ALLOW, Case, Check, Table, Test, Verdict};
use sys::seccomp::{Call, Instruction, evaluate};

use super::default::NO_SUCH_CALL;
use super::{NATIVE, audit, family};

/// One table for each architecture of the profile that this machine has.
pub(super) fn tables(profile: &Profile, capabilities: u64) -> Result<Vec<Table>> {
    let here = Here { capabilities, kernel: kernel()? };
    let rules: Vec<&Rule> = profile
        .rules
        .iter()
        // libseccomp refuses a rule that says what the default says, and runc leaves it out.
        .filter(|rule| rule.action != profile.default && here.in_force(&rule.when))
        .collect();
    let wanted = |one: &&Architecture| **one == NATIVE || profile.architectures.contains(*one);
    Ok(family().iter().filter(wanted).map(|one| table(*one, profile.default, &rules)).collect())
}

/// What rules may depend on.
struct Here {
    capabilities: u64,
    kernel: (u32, u32),
}

impl Here {
    fn in_force(&self, when: &When) -> bool {
        let machine = if NATIVE == Architecture::Aarch64 { "arm64" } else { "amd64" };
        self.capabilities & when.with == when.with
            && self.capabilities & when.without == 0
            && (when.on.is_empty() || when.on.contains(machine))
            && !when.not_on.contains(machine)
            && when.since.is_none_or(|version| self.kernel >= version)
            && when.before.is_none_or(|version| self.kernel < version)
    }
}

fn kernel() -> Result<(u32, u32)> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => Err(Error::unsupported(format!("the kernel's version is no version: {release}"))),
    }
}

fn table(architecture: Architecture, default: Action, rules: &[&Rule]) -> Table {
    let mut matching: Vec<Vec<Match>> = vec![Vec::new(); calls::KNOWN];
    for rule in rules {
        for name in &rule.names {
            for (number, found) in matches(architecture, name, rule, default) {
                matching[number as usize].push(found);
            }
        }
    }
    // Who wrote a profile that allows some calls did not know younger ones: programs are to fall
    // back from them to what the profile knows. So does runc.
    let lenient = matches!(default, Action::Allow | Action::Log);
    let younger = matching.iter().rposition(|matching| !matching.is_empty()).map_or(0, |last| last + 1);
    let answer = |(number, found): (usize, Vec<Match>)| match found.is_empty() {
        true if number >= younger && !lenient => Verdict::Always(NO_SUCH_CALL),
        _ => verdict(found, default),
    };
    let known = (0..).zip(matching.into_iter().enumerate().map(answer));
    let unknown = if lenient { bits(default) } else { NO_SUCH_CALL };
    let rest = [(calls::KNOWN as u32, unknown), (assemble::X32, NO_SUCH_CALL)];
    Table::new(audit(architecture), known.chain(rest.map(|(from, answer)| (from, Verdict::Always(answer)))))
}

/// A rule, as far as it is about one number.
#[derive(Debug, Clone)]
struct Match {
    action: Action,
    checks: Vec<Check>,
}

/// The numbers that `rule` is about where it names `name`. On i386 many calls can be made through
/// socketcall and ipc too, which take a number of their own; what is inside can not be looked at.
fn matches(architecture: Architecture, name: &str, rule: &Rule, default: Action) -> Vec<(u32, Match)> {
    let mut found = Vec::new();
    if let Some(number) = calls::number(name, architecture) {
        let checks = rule.conditions.iter().map(|condition| check(name, condition)).collect();
        found.push((number, Match { action: rule.action, checks }));
    }
    let inside = THROUGH.iter().find(|(inner, ..)| *inner == name);
    if let Some((_, outer, number)) = inside.filter(|_| architecture == Architecture::I386)
        && let Some(outer) = calls::number(outer, architecture)
        && (rule.conditions.is_empty() || rule.action > default)
    {
        let check = Check {
            argument: 0,
            wide: false,
            // ipc has a version in the upper half of the word.
            test: Test::Masked(0xffff),
            value: *number,
            not: false,
        };
        found.push((outer, Match { action: rule.action, checks: vec![check] }));
    }
    found
}

/// Calls that i386 can make through another one, and their numbers there.
const THROUGH: [(&str, &str, u64); 32] = [
    ("socket", "socketcall", 1),
    ("bind", "socketcall", 2),
    ("connect", "socketcall", 3),
    ("listen", "socketcall", 4),
    ("accept", "socketcall", 5),
    ("getsockname", "socketcall", 6),
    ("getpeername", "socketcall", 7),
    ("socketpair", "socketcall", 8),
    ("send", "socketcall", 9),
    ("recv", "socketcall", 10),
    ("sendto", "socketcall", 11),
    ("recvfrom", "socketcall", 12),
    ("shutdown", "socketcall", 13),
    ("setsockopt", "socketcall", 14),
    ("getsockopt", "socketcall", 15),
    ("sendmsg", "socketcall", 16),
    ("recvmsg", "socketcall", 17),
    ("accept4", "socketcall", 18),
    ("recvmmsg", "socketcall", 19),
    ("sendmmsg", "socketcall", 20),
    ("semop", "ipc", 1),
    ("semget", "ipc", 2),
    ("semctl", "ipc", 3),
    ("semtimedop", "ipc", 4),
    ("msgsnd", "ipc", 11),
    ("msgrcv", "ipc", 12),
    ("msgget", "ipc", 13),
    ("msgctl", "ipc", 14),
    ("shmat", "ipc", 21),
    ("shmdt", "ipc", 22),
    ("shmget", "ipc", 23),
    ("shmctl", "ipc", 24),
];

/// The strictest first: a program stops at the first case that holds.
fn verdict(mut found: Vec<Match>, default: Action) -> Verdict {
    found.sort_by_key(|found| (std::cmp::Reverse(found.action), !found.checks.is_empty()));
    let always = found.iter().position(|found| found.checks.is_empty());
    let otherwise = bits(always.map_or(default, |at| found[at].action));
    found.truncate(always.unwrap_or(found.len()));
    let mut cases: Vec<Case> =
        found.into_iter().map(|found| Case { checks: found.checks, answer: bits(found.action) }).collect();
    while cases.last().is_some_and(|last| last.answer == otherwise) {
        cases.pop();
    }
    if cases.is_empty() { Verdict::Always(otherwise) } else { Verdict::Depends(cases, otherwise) }
}

fn bits(action: Action) -> u32 {
    match action {
        Action::Allow => ALLOW,
        Action::Log => assemble::LOG,
        Action::Trace(number) => assemble::trace(number),
        Action::Notify => assemble::NOTIFY,
        Action::Errno(number) => assemble::errno(number),
        Action::Trap => assemble::TRAP,
        Action::KillThread => assemble::KILL_THREAD,
        Action::KillProcess => assemble::KILL_PROCESS,
    }
}

fn check(name: &str, condition: &Condition) -> Check {
    let (test, not) = match condition.comparison {
        Comparison::NotEqual => (Test::Masked(u64::MAX), true),
        Comparison::Equal => (Test::Masked(u64::MAX), false),
        Comparison::MaskedEqual(mask) => (Test::Masked(mask), false),
        Comparison::Less => (Test::AtLeast, true),
        Comparison::AtLeast => (Test::AtLeast, false),
        Comparison::AtMost => (Test::Above, true),
        Comparison::Greater => (Test::Above, false),
    };
    let Condition { argument, value, .. } = *condition;
    Check { argument, wide: !is_int(name, argument) || !fits_int(test, value), test, value, not }
}

/// Whether `value` means the same without its upper half: it is an int, perhaps a negative one.
fn fits_int(test: Test, value: u64) -> bool {
    let mask = if let Test::Masked(mask) = test { mask } else { u64::MAX };
    match value >> 32 {
        0 => true,
        0xffff_ffff => mask >> 32 == 0xffff_ffff,
        _ => false,
    }
}

/// Whether the kernel takes this argument as 32 bits. Whoever writes `socket(40)` into a profile
/// means all numbers that the kernel takes for 40.
fn is_int(name: &str, argument: u8) -> bool {
    let arguments: &[u8] = match name {
        "socket" | "socketpair" | "getsockopt" | "setsockopt" => &[0, 1, 2],
        "ioctl" | "fcntl" | "fcntl64" | "seccomp" | "kill" | "tkill" | "setns" | "quotactl" => &[0, 1],
        "clone" | "personality" | "prctl" | "keyctl" | "bpf" | "arch_prctl" | "kcmp" | "unshare" => &[0],
        "socketcall" | "ipc" | "syslog" | "setpriority" | "reboot" | "membarrier" => &[0],
        "futex" | "mount_setattr" | "sched_setscheduler" => &[1],
        "openat" | "mknodat" | "madvise" | "fchmodat" => &[2],
        "open" | "mknod" | "chmod" | "fchmod" | "memfd_create" | "umount2" => &[1],
        _ => &[],
    };
    arguments.contains(&argument)
}

/// Refuses a program under which nothing could start: these calls come between the loading of the
/// filter and the first instruction of the container's own.
pub(super) fn lets_start(program: &[Instruction]) -> Result<()> {
    const START: [(&str, [u64; 2]); 8] = [
        ("write", [3, 0]),
        ("read", [3, 0]),
        ("capset", [0, 0]),
        // PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL
        ("prctl", [47, 4]),
        ("close_range", [3, u32::MAX as u64]),
        // SIG_SETMASK
        ("rt_sigprocmask", [2, 0]),
        ("execve", [0, 0]),
        ("exit_group", [125, 0]),
    ];
    let refused = |(name, [first, second]): &&(&str, [u64; 2])| {
        let number = calls::number(name, NATIVE).unwrap_or(u32::MAX);
        let call = Call { architecture: audit(NATIVE), number, arguments: [*first, *second, 0, 0, 0, 0] };
        // Nobody answers before the listener is handed out, and that takes these two.
        let early = ["write", "read"].contains(name);
        !evaluate(program, &call).is_some_and(|answer| {
            [ALLOW, assemble::LOG].contains(&answer) || (answer == assemble::NOTIFY && !early)
        })
    };
    let missing: Vec<_> = START.iter().filter(refused).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::user(format!(
        "the seccomp profile refuses what a container needs to start: {}",
        missing.join(", ")
    ))
    .hint("allow these calls; they are made after the filter is loaded, before the command is executed"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use sys::seccomp::assemble::{KILL_PROCESS, KILL_THREAD, LOG, TRAP, errno};
    use sys::seccomp::is_sound;

    use super::*;

    fn answer(program: &[Instruction], name: &str, arguments: &[u64; 3]) -> u32 {
        let number = calls::number(name, NATIVE).expect(name);
        let [a, b, c] = *arguments;
        let call = Call { architecture: audit(NATIVE), number, arguments: [a, b, c, 0, 0, 0] };
        evaluate(program, &call).expect("a sound program")
    }

    /// A generator of numbers that look random and are the same in every run.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % limit as u64) as usize
        }

        fn one<T: Copy>(&mut self, of: &[T]) -> T {
            of[self.below(of.len())]
        }

        fn value(&mut self) -> u64 {
            self.one(&[0, 1, 2, 40, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0028, u64::MAX - 1, u64::MAX])
        }

        fn action(&mut self) -> Action {
            self.one(&[
                Action::Allow,
                Action::Log,
                Action::Errno(1),
                Action::Errno(5),
                Action::Trap,
                Action::KillProcess,
            ])
        }

        fn condition(&mut self, argument: u8) -> Condition {
            let mask = self.value();
            let comparison = self.one(&[
                Comparison::NotEqual,
                Comparison::Less,
                Comparison::AtMost,
                Comparison::Equal,
                Comparison::AtLeast,
                Comparison::Greater,
                Comparison::MaskedEqual(mask),
            ]);
            Condition { argument, comparison, value: self.value() }
        }

        fn rule(&mut self) -> Rule {
            let names = (0..=self.below(3)).map(|_| self.one(&NAMES).to_owned()).collect();
            let conditions = (0..3).filter(|_| self.below(3) == 0).collect::<Vec<u8>>();
            let conditions = conditions.into_iter().map(|argument| self.condition(argument)).collect();
            Rule { names, action: self.action(), conditions, when: When::default() }
        }
    }

    /// What the rules are about: the first four take 64 bits in all arguments that are looked at.
    const NAMES: [&str; 6] = ["mmap", "munmap", "mremap", "brk", "socket", "cachestat"];

    fn holds(name: &str, condition: &Condition, arguments: &[u64]) -> bool {
        let (mut argument, mut value) = (arguments[usize::from(condition.argument)], condition.value);
        let mut mask = if let Comparison::MaskedEqual(mask) = condition.comparison { mask } else { u64::MAX };
        // An int: both the number in 32 bits and, where the value is a negative one, its extension.
        let (high, high_mask) = (value >> 32, mask >> 32);
        if name == "socket" && (high == 0 || (high == 0xffff_ffff && high_mask == 0xffff_ffff)) {
            for word in [&mut argument, &mut value, &mut mask] {
                *word &= 0xffff_ffff;
            }
        }
        match condition.comparison {
            Comparison::NotEqual => argument != value,
            Comparison::Less => argument < value,
            Comparison::AtMost => argument <= value,
            Comparison::Equal => argument == value,
            Comparison::AtLeast => argument >= value,
            Comparison::Greater => argument > value,
            Comparison::MaskedEqual(_) => argument & mask == value,
        }
    }

    /// The profile, read straight from its words.
    fn naive(profile: &Profile, name: &str, arguments: &[u64]) -> Action {
        let rules = || profile.rules.iter().filter(|rule| rule.action != profile.default);
        let number = |name: &str| calls::number(name, NATIVE).expect(name);
        let youngest = rules().flat_map(|rule| &rule.names).map(|name| number(name)).max();
        if profile.default > Action::Log && youngest.is_none_or(|youngest| number(name) > youngest) {
            return Action::Errno(38);
        }
        let about = rules().filter(|rule| rule.names.iter().any(|other| other == name));
        let matching = about.filter(|rule| rule.conditions.iter().all(|one| holds(name, one, arguments)));
        matching.map(|rule| rule.action).max().unwrap_or(profile.default)
    }

    #[test]
    fn any_profile_becomes_a_program_that_answers_by_it() {
        let mut dice = Dice(0x2545_f491_4f6c_dd1d);
        for _ in 0..400 {
            let profile = Profile {
                default: dice.action(),
                architectures: BTreeSet::new(),
                flags: BTreeSet::new(),
                rules: (0..dice.below(8)).map(|_| dice.rule()).collect(),
            };
            let program = assemble::assemble(&tables(&profile, 0).expect("tables"), KILL_PROCESS);
            assert!(is_sound(&program));
            for _ in 0..100 {
                let (name, arguments) = (dice.one(&NAMES), [dice.value(), dice.value(), dice.value()]);
                let expected = match naive(&profile, name, &arguments) {
                    Action::Allow => ALLOW,
                    Action::Log => LOG,
                    Action::Trace(_) | Action::Notify => unreachable!("not among them"),
                    Action::Errno(number) => errno(number),
                    Action::Trap => TRAP,
                    Action::KillThread => KILL_THREAD,
                    Action::KillProcess => KILL_PROCESS,
                };
                assert_eq!(
                    answer(&program, name, &arguments),
                    expected,
                    "{name}({arguments:x?}) {profile:?}"
                );
            }
        }
    }
}
