//! The seccomp filter that decides, in the kernel, which calls the listener sees.

use linux_raw_sys::general as nr;
use sys::seccomp::Instruction;
use sys::seccomp::assemble::{
    self, ALLOW, Case, Check, NOTIFY, Table, Test, Verdict as Answer, assemble, errno,
};

use crate::calls::{self, EMPTY_PATH, O_PATH};
use crate::{Opens, Settings};

pub(crate) use sys::seccomp::assemble::{I386, X32 as X32_BIT, X86_64};

/// What happens to a call by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allow,
    Notify,
    /// ENOSYS.
    Absent,
    /// Stat calls: not for a descriptor alone, as glibc's fstat does it (flags in this argument).
    Stat(u8),
    /// Opens which fanotify and eBPF do not explain: relative to a descriptor, or with O_PATH.
    OpenAt,
    /// As before, without a descriptor argument.
    Open,
    /// clone: only with a new namespace of mounts or processes.
    Clone,
    /// seccomp: only with a listener.
    Seccomp,
}

const ENOSYS: u32 = errno(38);
const AT_FDCWD: u32 = -100i32 as u32;
/// CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUSER.
const CLONE_NAMESPACES: u32 = 0x0002_0000 | 0x2000_0000 | 0x1000_0000;
/// SECCOMP_FILTER_FLAG_NEW_LISTENER.
const NEW_LISTENER: u32 = 8;
/// One more than the greatest number that is looked up.
const NUMBERS: u32 = 513;

/// The filter program for `settings`, to be installed with SECCOMP_FILTER_FLAG_NEW_LISTENER (and
/// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV where the kernel has it: then only a signal which comes
/// in the few microseconds before the listener has taken a call, and whose handler is without
/// SA_RESTART, makes that call fail with EINTR). Calls that name no path run at full speed.
pub fn filter(settings: &Settings) -> Vec<Instruction> {
    let natives = (0..NUMBERS).map(|number| (number, answer(native(settings.opens, number))));
    let others = (0..NUMBERS).map(|number| (number, answer(i386(number))));
    let x32 = (assemble::X32, Answer::Always(NOTIFY));
    assemble(&[Table::new(X86_64, natives.chain([x32])), Table::new(I386, others)], ALLOW)
}

fn native(opens: Opens, number: u32) -> Verdict {
    match (number, opens) {
        (nr::__NR_newfstatat, _) => Verdict::Stat(3),
        (nr::__NR_statx, _) => Verdict::Stat(2),
        (nr::__NR_openat, Opens::Fanotify) => Verdict::OpenAt,
        (nr::__NR_open, Opens::Fanotify) => Verdict::Open,
        (nr::__NR_creat, Opens::Fanotify) => Verdict::Allow,
        (nr::__NR_clone, _) => Verdict::Clone,
        (nr::__NR_seccomp, _) => Verdict::Seccomp,
        _ => plain(number),
    }
}

/// The 32-bit calls: the listener sees every open of theirs, whatever the settings.
fn i386(number: u32) -> Verdict {
    match calls::from_i386(number) {
        Some(nr::__NR_clone) => Verdict::Clone,
        Some(nr::__NR_seccomp) => Verdict::Seccomp,
        Some(native) => plain(native),
        None => Verdict::Allow,
    }
}

fn plain(number: u32) -> Verdict {
    match number {
        nr::__NR_io_uring_setup | nr::__NR_io_uring_enter | nr::__NR_io_uring_register => Verdict::Absent,
        _ if calls::native(number).is_some() => Verdict::Notify,
        _ => Verdict::Allow,
    }
}

fn answer(verdict: Verdict) -> Answer {
    let allow = |checks| Answer::Depends(vec![Case { checks, answer: ALLOW }], NOTIFY);
    match verdict {
        Verdict::Allow => Answer::Always(ALLOW),
        Verdict::Notify => Answer::Always(NOTIFY),
        Verdict::Absent => Answer::Always(ENOSYS),
        Verdict::Stat(flags) => allow(vec![is(flags, EMPTY_PATH), none_of(0, 0x8000_0000)]),
        Verdict::OpenAt => allow(vec![is(0, AT_FDCWD), none_of(2, O_PATH)]),
        Verdict::Open => allow(vec![none_of(1, O_PATH)]),
        Verdict::Clone => allow(vec![none_of(0, CLONE_NAMESPACES)]),
        Verdict::Seccomp => allow(vec![none_of(1, NEW_LISTENER)]),
    }
}

fn is(argument: u8, value: u32) -> Check {
    Check { argument, wide: false, test: Test::Masked(u64::MAX), value: value.into(), not: false }
}

fn none_of(argument: u8, bits: u32) -> Check {
    Check { argument, wide: false, test: Test::Masked(bits.into()), value: 0, not: false }
}

#[cfg(test)]
mod tests {
    use sys::seccomp::{Call, evaluate};

    use super::*;

    fn run(program: &[Instruction], architecture: u32, number: u32, arguments: [u32; 6]) -> u32 {
        let call = Call { architecture, number, arguments: arguments.map(u64::from) };
        evaluate(program, &call).expect("a sound program")
    }

    #[test]
    fn every_call_gets_its_verdict() {
        for opens in [Opens::Fanotify, Opens::Listener] {
            let program = filter(&Settings { opens });
            for number in 0..600 {
                let wanted = match native(opens, number) {
                    Verdict::Allow => ALLOW,
                    Verdict::Notify => NOTIFY,
                    Verdict::Absent => ENOSYS,
                    _ => continue,
                };
                assert_eq!(run(&program, X86_64, number, [0; 6]), wanted, "{number}");
            }
            assert_eq!(run(&program, X86_64, assemble::X32 | 2, [0; 6]), NOTIFY);
            assert_eq!(run(&program, I386, 11, [0; 6]), NOTIFY);
            assert_eq!(run(&program, I386, 20, [0; 6]), ALLOW);
        }
    }

    #[test]
    fn what_costs_nothing() {
        let program = filter(&Settings { opens: Opens::Fanotify });
        let verdict = |number, arguments| run(&program, X86_64, number, arguments);
        assert_eq!(verdict(nr::__NR_newfstatat, [3, 0, 0, EMPTY_PATH, 0, 0]), ALLOW);
        assert_eq!(verdict(nr::__NR_newfstatat, [AT_FDCWD, 0, 0, EMPTY_PATH, 0, 0]), NOTIFY);
        assert_eq!(verdict(nr::__NR_newfstatat, [3, 0, 0, 0, 0, 0]), NOTIFY);
        assert_eq!(verdict(nr::__NR_openat, [AT_FDCWD, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(verdict(nr::__NR_openat, [AT_FDCWD, 0, O_PATH, 0, 0, 0]), NOTIFY);
        assert_eq!(verdict(nr::__NR_openat, [5, 0, 0, 0, 0, 0]), NOTIFY);
        assert_eq!(verdict(nr::__NR_clone, [0x0100, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(verdict(nr::__NR_clone, [0x2000_0000, 0, 0, 0, 0, 0]), NOTIFY);
        assert!(program.len() < 300, "{} instructions", program.len());
    }
}
