//! eBPF's news: how successful opens spelt their path, and which opens failed.

use std::io;

use rustix::fs::FileType;
use rustix::io::Errno;
use spec::RootPath;
use spec::observation::Use;

use crate::calls::{Deed, O_NOFOLLOW};
use crate::named::Named;
use crate::resolve::{End, Spot};
use crate::serve::{Server, broken};
use crate::trace::Spelt;

impl Server {
    /// Handles what eBPF has told by now.
    pub(crate) fn some_opens(&mut self) -> spec::Result<()> {
        let Some(trace) = &mut self.trace else { return Ok(()) };
        for spelt in trace.read() {
            if spelt.tid != self.thread {
                self.named(&named(spelt))?;
            }
        }
        Ok(())
    }

    /// An error if opens were lost.
    pub(crate) fn check_losses(&self) -> spec::Result<()> {
        let Some(trace) = &self.trace else { return Ok(()) };
        match trace.lost() {
            Ok(0) => Ok(()),
            Ok(lost) => Err(broken("eBPF lost events", io::Error::other(format!("{lost} opens")))),
            Err(error) => Err(broken("reading eBPF's counters", error)),
        }
    }
}

fn named(spelt: Spelt) -> Named {
    let Spelt { tid, process, inside, flags, outcome, path } = spelt;
    let exclusive = flags & EXCLUSIVE == EXCLUSIVE;
    let follow = flags & O_NOFOLLOW == 0 && !exclusive;
    let (base, deed) = ("cwd".to_owned(), Deed::Open(0));
    let outcome = Some(outcome);
    Named { tid, process, base, path, follow, enclosed: false, deed, flags, outcome, inside }
}

const EXCLUSIVE: u32 = linux_raw_sys::general::O_CREAT | linux_raw_sys::general::O_EXCL;

/// What an open that is over used at its end, in the light of its outcome: what is found there
/// now may have come or gone since.
pub(crate) fn uses(named: &Named, outcome: i32, end: &End) -> Vec<(RootPath, Use)> {
    let absent = [Errno::NOENT, Errno::NOTDIR].iter().any(|error| error.raw_os_error() == -outcome);
    match end {
        End::Elsewhere => Vec::new(),
        End::There(Spot { place: None, .. }) => Vec::new(),
        End::There(Spot { place: Some(place), meta, .. }) => match outcome {
            0 => {
                // Made with O_EXCL just now, so not part of the image.
                let how = match named.flags & EXCLUSIVE == EXCLUSIVE {
                    true => vec![Use::Changed],
                    false => crate::named::opened(named.flags, meta.kind()),
                };
                how.into_iter().map(|how| (place.clone(), how)).collect()
            }
            // Refused for what it is: it was there.
            _ if -outcome == Errno::NOTDIR.raw_os_error() && meta.kind() != FileType::Directory => {
                vec![(place.clone(), Use::LookedAt)]
            }
            _ if absent => vec![(place.clone(), Use::Missing)],
            _ if meta.kind() == FileType::Symlink => vec![(place.clone(), Use::Followed)],
            _ => vec![(place.clone(), Use::LookedAt)],
        },
        End::Missing { paths, .. } => match outcome {
            // It was there, and fanotify has told of it.
            0 => Vec::new(),
            _ => paths.iter().map(|path| (path.clone(), Use::Missing)).collect(),
        },
    }
}
