//! What an attacker takes of System V's objects, which outlive processes: each has a key of ours, by which
//! those that stay behind are found and removed.

use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::{Errno, Result};

use crate::attack::{Region, check};

/// The upper half of our keys ("ts"); the lower one is a number.
const OURS: u32 = 0x7473_0000;
/// Objects that the kernel makes of one kind in a namespace, at the most.
const MOST: u32 = 1 << 15;

/// Makes an object of one kind under the next of our keys that is free.
fn keyed(next: &AtomicU32, make: impl Fn(i32, i32) -> i32) -> Result<i32> {
    for _ in 0..=MOST {
        let key = OURS | next.fetch_add(1, Ordering::Relaxed) & 0xffff;
        match check(make(key as i32, 0o600 | libc::IPC_CREAT | libc::IPC_EXCL).into()) {
            Err(Errno::EXIST) => {}
            made => return made.map(|id| id as i32),
        }
    }
    Err(Errno::NOSPC)
}

/// System V shared memory of so many bytes, touched; it goes with the last process that has it.
///
/// # Errors
/// As shmget's and shmat's.
pub fn shared_memory(bytes: usize) -> Result<()> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // SAFETY: numbers.
    let id = keyed(&NEXT, |key, flags| unsafe { libc::shmget(key, bytes, flags) })?;
    // SAFETY: at a place that the kernel chooses.
    let at = unsafe { libc::shmat(id, std::ptr::null(), 0) };
    // It goes when the last process has let go of it.
    no_shared_memory(id);
    if at as isize == -1 {
        return Err(crate::last_error());
    }
    Region::of(at.cast(), bytes).dirty(0, bytes);
    Ok(())
}

fn no_shared_memory(id: i32) {
    // SAFETY: a number, and no structure.
    unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
}

/// A System V queue of messages, with one message, which tells who made it; returns its number, for
/// [`no_message_queue`].
///
/// # Errors
/// As msgget's.
pub fn message_queue() -> Result<i32> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // SAFETY: numbers.
    let id = keyed(&NEXT, |key, flags| unsafe { libc::msgget(key, flags) })?;
    let message = [1_i64, 0];
    // SAFETY: a type and one word of text, as msgsnd wants it.
    unsafe { libc::msgsnd(id, message.as_ptr().cast(), 8, libc::IPC_NOWAIT) };
    Ok(id)
}

/// Removes a queue of messages.
pub fn no_message_queue(id: i32) {
    // SAFETY: a number, and no structure.
    unsafe { libc::msgctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
}

/// A System V array of 100 semaphores, one of them set, which tells who made it; returns its number, for
/// [`no_semaphores`].
///
/// # Errors
/// As semget's.
pub fn semaphores() -> Result<i32> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // SAFETY: numbers.
    let id = keyed(&NEXT, |key, flags| unsafe { libc::semget(key, 100, flags) })?;
    // SAFETY: numbers.
    unsafe { libc::semctl(id, 0, libc::SETVAL, 1) };
    Ok(id)
}

/// Removes them.
pub fn no_semaphores(id: i32) {
    // SAFETY: numbers.
    unsafe { libc::semctl(id, 0, libc::IPC_RMID) };
}

/// Removes what attackers have left in this namespace: objects with a key of ours whose maker is over.
/// Returns how many are there still: of makers that are alive, or not to be removed by us.
pub fn sweep() -> usize {
    left_of("msg", |line| line.maker(5)).iter().for_each(|id| no_message_queue(*id));
    left_of("shm", |line| line.maker(4)).iter().for_each(|id| no_shared_memory(*id));
    // SAFETY: numbers.
    let set_by = |line: &Line| unsafe { libc::semctl(line.id, 0, libc::GETPID) };
    left_of("sem", set_by).iter().for_each(|id| no_semaphores(*id));
    ["msg", "shm", "sem"].map(|kind| ours(&table(kind)).count()).iter().sum()
}

fn table(kind: &str) -> String {
    // Where there is no such table nothing can be found, and hardly anything be.
    std::fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default()
}

/// The numbers of those whose maker is over.
fn left_of(kind: &str, maker: impl Fn(&Line) -> i32) -> Vec<i32> {
    ours(&table(kind)).filter(|line| !is_attacker(maker(line))).map(|line| line.id).collect()
}

/// An object with a key of ours.
struct Line<'a> {
    id: i32,
    words: Vec<&'a str>,
}

impl Line<'_> {
    /// The process that is told in this column; 0: none.
    fn maker(&self, column: usize) -> i32 {
        self.words.get(column).and_then(|word| word.parse().ok()).unwrap_or(0)
    }
}

fn ours(table: &str) -> impl Iterator<Item = Line<'_>> {
    table.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let key: i32 = words.first()?.parse().ok()?;
        let id = words.get(1)?.parse().ok()?;
        (key as u32 & 0xffff_0000 == OURS).then_some(Line { id, words })
    })
}

/// Whether this process is an attacker, or its auditor: who has taken its number over is neither.
fn is_attacker(pid: i32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
    name.is_ok_and(|name| name.starts_with("tsubo-a"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_ours_are_told_from_those_of_others() {
        let table = "       key      msqid perms      cbytes       qnum lspid lrpid   uid\n\
            1953693703          3   600           8          1   412     0     0\n\
            0          4   600           8          1   412     0     0\n\
            -12          5   600           8          1   412     0     0\n";
        let found: Vec<(i32, i32)> = ours(table).map(|line| (line.id, line.maker(5))).collect();
        assert_eq!(found, [(3, 412)]);
    }

    /// In a namespace of its own, so that nobody else's are seen.
    fn apart(work: impl FnOnce() -> i32) -> Option<i32> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: needs root");
            return None;
        }
        let child = crate::attack::bound_child(20, || {
            crate::namespace::unshare(crate::namespace::IPC).map_or(99, |()| work())
        });
        crate::process::reap(child.expect("a child"), true).expect("its end").map(|(_, code)| code)
    }

    #[test]
    fn what_a_dead_attacker_has_left_is_removed_and_what_a_living_one_has_is_not() {
        let code = apart(|| {
            let make = || {
                let made = (0..3).all(|_| message_queue().is_ok() && semaphores().is_ok());
                // SAFETY: numbers.
                let id = unsafe { libc::shmget(OURS as i32, 4096, 0o600 | libc::IPC_CREAT) };
                i32::from(!made || id < 0)
            };
            let dead = crate::process::fork_child(make).expect("a child");
            assert_eq!(crate::process::reap(dead, true), Ok(Some((dead, 0))));
            // SAFETY: numbers; a key of somebody's.
            assert!(unsafe { libc::msgget(7, 0o600 | libc::IPC_CREAT) } >= 0);
            rustix::thread::set_name(c"tsubo-attack").expect("a name");
            assert!(message_queue().is_ok() && semaphores().is_ok());
            assert_eq!(sweep(), 2);
            rustix::thread::set_name(c"over").expect("a name");
            assert_eq!(sweep(), 0);
            assert_eq!(table("msg").lines().count(), 2);
            0
        });
        assert!(code.is_none_or(|code| code == 0), "{code:?}");
    }
}
