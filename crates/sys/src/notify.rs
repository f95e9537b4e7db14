//! The supervisor's end of a seccomp filter with user notification, and reading another
//! process's memory.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A system call that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub struct Notification {
    /// The kernel's cookie for this call.
    pub id: u64,
    /// The calling thread, as numbered in the listener's pid namespace; 0 if it is not in it.
    pub tid: i32,
    /// System call number.
    pub nr: i32,
    /// AUDIT_ARCH_* of the caller's ABI.
    pub arch: u32,
    /// The raw arguments.
    pub args: [u64; 6],
}

/// The listening end. Dropping it lets every later trapped call fail with ENOSYS, so that a
/// supervisor which dies never blocks anybody.
#[derive(Debug)]
pub struct Listener(OwnedFd);

impl Listener {
    /// Takes the descriptor that `SECCOMP_FILTER_FLAG_NEW_LISTENER` returned.
    pub fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Asks the kernel to hand the CPU over directly (Linux 6.6); false where it cannot.
    pub fn wake_synchronously(&self) -> bool {
        const SYNC_WAKE_UP: libc::c_ulong = 1;
        // SAFETY: the ioctl takes its argument by value.
        unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP) == 0 }
    }

    /// Takes the next waiting call; None if it went away meanwhile (a signal, the caller's death).
    pub fn receive(&self) -> io::Result<Option<Notification>> {
        // SAFETY: seccomp_notif is plain integers; the kernel demands zeroes.
        let mut raw: libc::seccomp_notif = unsafe { zeroed() };
        // SAFETY: the pointer is valid for the size encoded in the ioctl.
        let done = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &mut raw) };
        if done == 0 {
            let data = raw.data;
            let (nr, arch, args) = (data.nr, data.arch, data.args);
            return Ok(Some(Notification { id: raw.id, tid: raw.pid as i32, nr, arch, args }));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::EINTR) => Ok(None),
            _ => Err(error),
        }
    }

    /// Whether the caller still waits, that is: what was read from it was its own.
    pub fn is_valid(&self, id: u64) -> bool {
        // SAFETY: the pointer is valid for the eight bytes that the ioctl reads.
        unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0 }
    }

    /// Lets the call happen as if nobody had looked. A caller that is gone is no error.
    pub fn proceed(&self, id: u64) -> io::Result<()> {
        let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        let answer = libc::seccomp_notif_resp { id, val: 0, error: 0, flags };
        // SAFETY: the pointer is valid for the size encoded in the ioctl.
        let done = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &answer) };
        match (done, io::Error::last_os_error()) {
            (0, _) => Ok(()),
            (_, error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            (_, error) => Err(error),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Reads memory of the process to which `tid` belongs, at `address`; stops early where the
/// mapping ends. An error if not even the first byte is there.
pub fn read_memory(tid: i32, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: address as usize as *mut _, iov_len: buffer.len() };
    // SAFETY: `local` covers exactly `buffer`; the kernel checks the remote range.
    let got = unsafe { libc::process_vm_readv(tid, &local, 1, &remote, 1, 0) };
    if got < 0 { Err(io::Error::last_os_error()) } else { Ok(got as usize) }
}

/// Reads the NUL-terminated string at `address`, without the NUL; None if there is none within
/// PATH_MAX bytes or the pointer is bad (the caller then gets its EFAULT from the kernel).
pub fn read_string(tid: i32, address: u64) -> Option<Vec<u8>> {
    const PAGE: usize = 4096;
    let mut text = Vec::new();
    let mut buffer = [0u8; 256];
    while text.len() <= PAGE {
        let at = address.checked_add(text.len() as u64)?;
        // Never across a page border: one half may not be mapped.
        let room = (PAGE - at as usize % PAGE).min(buffer.len());
        let got = read_memory(tid, at, &mut buffer[..room]).ok().filter(|got| *got > 0)?;
        match buffer[..got].iter().position(|byte| *byte == 0) {
            Some(end) => {
                text.extend_from_slice(&buffer[..end]);
                return Some(text);
            }
            None => text.extend_from_slice(&buffer[..got]),
        }
    }
    None
}

/// Reads a plain structure of 64-bit words; None if the pointer is bad.
pub fn read_words<const N: usize>(tid: i32, address: u64) -> Option<[u64; N]> {
    let mut words = [0u64; N];
    let bytes = words.as_mut_ptr().cast::<u8>();
    // SAFETY: the slice covers the array exactly, and any bytes are valid integers.
    let buffer = unsafe { std::slice::from_raw_parts_mut(bytes, size_of::<[u64; N]>()) };
    let got = read_memory(tid, address, buffer).ok()?;
    (got == size_of::<[u64; N]>()).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_37_own_memory_and_bad_pointers() {
        let pid = std::process::id() as i32;
        let text = c"/etc/passwd";
        assert_eq!(read_string(pid, text.as_ptr() as u64).expect("own"), b"/etc/passwd");
        assert_eq!(read_string(pid, 8), None);
        assert_eq!(read_string(pid, u64::MAX - 4), None);
        let words = [1u64, 2, 3];
        assert_eq!(read_words::<3>(pid, words.as_ptr() as u64), Some(words));
        let endless = vec![b'a'; 9000];
        assert_eq!(read_string(pid, endless.as_ptr() as u64), None);
    }
}
