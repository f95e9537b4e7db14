//! A tiny assembler for seccomp's BPF.

use sys::seccomp::Instruction;

/// What the filter answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Allow,
    /// EPERM.
    Refuse,
    /// ENOSYS.
    NoSuchCall,
    CloneWithoutNamespaces,
    HarmlessPersonality,
    OrdinarySocket,
}

const LOAD_WORD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const JUMP_IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;

// Offsets into struct seccomp_data; the lower half of the first argument.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const NAMESPACES: u32 = 0x7e02_0000;

/// Instructions under construction. Jumps are relative, so parts can be put one after the other.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub(super) instructions: Vec<Instruction>,
}

impl Program {
    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) {
        self.instructions.push(Instruction { code, jt, jf, k });
    }

    pub(super) fn len(&self) -> usize {
        self.instructions.len()
    }

    pub(super) fn append(&mut self, part: Self) {
        self.instructions.extend(part.instructions);
    }

    pub(super) fn load_architecture(&mut self) {
        self.push(LOAD_WORD, 0, 0, ARCHITECTURE);
    }

    pub(super) fn load_number(&mut self) {
        self.push(LOAD_WORD, 0, 0, NUMBER);
    }

    /// Skips the next `count` instructions unless the loaded word is `value`.
    pub(super) fn skip_unless_equal(&mut self, value: u32, count: usize) {
        self.push(JUMP_IF_EQUAL, 1, 0, value);
        self.push(JUMP, 0, 0, count as u32);
    }

    pub(super) fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Allow => self.push(RETURN, 0, 0, ALLOW),
            Answer::Refuse => self.push(RETURN, 0, 0, ERRNO | 1),
            Answer::NoSuchCall => self.push(RETURN, 0, 0, ERRNO | 38),
            Answer::CloneWithoutNamespaces => {
                self.push(LOAD_WORD, 0, 0, FIRST_ARGUMENT);
                self.push(JUMP_IF_ANY_BIT, 0, 1, NAMESPACES);
                self.answer(Answer::Refuse);
                self.answer(Answer::Allow);
            }
            // Linux, UNAME26 and asking; each with and without 32 bit.
            Answer::HarmlessPersonality => self.first_argument(&[0, 8, 0x20000, 0x20008, u32::MAX], true),
            // AF_VSOCK reaches the hypervisor, AF_ALG the kernel's ciphers.
            Answer::OrdinarySocket => self.first_argument(&[40, 38], false),
        }
    }

    /// Allows (or refuses) exactly these values of the first argument.
    fn first_argument(&mut self, values: &[u32], allow: bool) {
        self.push(LOAD_WORD, 0, 0, FIRST_ARGUMENT);
        for (index, value) in values.iter().enumerate() {
            self.push(JUMP_IF_EQUAL, (values.len() - index) as u8, 0, *value);
        }
        self.answer(if allow { Answer::Refuse } else { Answer::Allow });
        self.answer(if allow { Answer::Allow } else { Answer::Refuse });
    }
}

/// A binary search for the loaded number among ranges given by their first number, in order.
pub(super) fn binary_search(ranges: &[(u32, Answer)]) -> Program {
    let mut program = Program::default();
    if let [(_, answer)] = ranges {
        program.answer(*answer);
        return program;
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let (below, above) = (binary_search(low), binary_search(high));
    match u8::try_from(below.len()) {
        Ok(distance) => program.push(JUMP_IF_AT_LEAST, distance, 0, high[0].0),
        // Conditional jumps reach 255 instructions at most.
        Err(_) => {
            program.push(JUMP_IF_AT_LEAST, 0, 1, high[0].0);
            program.push(JUMP, 0, 0, below.len() as u32);
        }
    }
    program.append(below);
    program.append(above);
    program
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What a program decided.
    #[derive(Debug, PartialEq, Eq)]
    pub(crate) enum Outcome {
        Allow,
        Errno(u32),
    }

    /// Interprets a program as the kernel does.
    pub(crate) fn run(program: &[Instruction], arch: u32, number: u32, argument: u64) -> Outcome {
        let mut loaded = 0;
        let mut at = 0;
        for _ in 0..program.len() {
            let Instruction { code, jt, jf, k } = program[at];
            let branch = |taken: bool| usize::from(if taken { jt } else { jf });
            at += 1 + match code {
                LOAD_WORD => {
                    loaded = match k {
                        NUMBER => number,
                        ARCHITECTURE => arch,
                        FIRST_ARGUMENT => argument as u32,
                        other => panic!("offset {other}"),
                    };
                    0
                }
                JUMP => k as usize,
                JUMP_IF_EQUAL => branch(loaded == k),
                JUMP_IF_AT_LEAST => branch(loaded >= k),
                JUMP_IF_ANY_BIT => branch(loaded & k != 0),
                RETURN if k == ALLOW => return Outcome::Allow,
                RETURN => return Outcome::Errno(k & 0xffff),
                other => panic!("code {other:x}"),
            };
        }
        panic!("the program does not end");
    }
}
