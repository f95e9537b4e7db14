//! Trapped calls: which paths they name, and what that tells.

use std::fs::File;

use linux_raw_sys::general as nr;
use rustix::fs::{FileType, Mode, OFlags};
use spec::container::capability_names;
use spec::observation::Use;
use sys::notify::{Notification, read_words};

use crate::cache::Answer;
use crate::calls::{self, Border, Call, Deed};
use crate::filter::{I386, X32_BIT};
use crate::mounts::handle;
use crate::named::{Named, named};
use crate::programs::Program;
use crate::resolve::{End, Spot, Walk, walk};
use crate::serve::{Server, broken, is_home};
use crate::spelt;
use crate::trace::Trace;

/// SECCOMP_FILTER_FLAG_NEW_LISTENER.
const NEW_LISTENER: u64 = 8;
/// CLONE_NEWNS, CLONE_FS, CLONE_NEWUSER, CLONE_NEWPID: other mounts, root or numbers.
const NEW_VIEW: u64 = NEW_MOUNTS | 0x0200 | 0x1000_0000 | NEW_NUMBERS;
/// CLONE_NEWNS.
const NEW_MOUNTS: u64 = 0x0002_0000;
/// CLONE_NEWPID.
const NEW_NUMBERS: u64 = 0x2000_0000;
/// The same without CLONE_FS, which for clone means sharing.
const CLONE_VIEW: u64 = NEW_VIEW & !0x0200;
/// Interpreters of interpreters that the kernel follows.
const MOST_INTERPRETERS: usize = 5;

impl Server {
    /// Takes one trapped call, notes it, lets it go.
    pub(crate) fn trapped(&mut self) -> spec::Result<()> {
        let received = self.listener.receive();
        let received = received.map_err(|error| broken("receiving a trapped call", error))?;
        let Some(call) = received else { return Ok(()) };
        if self.failure.is_none()
            && let Err(error) = self.call(&call)
        {
            self.failure = Some(error);
        }
        let gone = self.listener.proceed(call.id);
        gone.map_err(|error| broken("letting a trapped call go", error))
    }

    fn call(&mut self, call: &Notification) -> spec::Result<()> {
        let Some((number, what)) = self.native(call) else { return Ok(()) };
        self.record.by_descriptor |= number == nr::__NR_execveat;
        if what.border != Border::None {
            self.drain()?;
        }
        for argument in what.paths {
            if let Some(named) = named(call, argument)
                && self.listener.is_valid(call.id)
            {
                self.named(&named)?;
            }
        }
        match what.border {
            Border::None => {}
            Border::End => self.whereabouts.left(call.tid),
            Border::Names => {
                self.moves(number, call.tid);
                self.forget()?;
            }
            Border::View => self.view(number, call)?,
            Border::Listener => self.wants_listener(call),
        }
        Ok(())
    }

    /// The call by its native number.
    fn native(&mut self, call: &Notification) -> Option<(u32, Call)> {
        let number = call.nr as u32;
        let number = match call.arch {
            I386 => {
                self.warn(
                    call.tid,
                    "is a 32-bit program: pack keeps what it was seen to use, as for any other",
                );
                calls::from_i386(number)?
            }
            _ if number >= X32_BIT => {
                self.record.foreign = true;
                self.warn(call.tid, "made system calls of the x32 ABI, which are not observed");
                return None;
            }
            _ => number,
        };
        calls::native(number).map(|call| (number, call))
    }

    /// A call that may give a process another view of the files.
    fn view(&mut self, number: u32, call: &Notification) -> spec::Result<()> {
        let flags = match number {
            nr::__NR_unshare => call.args[0] & NEW_VIEW,
            nr::__NR_clone => call.args[0] & CLONE_VIEW,
            nr::__NR_clone3 => match read_words::<1>(call.tid, call.args[0]) {
                Some([flags]) => flags & CLONE_VIEW,
                None => CLONE_VIEW,
            },
            nr::__NR_setns => NEW_VIEW,
            _ => NEW_MOUNTS,
        };
        if flags == 0 {
            return Ok(());
        }
        self.views_differ = true;
        self.whereabouts.clear();
        self.places.unsettle();
        if flags & NEW_NUMBERS != 0 {
            let done = self.look_at_everybody();
            done.map_err(|error| broken("looking into another pid namespace", error))?;
        }
        self.forget()
    }

    /// What names meant is about to change.
    fn forget(&mut self) -> spec::Result<()> {
        self.cache.clear();
        let done = self.trace.as_mut().map_or(Ok(()), Trace::forget);
        done.map_err(|error| broken("telling eBPF to forget", error))
    }

    fn wants_listener(&mut self, call: &Notification) {
        if call.args[1] & NEW_LISTENER != 0 {
            self.warn(
                call.tid,
                "wants to supervise system calls (seccomp listener): refused with EBUSY while watched",
            );
        }
    }

    /// What is known of where a process is: an exec is a good moment to learn it.
    fn moves(&mut self, number: u32, tid: i32) {
        match number {
            nr::__NR_chdir | nr::__NR_fchdir => self.whereabouts.moved(tid),
            nr::__NR_execve | nr::__NR_execveat => self.whereabouts.learn(tid),
            _ => {}
        }
    }

    /// Notes what a named path uses, from memory if that still holds. An error if it cannot be
    /// told any more.
    pub(crate) fn named(&mut self, named: &Named) -> spec::Result<()> {
        let by = self.programs.of(named.process);
        self.record.groups |= named.path.starts_with(b"/sys/fs/cgroup");
        if named.path.first() != Some(&b'/') || named.deed == Deed::Execute || !self.remembers(named.tid) {
            return self.walked(named, by).map(drop);
        }
        let question = (named.kind(), named.path.clone());
        let stage = self.stage;
        let known = self.cache.get(&self.places, &question);
        let Some(answer) = known else {
            if let Some(answer) = self.walked(named, by)? {
                self.cache.put(question, answer);
            }
            return Ok(());
        };
        if answer.noted.contains(&(by, stage)) {
            return Ok(());
        }
        answer.noted.push((by, stage));
        for (path, how) in &answer.uses {
            self.record.note(path, *how, by, stage);
        }
        Ok(())
    }

    /// Whether this process sees the container as its first process does, and nothing is changing.
    fn remembers(&self, tid: i32) -> bool {
        self.places.settled()
            && (!self.views_differ
                || handle(&format!("/proc/{tid}/root")).is_ok_and(|root| is_home(&self.home, root)))
    }

    /// Walks the path and notes what that uses.
    fn walked(&mut self, named: &Named, by: Option<Program>) -> spec::Result<Option<Answer>> {
        let found = match named.outcome {
            Some(_) => self.walk_afterwards(named),
            None => {
                let Named { tid, base, path, follow, enclosed, .. } = named;
                walk(&mut self.places, *tid, base, path, *follow, *enclosed)
            }
        };
        let Some(Walk { mut uses, end }) = found else {
            // A caller that waits for us and is gone was killed: the call never happens.
            return named.outcome.map_or(Ok(None), |_| self.unknown(named).map(|()| None));
        };
        match named.outcome {
            Some(outcome) => uses.extend(spelt::uses(named, outcome, &end)),
            None => uses.extend(named.uses(&end)),
        }
        if let (Deed::Execute, End::There(spot)) = (named.deed, &end) {
            self.executes(named.tid, spot, by);
        }
        for (path, how) in &uses {
            self.note(path, *how, by);
        }
        let noted = vec![(by, self.stage)];
        let (end, there) = match end {
            End::There(Spot { place: Some(place), meta, .. }) => (place, Some(meta)),
            End::Missing { paths, .. } => match paths.into_iter().next() {
                Some(path) => (path, None),
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        Ok(Some(Answer { uses, end, there, noted }))
    }

    /// Notes what comes with executing `spot`: privileges, and the interpreters.
    fn executes(&mut self, tid: i32, spot: &Spot, by: Option<Program>) {
        if let Some(place) = &spot.place {
            self.programs.executes(tid, place);
            for capability in capability_names(of_file(spot).unwrap_or(0)) {
                let name = place.name().map(|name| String::from_utf8_lossy(name).into_owned());
                self.record.of_files.entry(capability).or_default().extend(name);
            }
            if gains_privilege(tid, spot) {
                self.record.gained_privilege = true;
                let warning =
                    format!("{place} gains privilege when executed (set-id bits or file capabilities)");
                self.record.warnings.insert(warning);
            }
        }
        let mut next = interpreter(spot);
        for _ in 0..MOST_INTERPRETERS {
            let Some(path) = next.take() else { return };
            let Some(found) = walk(&mut self.places, tid, "cwd", &path, true, false) else { return };
            for (path, how) in &found.uses {
                self.note(path, *how, by);
            }
            match found.end {
                End::There(spot) => {
                    if let Some(place) = &spot.place {
                        self.note(place, Use::Executed, by);
                    }
                    next = interpreter(&spot);
                }
                End::Missing { paths, .. } => paths.iter().for_each(|path| self.note(path, Use::Missing, by)),
                End::Elsewhere => {}
            }
        }
    }
}

/// Whether executing this file makes its caller, thread `tid`, somebody else or gives it
/// capabilities: root that executes a program of root's that is set-uid is root before and after.
fn gains_privilege(tid: i32, spot: &Spot) -> bool {
    const SET_UID: u32 = 0o4000;
    const SET_GID: u32 = 0o2010;
    let mode = spot.meta.mode;
    let (by_user, by_group) = (mode & SET_UID != 0, mode & SET_GID == SET_GID);
    let by_file = of_file(spot).is_some();
    if !by_user && !by_group && !by_file {
        return false;
    }
    let (Some((uid, gid)), Ok(owner)) = (effective(tid), rustix::fs::fstat(&spot.fd)) else { return true };
    by_user && owner.st_uid != uid || by_group && owner.st_gid != gid || by_file && uid != 0
}

/// The capabilities that a file permits (struct vfs_cap_data); none if it has no such attribute.
fn of_file(spot: &Spot) -> Option<u64> {
    let mut value = [0u8; 64];
    rustix::fs::getxattr(by_descriptor(spot), "security.capability", &mut value).ok()?;
    let word = |at: usize| u32::from_le_bytes([value[at], value[at + 1], value[at + 2], value[at + 3]]);
    Some(u64::from(word(4)) | u64::from(word(12)) << 32)
}

/// The effective user and group of a thread.
fn effective(tid: i32) -> Option<(u32, u32)> {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    Some((field("Uid:")?, field("Gid:")?))
}

fn interpreter(spot: &Spot) -> Option<Vec<u8>> {
    if spot.meta.kind() != FileType::RegularFile {
        return None;
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOATIME;
    let fd = rustix::fs::open(by_descriptor(spot), flags, Mode::empty()).ok()?;
    crate::interpreter::of(&File::from(fd))
}

/// A path of ours for what `spot` names.
fn by_descriptor(spot: &Spot) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/thread-self/fd/{}", spot.fd.as_raw_fd())
}

/// Where the root of the container's first process is, for comparison with others.
pub(crate) fn root_of(pid: i32) -> spec::Result<crate::mounts::Meta> {
    let failed =
        |error: rustix::io::Errno| broken(&format!("looking at the root of process {pid}"), error.into());
    let root = handle(&format!("/proc/{pid}/root")).map_err(failed)?;
    crate::mounts::Meta::of(root).map_err(failed)
}
