//! Programs of the kernel that decide which devices the processes of a version 2 control group may
//! open and make (BPF_PROG_TYPE_CGROUP_DEVICE).

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use crate::bpf::{bpf, owned};

const PROGRAM_LOAD: libc::c_int = 5;
const ATTACH: libc::c_int = 8;
const DETACH: libc::c_int = 9;
const PROGRAM_BY_ID: libc::c_int = 13;
const QUERY: libc::c_int = 16;
const CGROUP_DEVICE: u32 = 15;
const AT_DEVICE: u32 = 6;
/// Further programs may be attached, here and below; all must agree.
const MULTI: u32 = 2;
/// As many as the kernel lets one group have.
const MOST: usize = 64;

/// One instruction as the kernel has it (`struct bpf_insn`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What is done.
    pub code: u8,
    /// The register it is done to, and 16 times the one it is done with.
    pub registers: u8,
    /// How far to jump, or where to load from.
    pub offset: i16,
    /// A number to do it with.
    pub immediate: i32,
}

#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    steps: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
}

/// The kernel writes to those in cells.
#[repr(C)]
struct Query {
    target: u32,
    kind: u32,
    query_flags: u32,
    attach_flags: Cell<u32>,
    ids: u64,
    count: Cell<u32>,
    padding: u32,
}

#[repr(C)]
struct ById {
    id: u32,
    next: u32,
    flags: u32,
}

/// A program that the kernel has checked and holds.
#[derive(Debug)]
pub struct Program(OwnedFd);

impl Program {
    /// Hands the kernel a program.
    ///
    /// # Errors
    /// EPERM without CAP_BPF and CAP_NET_ADMIN; what its verifier finds fault with.
    pub fn load(instructions: &[Instruction]) -> io::Result<Self> {
        let mut log = vec![0u8; 1 << 14];
        let mut load = Load {
            kind: CGROUP_DEVICE,
            count: instructions.len() as u32,
            steps: instructions.as_ptr() as u64,
            license: c"Dual MIT/GPL".as_ptr() as u64,
            log_level: 0,
            log_size: 0,
            log: 0,
            kernel: 0,
            flags: 0,
            name: *b"tsubo_devices\0\0\0",
            interface: 0,
            attach_type: AT_DEVICE,
        };
        let error = match load_once(&load) {
            Ok(fd) => return Ok(Self(owned(fd))),
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => return Err(error),
            Err(error) => error,
        };
        (load.log_level, load.log_size, load.log) = (1, log.len() as u32, log.as_mut_ptr() as u64);
        let _ = load_once(&load);
        let text = log.split(|byte| *byte == 0).next().unwrap_or_default();
        Err(io::Error::new(error.kind(), format!("{error}: {}", String::from_utf8_lossy(text).trim())))
    }

    /// Lets it decide for a group and those below, together with the others that are there.
    pub fn attach(&self, group: BorrowedFd<'_>) -> io::Result<()> {
        bpf(ATTACH, &self.at(group, MULTI)).map(drop)
    }

    /// Takes it from the group.
    pub fn detach(&self, group: BorrowedFd<'_>) -> io::Result<()> {
        bpf(DETACH, &self.at(group, 0)).map(drop)
    }

    /// Those that a group has itself.
    pub fn attached(group: BorrowedFd<'_>) -> io::Result<Vec<Self>> {
        let mut ids = [0u32; MOST];
        let query = Query {
            target: group.as_raw_fd() as u32,
            kind: AT_DEVICE,
            query_flags: 0,
            attach_flags: Cell::new(0),
            ids: ids.as_mut_ptr() as u64,
            count: Cell::new(MOST as u32),
            padding: 0,
        };
        bpf(QUERY, &query)?;
        let ids = ids.iter().take(query.count.get() as usize);
        ids.map(|id| bpf(PROGRAM_BY_ID, &ById { id: *id, next: 0, flags: 0 }).map(|fd| Self(owned(fd))))
            .collect()
    }

    fn at(&self, group: BorrowedFd<'_>, flags: u32) -> Attach {
        let (target, program) = (group.as_raw_fd() as u32, self.0.as_raw_fd() as u32);
        Attach { target, program, kind: AT_DEVICE, flags, replaced: 0 }
    }
}

/// A signal makes the kernel give up while it verifies; then it is asked again.
fn load_once(load: &Load) -> io::Result<i32> {
    const TRIES: usize = 5;
    let again =
        |done: &io::Result<i32>| done.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EAGAIN));
    (0..TRIES)
        .map(|_| bpf(PROGRAM_LOAD, load))
        .find(|done| !again(done))
        .unwrap_or_else(|| bpf(PROGRAM_LOAD, load))
}
