//! Who ended a process by SIGKILL: the kernel, because the container's memory was full; the kernel, because the
//! host's was; or somebody else. A limit is only believed where it has left a trace.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;

use super::groups::{Groups, Lack};

/// Who it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Killer {
    /// The kernel, at a limit of the container.
    Limit,
    /// The kernel, for want of memory of the whole host.
    Host,
    /// Somebody else, or nobody knows.
    Somebody,
}

/// Watches for traces from the begin of an attack on.
#[derive(Debug)]
pub struct Witness {
    groups: Groups,
    before: Lack,
    last: Lack,
    log: Option<File>,
}

impl Witness {
    /// Of the container with these groups.
    pub fn new(groups: &Groups) -> Self {
        let before = groups.lack();
        Self { groups: groups.clone(), before, last: before, log: log() }
    }

    /// Once in a while: with the container its groups vanish, and what they have counted.
    pub fn look(&mut self) {
        self.last = self.last.or(self.groups.lack());
    }

    /// What the traces say, now that something has been ended.
    pub fn tell(&mut self) -> Killer {
        self.look();
        let said = self.log.as_mut().map(read).unwrap_or_default();
        decide(self.before, self.last, logged(&said))
    }
}

/// Kills of our own program that the kernel's log tells of: at a limit, and for want of all memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Logged {
    at_limit: bool,
    of_host: bool,
}

fn decide(before: Lack, after: Lack, logged: Logged) -> Killer {
    let rose =
        |of: fn(&Lack) -> Option<u64>| of(&before).zip(of(&after)).map(|(before, after)| after > before);
    let (killed, refused) = (rose(|lack| lack.kills), rose(|lack| lack.refused));
    match (killed, refused) {
        _ if logged.of_host => Killer::Host,
        _ if logged.at_limit => Killer::Limit,
        // The kernel counts whom it ends for whatever reason; not being refused anything, it was not its limit.
        (Some(true), Some(false)) => Killer::Host,
        (Some(true), _) | (None, Some(true)) => Killer::Limit,
        _ => Killer::Somebody,
    }
}

/// The kernel's log from now on, for who may read it.
fn log() -> Option<File> {
    let nonblocking = OFlags::NONBLOCK.bits() as i32;
    let mut file = OpenOptions::new().read(true).custom_flags(nonblocking).open("/dev/kmsg").ok()?;
    file.seek(SeekFrom::End(0)).ok()?;
    Some(file)
}

fn read(log: &mut File) -> String {
    let (mut all, mut room) = (String::new(), vec![0; 8192]);
    loop {
        match log.read(&mut room) {
            Ok(count @ 1..) => all.push_str(&String::from_utf8_lossy(&room[..count])),
            // Records that were overwritten before they were read.
            Err(cause) if cause.kind() == ErrorKind::BrokenPipe => {}
            _ => return all,
        }
    }
}

fn logged(said: &str) -> Logged {
    let ours =
        said.lines().filter(|line| line.contains(": Killed process ") && line.contains("(tsubo-attack)"));
    ours.fold(Logged::default(), |all, line| {
        let at_limit = line.contains("Memory cgroup out of memory");
        Logged { at_limit: all.at_limit || at_limit, of_host: all.of_host || !at_limit }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lack(kills: Option<u64>, refused: Option<u64>) -> Lack {
        Lack { kills, refused }
    }

    #[test]
    fn a_limit_is_believed_where_it_has_left_a_trace() {
        let before = lack(Some(1), Some(5));
        let of = |kills, refused| decide(before, lack(Some(kills), Some(refused)), Logged::default());
        assert_eq!(of(2, 9), Killer::Limit);
        assert_eq!(of(2, 5), Killer::Host);
        assert_eq!((of(1, 5), of(1, 9)), (Killer::Somebody, Killer::Somebody));
        // A kernel that does not count whom it ends.
        let old = |refused| decide(lack(None, Some(5)), lack(None, Some(refused)), Logged::default());
        assert_eq!((old(9), old(5)), (Killer::Limit, Killer::Somebody));
        assert_eq!(decide(Lack::default(), Lack::default(), Logged::default()), Killer::Somebody);
    }

    #[test]
    fn what_the_kernel_logs_of_us_is_read() {
        let at_limit = "3,1,2,-;Memory cgroup out of memory: Killed process 7 (tsubo-attack) total-vm:1kB";
        let of_host = "3,1,2,-;Out of memory: Killed process 7 (tsubo-attack) total-vm:1kB";
        assert_eq!(logged(at_limit), Logged { at_limit: true, of_host: false });
        assert_eq!(logged(of_host), Logged { at_limit: false, of_host: true });
        assert_eq!(logged(&of_host.replace("tsubo-attack", "other")), Logged::default());
        let none = Lack::default();
        assert_eq!(decide(none, none, logged(at_limit)), Killer::Limit);
        assert_eq!(decide(none, none, logged(of_host)), Killer::Host);
    }
}
