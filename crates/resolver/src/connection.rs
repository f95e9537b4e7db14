//! Queries that come over TCP, one after the other on each connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::message::LONGEST;

/// For a whole query, and for taking a whole answer: however slowly bytes come, it is not longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// So many connections are held, and so many for one address.
const MOST: usize = 64;
const MOST_OF_ONE: usize = 8;

/// All that are open.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    all: Vec<Connection>,
    last: u64,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Connection {
    id: u64,
    stream: TcpStream,
    peer: SocketAddr,
    input: Vec<u8>,
    output: Vec<u8>,
    /// A query is being answered.
    busy: bool,
    until: Instant,
}

impl Connections {
    /// Takes a new one, in the place of the one that has kept us waiting longest where there are too many.
    pub(crate) fn take(&mut self, stream: TcpStream, peer: SocketAddr) {
        if self.all.iter().filter(|other| other.peer.ip() == peer.ip()).count() >= MOST_OF_ONE
            || stream.set_nonblocking(true).is_err()
        {
            return;
        }
        if self.all.len() >= MOST {
            let waiting = self.all.iter().enumerate().filter(|(_, other)| !other.busy);
            match waiting.min_by_key(|(_, other)| other.until).map(|(at, _)| at) {
                Some(at) => drop(self.all.swap_remove(at)),
                None => return,
            }
        }
        let _ = stream.set_nodelay(true);
        self.last += 1;
        let (id, until) = (self.last, Instant::now() + PATIENCE);
        let (input, output) = (Vec::new(), Vec::new());
        self.all.push(Connection { id, stream, peer, input, output, busy: false, until });
    }

    /// What to wait for.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>, PollFlags)> {
        self.all.iter().map(|one| (one.id, one.stream.as_fd(), one.awaited()))
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        // One that is busy is answered in time, as everybody is.
        self.all.iter().filter(|one| !one.busy).map(|one| one.until).min()
    }

    pub(crate) fn close_overdue(&mut self, now: Instant) {
        self.all.retain(|one| one.busy || one.until > now);
    }

    /// Goes on with one that is ready; its query, once that is whole.
    pub(crate) fn go_on(&mut self, id: u64, ready: PollFlags) -> Option<(Vec<u8>, SocketAddr)> {
        let at = self.all.iter().position(|one| one.id == id)?;
        let one = &mut self.all[at];
        let went = if one.busy {
            ready.intersects(PollFlags::ERR | PollFlags::HUP).then_some(None)
        } else {
            Some(one.go_on())
        };
        match went {
            // Busy, and somebody is still there.
            None => None,
            Some(Some(query)) => query.map(|query| (query, self.all[at].peer)),
            Some(None) => {
                drop(self.all.swap_remove(at));
                None
            }
        }
    }

    /// Answers; whoever has gone meanwhile is not missed.
    pub(crate) fn answer(&mut self, id: u64, answer: &[u8]) {
        let Some(at) = self.all.iter().position(|one| one.id == id) else { return };
        let one = &mut self.all[at];
        let length = u16::try_from(answer.len()).unwrap_or(0);
        if length == 0 {
            drop(self.all.swap_remove(at));
            return;
        }
        one.output = [&length.to_be_bytes()[..], answer].concat();
        one.busy = false;
        one.until = Instant::now() + PATIENCE;
        if !one.write() {
            drop(self.all.swap_remove(at));
        }
    }
}

impl Connection {
    fn awaited(&self) -> PollFlags {
        match (self.busy, self.output.is_empty()) {
            (true, _) => PollFlags::empty(),
            (false, false) => PollFlags::OUT,
            (false, true) => PollFlags::IN,
        }
    }

    /// None when it is to be closed.
    fn go_on(&mut self) -> Option<Option<Vec<u8>>> {
        if !self.output.is_empty() {
            return self.write().then_some(None);
        }
        let wanted = self.wanted()?;
        if self.input.len() < wanted {
            let mut room = [0; LONGEST + 2];
            match self.stream.read(&mut room[..wanted - self.input.len()]) {
                Ok(0) => return None,
                Ok(read) => self.input.extend_from_slice(&room[..read]),
                Err(error) if is_passing(&error) => return Some(None),
                Err(_) => return None,
            }
        }
        let wanted = self.wanted()?;
        if wanted <= 2 || self.input.len() < wanted {
            return Some(None);
        }
        self.busy = true;
        let mut message = std::mem::take(&mut self.input);
        message.drain(..2);
        Some(Some(message))
    }

    /// How many bytes there should be, as far as is known; None if that is no query's length. Nothing is read
    /// beyond the query: what comes behind it waits in the kernel.
    fn wanted(&self) -> Option<usize> {
        match self.input[..] {
            [high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                (12..=LONGEST).contains(&length).then_some(length + 2)
            }
            _ => Some(2),
        }
    }

    fn write(&mut self) -> bool {
        match self.stream.write(&self.output) {
            Ok(written) => {
                self.output.drain(..written);
                if self.output.is_empty() {
                    self.output = Vec::new();
                }
                true
            }
            Err(error) => is_passing(&error),
        }
    }
}

/// Not now.
pub(crate) fn is_passing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
