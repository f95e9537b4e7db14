//! What the child says to its parent, and what the parent makes of it.

use rustix::io::Errno;
use spec::container::{Mount, MountKind};
use spec::plan::{Plan, Step};
use spec::{Error, ErrorKind};

/// Which part of a step failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Part {
    Whole,
    Source,
    MountPoint,
    MakingMountPoint,
    FileSystem,
    Attributes,
    Attaching,
    Device,
    Terminal,
    MessageQueue,
    KernelFiles,
    Procfs,
    KernelFile,
    AllowedPath,
    Loopback,
    Mapping,
}

const PARTS: [(Part, &str); 16] = [
    (Part::Whole, ""),
    (Part::Source, "opening the source"),
    (Part::MountPoint, "finding the mount point"),
    (Part::MakingMountPoint, "making the mount point"),
    (Part::FileSystem, "making the file system"),
    (Part::Attributes, "setting mount attributes"),
    (Part::Attaching, "attaching the mount"),
    (Part::Device, "checking a device of the host"),
    (Part::Terminal, "placing the terminal"),
    (Part::MessageQueue, "mounting the message queues"),
    (Part::KernelFiles, "looking whether proc and sys are the kernel's own"),
    (Part::Procfs, "making a procfs of its own"),
    (Part::KernelFile, "writing to a file of the kernel"),
    (Part::AllowedPath, "opening a path that is to be allowed"),
    (Part::Loopback, "bringing the loopback device up"),
    (Part::Mapping, "showing the owners of its files as the container's"),
];

/// A failed operation in the child.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) part: Part,
    pub(crate) errno: Errno,
    /// Which of several, counted from 0.
    pub(crate) item: u16,
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self { part: Part::Whole, errno, item: 0 }
    }
}

/// Says which part of a step an operation belongs to.
pub(crate) trait During<T> {
    fn during(self, part: Part) -> Result<T, Fault>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, part: Part) -> Result<T, Fault> {
        self.map_err(|errno| Fault { part, errno, item: 0 })
    }
}

/// A message from the child.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Message {
    /// It stands at the gate; the number of the listener's descriptor, if it has one.
    Ready { listener: Option<i32> },
    /// Whoever sends this is the container's process, and goes on from here.
    Begun,
    /// It stands still until the caller says go.
    Waiting,
    /// This step failed.
    Failed { step: u32, fault: Fault },
}

/// The size of a message on the wire.
pub(crate) const SIZE: usize = 12;

impl Message {
    pub(crate) fn encode(self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        match self {
            Self::Ready { listener } => {
                bytes[0] = 1;
                bytes[4..8].copy_from_slice(&listener.unwrap_or(-1).to_ne_bytes());
            }
            Self::Begun => bytes[0] = 3,
            Self::Waiting => bytes[0] = 4,
            Self::Failed { step, fault } => {
                bytes[0] = 2;
                bytes[1] = fault.part as u8;
                bytes[2..4].copy_from_slice(&fault.item.to_ne_bytes());
                bytes[4..8].copy_from_slice(&step.to_ne_bytes());
                bytes[8..].copy_from_slice(&fault.errno.raw_os_error().to_ne_bytes());
            }
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(i32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        match bytes.first()? {
            1 => Some(Self::Ready { listener: number(4).filter(|fd| *fd >= 0) }),
            2 => {
                let (part, _) = *PARTS.get(usize::from(bytes[1]))?;
                let errno = Errno::from_raw_os_error(number(8)?);
                let item = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
                Some(Self::Failed { step: number(4)? as u32, fault: Fault { part, errno, item } })
            }
            3 => Some(Self::Begun),
            4 => Some(Self::Waiting),
            _ => None,
        }
    }
}

/// What was read from [`Options::report`](crate::Options::report) of a process with this plan, in
/// words; None where nothing has failed.
pub fn told(plan: &Plan, bytes: &[u8]) -> Option<Error> {
    match Message::decode(bytes)? {
        Message::Failed { step, fault } => Some(explain(plan, step, fault)),
        _ => None,
    }
}

/// The failure in words.
pub(crate) fn explain(plan: &Plan, step: u32, fault: Fault) -> Error {
    let cause = std::io::Error::from(fault.errno);
    let Some(step) = plan.steps.get(step as usize) else {
        let words = PARTS.iter().find(|(part, _)| *part == fault.part && *part != Part::Whole);
        return Error::io(words.map_or("setting up the new process", |(_, words)| words), cause);
    };
    if let Step::Execute { argv, .. } = step {
        return cannot_execute(argv.first().map_or("", String::as_str), fault.errno);
    }
    let words = PARTS.iter().find(|(part, _)| *part == fault.part).map_or("", |(_, words)| words);
    let error = match words {
        _ if fault.part == Part::AllowedPath => {
            Error::io(allowed_path(step, fault.item), cause).context(step.to_string())
        }
        "" => Error::io(step.to_string(), cause),
        words => Error::io(words, cause).context(step.to_string()),
    };
    advise(error, step, fault).context(format!("cannot start container {}", plan.name))
}

fn allowed_path(step: &Step, item: u16) -> String {
    let path = match step {
        Step::Landlock(rules) => crate::prepare::allowed_paths(rules).nth(item.into()),
        _ => None,
    };
    path.map_or_else(|| "opening a path".to_owned(), |(path, _)| format!("opening {path}"))
}

fn advise(error: Error, step: &Step, fault: Fault) -> Error {
    match (step, fault.part, fault.errno) {
        (_, Part::MakingMountPoint, Errno::ROFS) => {
            error.hint("the root is read-only and has nothing at this place to mount on; --writable makes the root writable")
        }
        (_, Part::MountPoint, Errno::LOOP) => error
            .hint("a symlink stands in the way: proc, sys, dev and control groups go on real directories"),
        (Step::Mount(_), Part::KernelFiles, _) => {
            error.hint("this place lies in proc or sys, where nothing else is mounted; another one will do")
        }
        (Step::Mount(Mount { what: MountKind::Bind(bind), .. }), Part::Mapping, Errno::INVAL | Errno::PERM) => {
            error.hint(format!(
                "the file system of {} knows no id mapping; with `noidmap` it is shown plain, its owners as nobody",
                bind.source.display()
            ))
        }
        (Step::Root { .. }, Part::Mapping, Errno::INVAL | Errno::PERM) => error.hint(
            "the file system of the images knows no id mapping: keep them on ext4, xfs, btrfs or tmpfs, \
             or start the container without users of its own",
        ),
        (Step::Directory { path }, _, Errno::NOENT) => {
            error.hint(format!("the working directory {path} does not exist in the container"))
        }
        (Step::PrivateMounts | Step::Groups { .. }, _, Errno::PERM) => error.hint("run it with sudo"),
        (Step::Join { .. }, _, Errno::SRCH | Errno::NOENT | Errno::INVAL | Errno::NOMEM) => {
            error.hint("the container is stopping")
        }
        _ => match crate::advice::way_out(step, fault) {
            Some(hint) => error.hint(hint),
            None => error,
        },
    }
}

fn cannot_execute(command: &str, errno: Errno) -> Error {
    let cause = std::io::Error::from(errno);
    match errno {
        Errno::NOENT => {
            Error::new(ErrorKind::CommandNotFound, format!("no command {command:?} in the container"))
                .because(cause)
                .hint("if the file is there, its interpreter (the line with #!) or its loader is missing")
        }
        _ => Error::new(ErrorKind::NotExecutable, format!("cannot execute {command:?} in the container"))
            .because(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip() {
        let fault = Fault { part: Part::Device, errno: Errno::NODEV, item: 513 };
        let Some(Message::Failed { step: 7, fault: back }) =
            Message::decode(&Message::Failed { step: 7, fault }.encode())
        else {
            panic!("not the same message");
        };
        assert_eq!((back.part, back.errno, back.item), (fault.part, fault.errno, fault.item));
        for listener in [None, Some(5)] {
            let decoded = Message::decode(&Message::Ready { listener }.encode());
            assert!(matches!(decoded, Some(Message::Ready { listener: back }) if back == listener));
        }
        assert!(Message::decode(&[]).is_none());
        assert!(Message::decode(&[2, 200, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_none());
        assert!(PARTS.iter().enumerate().all(|(index, (part, _))| *part as usize == index));
    }
}
