//! The assembler of seccomp programs: tables of answers by call number in, instructions out.
//!
//! A call is looked up by a binary search over ranges of numbers with one answer, so it costs about
//! seven comparisons. Answers that depend on the number alone are given without looking at an
//! argument: that is what the kernel demands in order to remember a call as always allowed, and to
//! skip the program for it from then on (Linux 5.11).
//!
//! The program is made from its end to its beginning, because a jump only goes forward: when it is
//! emitted, what it leads to is there already.

use super::Instruction;

/// AUDIT_ARCH_X86_64.
pub const X86_64: u32 = 0xc000_003e;
/// AUDIT_ARCH_I386.
pub const I386: u32 = 0x4000_0003;
/// AUDIT_ARCH_AARCH64.
pub const AARCH64: u32 = 0xc000_00b7;
/// Numbers from here on are calls of the x32 ABI, which has the architecture of x86-64.
pub const X32: u32 = 0x4000_0000;

/// The answer that lets a call through.
pub const ALLOW: u32 = 0x7fff_0000;
/// The answer that lets it through and has it logged.
pub const LOG: u32 = 0x7ffc_0000;
/// The answer that asks the listener.
pub const NOTIFY: u32 = 0x7fc0_0000;
/// The answer that sends SIGSYS.
pub const TRAP: u32 = 0x0003_0000;
/// The answer that ends the thread.
pub const KILL_THREAD: u32 = 0;
/// The answer that ends the process.
pub const KILL_PROCESS: u32 = 0x8000_0000;

/// The answer that makes a call fail.
pub const fn errno(number: u16) -> u32 {
    0x0005_0000 | number as u32
}

/// The answer that asks a tracer, with a number for it.
pub const fn trace(number: u16) -> u32 {
    0x7ff0_0000 | number as u32
}

/// The calls of one architecture: the answer from each number on until the next one's. The first
/// number is 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// As the kernel's audit subsystem numbers it.
    pub architecture: u32,
    /// In ascending order.
    pub ranges: Vec<(u32, Verdict)>,
}

/// What is answered to a call by its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Always this.
    Always(u32),
    /// The answer of the first case that holds, or the last one.
    Depends(Vec<Case>, u32),
}

/// An answer where all checks hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Checks of arguments.
    pub checks: Vec<Check>,
    /// The answer.
    pub answer: u32,
}

/// A check of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// Which argument, 0 to 5.
    pub argument: u8,
    /// All 64 bits are looked at. Without it the lower 32 are, as the kernel does where it takes an
    /// int: what stands above must not change the answer (2019-10063).
    pub wide: bool,
    /// What it has to be.
    pub test: Test,
    /// With this; the upper half only counts where the check is wide.
    pub value: u64,
    /// The check holds where the test does not.
    pub not: bool,
}

/// A relation between an argument and a value, without a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// Equal in the bits of this mask.
    Masked(u64),
    /// Greater or equal.
    AtLeast,
    /// Greater.
    Above,
}

impl Table {
    /// A table from the answer to each number, of which `from` is the first; equal ones are put
    /// together.
    pub fn new(architecture: u32, answers: impl IntoIterator<Item = (u32, Verdict)>) -> Self {
        let mut ranges: Vec<(u32, Verdict)> = Vec::with_capacity(256);
        for (number, verdict) in answers {
            if ranges.last().is_none_or(|(_, last)| *last != verdict) {
                ranges.push((number, verdict));
            }
        }
        Self { architecture, ranges }
    }
}

/// The program that answers by these tables, and with `foreign` to calls of any other
/// architecture.
pub fn assemble(tables: &[Table], foreign: u32) -> Vec<Instruction> {
    let mut program =
        Program { reversed: Vec::with_capacity(512), answers: Vec::new(), verdicts: Vec::new() };
    let mut entry = Target::Answer(foreign);
    for table in tables.iter().rev() {
        let search = program.search(&table.ranges);
        entry = program.branch(
            JUMP_IF_EQUAL,
            table.architecture,
            (search, entry),
            Loaded { offset: ARCHITECTURE, masked: false },
        );
    }
    program.finish(entry)
}

pub(super) const LOAD_WORD: u16 = 0x20;
pub(super) const AND: u16 = 0x54;
pub(super) const JUMP: u16 = 0x05;
pub(super) const JUMP_IF_EQUAL: u16 = 0x15;
pub(super) const JUMP_IF_ABOVE: u16 = 0x25;
pub(super) const JUMP_IF_AT_LEAST: u16 = 0x35;
pub(super) const RETURN: u16 = 0x06;

// Offsets into struct seccomp_data.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// How far a conditional jump is let go; two instructions may come between before it is emitted.
const REACH: usize = 250;

/// Where a jump leads.
#[derive(Debug, Clone, Copy)]
enum Target {
    Answer(u32),
    /// The instruction at this place, counted from the program's end. It wants the word at this
    /// offset loaded.
    Code {
        place: usize,
        wants: u32,
    },
}

/// What the accumulator holds when a jump is taken: the word at an offset, or a part of it.
#[derive(Debug, Clone, Copy)]
struct Loaded {
    offset: u32,
    masked: bool,
}

struct Program<'a> {
    reversed: Vec<Instruction>,
    /// Where each answer was put last.
    answers: Vec<(u32, usize)>,
    /// What was made of verdicts that look at arguments: other calls, and those of another
    /// architecture, often have the same ones.
    verdicts: Vec<(&'a Verdict, Target)>,
}

/// How many verdicts are looked through for the same one.
const REMEMBERED: usize = 16;

impl<'a> Program<'a> {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> usize {
        self.reversed.push(Instruction { code, jt, jf, k });
        self.reversed.len() - 1
    }

    fn search(&mut self, ranges: &'a [(u32, Verdict)]) -> Target {
        match ranges {
            [] => Target::Answer(KILL_PROCESS),
            [(_, verdict)] => self.verdict(verdict),
            _ => {
                let (low, high) = ranges.split_at(ranges.len() / 2);
                let above = self.search(high);
                let below = self.search(low);
                let number = Loaded { offset: NUMBER, masked: false };
                self.branch(JUMP_IF_AT_LEAST, high[0].0, (above, below), number)
            }
        }
    }

    fn verdict(&mut self, verdict: &'a Verdict) -> Target {
        let (cases, otherwise) = match verdict {
            Verdict::Always(answer) => return Target::Answer(*answer),
            Verdict::Depends(cases, otherwise) => (cases, *otherwise),
        };
        if let Some((_, made)) =
            self.verdicts.iter().rev().take(REMEMBERED).find(|(other, _)| *other == verdict)
        {
            return *made;
        }
        let made = cases.iter().rev().fold(Target::Answer(otherwise), |next, case| self.case(case, next));
        self.verdicts.push((verdict, made));
        made
    }

    fn case(&mut self, case: &Case, next: Target) -> Target {
        case.checks.iter().rev().fold(Target::Answer(case.answer), |holds, check| {
            let targets = if check.not { (next, holds) } else { (holds, next) };
            self.check(check, targets)
        })
    }

    fn check(&mut self, check: &Check, targets: (Target, Target)) -> Target {
        let low = ARGUMENTS + 8 * u32::from(check.argument);
        let (low_value, high_value) = (check.value as u32, (check.value >> 32) as u32);
        match check.test {
            Test::Masked(mask) => {
                let lower = self.masked(low, mask as u32, low_value, targets);
                match check.wide {
                    true => self.masked(low + 4, (mask >> 32) as u32, high_value, (lower, targets.1)),
                    false => lower,
                }
            }
            Test::AtLeast => self.ordered(JUMP_IF_AT_LEAST, low, check, targets),
            Test::Above => self.ordered(JUMP_IF_ABOVE, low, check, targets),
        }
    }

    fn ordered(&mut self, code: u16, low: u32, check: &Check, targets: (Target, Target)) -> Target {
        let word = |offset| Loaded { offset, masked: false };
        let lower = self.branch(code, check.value as u32, targets, word(low));
        if !check.wide {
            return lower;
        }
        let high = (check.value >> 32) as u32;
        let equal = self.branch(JUMP_IF_EQUAL, high, (lower, targets.1), word(low + 4));
        self.branch(JUMP_IF_ABOVE, high, (targets.0, equal), word(low + 4))
    }

    fn masked(&mut self, offset: u32, mask: u32, value: u32, targets: (Target, Target)) -> Target {
        match mask {
            0 if value == 0 => targets.0,
            0 => targets.1,
            u32::MAX => self.branch(JUMP_IF_EQUAL, value, targets, Loaded { offset, masked: false }),
            mask => {
                self.branch(JUMP_IF_EQUAL, value, targets, Loaded { offset, masked: true });
                let place = self.push(AND, 0, 0, mask);
                Target::Code { place, wants: offset }
            }
        }
    }

    /// A jump to the first of the targets where `code` holds for the word, else to the second.
    fn branch(&mut self, code: u16, value: u32, targets: (Target, Target), loaded: Loaded) -> Target {
        let holds = self.reach(targets.0, Some(loaded), REACH);
        let fails = self.reach(targets.1, Some(loaded), REACH);
        let next = self.reversed.len();
        let place = self.push(code, (next - holds - 1) as u8, (next - fails - 1) as u8, value);
        Target::Code { place, wants: loaded.offset }
    }

    /// A place that leads to `target` and is at most `reach` instructions away.
    fn reach(&mut self, target: Target, loaded: Option<Loaded>, reach: usize) -> usize {
        match target {
            Target::Answer(answer) => {
                let known = self.answers.iter().position(|(other, _)| *other == answer);
                match known.map(|known| &self.answers[known]) {
                    Some((_, place)) if self.reversed.len() - place <= reach => return *place,
                    Some(_) | None => {}
                }
                let place = self.push(RETURN, 0, 0, answer);
                match known {
                    Some(known) => self.answers[known].1 = place,
                    None => self.answers.push((answer, place)),
                }
                place
            }
            Target::Code { place, wants } => {
                let there = loaded.is_some_and(|loaded| loaded.offset == wants && !loaded.masked);
                let reach = if there { reach } else { 1 };
                let place = self.nearer(place, reach);
                if there { place } else { self.push(LOAD_WORD, 0, 0, wants) }
            }
        }
    }

    /// `place`, or a jump to it if it is farther than `reach`.
    fn nearer(&mut self, place: usize, reach: usize) -> usize {
        let distance = self.reversed.len() - place - 1;
        if distance < reach { place } else { self.push(JUMP, 0, 0, distance as u32) }
    }

    fn finish(mut self, entry: Target) -> Vec<Instruction> {
        let place = self.reach(entry, None, 1);
        self.nearer(place, 1);
        self.reversed.reverse();
        self.reversed
    }
}

#[cfg(test)]
mod tests;
