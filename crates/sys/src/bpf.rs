//! eBPF without a compiler or a library: maps, a small assembler, raw tracepoints, the ring buffer.

use std::collections::HashMap;
use std::ffi::CStr;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP: libc::c_int = 1;
const MAP_UPDATE: libc::c_int = 2;
const MAP_NEXT_KEY: libc::c_int = 4;
const PROGRAM_LOAD: libc::c_int = 5;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const RAW_TRACEPOINT: u32 = 17;
const PAGE: usize = 4096;

/// One bpf(2) call. `attributes` must be the kernel's layout for `command`.
pub(crate) fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<i32> {
    let pointer = std::ptr::from_ref(attributes);
    // SAFETY: the kernel reads `size_of::<T>()` bytes; the pointers within are valid for what the
    // command does with them, as each caller sees to.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, pointer, size_of::<T>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(done as i32) }
}

pub(crate) fn owned(fd: i32) -> OwnedFd {
    // SAFETY: only called with a descriptor that bpf(2) has just made for us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// The kinds of maps in use here, numbered as in the kernel.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub enum Kind {
    /// A hash table.
    Hash = 1,
    /// An array of values.
    Array = 2,
    /// A hash table that forgets what was not used for long.
    Forgetful = 9,
    /// A ring buffer; its size stands in place of the number of entries.
    Ring = 27,
}

/// Memory that a program in the kernel shares with us.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    key: usize,
    value: usize,
    entries: usize,
}

#[repr(C)]
struct Create {
    kind: u32,
    key: u32,
    value: u32,
    entries: u32,
    flags: u32,
}

#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

impl Map {
    /// Makes a map with keys and values of these sizes in bytes.
    pub fn new(kind: Kind, key: u32, value: u32, entries: u32) -> io::Result<Self> {
        let fd = bpf(MAP_CREATE, &Create { kind: kind as u32, key, value, entries, flags: 0 })?;
        let (key, value, entries) = (key as usize, value as usize, entries as usize);
        Ok(Self { fd: owned(fd), key, value, entries })
    }

    /// Sets an element of an array of 64-bit values.
    pub fn set(&self, index: u32, value: u64) -> io::Result<()> {
        self.check()?;
        bpf(MAP_UPDATE, &self.element(&index, (&raw const value) as u64)).map(drop)
    }

    /// An element of an array of 64-bit values.
    pub fn get(&self, index: u32) -> io::Result<u64> {
        self.check()?;
        let mut value = 0u64;
        bpf(MAP_LOOKUP, &self.element(&index, (&raw mut value) as u64))?;
        Ok(value)
    }

    /// The keys of a hash table, each of `N` bytes.
    pub fn keys<const N: usize>(&self) -> io::Result<Vec<[u8; N]>> {
        if self.key != N {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut keys: Vec<[u8; N]> = Vec::new();
        loop {
            let mut next = [0u8; N];
            // Before the first key there is none: the kernel takes a null pointer for that.
            let key = keys.last().map_or(0, |key| key.as_ptr() as u64);
            let map = self.fd.as_raw_fd() as u32;
            let value = next.as_mut_ptr() as u64;
            match bpf(MAP_NEXT_KEY, &Element { map, padding: 0, key, value, flags: 0 }) {
                Ok(_) if keys.len() < self.entries => keys.push(next),
                Ok(_) => return Ok(keys),
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(keys),
                Err(error) => return Err(error),
            }
        }
    }

    /// The kernel copies as many bytes as a value of the map has.
    fn check(&self) -> io::Result<()> {
        let fits = self.value == size_of::<u64>();
        if fits { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EINVAL)) }
    }

    fn element(&self, key: &u32, value: u64) -> Element {
        let map = self.fd.as_raw_fd() as u32;
        Element { map, padding: 0, key: std::ptr::from_ref(key) as u64, value, flags: 0 }
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A register. R10 is the frame pointer, R0 what calls return, R1 to R5 their arguments.
pub type Register = u8;

/// One instruction as the kernel has it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Step {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// The width of a memory access.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub enum Width {
    /// 32 bits.
    Word = 0x00,
    /// 64 bits.
    Double = 0x18,
}

/// A comparison that jumps.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub enum If {
    /// Equal.
    Equal = 0x15,
    /// Not equal.
    NotEqual = 0x55,
    /// The low halves are not equal.
    WordsNotEqual = 0x56,
    /// Greater, without sign.
    Above = 0x25,
    /// Any of these bits is set.
    AnyBit = 0x45,
    /// Less, with sign.
    Less = 0xc5,
    /// Less or equal, with sign.
    AtMost = 0xd5,
}

/// Writes programs with labels for jump targets.
#[derive(Debug, Default)]
pub struct Assembler {
    steps: Vec<Step>,
    labels: HashMap<&'static str, usize>,
    jumps: Vec<(usize, &'static str)>,
}

impl Assembler {
    fn step(&mut self, code: u8, to: Register, from: Register, offset: i16, immediate: i32) -> &mut Self {
        self.steps.push(Step { code, registers: from << 4 | to, offset, immediate });
        self
    }

    /// `to = from`
    pub fn copy(&mut self, to: Register, from: Register) -> &mut Self {
        self.step(0xbf, to, from, 0, 0)
    }

    /// `to = value`
    pub fn put(&mut self, to: Register, value: i32) -> &mut Self {
        self.step(0xb7, to, 0, 0, value)
    }

    /// `to = value`, all 64 bits
    pub fn put_wide(&mut self, to: Register, value: u64) -> &mut Self {
        self.step(0x18, to, 0, 0, value as u32 as i32).step(0, 0, 0, 0, (value >> 32) as i32)
    }

    /// `to = &map`
    pub fn put_map(&mut self, to: Register, map: &Map) -> &mut Self {
        self.step(0x18, to, 1, 0, map.fd.as_raw_fd()).step(0, 0, 0, 0, 0)
    }

    /// `to += value`
    pub fn add(&mut self, to: Register, value: i32) -> &mut Self {
        self.step(0x07, to, 0, 0, value)
    }

    /// `to &= from`
    pub fn and(&mut self, to: Register, from: Register) -> &mut Self {
        self.step(0x5f, to, from, 0, 0)
    }

    /// `to = address of the stack at offset`
    pub fn stack(&mut self, to: Register, offset: i32) -> &mut Self {
        self.copy(to, 10).add(to, offset)
    }

    /// `to = *(base + offset)`
    pub fn load(&mut self, width: Width, to: Register, base: Register, offset: i16) -> &mut Self {
        self.step(0x61 | width as u8, to, base, offset, 0)
    }

    /// `*(base + offset) = from`
    pub fn store(&mut self, width: Width, base: Register, offset: i16, from: Register) -> &mut Self {
        self.step(0x63 | width as u8, base, from, offset, 0)
    }

    /// `*(base + offset) = value`
    pub fn store_value(&mut self, width: Width, base: Register, offset: i16, value: i32) -> &mut Self {
        self.step(0x62 | width as u8, base, 0, offset, value)
    }

    /// `*(base) += from`, atomically, 64 bits
    pub fn add_atomically(&mut self, base: Register, from: Register) -> &mut Self {
        self.step(0xdb, base, from, 0, 0)
    }

    /// `r0 = helper(r1, …)`, numbered as in the kernel
    pub fn call(&mut self, helper: i32) -> &mut Self {
        self.step(0x85, 0, 0, 0, helper)
    }

    /// `if register … value goto label`
    pub fn jump_if(&mut self, register: Register, is: If, value: i32, label: &'static str) -> &mut Self {
        self.jumps.push((self.steps.len(), label));
        self.step(is as u8, register, 0, 0, value)
    }

    /// `goto label`
    pub fn jump(&mut self, label: &'static str) -> &mut Self {
        self.jumps.push((self.steps.len(), label));
        self.step(0x05, 0, 0, 0, 0)
    }

    /// Here jumps to `label` arrive.
    pub fn label(&mut self, label: &'static str) -> &mut Self {
        self.labels.insert(label, self.steps.len());
        self
    }

    /// `return r0`
    pub fn exit(&mut self) -> &mut Self {
        self.step(0x95, 0, 0, 0, 0)
    }

    /// The instructions with their jumps filled in; None if a label is missing or too far.
    fn finish(&self) -> Option<Vec<Step>> {
        let mut steps = self.steps.clone();
        for (at, label) in &self.jumps {
            let distance = *self.labels.get(label)? as i64 - *at as i64 - 1;
            steps[*at].offset = i16::try_from(distance).ok()?;
        }
        Some(steps)
    }
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
}

#[repr(C)]
struct OpenRawTracepoint {
    name: u64,
    program: u32,
    padding: u32,
}

/// A program that runs at a tracepoint until this is dropped.
#[derive(Debug)]
pub struct Attached {
    _link: OwnedFd,
}

/// Loads a program and runs it whenever the raw tracepoint `name` is hit. What the verifier finds
/// fault with is in the error.
pub fn attach(program: &Assembler, name: &CStr) -> io::Result<Attached> {
    let steps = program.finish().ok_or_else(|| io::Error::other("a jump leads nowhere"))?;
    let fd = owned(load(&steps)?);
    let program = fd.as_raw_fd() as u32;
    let open = OpenRawTracepoint { name: name.as_ptr() as u64, program, padding: 0 };
    let link = owned(bpf(RAW_TRACEPOINT_OPEN, &open)?);
    Ok(Attached { _link: link })
}

/// A signal makes the kernel give up while it verifies, as if something were not there yet: after
/// the handler has run it can go on.
fn load_once(load: &Load) -> io::Result<i32> {
    const TRIES: usize = 100;
    let again =
        |done: &io::Result<i32>| done.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EAGAIN));
    (0..TRIES)
        .map(|_| bpf(PROGRAM_LOAD, load))
        .find(|done| !again(done))
        .unwrap_or_else(|| bpf(PROGRAM_LOAD, load))
}

fn load(steps: &[Step]) -> io::Result<i32> {
    let mut load = Load {
        kind: RAW_TRACEPOINT,
        count: steps.len() as u32,
        steps: steps.as_ptr() as u64,
        // Some of the helpers are only for programs that are GPL-compatible, as MIT is; the
        // kernel knows that combination by this name.
        license: c"Dual MIT/GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel: 0,
        flags: 0,
    };
    let error = match load_once(&load) {
        Err(error) if error.raw_os_error() != Some(libc::EPERM) => error,
        other => return other,
    };
    let mut log = vec![0u8; 1 << 16];
    (load.log_level, load.log_size, load.log) = (1, log.len() as u32, log.as_mut_ptr() as u64);
    let _ = load_once(&load);
    let text = log.split(|byte| *byte == 0).next().unwrap_or_default();
    Err(io::Error::other(format!("{error}: {}", String::from_utf8_lossy(text).trim())))
}

/// The reading end of a ring buffer.
#[derive(Debug)]
pub struct Ring {
    map: Map,
    /// A page with our position, writable.
    consumer: NonNull<AtomicU64>,
    /// A page with the kernel's position, then the data, twice in a row.
    producer: NonNull<u8>,
    size: usize,
}

// SAFETY: the two mappings belong to this value alone and are not tied to a thread.
unsafe impl Send for Ring {}

impl Ring {
    /// A ring of `size` bytes, a power of two and of whole pages.
    pub fn new(size: u32) -> io::Result<Self> {
        let map = Map::new(Kind::Ring, 0, 0, size)?;
        let size = size as usize;
        let fd = map.as_fd();
        let consumer = map_memory(fd, PAGE, libc::PROT_READ | libc::PROT_WRITE, 0)?;
        let producer = match map_memory(fd, PAGE + 2 * size, libc::PROT_READ, PAGE) {
            Ok(producer) => producer,
            Err(error) => {
                // SAFETY: mapped above with this length, not used yet.
                unsafe { libc::munmap(consumer.as_ptr().cast(), PAGE) };
                return Err(error);
            }
        };
        Ok(Self { map, consumer: consumer.cast(), producer, size })
    }

    /// The map to which programs write.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// Hands every finished record to `each`; false if it had to stop at one being written.
    pub fn read(&mut self, mut each: impl FnMut(&[u8])) -> bool {
        const BUSY: u32 = 1 << 31;
        const DISCARDED: u32 = 1 << 30;
        const HEADER: usize = 8;
        // SAFETY: both pages stay mapped as long as `self`; the kernel writes them atomically.
        let (consumer, producer) =
            unsafe { (self.consumer.as_ref(), self.producer.cast::<AtomicU64>().as_ref()) };
        let mut at = consumer.load(Ordering::Relaxed);
        while at < producer.load(Ordering::Acquire) {
            let offset = PAGE + (at as usize & (self.size - 1));
            // SAFETY: within the mapping; records begin at multiples of eight.
            let header = unsafe { self.producer.add(offset).cast::<AtomicU32>().as_ref() };
            let length = header.load(Ordering::Acquire);
            if length & BUSY != 0 {
                return false;
            }
            let bytes = (length & !DISCARDED) as usize;
            if length & DISCARDED == 0 {
                // SAFETY: the data is mapped twice in a row, so a record never wraps; the kernel
                // does not touch it again before our position has passed it.
                each(unsafe {
                    std::slice::from_raw_parts(self.producer.add(offset + HEADER).as_ptr(), bytes)
                });
            }
            at += (HEADER + bytes).next_multiple_of(HEADER) as u64;
            consumer.store(at, Ordering::Release);
        }
        true
    }
}

fn map_memory(fd: BorrowedFd<'_>, size: usize, access: i32, offset: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: a new shared mapping wherever the kernel likes; nothing existing is touched.
    let at = unsafe {
        let null = std::ptr::null_mut();
        libc::mmap(null, size, access, libc::MAP_SHARED, fd.as_raw_fd(), offset as libc::off_t)
    };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(at.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with these lengths; nobody holds a reference any more.
        unsafe {
            libc::munmap(self.consumer.as_ptr().cast(), PAGE);
            libc::munmap(self.producer.as_ptr().cast(), PAGE + 2 * self.size);
        }
    }
}
