//! Rules as a program of the kernel (version 2 has no files for them).
//!
//! It is asked with `struct bpf_cgroup_dev_ctx { u32 access_type, major, minor }`, where
//! `access_type` is the kind of the device plus 65536 times the accesses asked for, and answers 1
//! or 0. The rules are gone through from the last to the first: what one of them allows is ticked
//! off, what one of them forbids ends it, and what is left over in the end is forbidden.

use spec::resources::{Access, DeviceRule, RuleKind};
use sys::bpf_device::Instruction;

const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ASKED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const LOAD_WORD: u8 = 0x61;
const COPY: u8 = 0xbf;
const PUT: u8 = 0xb7;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_IF_NOT: u8 = 0x55;
const JUMP_IF_ANY_OF: u8 = 0x45;
const JUMP: u8 = 0x05;
const EXIT: u8 = 0x95;

const BLOCK: i32 = 1;
const CHAR: i32 = 2;

/// The program of these rules.
pub fn program(rules: &[DeviceRule]) -> Vec<Instruction> {
    // What comes before a rule about everything says nothing.
    let start = rules.iter().rposition(DeviceRule::is_about_everything).unwrap_or(0);
    let mut program = vec![
        step(LOAD_WORD, KIND, CONTEXT, 0, 0),
        step(COPY, ASKED, KIND, 0, 0),
        step(AND, KIND, 0, 0, 0xffff),
        step(SHIFT_RIGHT, ASKED, 0, 0, 16),
        step(LOAD_WORD, MAJOR, CONTEXT, 4, 0),
        step(LOAD_WORD, MINOR, CONTEXT, 8, 0),
    ];
    rules[start..].iter().rev().for_each(|rule| program.extend(part(rule)));
    program.extend(answer(0));
    program
}

/// One rule: conditions, each of which jumps over the rest, then what is done.
fn part(rule: &DeviceRule) -> Vec<Instruction> {
    let kind = match rule.kind {
        RuleKind::All => None,
        RuleKind::Block => Some(BLOCK),
        RuleKind::Char => Some(CHAR),
    };
    let number = |number: Option<u32>| number.map(|number| number as i32);
    let conditions = [(KIND, kind), (MAJOR, number(rule.major)), (MINOR, number(rule.minor))];
    let conditions: Vec<(u8, i32)> =
        conditions.iter().filter_map(|(register, value)| Some((*register, (*value)?))).collect();
    let done = done(rule);
    let count = conditions.len();
    let jump = |(at, (register, value)): (usize, &(u8, i32))| {
        step(JUMP_IF_NOT, *register, 0, (count - at - 1 + done.len()) as i16, *value)
    };
    conditions.iter().enumerate().map(jump).chain(done.iter().copied()).collect()
}

fn done(rule: &DeviceRule) -> Vec<Instruction> {
    let bits = bits(rule.access);
    let [put, exit] = answer(i32::from(rule.allow));
    if rule.allow {
        vec![step(AND, ASKED, 0, 0, !bits), step(JUMP_IF_NOT, ASKED, 0, 2, 0), put, exit]
    } else {
        vec![step(JUMP_IF_ANY_OF, ASKED, 0, 1, bits), step(JUMP, 0, 0, 2, 0), put, exit]
    }
}

fn bits(access: Access) -> i32 {
    i32::from(access.make) | i32::from(access.read) << 1 | i32::from(access.write) << 2
}

fn answer(value: i32) -> [Instruction; 2] {
    [step(PUT, ANSWER, 0, 0, value), step(EXIT, 0, 0, 0, 0)]
}

fn step(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: from << 4 | to, offset, immediate }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The part of the kernel's machine that is in use here.
    fn run(program: &[Instruction], context: [u32; 3]) -> u64 {
        let mut registers = [0u64; 11];
        let mut at = 0usize;
        loop {
            let Instruction { code, registers: pair, offset, immediate } = program[at];
            let (to, from) = ((pair & 15) as usize, (pair >> 4) as usize);
            let number = i64::from(immediate) as u64;
            let jumps = match code {
                LOAD_WORD => {
                    registers[to] = u64::from(context[offset as usize / 4]);
                    false
                }
                COPY => {
                    registers[to] = registers[from];
                    false
                }
                PUT => {
                    registers[to] = number;
                    false
                }
                AND => {
                    registers[to] &= number;
                    false
                }
                SHIFT_RIGHT => {
                    registers[to] >>= number;
                    false
                }
                JUMP_IF_NOT => registers[to] != number,
                JUMP_IF_ANY_OF => registers[to] & number != 0,
                JUMP => true,
                EXIT => return registers[0],
                code => panic!("no instruction {code:#x}"),
            };
            at = at + 1 + if jumps { offset as usize } else { 0 };
        }
    }

    fn allows(rules: &str, kind: i32, device: (u32, u32), access: &str) -> bool {
        let rules: Vec<DeviceRule> = rules
            .split(", ")
            .filter(|rule| !rule.is_empty())
            .map(|rule| rule.parse().expect("a rule"))
            .collect();
        let asked = bits(access.parse().expect("access"));
        run(&program(&rules), [(asked << 16 | kind) as u32, device.0, device.1]) == 1
    }

    #[test]
    fn nothing_is_allowed_but_what_is() {
        assert!(!allows("", CHAR, (1, 3), "r"));
        let rules = "!a, c 1:3 rw, b 8:* r, c *:* m";
        assert!(allows(rules, CHAR, (1, 3), "rw") && allows(rules, CHAR, (1, 3), "rwm"));
        assert!(!allows(rules, BLOCK, (1, 3), "r") && !allows(rules, CHAR, (1, 5), "r"));
        assert!(allows(rules, BLOCK, (8, 17), "r") && !allows(rules, BLOCK, (8, 17), "rw"));
        assert!(allows(rules, CHAR, (4095, 1_048_575), "m") && !allows(rules, BLOCK, (8, 0), "m"));
    }

    #[test]
    fn the_last_rule_decides() {
        assert!(!allows("c 1:* rwm, !c 1:3 w", CHAR, (1, 3), "rw"));
        assert!(allows("c 1:* rwm, !c 1:3 w", CHAR, (1, 3), "r"));
        assert!(allows("c 1:* rwm, !c 1:3 w, c 1:3 w", CHAR, (1, 3), "rw"));
        assert!(allows("c 1:3 r, c 1:3 w", CHAR, (1, 3), "rw"));
        assert!(allows("!a, a", BLOCK, (259, 0), "rwm") && !allows("a, !a", CHAR, (1, 3), "r"));
        assert!(allows("a, !b *:* w", BLOCK, (8, 0), "r") && !allows("a, !b *:* w", BLOCK, (8, 0), "rw"));
    }

    #[test]
    fn what_is_overruled_takes_no_room() {
        let rules: Vec<DeviceRule> =
            ["c 1:3 r", "!a"].iter().map(|rule| rule.parse().expect("a rule")).collect();
        assert_eq!(program(&rules), program(&rules[1..]));
    }
}
