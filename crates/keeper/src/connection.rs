//! One connection of a client.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use serde::{Deserialize, Serialize};
use spec::Result;
use spec::protocol::{Decoder, Reply, Request, Stream, encode};

use crate::handover::{self, Kept};
use crate::task::Task;

/// Above this much waiting output a client that must get all of it holds the container up.
const FULL: usize = 1 << 20;

/// Above this much a client falls behind: the container and the others do not wait. When it has
/// taken what waits for it, it goes on with the latest.
const BEHIND: usize = 256 << 10;

/// So much of the latest is kept for one who has fallen behind.
const LATEST: usize = 64 << 10;

/// Above this much a client is let go.
const HOPELESS: usize = 8 << 20;

/// What a client's buffer may keep when it is empty.
const IDLE: usize = 16 << 10;

/// How long a client may take for the answer to a start.
const DRAIN: Duration = Duration::from_secs(2);

/// What a connection is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// It has greeted us, or not even that.
    New,
    /// It started the container and stays with it.
    Launch,
    /// It looks on.
    Attached,
    /// It waits for the end.
    Waiting,
    /// It executed a process, which ends with it.
    Exec,
}

/// A [`Connection`] on its way to another program.
#[derive(Serialize, Deserialize)]
pub(crate) struct ConnectionAtRest {
    socket: i32,
    greeted: bool,
    role: Role,
    loose: bool,
}

/// A client.
pub(crate) struct Connection {
    socket: OwnedFd,
    decoder: Decoder,
    out: VecDeque<u8>,
    latest: VecDeque<(Stream, Vec<u8>)>,
    pub(crate) greeted: bool,
    pub(crate) role: Role,
    /// What it executed.
    pub(crate) task: Option<Task>,
    /// That stays when the client goes.
    pub(crate) loose: bool,
    pub(crate) closed: bool,
}

impl Connection {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            decoder: Decoder::default(),
            out: VecDeque::new(),
            latest: VecDeque::new(),
            greeted: false,
            role: Role::New,
            task: None,
            loose: false,
            closed: false,
        }
    }

    /// The first one; what was received behind the job is not lost.
    pub(crate) fn launched(socket: OwnedFd, decoder: Decoder) -> Self {
        Self { decoder, greeted: true, role: Role::Launch, ..Self::new(socket) }
    }

    /// Nothing is waiting to be sent or was received.
    pub(crate) fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// What a program that takes our place must know of it; None while something is under way.
    pub(crate) fn at_rest<'a>(&'a self, kept: &mut Kept<'a>) -> Option<ConnectionAtRest> {
        let quiet = self.decoder.is_empty() && self.out.is_empty() && self.latest.is_empty();
        if !quiet || self.closed || self.task.is_some() {
            return None;
        }
        let socket = kept.keep(&self.socket);
        Some(ConnectionAtRest { socket, greeted: self.greeted, role: self.role, loose: self.loose })
    }

    pub(crate) fn adopt(rest: &ConnectionAtRest) -> Result<Self> {
        let (greeted, role, loose) = (rest.greeted, rest.role, rest.loose);
        Ok(Self { greeted, role, loose, ..Self::new(handover::take(rest.socket)?) })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// What to wait for. A client whose process takes no more input is not read from.
    pub(crate) fn interest(&self, takes_input: bool) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, takes_input);
        flags.set(PollFlags::OUT, !self.out.is_empty());
        flags
    }

    /// Whether something waits to be sent, and how much.
    pub(crate) fn unsent(&self) -> usize {
        if self.closed { 0 } else { self.out.len() }
    }

    /// Whether output must wait for it.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self.role, Role::Launch | Role::Exec) && self.out.len() > FULL
    }

    /// Passes on what the container says to one who is there for that.
    pub(crate) fn pass(&mut self, stream: Stream, bytes: &[u8]) {
        let room = match self.role {
            Role::Launch => FULL + BEHIND,
            Role::Attached => BEHIND,
            _ => return,
        };
        if self.closed {
            return;
        }
        if self.out.len() <= room && self.latest.is_empty() {
            return self.send(&Reply::Output { stream, bytes: bytes.to_vec() });
        }
        self.latest.push_back((stream, bytes.to_vec()));
        let mut kept: usize = self.latest.iter().map(|(_, bytes)| bytes.len()).sum();
        while kept > LATEST && self.latest.len() > 1 {
            kept -= self.latest.pop_front().map_or(0, |(_, bytes)| bytes.len());
        }
        self.flush();
    }

    /// One who has fallen behind goes on.
    fn catch_up(&mut self) {
        for (stream, bytes) in std::mem::take(&mut self.latest) {
            match encode(&Reply::Output { stream, bytes }) {
                Ok(frame) => self.out.extend(frame),
                Err(_) => self.closed = true,
            }
        }
    }

    /// Queues a message and sends what can be sent at once.
    pub(crate) fn send(&mut self, reply: &Reply) {
        if self.closed {
            return;
        }
        self.catch_up();
        match encode(reply) {
            Ok(frame) => self.out.extend(frame),
            Err(_) => self.closed = true,
        }
        self.flush();
        if self.out.len() > HOPELESS {
            self.closed = true;
        }
    }

    /// Sends what can be sent.
    pub(crate) fn flush(&mut self) {
        while !self.out.is_empty() && !self.closed {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::net::send(&self.socket, self.out.as_slices().0, flags) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(_) => self.closed = true,
            }
            if self.out.is_empty() {
                self.catch_up();
            }
        }
        if self.out.is_empty() && self.out.capacity() > IDLE {
            self.out = VecDeque::new();
        }
    }

    /// Sends all that is left, for a limited time.
    pub(crate) fn drain(&mut self) {
        let deadline = Instant::now() + DRAIN;
        loop {
            self.flush();
            let left = deadline.saturating_duration_since(Instant::now());
            if self.out.is_empty() || self.closed || left.is_zero() {
                return;
            }
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            // A signal or the time limit: the loop looks again.
            let _ = rustix::event::poll(&mut [PollFd::new(&self.socket, PollFlags::OUT)], Some(&timeout));
        }
    }

    /// Sees whether the client has gone, without reading.
    pub(crate) fn notice_end(&mut self) {
        let mut polled = [PollFd::new(&self.socket, PollFlags::empty())];
        let seen = rustix::event::poll(&mut polled, Some(&Timespec::default())).is_ok();
        self.closed |= seen && polled[0].revents().intersects(PollFlags::HUP | PollFlags::ERR);
    }

    /// Reads once. Not a part of its caller, whose frame rests while nothing happens.
    #[inline(never)]
    pub(crate) fn fill(&mut self) {
        let mut buffer = [0; 4 << 10];
        match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => self.closed = true,
            Ok((count, _)) => self.decoder.push(&buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.closed = true,
        }
    }

    /// The next request that is there.
    pub(crate) fn request(&mut self) -> Result<Option<Request>> {
        self.decoder.take()
    }
}
