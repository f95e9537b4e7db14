//! The seccomp filter that decides, in the kernel, which calls the listener sees.

use linux_raw_sys::general as nr;
use sys::seccomp::Instruction;

use crate::calls::{self, EMPTY_PATH, O_PATH};
use crate::{Opens, Settings};

/// AUDIT_ARCH_X86_64.
pub(crate) const X86_64: u32 = 0xc000_003e;
/// AUDIT_ARCH_I386.
pub(crate) const I386: u32 = 0x4000_0003;
/// Numbers from here on are calls of the x32 ABI.
pub(crate) const X32_BIT: u32 = 0x4000_0000;

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

const LOAD_WORD: u16 = 0x20;
const RETURN: u16 = 0x06;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;

const ALLOW: u32 = 0x7fff_0000;
const NOTIFY: u32 = 0x7fc0_0000;
const ERRNO_ENOSYS: u32 = 0x0005_0000 | 38;
const AT_FDCWD: u32 = -100i32 as u32;
/// CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUSER.
const CLONE_NAMESPACES: u32 = 0x0002_0000 | 0x2000_0000 | 0x1000_0000;
/// SECCOMP_FILTER_FLAG_NEW_LISTENER.
const NEW_LISTENER: u32 = 8;

/// The filter program for `settings`, to be installed with SECCOMP_FILTER_FLAG_NEW_LISTENER (and
/// SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV where the kernel has it: then only a signal which comes
/// in the few microseconds before the listener has taken a call, and whose handler is without
/// SA_RESTART, makes that call fail with EINTR). Calls that name no path run at full speed.
pub fn filter(settings: &Settings) -> Vec<Instruction> {
    let native = search(&ranges(|number| native(settings.opens, number)));
    let i386 = search(&ranges(i386));
    let mut program = vec![op(LOAD_WORD, 4)];
    program.push(jump(JUMP_EQUAL, X86_64, 0, 1));
    program.push(op(JUMP, 3 + i386.len() as u32));
    program.push(jump(JUMP_EQUAL, I386, 1, 0));
    program.push(op(RETURN, ALLOW));
    program.push(op(LOAD_WORD, 0));
    program.extend(i386);
    program.push(op(LOAD_WORD, 0));
    program.push(jump(JUMP_AT_LEAST, X32_BIT, 0, 1));
    program.push(op(RETURN, NOTIFY));
    program.extend(native);
    program
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

/// Runs of numbers with one verdict: the first number of each, beginning with 0.
fn ranges(verdict: impl Fn(u32) -> Verdict) -> Vec<(u32, Verdict)> {
    let mut ranges: Vec<(u32, Verdict)> = Vec::new();
    for number in 0..513 {
        let verdict = verdict(number);
        if ranges.last().is_none_or(|(_, last)| *last != verdict) {
            ranges.push((number, verdict));
        }
    }
    ranges
}

/// A binary search over `ranges`; the number is in the accumulator. Every path through it ends in
/// a return.
fn search(ranges: &[(u32, Verdict)]) -> Vec<Instruction> {
    if let [(_, verdict)] = ranges {
        return leaf(*verdict);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let below = search(low);
    let mut program = match u8::try_from(below.len()) {
        Ok(skip) => vec![jump(JUMP_AT_LEAST, high[0].0, skip, 0)],
        // Conditional jumps reach 255 instructions only.
        Err(_) => vec![jump(JUMP_AT_LEAST, high[0].0, 0, 1), op(JUMP, below.len() as u32)],
    };
    program.extend(below);
    program.extend(search(high));
    program
}

fn leaf(verdict: Verdict) -> Vec<Instruction> {
    match verdict {
        Verdict::Allow => vec![op(RETURN, ALLOW)],
        Verdict::Notify => vec![op(RETURN, NOTIFY)],
        Verdict::Absent => vec![op(RETURN, ERRNO_ENOSYS)],
        Verdict::Stat(flags) => vec![
            argument(flags),
            jump(JUMP_EQUAL, EMPTY_PATH, 0, 2),
            argument(0),
            jump(JUMP_ANY_BIT, 0x8000_0000, 0, 1),
            op(RETURN, NOTIFY),
            op(RETURN, ALLOW),
        ],
        Verdict::OpenAt => {
            let mut program = vec![argument(0), jump(JUMP_EQUAL, AT_FDCWD, 1, 0), op(RETURN, NOTIFY)];
            program.extend(notify_if_any(2, O_PATH));
            program
        }
        Verdict::Open => notify_if_any(1, O_PATH),
        Verdict::Clone => notify_if_any(0, CLONE_NAMESPACES),
        Verdict::Seccomp => notify_if_any(1, NEW_LISTENER),
    }
}

fn notify_if_any(index: u8, bits: u32) -> Vec<Instruction> {
    vec![argument(index), jump(JUMP_ANY_BIT, bits, 0, 1), op(RETURN, NOTIFY), op(RETURN, ALLOW)]
}

/// Loads the low half of an argument: what the kernel takes for an int.
fn argument(index: u8) -> Instruction {
    op(LOAD_WORD, 16 + 8 * u32::from(index))
}

fn op(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the program on one call, as the kernel would.
    fn run(program: &[Instruction], arch: u32, number: u32, arguments: [u32; 6]) -> (u32, usize) {
        let (mut at, mut accumulator, mut steps) = (0, 0, 0);
        loop {
            let step = program[at];
            at += 1;
            steps += 1;
            let taken = match step.code {
                LOAD_WORD => {
                    accumulator = match step.k {
                        0 => number,
                        4 => arch,
                        offset => arguments[(offset as usize - 16) / 8],
                    };
                    continue;
                }
                RETURN => return (step.k, steps),
                JUMP => {
                    at += step.k as usize;
                    continue;
                }
                JUMP_EQUAL => accumulator == step.k,
                JUMP_AT_LEAST => accumulator >= step.k,
                JUMP_ANY_BIT => accumulator & step.k != 0,
                other => panic!("code {other:#x}"),
            };
            at += usize::from(if taken { step.jt } else { step.jf });
        }
    }

    #[test]
    fn every_call_gets_its_verdict() {
        for opens in [Opens::Fanotify, Opens::Listener] {
            let program = filter(&Settings { opens });
            for number in 0..600 {
                let wanted = match native(opens, number) {
                    Verdict::Allow => ALLOW,
                    Verdict::Notify => NOTIFY,
                    Verdict::Absent => ERRNO_ENOSYS,
                    _ => continue,
                };
                assert_eq!(run(&program, X86_64, number, [0; 6]).0, wanted, "{number}");
            }
            assert_eq!(run(&program, X86_64, X32_BIT | 2, [0; 6]).0, NOTIFY);
            assert_eq!(run(&program, I386, 11, [0; 6]).0, NOTIFY);
            assert_eq!(run(&program, I386, 20, [0; 6]).0, ALLOW);
        }
    }

    #[test]
    fn what_costs_nothing() {
        let program = filter(&Settings { opens: Opens::Fanotify });
        let verdict = |number, arguments| run(&program, X86_64, number, arguments).0;
        assert_eq!(verdict(nr::__NR_newfstatat, [3, 0, 0, EMPTY_PATH, 0, 0]), ALLOW);
        assert_eq!(verdict(nr::__NR_newfstatat, [AT_FDCWD, 0, 0, EMPTY_PATH, 0, 0]), NOTIFY);
        assert_eq!(verdict(nr::__NR_newfstatat, [3, 0, 0, 0, 0, 0]), NOTIFY);
        assert_eq!(verdict(nr::__NR_openat, [AT_FDCWD, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(verdict(nr::__NR_openat, [AT_FDCWD, 0, O_PATH, 0, 0, 0]), NOTIFY);
        assert_eq!(verdict(nr::__NR_openat, [5, 0, 0, 0, 0, 0]), NOTIFY);
        assert_eq!(verdict(nr::__NR_clone, [0x0100, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(verdict(nr::__NR_clone, [0x2000_0000, 0, 0, 0, 0, 0]), NOTIFY);
        let most = (0..512).map(|number| run(&program, X86_64, number, [0; 6]).1).max();
        assert!(most.expect("some") < 24, "{most:?}");
    }
}
