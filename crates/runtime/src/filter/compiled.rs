//! A program that was made ahead, as bytes: made when a container is created or a package
//! installed, loaded when it starts.
//!
//! It never travels. Packages come from strangers, so what is in them is the list of names; the
//! program is made from it on this host, where the default profile sets the bounds. The checks
//! here are against what a disk or another version of ours may do to the bytes.

use spec::seccomp::Choice;
use spec::{Error, Result};
use sys::seccomp::{Instruction, MAX_INSTRUCTIONS, is_sound};

use super::{NATIVE, audit};

/// A filter that is ready to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The flags to load it with.
    pub flags: u32,
    /// The program; empty where nothing is to be loaded.
    pub program: Vec<Instruction>,
}

/// What the bytes start with; the number is raised with every change of the tables or the form.
const MAGIC: [u8; 8] = *b"tsubof\0\x01";
/// Magic, architecture, flags, seal.
const HEADER: usize = 24;
/// Of one instruction.
const WIDTH: usize = 8;

impl Compiled {
    /// Makes the filter of `choice` for a process that holds `capabilities`.
    pub fn new(choice: &Choice, capabilities: u64) -> Result<Self> {
        Ok(Self { flags: super::flags(choice), program: super::program(choice, capabilities)? })
    }

    /// The bytes to keep, of a filter that was made from this choice and these capabilities.
    pub fn to_bytes(&self, choice: &Choice, capabilities: u64) -> Vec<u8> {
        let body: Vec<u8> = self.program.iter().flat_map(bytes).collect();
        let seal = seal(choice, capabilities, self.flags, &body);
        let mut all = Vec::with_capacity(HEADER + body.len());
        all.extend(MAGIC);
        all.extend(audit(NATIVE).to_le_bytes());
        all.extend(self.flags.to_le_bytes());
        all.extend(seal.to_le_bytes());
        all.extend(body);
        all
    }

    /// The filter in `bytes`, provided that it is whole, was made by this version for this
    /// architecture, and from this choice and these capabilities. Otherwise it has to be made anew.
    pub fn from_bytes(bytes: &[u8], choice: &Choice, capabilities: u64) -> Result<Self> {
        let stale = |what: &str| Error::conflict(format!("a stored system call filter {what}"));
        let (header, body) = bytes.split_at_checked(HEADER).ok_or_else(|| stale("is cut off"))?;
        let word =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if header[..8] != MAGIC || word(8) != audit(NATIVE) {
            return Err(stale("is of another version or architecture"));
        }
        let (flags, sealed) = (word(12), u64::from(word(16)) | u64::from(word(20)) << 32);
        if body.len() > WIDTH * MAX_INSTRUCTIONS || sealed != seal(choice, capabilities, flags, body) {
            return Err(stale("is damaged, or was made for something else"));
        }
        let program: Vec<_> = body.chunks_exact(WIDTH).map(instruction).collect();
        if program.is_empty() != (*choice == Choice::None) || !(program.is_empty() || is_sound(&program)) {
            return Err(stale("is no program"));
        }
        Ok(Self { flags, program })
    }
}

fn bytes(instruction: &Instruction) -> [u8; WIDTH] {
    let Instruction { code, jt, jf, k } = *instruction;
    let ([a, b], [c, d, e, f]) = (code.to_le_bytes(), k.to_le_bytes());
    [a, b, jt, jf, c, d, e, f]
}

fn instruction(bytes: &[u8]) -> Instruction {
    let code = u16::from_le_bytes([bytes[0], bytes[1]]);
    let k = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    Instruction { code, jt: bytes[2], jf: bytes[3], k }
}

/// Ties a program to what it was made from, and shows damage. No secret and no defence: FNV-1a.
fn seal(choice: &Choice, capabilities: u64, flags: u32, body: &[u8]) -> u64 {
    let origin = format!("{capabilities:x} {flags:x} {choice:?}");
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    body.iter().fold(origin.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step), step)
}
