//! Which capabilities the kernel asked for, of whom, and whether they were there.
//!
//! A second eBPF program runs at the tracepoint of capability checks (Linux 6.14 and later; older
//! kernels have no place where this can be seen at no cost for others). Checks that the kernel makes
//! with rights that are not the container's, as overlayfs does on its mounter's behalf, are told
//! apart by their bounding set: a container's is smaller.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use spec::container::CAPABILITY_NAMES;
use sys::bpf::{Assembler, Attached, If, Kind, Map, Width, attach};

use crate::mounts::Meta;
use crate::trace::{FIRST_PID_NAMESPACE, pid_namespace};

/// What was asked for, by capability (`CAP_CHOWN`): the programs of which it was asked.
pub type Asked = BTreeMap<String, BTreeSet<String>>;

/// The running program and what it counts.
#[derive(Debug)]
pub(crate) struct Checks {
    /// By number, those that were there, then those that were not.
    answers: Map,
    /// By number and answer, the names of the programs.
    programs: Map,
    settings: Map,
    /// What the container's first process is called until it executes the service: what it does so
    /// far, giving up capabilities among it, is the runtime's doing.
    runtime: String,
    _attached: Attached,
}

/// More than the kernel has capabilities.
const NUMBERS: u32 = 64;
/// Pairs of a program and a check that are told apart.
const PROGRAMS: u32 = 1024;
/// A key of `programs`: number and answer as one word, then the program's name.
const KEY: usize = 24;

const CONTEXT: u8 = 6;
const NUMBER: u8 = 7;
const SCRATCH: i16 = -8;
const NAMESPACE: i16 = -16;
const NAME: i16 = -40;
/// Arguments of the tracepoint.
const CRED: i16 = 0;
const CAPABILITY: i16 = 24;
const ANSWER: i16 = 32;
/// Helper functions of the kernel.
const LOOK_UP: i32 = 1;
const UPDATE: i32 = 2;
const CURRENT_NAME: i32 = 16;
const READ_KERNEL: i32 = 113;
const NAMESPACE_PID: i32 = 120;

impl Checks {
    /// Starts watching the pid namespace of process `init`, which has its capabilities already.
    pub(crate) fn start(init: i32) -> io::Result<Self> {
        if pid_namespace("self")?.inode != FIRST_PID_NAMESPACE {
            return Err(io::Error::other("this is not the machine's first pid namespace"));
        }
        let bounding = bounding_set(init)?;
        let offset = crate::btf::offset("cred", "cap_bset")?;
        let answers = Map::new(Kind::Array, 4, 8, 2 * NUMBERS)?;
        let programs = Map::new(Kind::Hash, KEY as u32, 8, PROGRAMS)?;
        let settings = Map::new(Kind::Array, 4, 8, 1)?;
        let namespace = pid_namespace(&init.to_string())?;
        let maps = Maps { answers: &answers, programs: &programs, settings: &settings };
        let attached = attach(&program(&namespace, bounding, offset, &maps), c"cap_capable")?;
        let runtime = std::fs::read_to_string(format!("/proc/{init}/comm"))?.trim_end().to_owned();
        Ok(Self { answers, programs, settings, runtime, _attached: attached })
    }

    /// From now on processes in other pid namespaces are looked at too.
    pub(crate) fn look_at_everybody(&self) -> io::Result<()> {
        self.settings.set(0, 1)
    }

    /// What was asked for and there.
    pub(crate) fn granted(&self) -> io::Result<Asked> {
        self.asked(0)
    }

    /// What was asked for in vain.
    pub(crate) fn refused(&self) -> io::Result<Asked> {
        self.asked(1)
    }

    fn asked(&self, answer: u32) -> io::Result<Asked> {
        let names = self.programs.keys::<KEY>()?;
        let mut asked = Asked::new();
        for (number, capability) in (0u32..).zip(CAPABILITY_NAMES) {
            let which = number + answer * NUMBERS;
            if self.answers.get(which)? == 0 {
                continue;
            }
            let by = names.iter().filter(|key| key[..4] == which.to_ne_bytes()).map(|key| name(&key[4..]));
            let mut by: BTreeSet<String> = by.collect();
            if !by.remove(&self.runtime) || !by.is_empty() {
                asked.insert(format!("CAP_{capability}"), by);
            }
        }
        Ok(asked)
    }
}

/// A program's name as the kernel has it, at most 15 bytes that the program may have chosen.
fn name(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).chars().filter(|char| !char.is_control()).collect()
}

/// What the processes of the container of `init` can have at the most.
fn bounding_set(init: i32) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{init}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let set = line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    set.ok_or_else(|| io::Error::other("no bounding set in /proc"))
}

struct Maps<'a> {
    answers: &'a Map,
    programs: &'a Map,
    settings: &'a Map,
}

fn program(namespace: &Meta, bounding: u64, offset: u32, maps: &Maps<'_>) -> Assembler {
    let mut code = Assembler::default();
    of_the_container(&mut code, namespace, maps);
    with_its_own_rights(&mut code, bounding, offset);
    count(&mut code, maps);
    by_whom(&mut code, maps);
    code.label("out").put(0, 0).exit();
    code
}

/// Leaves unless the process belongs to the container.
fn of_the_container(code: &mut Assembler, namespace: &Meta, maps: &Maps<'_>) {
    let device = u64::from(namespace.device.0) << 20 | u64::from(namespace.device.1);
    code.copy(CONTEXT, 1).put_wide(1, device).put_wide(2, namespace.inode);
    code.stack(3, NAMESPACE.into()).put(4, 8).call(NAMESPACE_PID).jump_if(0, If::Equal, 0, "inside");
    code.store_value(Width::Word, 10, SCRATCH, 0);
    code.put_map(1, maps.settings).stack(2, SCRATCH.into()).call(LOOK_UP).jump_if(0, If::Equal, 0, "out");
    code.load(Width::Double, 1, 0, 0).jump_if(1, If::Equal, 0, "out").label("inside");
}

/// Leaves where the rights that were looked at may be more than the container's ever can.
fn with_its_own_rights(code: &mut Assembler, bounding: u64, offset: u32) {
    code.store_value(Width::Double, 10, SCRATCH, 0);
    code.load(Width::Double, 3, CONTEXT, CRED).add(3, offset as i32);
    code.stack(1, SCRATCH.into()).put(2, 8).call(READ_KERNEL).jump_if(0, If::NotEqual, 0, "out");
    let beyond = !bounding;
    code.load(Width::Word, 1, 10, SCRATCH).put_wide(2, beyond & 0xffff_ffff).and(1, 2);
    code.jump_if(1, If::NotEqual, 0, "out");
    code.load(Width::Word, 1, 10, SCRATCH + 4).put_wide(2, beyond >> 32).and(1, 2);
    code.jump_if(1, If::NotEqual, 0, "out");
}

/// Marks the capability among those that were there, or among those that were not.
fn count(code: &mut Assembler, maps: &Maps<'_>) {
    code.load(Width::Double, NUMBER, CONTEXT, CAPABILITY);
    code.jump_if(NUMBER, If::Above, NUMBERS as i32 - 1, "out");
    code.load(Width::Word, 1, CONTEXT, ANSWER).jump_if(1, If::Equal, 0, "there");
    code.add(NUMBER, NUMBERS as i32).label("there");
    code.store(Width::Word, 10, SCRATCH, NUMBER).put_map(1, maps.answers).stack(2, SCRATCH.into());
    code.call(LOOK_UP).jump_if(0, If::Equal, 0, "out").store_value(Width::Double, 0, 0, 1);
}

/// Notes the program, once.
fn by_whom(code: &mut Assembler, maps: &Maps<'_>) {
    for offset in (0..KEY as i16).step_by(8) {
        code.store_value(Width::Double, 10, NAME + offset, 0);
    }
    code.store(Width::Word, 10, NAME, NUMBER);
    code.stack(1, (NAME + 4).into()).put(2, 16).call(CURRENT_NAME);
    code.put_map(1, maps.programs).stack(2, NAME.into()).call(LOOK_UP).jump_if(0, If::NotEqual, 0, "out");
    code.store_value(Width::Double, 10, SCRATCH, 1);
    code.put_map(1, maps.programs).stack(2, NAME.into()).stack(3, SCRATCH.into()).put(4, 0).call(UPDATE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_without_what_could_harm_a_terminal() {
        assert_eq!(name(b"nginx\0\0\0"), "nginx");
        assert_eq!(name(b"a\x1b[31mb\0"), "a[31mb");
        assert_eq!(name(b""), "");
    }

    #[test]
    fn the_bounding_set_is_read() {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        assert_ne!(bounding_set(own).expect("a set"), 0);
    }
}
