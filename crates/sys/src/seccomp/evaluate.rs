//! What a program would answer, without asking the kernel.

use super::assemble::{AND, JUMP, JUMP_IF_ABOVE, JUMP_IF_AT_LEAST, JUMP_IF_EQUAL, LOAD_WORD, RETURN};
use super::{Instruction, MAX_INSTRUCTIONS};

/// A system call, as a filter sees it (the kernel's `struct seccomp_data`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Call {
    /// The architecture whose call it is.
    pub architecture: u32,
    /// Its number there.
    pub number: u32,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// The answer of `program` to `call`, as the kernel would have it. None for a program that
/// [`is_sound`] refuses.
pub fn evaluate(program: &[Instruction], call: &Call) -> Option<u32> {
    let (mut accumulator, mut at) = (0, 0_usize);
    loop {
        let Instruction { code, jt, jf, k } = *program.get(at)?;
        let holds = match code {
            RETURN => return Some(k),
            JUMP => {
                at = at.checked_add(k as usize)?.checked_add(1)?;
                continue;
            }
            LOAD_WORD | AND => {
                accumulator = if code == AND { accumulator & k } else { word(call, k)? };
                at += 1;
                continue;
            }
            JUMP_IF_EQUAL => accumulator == k,
            JUMP_IF_ABOVE => accumulator > k,
            JUMP_IF_AT_LEAST => accumulator >= k,
            _ => return None,
        };
        at += 1 + usize::from(if holds { jt } else { jf });
    }
}

fn word(call: &Call, offset: u32) -> Option<u32> {
    match offset {
        0 => Some(call.number),
        4 => Some(call.architecture),
        16..64 if offset % 4 == 0 => {
            let argument = call.arguments[(offset as usize - 16) / 8];
            Some(if offset % 8 == 0 { argument as u32 } else { (argument >> 32) as u32 })
        }
        _ => None,
    }
}

/// Whether this is a program such as our assembler makes: not too long, of known instructions,
/// every path of which stays inside and ends with an answer.
pub fn is_sound(program: &[Instruction]) -> bool {
    let fits = |at: usize, skip: usize| at + 1 + skip < program.len();
    (1..=MAX_INSTRUCTIONS).contains(&program.len())
        && program.iter().enumerate().all(|(at, instruction)| match instruction.code {
            RETURN => true,
            JUMP => fits(at, instruction.k as usize),
            LOAD_WORD => word(&Call::default(), instruction.k).is_some() && fits(at, 0),
            AND => fits(at, 0),
            JUMP_IF_EQUAL | JUMP_IF_ABOVE | JUMP_IF_AT_LEAST => {
                fits(at, instruction.jt.into()) && fits(at, instruction.jf.into())
            }
            _ => false,
        })
}
