//! A program that executes itself again from a read-only mount, before anything else.
//!
//! That mount is kept open: the kernel makes whoever closes it wait until nobody in it can be using
//! it any more, as long as everything else here takes. So it is closed where nobody waits for us.
//!
//! What the C library does before `main` (asking the processor what it is costs more than all the
//! rest, where each question goes to a hypervisor) would otherwise be done twice. Nothing of it is
//! there yet: no function of the C library may be called here, not even the one that copies memory.

use std::arch::{asm, global_asm};
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};

// The kernel's way in (build.rs of a program names it as the entry): the stack holds the count of the
// arguments, these, and the environment.
global_asm!(
    ".globl tsubo_shielded_start",
    "tsubo_shielded_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "mov r12, rsp",
    "mov r13, rdx",
    "and rsp, -16",
    "call {shield}",
    "mov rsp, r12",
    "mov rdx, r13",
    "jmp _start",
    shield = sym shield,
);

/// Words of a command line at which a container gets a process.
const WORDS: [&[u8]; 4] = [b"run\0", b"exec\0", b"create\0", b"restore\0"];

const OPEN_TREE: usize = 428;
const MOUNT_SETATTR: usize = 442;
const EXECVEAT: usize = 322;
const STATFS: usize = 137;
const GETEUID: usize = 107;
const READLINK: usize = 89;
const FCNTL: usize = 72;
const CLOSE: usize = 3;

/// The number that the mount has: none that anybody passes on, and in the first of the kernel's
/// tables, which has 64.
const KEPT: i32 = 60;

const AT_FDCWD: usize = -100_isize as usize;
const AT_EMPTY_PATH: usize = 0x1000;
/// OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC.
const CLONE: usize = 1 | 0o2_000_000;
/// ST_RDONLY, and MOUNT_ATTR_RDONLY.
const READ_ONLY: u64 = 1;
/// MS_PRIVATE.
const PRIVATE: u64 = 1 << 18;

const EXE: *const u8 = c"/proc/self/exe".as_ptr().cast();
const NOTHING: *const u8 = c"".as_ptr().cast();

/// Where this fails the program goes on: it looks again, and tells why.
///
/// # Safety
/// `stack` is what the kernel has laid out for a new program.
unsafe extern "C" fn shield(stack: *mut usize) {
    // SAFETY: the layout is the kernel's; the calls get what they take, and change nothing of ours.
    unsafe {
        let arguments = stack.add(1).cast::<*const u8>();
        let count = *stack;
        if count < 2 || !starts_a_process(arguments, count) || call(GETEUID, [0; 5]) != 0 {
            return;
        }
        let mut about = MaybeUninit::<[u64; 15]>::uninit();
        let looked = call(STATFS, [EXE as usize, about.as_mut_ptr() as usize, 0, 0, 0]);
        if looked < 0 || *about.as_ptr().cast::<u64>().add(10) & READ_ONLY != 0 {
            return;
        }
        let mount = call(OPEN_TREE, [AT_FDCWD, EXE as usize, CLONE, 0, 0]);
        if mount < 0 {
            return;
        }
        let change = [READ_ONLY, 0, PRIVATE, 0];
        let empty = NOTHING as usize;
        let sealed =
            call(MOUNT_SETATTR, [mount as usize, empty, AT_EMPTY_PATH, change.as_ptr() as usize, 32]);
        let mut path = MaybeUninit::<[u8; 4096]>::uninit();
        let length = call(READLINK, [EXE as usize, path.as_mut_ptr() as usize, 4095, 0, 0]);
        if sealed == 0 && length > 0 {
            path.as_mut_ptr().cast::<u8>().add(length as usize).write(0);
            // Its own path, as /proc/self/exe has nothing to say any more.
            let name = arguments.read();
            arguments.write(path.as_ptr().cast());
            let environment = arguments.add(count + 1) as usize;
            let kept = call(FCNTL, [mount as usize, libc::F_DUPFD as usize, KEPT as usize, 0, 0]);
            if kept > KEPT as isize {
                call(CLOSE, [kept as usize, 0, 0, 0, 0]);
            }
            call(EXECVEAT, [mount as usize, empty, arguments as usize, environment, AT_EMPTY_PATH]);
            arguments.write(name);
            if kept == KEPT as isize {
                call(CLOSE, [kept as usize, 0, 0, 0, 0]);
            }
        }
        call(CLOSE, [mount as usize, 0, 0, 0, 0]);
    }
}

/// The mount that this program runs from, if it was kept: from here on no program that we execute
/// inherits it.
pub fn kept() -> Option<OwnedFd> {
    let status = |descriptor: Result<i32, &std::ffi::CStr>| {
        let mut status = MaybeUninit::<libc::stat>::uninit();
        // SAFETY: the kernel fills what is handed over, or says that it did not.
        unsafe {
            let done = match descriptor {
                Ok(number) => libc::fstat(number, status.as_mut_ptr()),
                Err(path) => libc::stat(path.as_ptr(), status.as_mut_ptr()),
            };
            (done == 0).then(|| status.assume_init())
        }
    };
    // SAFETY: asks about a number; nothing is changed.
    let flags = unsafe { libc::fcntl(KEPT, libc::F_GETFL) };
    if flags < 0 || flags & libc::O_PATH == 0 {
        return None;
    }
    let (there, own) = (status(Ok(KEPT))?, status(Err(c"/proc/self/exe"))?);
    if (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino) {
        return None;
    }
    // SAFETY: whoever called us has not passed it on: it is what was put there before `main`.
    let kept = unsafe { OwnedFd::from_raw_fd(KEPT) };
    rustix::io::fcntl_setfd(&kept, rustix::io::FdFlags::CLOEXEC).ok().map(|()| kept)
}

/// # Safety
/// As many arguments are there.
unsafe fn starts_a_process(arguments: *const *const u8, count: usize) -> bool {
    let mut index = 1;
    while index < count {
        for word in &WORDS {
            // SAFETY: an argument ends with a NUL, and so does the comparison.
            if unsafe { is(*arguments.add(index), word) } {
                return true;
            }
        }
        index += 1;
    }
    false
}

/// # Safety
/// `text` ends with a NUL, and so does `word`.
unsafe fn is(text: *const u8, word: &[u8]) -> bool {
    let mut index = 0;
    while index < word.len() {
        // SAFETY: both were the same so far, so there was no NUL. Volatile, so that the compiler does
        // not see that a function of the C library does the same.
        if unsafe { text.add(index).read_volatile() != word.as_ptr().add(index).read_volatile() } {
            return false;
        }
        index += 1;
    }
    true
}

/// # Safety
/// What the call takes.
unsafe fn call(number: usize, arguments: [usize; 5]) -> isize {
    let mut result = number as isize;
    // SAFETY: a system call changes these two registers besides its result.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}
