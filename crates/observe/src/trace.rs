//! The eBPF program: how opens spelt their path, and which system calls are made.
//!
//! It runs at the end of every system call, when the path lies in memory still and the result is
//! known. Repeats by the same thread are filtered out in the kernel, so that a service which opens
//! one file ten thousand times a second hardly notices. Opens relative to a descriptor and with
//! O_PATH are left to the listener.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use linux_raw_sys::general as nr;
use rustix::fs::{AtFlags, CWD};
use spec::seccomp::{Architecture, calls};
use sys::bpf::{Assembler, Attached, If, Kind, Map, Ring, Width, attach};

use crate::calls::O_PATH;
use crate::mounts::Meta;

/// How an open was spelt, and what came of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Spelt {
    pub(crate) tid: i32,
    /// The process to which that thread belongs: it may live longer.
    pub(crate) process: i32,
    /// Made by a process of the container for certain, not by any other of the machine.
    pub(crate) inside: bool,
    pub(crate) flags: u32,
    /// 0 or a negative error number.
    pub(crate) outcome: i32,
    pub(crate) path: Vec<u8>,
}

/// The running program and what it shares with us.
#[derive(Debug)]
pub(crate) struct Trace {
    ring: Ring,
    settings: Map,
    syscalls: Map,
    epoch: u64,
    /// The container has its processes to itself.
    alone: bool,
    _attached: Attached,
}

/// Room for about 100,000 opens that were not read yet.
const RING: u32 = 1 << 24;
/// One that nothing is written to.
const SMALLEST_RING: u32 = 1 << 12;
/// Opens that are remembered in order to filter out repeats.
const REMEMBERED: u32 = 1 << 14;
/// System calls that are told apart: as many of 64-bit programs, then as many of 32-bit ones.
const NUMBERS: u32 = 2 * OTHERS;
const OTHERS: u32 = 512;

/// Elements of the settings: repeats are told apart by this too, so that raising it forgets them.
const EPOCH: u32 = 0;
/// Not 0: all processes of the machine are looked at.
const EVERYBODY: u32 = 1;
/// How many opens were lost.
const LOST: u32 = 2;
/// Not 0: opens are told.
const OPENS: u32 = 3;

/// The first pid namespace's inode: in it, the numbers that the program sees are ours too.
pub(crate) const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;

impl Trace {
    /// Starts watching the pid namespace of process `init`.
    pub(crate) fn start(init: i32) -> io::Result<Self> {
        let trace = Self::of_calls(init, RING)?;
        trace.settings.set(OPENS, 1)?;
        Ok(trace)
    }

    /// The same for the names of system calls alone.
    pub(crate) fn calls_only(init: i32) -> io::Result<Self> {
        Self::of_calls(init, SMALLEST_RING)
    }

    fn of_calls(init: i32, ring: u32) -> io::Result<Self> {
        if pid_namespace("self")?.inode != FIRST_PID_NAMESPACE {
            return Err(io::Error::other("this is not the machine's first pid namespace"));
        }
        let ring = Ring::new(ring)?;
        let settings = Map::new(Kind::Array, 4, 8, 4)?;
        let syscalls = Map::new(Kind::Array, 4, 8, NUMBERS)?;
        let repeats = Map::new(Kind::Forgetful, RECORD_SIZE as u32, 8, REMEMBERED)?;
        let maps = Maps { ring: ring.map(), settings: &settings, syscalls: &syscalls, repeats: &repeats };
        let namespace = pid_namespace(&init.to_string())?;
        let attached = attach(&program(&namespace, &maps), c"sys_exit")?;
        let alone = namespace.inode != FIRST_PID_NAMESPACE;
        Ok(Self { ring, settings, syscalls, epoch: 0, alone, _attached: attached })
    }

    /// All opens that were not read yet.
    pub(crate) fn read(&mut self) -> Vec<Spelt> {
        let mut spelt: Vec<Spelt> = Vec::new();
        // Another processor may be about to finish a record before the one we are after.
        for _ in 0..10_000 {
            if self.ring.read(|record| spelt.extend(parse(record))) {
                break;
            }
            std::hint::spin_loop();
        }
        spelt.iter_mut().for_each(|spelt| spelt.inside &= self.alone);
        spelt
    }

    /// From now on repeats count anew: names, programs or directories are about to change.
    pub(crate) fn forget(&mut self) -> io::Result<()> {
        self.epoch += 1;
        self.settings.set(EPOCH, self.epoch)
    }

    /// From now on processes in other pid namespaces are looked at too.
    pub(crate) fn look_at_everybody(&self) -> io::Result<()> {
        self.settings.set(EVERYBODY, 1)
    }

    /// How many opens were lost.
    pub(crate) fn lost(&self) -> io::Result<u64> {
        self.settings.get(LOST)
    }

    /// The names of the system calls that were made.
    pub(crate) fn syscalls(&self) -> io::Result<BTreeSet<String>> {
        // These do not come to an end that could be traced; every process needs them.
        let unseen = ["exit", "exit_group", "rt_sigreturn"];
        let mut names: BTreeSet<_> = unseen.into_iter().map(str::to_owned).collect();
        for number in 0..NUMBERS {
            if self.syscalls.get(number)? != 0 {
                names.insert(name(number).map_or_else(|| format!("syscall-{number}"), str::to_owned));
            }
        }
        Ok(names)
    }
}

fn name(number: u32) -> Option<&'static str> {
    match number.checked_sub(OTHERS) {
        Some(number) => calls::name(number, Architecture::I386),
        None => calls::name(number, Architecture::X86_64),
    }
}

impl AsFd for Trace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

pub(crate) fn pid_namespace(process: &str) -> io::Result<Meta> {
    Ok(Meta::at(CWD, format!("/proc/{process}/ns/pid"), AtFlags::empty())?)
}

struct Maps<'a> {
    ring: &'a Map,
    settings: &'a Map,
    syscalls: &'a Map,
    repeats: &'a Map,
}

/// A record: thread, process, epoch, flags, outcome, and 0 if it is the container's for certain
/// (32 bits each), then the path. All of it on the stack, because another task may interrupt the
/// program.
const RECORD_SIZE: i16 = 272;
const PATH: i16 = 24;
/// Offsets in it.
const THREAD_AND_PROCESS: i16 = RECORD;
const RECORD_EPOCH: i16 = RECORD + 8;
const FLAGS: i16 = RECORD + 12;
const OUTCOME: i16 = RECORD + 16;
const OUTSIDE: i16 = RECORD + 20;
const SHORT_PATH: i32 = (RECORD_SIZE - PATH) as i32;
const LONG_PATH: i32 = 4096;
/// Offsets on the stack.
const RECORD: i16 = -RECORD_SIZE;
const REGISTERS: i16 = RECORD - 168;
const SCRATCH: i16 = REGISTERS - 8;
const NOT_INSIDE: i16 = SCRATCH - 8;
/// Offsets in the caller's saved registers (struct pt_regs of x86-64).
const RDX: i16 = REGISTERS + 96;
const RSI: i16 = REGISTERS + 104;
const RDI: i16 = REGISTERS + 112;
const NUMBER: i16 = REGISTERS + 120;
const CODE_SEGMENT: i16 = REGISTERS + 136;
/// The code segment of 64-bit programs.
const SEGMENT_64: i32 = 0x33;
const AT_FDCWD: i32 = -100;
const EFAULT: i32 = 14;
/// Helper functions of the kernel.
const LOOK_UP: i32 = 1;
const UPDATE: i32 = 2;
const CURRENT_PID: i32 = 14;
const READ_KERNEL: i32 = 113;
const READ_USER_STRING: i32 = 114;
const NAMESPACE_PID: i32 = 120;
const RING_OUTPUT: i32 = 130;
const RING_RESERVE: i32 = 131;
const RING_SUBMIT: i32 = 132;

fn program(namespace: &Meta, maps: &Maps<'_>) -> Assembler {
    let mut code = Assembler::default();
    of_the_container(&mut code, namespace, maps);
    which_call(&mut code, maps);
    opens_are_told(&mut code, maps);
    which_path(&mut code);
    fill_record(&mut code, maps);
    send_short(&mut code, maps);
    send_long(&mut code, maps);
    code.label("lost");
    element(&mut code, maps.settings, LOST);
    code.put(1, 1).add_atomically(0, 1);
    code.label("out").put(0, 0).exit();
    code
}

/// `r0 = &map[index]`; leaves if there is none.
fn element(code: &mut Assembler, map: &Map, index: u32) {
    code.store_value(Width::Word, 10, SCRATCH, index as i32);
    code.put_map(1, map).stack(2, SCRATCH.into()).call(LOOK_UP).jump_if(0, If::Equal, 0, "out");
}

/// Leaves unless the process belongs to the container. r6 keeps the context.
fn of_the_container(code: &mut Assembler, namespace: &Meta, maps: &Maps<'_>) {
    let device = u64::from(namespace.device.0) << 20 | u64::from(namespace.device.1);
    code.copy(6, 1).put_wide(1, device).put_wide(2, namespace.inode);
    code.stack(3, SCRATCH.into()).put(4, 8).call(NAMESPACE_PID);
    code.store(Width::Double, 10, NOT_INSIDE, 0).jump_if(0, If::Equal, 0, "inside");
    element(code, maps.settings, EVERYBODY);
    code.load(Width::Double, 1, 0, 0).jump_if(1, If::Equal, 0, "out").label("inside");
}

/// Notes the number of the call. r7 is the number, r8 the result. The calls of 32-bit programs
/// have numbers of their own, none of which is an open's: the listener sees all opens of theirs.
fn which_call(code: &mut Assembler, maps: &Maps<'_>) {
    code.load(Width::Double, 3, 6, 0).load(Width::Double, 8, 6, 8);
    code.stack(1, REGISTERS.into()).put(2, 168).call(READ_KERNEL);
    code.load(Width::Double, 7, 10, NUMBER).jump_if(7, If::Above, OTHERS as i32 - 1, "out");
    code.load(Width::Double, 1, 10, CODE_SEGMENT).jump_if(1, If::Equal, SEGMENT_64, "64 bits");
    code.add(7, OTHERS as i32).label("64 bits");
    code.store(Width::Word, 10, SCRATCH, 7).put_map(1, maps.syscalls).stack(2, SCRATCH.into());
    code.call(LOOK_UP).jump_if(0, If::Equal, 0, "out");
    code.load(Width::Double, 1, 0, 0).jump_if(1, If::NotEqual, 0, "known");
    code.store_value(Width::Double, 0, 0, 1).label("known");
}

/// Leaves where the listener sees all opens.
fn opens_are_told(code: &mut Assembler, maps: &Maps<'_>) {
    element(code, maps.settings, OPENS);
    code.load(Width::Double, 1, 0, 0).jump_if(1, If::Equal, 0, "out");
}

/// Leaves unless the open is ours to tell. r7 becomes the path's address, r9 the flags.
fn which_path(code: &mut Assembler) {
    code.jump_if(7, If::Equal, nr::__NR_openat as i32, "openat");
    code.jump_if(7, If::Equal, nr::__NR_open as i32, "open");
    code.jump_if(7, If::NotEqual, nr::__NR_creat as i32, "out");
    code.load(Width::Double, 7, 10, RDI);
    code.put(9, (nr::O_CREAT | nr::O_WRONLY | nr::O_TRUNC) as i32).jump("path");
    code.label("open").load(Width::Double, 7, 10, RDI).load(Width::Word, 9, 10, RSI).jump("path");
    code.label("openat").load(Width::Word, 1, 10, RDI).jump_if(1, If::WordsNotEqual, AT_FDCWD, "out");
    code.load(Width::Double, 7, 10, RSI).load(Width::Word, 9, 10, RDX);
    code.label("path").jump_if(9, If::AnyBit, O_PATH as i32, "out");
    code.jump_if(8, If::Less, 0, "failed").put(8, 0).label("failed");
}

/// Fills the record, the path as far as it fits. r9 becomes its length with the NUL.
fn fill_record(code: &mut Assembler, maps: &Maps<'_>) {
    for offset in (0..RECORD_SIZE).step_by(8) {
        code.store_value(Width::Double, 10, RECORD + offset, 0);
    }
    code.store(Width::Word, 10, FLAGS, 9).store(Width::Word, 10, OUTCOME, 8);
    code.load(Width::Word, 1, 10, NOT_INSIDE).store(Width::Word, 10, OUTSIDE, 1);
    element(code, maps.settings, EPOCH);
    code.load(Width::Double, 1, 0, 0).store(Width::Word, 10, RECORD_EPOCH, 1);
    // The thread in the lower half, its process in the upper one.
    code.call(CURRENT_PID).store(Width::Double, 10, THREAD_AND_PROCESS, 0);
    code.stack(1, (RECORD + PATH).into()).put(2, SHORT_PATH).copy(3, 7).call(READ_USER_STRING);
    code.copy(9, 0).jump_if(9, If::AtMost, 0, "unreadable");
}

/// Sends a short record unless it is a repeat.
fn send_short(code: &mut Assembler, maps: &Maps<'_>) {
    code.jump_if(9, If::Above, SHORT_PATH - 1, "long");
    code.put_map(1, maps.repeats).stack(2, RECORD.into()).call(LOOK_UP).jump_if(0, If::NotEqual, 0, "out");
    code.put_map(1, maps.ring).stack(2, RECORD.into()).copy(3, 9).add(3, PATH.into()).put(4, 0);
    code.call(RING_OUTPUT).jump_if(0, If::NotEqual, 0, "lost");
    code.store_value(Width::Double, 10, SCRATCH, 0);
    code.put_map(1, maps.repeats).stack(2, RECORD.into()).stack(3, SCRATCH.into()).put(4, 0).call(UPDATE);
    code.jump("out");
    // A bad pointer of the caller's is no loss: nothing was opened.
    code.label("unreadable").jump_if(8, If::Equal, -EFAULT, "out").jump("lost");
}

/// Sends a record whose path did not fit the stack.
fn send_long(code: &mut Assembler, maps: &Maps<'_>) {
    code.label("long").put_map(1, maps.ring).put(2, LONG_PATH + i32::from(PATH)).put(3, 0);
    code.call(RING_RESERVE).jump_if(0, If::Equal, 0, "lost").copy(6, 0);
    for offset in (0..PATH).step_by(8) {
        code.load(Width::Double, 1, 10, RECORD + offset).store(Width::Double, 6, offset, 1);
    }
    code.store_value(Width::Double, 6, PATH, 0);
    code.copy(1, 6).add(1, PATH.into()).put(2, LONG_PATH).copy(3, 7).call(READ_USER_STRING);
    code.copy(1, 6).put(2, 0).call(RING_SUBMIT).jump("out");
}

fn parse(record: &[u8]) -> Option<Spelt> {
    let word = |at: usize| Some(u32::from_ne_bytes(record.get(at..at + 4)?.try_into().ok()?));
    let path = record.get(PATH as usize..)?.split(|byte| *byte == 0).next()?;
    let (tid, process, inside) = (word(0)? as i32, word(4)? as i32, word(20)? == 0);
    let (flags, outcome) = (word(12)?, word(16)? as i32);
    (!path.is_empty()).then(|| Spelt { tid, process, inside, flags, outcome, path: path.to_vec() })
}
