//! Programs against the tables that they were made from.

use super::*;
use crate::seccomp::{Call, evaluate, is_sound};

/// A generator of numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    /// Values around which comparisons tip over.
    fn value(&mut self) -> u64 {
        let base = [0, 1, 7, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0007, 0x8000_0000, u64::MAX]
            [self.below(8) as usize];
        base.wrapping_add(self.below(3)).wrapping_sub(1)
    }

    fn check(&mut self) -> Check {
        let test = match self.below(4) {
            0 => Test::AtLeast,
            1 => Test::Above,
            2 => Test::Masked(u64::MAX),
            _ => Test::Masked(self.value()),
        };
        let (argument, wide, not) = (self.below(6) as u8, self.below(2) == 0, self.below(2) == 0);
        Check { argument, wide, test, value: self.value(), not }
    }

    fn verdict(&mut self) -> Verdict {
        let answer =
            |dice: &mut Self| [ALLOW, LOG, NOTIFY, errno(1), errno(38), KILL_THREAD][dice.below(6) as usize];
        if self.below(4) > 0 {
            return Verdict::Always(answer(self));
        }
        let cases = (0..=self.below(4)).map(|_| {
            let checks = (0..=self.below(3)).map(|_| self.check()).collect();
            Case { checks, answer: answer(self) }
        });
        let cases = cases.collect();
        Verdict::Depends(cases, answer(self))
    }

    fn table(&mut self, architecture: u32) -> Table {
        let mut number = 0;
        let ranges = (0..=self.below(200)).map(|_| {
            let range = (number, self.verdict());
            number += 1 + self.below(5) as u32;
            range
        });
        Table { architecture, ranges: ranges.collect() }
    }

    fn call(&mut self, tables: &[Table]) -> Call {
        let table = &tables[self.below(2) as usize];
        let (first, _) = &table.ranges[self.below(table.ranges.len() as u64) as usize];
        let number = first.wrapping_add(self.below(4) as u32).wrapping_sub(1);
        Call { architecture: table.architecture, number, arguments: std::array::from_fn(|_| self.value()) }
    }
}

/// Straight from what the types say.
fn naive(tables: &[Table], foreign: u32, call: &Call) -> u32 {
    let Some(table) = tables.iter().find(|table| table.architecture == call.architecture) else {
        return foreign;
    };
    match &table.ranges.iter().rev().find(|(first, _)| *first <= call.number).expect("from 0 on").1 {
        Verdict::Always(answer) => *answer,
        Verdict::Depends(cases, otherwise) => {
            let holds = |check: &Check| {
                let cut = if check.wide { u64::MAX } else { 0xffff_ffff };
                let (argument, value) = (call.arguments[check.argument as usize] & cut, check.value & cut);
                check.not
                    != match check.test {
                        Test::Masked(mask) => argument & mask == value,
                        Test::AtLeast => argument >= value,
                        Test::Above => argument > value,
                    }
            };
            cases.iter().find(|case| case.checks.iter().all(holds)).map_or(*otherwise, |case| case.answer)
        }
    }
}

#[test]
fn any_tables_become_a_program_that_answers_by_them() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..200 {
        let tables = [dice.table(X86_64), dice.table(I386)];
        let program = assemble(&tables, errno(1));
        assert!(is_sound(&program) || program.len() > crate::seccomp::MAX_INSTRUCTIONS);
        for _ in 0..500 {
            let call = dice.call(&tables);
            assert_eq!(
                evaluate(&program, &call),
                Some(naive(&tables, errno(1), &call)),
                "{call:x?} {tables:x?}"
            );
        }
        let foreign = Call { architecture: AARCH64, ..Call::default() };
        assert_eq!(evaluate(&program, &foreign), Some(errno(1)));
    }
}

#[test]
fn nothing_but_an_answer() {
    let program = assemble(&[], ALLOW);
    assert_eq!(program, [Instruction { code: RETURN, jt: 0, jf: 0, k: ALLOW }]);
    let everything = [Table::new(X86_64, [(0, Verdict::Always(ALLOW))])];
    assert_eq!(assemble(&everything, ALLOW).len(), 3);
}

#[test]
fn answers_are_shared() {
    let alternating =
        (0..100).map(|number| (number, Verdict::Always(if number % 2 == 0 { ALLOW } else { errno(1) })));
    let program = assemble(&[Table::new(X86_64, alternating)], KILL_PROCESS);
    assert!(program.len() < 110, "{} instructions", program.len());
}

#[test]
fn unsound_programs_are_told() {
    let end = Instruction { code: RETURN, jt: 0, jf: 0, k: ALLOW };
    let jump = |k| Instruction { code: JUMP, jt: 0, jf: 0, k };
    assert!(is_sound(&[jump(0), end]));
    for unsound in [
        vec![],
        vec![jump(1), end],
        vec![jump(u32::MAX), end],
        vec![Instruction { code: LOAD_WORD, jt: 0, jf: 0, k: 0 }],
    ] {
        assert!(!is_sound(&unsound), "{unsound:?}");
    }
    assert!(!is_sound(&[Instruction { code: LOAD_WORD, jt: 0, jf: 0, k: 3 }, end]));
    assert!(
        !is_sound(&[Instruction { code: 0x87, jt: 0, jf: 0, k: 0 }, end]),
        "an instruction that we never make"
    );
    assert!(!is_sound(&vec![end; 4097]));
}
