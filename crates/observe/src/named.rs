//! The paths that calls name: read out of the process, and what the call does with them.

use linux_raw_sys::general as nr;
use rustix::fs::FileType;
use spec::RootPath;
use spec::observation::Use;
use sys::notify::{Notification, read_memory, read_string, read_words};

use crate::calls::{self, Base, Deed, EMPTY_PATH, Follow, NO_PATH, O_NOFOLLOW, O_PATH, PathArgument};
use crate::resolve::End;

const AT_FDCWD: i32 = -100;
/// RESOLVE_IN_ROOT.
const IN_ROOT: u64 = 0x10;

/// One path that a call names, understood as far as its arguments go.
pub(crate) struct Named {
    pub(crate) tid: i32,
    /// The process to which that thread belongs, or the thread where it waits for us anyway.
    pub(crate) process: i32,
    /// Below the process's /proc directory.
    pub(crate) base: String,
    pub(crate) path: Vec<u8>,
    pub(crate) follow: bool,
    pub(crate) enclosed: bool,
    pub(crate) deed: Deed,
    /// For opens.
    pub(crate) flags: u32,
    /// What came of it, if it is over: 0 or a negative error number.
    pub(crate) outcome: Option<i32>,
    /// Made by a process of the container for certain.
    pub(crate) inside: bool,
}

impl Named {
    /// Everything but the path that decides what is noted.
    pub(crate) fn kind(&self) -> u64 {
        let deed = match self.deed {
            Deed::Look => 0,
            Deed::ReadLink => 1,
            Deed::Enter => 2,
            Deed::Execute => 3,
            Deed::Change => 4,
            Deed::Make => 5,
            Deed::Replace => 6,
            Deed::Open(_) | Deed::OpenHow(_) => 7,
            Deed::Create => 8,
        };
        let bits = u64::from(self.follow) | u64::from(self.enclosed) << 1;
        let outcome = self.outcome.map_or(0, |outcome| 1 + u64::from(outcome.unsigned_abs() & 0xfff));
        deed | bits << 8 | outcome << 16 | u64::from(self.flags) << 32
    }

    /// The last component need not exist.
    fn may_create(&self) -> bool {
        match self.deed {
            Deed::Make | Deed::Replace | Deed::Create => true,
            Deed::Open(_) | Deed::OpenHow(_) => self.flags & nr::O_CREAT != 0,
            _ => false,
        }
    }

    /// What the call will use at the end of the walk.
    pub(crate) fn uses(&self, end: &End) -> Vec<(RootPath, Use)> {
        match end {
            End::Elsewhere => Vec::new(),
            // What is made needs nothing but the directory in which it is made.
            End::Missing { parent, last: true, .. } if self.may_create() => {
                vec![(parent.clone(), Use::LookedAt)]
            }
            End::Missing { paths, .. } => paths.iter().map(|path| (path.clone(), Use::Missing)).collect(),
            End::There(spot) => {
                let Some(place) = &spot.place else { return Vec::new() };
                let parent = place.parent().filter(|_| self.may_create());
                let how = self.how(spot.meta.kind()).into_iter().map(|how| (place.clone(), how));
                how.chain(parent.map(|parent| (parent, Use::LookedAt))).collect()
            }
        }
    }

    /// How a file that exists is used.
    fn how(&self, kind: FileType) -> Vec<Use> {
        let link = kind == FileType::Symlink;
        match self.deed {
            Deed::Look | Deed::Make | Deed::ReadLink if link => vec![Use::Followed],
            Deed::Look | Deed::Make | Deed::ReadLink => vec![Use::LookedAt],
            Deed::Enter => vec![Use::Entered],
            Deed::Execute => vec![Use::Executed],
            Deed::Change | Deed::Replace | Deed::Create => vec![Use::Changed],
            Deed::Open(_) | Deed::OpenHow(_) => opened(self.flags, kind),
        }
    }
}

/// How an open with `flags` uses a file that exists.
pub(crate) fn opened(flags: u32, kind: FileType) -> Vec<Use> {
    const EXCLUSIVE: u32 = nr::O_CREAT | nr::O_EXCL;
    /// O_TMPFILE without O_DIRECTORY: a nameless file, the directory is only searched.
    const NAMELESS: u32 = 0x0040_0000;
    let looks = flags & O_PATH != 0 || flags & EXCLUSIVE == EXCLUSIVE || flags & NAMELESS != 0;
    match (kind, flags & nr::O_ACCMODE) {
        (FileType::Symlink, _) => vec![Use::Followed],
        _ if looks => vec![Use::LookedAt],
        (FileType::Directory, _) => vec![Use::Listed],
        _ if flags & nr::O_TRUNC != 0 => vec![Use::Changed],
        (_, nr::O_RDONLY) => vec![Use::Opened],
        (_, nr::O_WRONLY) => vec![Use::Changed],
        _ => vec![Use::Opened, Use::Changed],
    }
}

/// Reads one path argument out of the process; None if there is nothing to resolve.
pub(crate) fn named(call: &Notification, argument: &PathArgument) -> Option<Named> {
    let value = |index: u8| call.args[usize::from(index)];
    let path = match (argument.path, argument.base) {
        (NO_PATH, _) => Vec::new(),
        (index, Base::Socket(length)) => socket_path(call.tid, value(index), value(length))?,
        (index, _) => read_string(call.tid, value(index))?,
    };
    let (mut flags, mut enclosed) = (0, false);
    match argument.deed {
        Deed::Open(index) => flags = value(index) as u32,
        Deed::OpenHow(index) => {
            let [how, _, resolve] = read_words::<3>(call.tid, value(index))?;
            (flags, enclosed) = (how as u32, resolve & IN_ROOT != 0);
        }
        _ => {}
    }
    let follow = match argument.follow {
        _ if matches!(argument.deed, Deed::OpenHow(_)) => flags & O_NOFOLLOW == 0,
        Follow::Yes => true,
        Follow::No => false,
        Follow::Unless(index, bit) => value(index) as u32 & bit == 0,
        Follow::Only(index, bit) => value(index) as u32 & bit != 0,
    };
    // O_CREAT with O_EXCL does not follow either.
    let follow = follow && flags & (nr::O_CREAT | nr::O_EXCL) != nr::O_CREAT | nr::O_EXCL;
    let base = match argument.base {
        Base::Cwd | Base::Socket(_) => "cwd".to_owned(),
        Base::Arg(index) => match value(index) as i32 {
            AT_FDCWD => "cwd".to_owned(),
            fd if fd >= 0 => format!("fd/{fd}"),
            _ if path.first() == Some(&b'/') => "cwd".to_owned(),
            _ => return None,
        },
    };
    let by_descriptor = path.is_empty() && base != "cwd";
    (by_descriptor || !path.is_empty() || has_empty_path(call, argument)).then_some(Named {
        tid: call.tid,
        process: call.tid,
        base,
        path,
        follow,
        enclosed,
        deed: argument.deed,
        flags,
        outcome: None,
        inside: true,
    })
}

/// The path in a socket's address: none in those of a network, or of abstract names, which begin
/// with a NUL. The NUL at the end may be missing.
fn socket_path(tid: i32, address: u64, length: u64) -> Option<Vec<u8>> {
    const UNIX: u16 = 1;
    let mut bytes = [0u8; 110];
    let length = bytes.len().min(length as u32 as usize);
    let got = read_memory(tid, address, &mut bytes[..length]).ok()?;
    let (family, path) = bytes[..got].split_first_chunk()?;
    let path = path.split(|byte| *byte == 0).next()?;
    (u16::from_ne_bytes(*family) == UNIX && !path.is_empty()).then(|| path.to_vec())
}

/// Whether an empty path is meant: AT_EMPTY_PATH on the working directory.
fn has_empty_path(call: &Notification, argument: &PathArgument) -> bool {
    match argument.follow {
        Follow::Unless(index, NOFOLLOW_AT) | Follow::Only(index, NOFOLLOW_AT) => {
            call.args[usize::from(index)] as u32 & EMPTY_PATH != 0
        }
        _ => false,
    }
}

/// AT_SYMLINK_NOFOLLOW tells the `*at` calls from those whose flags mean something else.
const NOFOLLOW_AT: u32 = calls::NOFOLLOW;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_by_their_flags() {
        assert_eq!(opened(nr::O_RDONLY, FileType::RegularFile), [Use::Opened]);
        assert_eq!(opened(nr::O_RDWR, FileType::RegularFile), [Use::Opened, Use::Changed]);
        assert_eq!(opened(nr::O_RDONLY, FileType::Directory), [Use::Listed]);
        assert_eq!(opened(O_PATH, FileType::Directory), [Use::LookedAt]);
        assert_eq!(opened(nr::O_WRONLY | nr::O_CREAT | nr::O_EXCL, FileType::RegularFile), [Use::LookedAt]);
    }

    #[test]
    fn paths_of_sockets() {
        let path =
            |bytes: &[u8]| socket_path(std::process::id() as i32, bytes.as_ptr() as u64, bytes.len() as u64);
        assert_eq!(path(b"\x01\0/run/x\0rest").as_deref(), Some(b"/run/x".as_slice()));
        assert_eq!(path(b"\x01\0/run/x").as_deref(), Some(b"/run/x".as_slice()));
        assert_eq!(path(b"\x01\0\0abstract"), None);
        assert_eq!(path(b"\x01\0"), None);
        assert_eq!(path(b"\x02\0/run/x\0"), None);
        assert_eq!(path(b""), None);
    }

    #[test]
    fn an_odd_pointer_names_nothing() {
        let call = Notification { id: 0, tid: std::process::id() as i32, nr: 2, arch: 0, args: [8; 6] };
        let argument = calls::native(nr::__NR_open).expect("known").paths[0];
        assert!(named(&call, &argument).is_none());
    }
}
