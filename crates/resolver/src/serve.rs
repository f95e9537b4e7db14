//! The loop: waits for queries, answers of others, changes of the leases, and what is overdue.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::connection::Connections;
use crate::decide::{Verdict, Zone};
use crate::exchange::{Answered, Asker, Exchanges};
use crate::leases::Leases;
use crate::listen::Listeners;
use crate::message::{Fault, Query};
use crate::upstream::Upstream;

/// So many queries are taken from one socket before others have their turn.
const BATCH: usize = 64;

/// After so long without anything to do its memory is given back.
const QUIET: Duration = Duration::from_secs(1);

/// The longest message over UDP.
const LONGEST: usize = 65_535;

/// All of a resolver.
#[derive(Debug)]
pub struct Server {
    zone: Zone,
    leases: Leases,
    upstream: Upstream,
    listeners: Listeners,
    exchanges: Exchanges,
    connections: Connections,
    buffer: Vec<u8>,
    turn: usize,
    idle: Duration,
    since: Option<Instant>,
    /// Nothing has happened since its memory was given back.
    settled: bool,
}

/// Why it does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// There was no lease for a while.
    Idle,
    /// The directory of leases is gone, and with it the network.
    Gone,
}

/// What is ready.
#[derive(Debug, Default)]
struct Ready {
    datagrams: Vec<usize>,
    streams: Vec<usize>,
    exchanges: Vec<u64>,
    connections: Vec<(u64, PollFlags)>,
}

/// What a place in the list of `poll` stands for.
#[derive(Debug, Clone, Copy)]
enum Place {
    Changes,
    Datagrams(usize),
    Streams(usize),
    Exchange(u64),
    Connection(u64),
}

impl Server {
    /// One that ends after so long without any lease.
    pub fn new(zone: Zone, leases: Leases, upstream: Upstream, listeners: Listeners, idle: Duration) -> Self {
        let (exchanges, connections) = (Exchanges::default(), Connections::default());
        let buffer = Vec::new();
        let (turn, since, settled) = (0, None, false);
        Self { zone, leases, upstream, listeners, exchanges, connections, buffer, turn, idle, since, settled }
    }

    /// Answers, until there is nobody left to answer.
    ///
    /// # Errors
    /// When the kernel cannot tell what is ready.
    pub fn run(&mut self) -> std::io::Result<End> {
        loop {
            self.leases.refresh();
            if let Some(end) = self.end() {
                return Ok(end);
            }
            match self.wait()? {
                Some(ready) => self.take_in(&ready),
                None => self.rest(),
            }
            let now = Instant::now();
            for answered in self.exchanges.overdue(now) {
                self.reply(answered);
            }
            self.connections.close_overdue(now);
        }
    }

    /// Whether somebody has come after all.
    pub fn is_wanted(&mut self) -> bool {
        self.leases.read_all();
        self.since = None;
        !self.leases.table().is_empty()
    }

    fn end(&mut self) -> Option<End> {
        if !self.leases.table().is_empty() {
            self.since = None;
            return None;
        }
        if self.leases.are_gone() {
            return Some(End::Gone);
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        (since.elapsed() >= self.idle).then_some(End::Idle)
    }

    /// Most of the time nobody asks: then only what is known takes memory.
    fn rest(&mut self) {
        if self.exchanges.deadline().is_none() && self.connections.deadline().is_none() {
            self.buffer = Vec::new();
            sys::memory::settle();
            self.settled = true;
        }
    }

    /// What is ready; None when nothing was for a while.
    fn wait(&self) -> std::io::Result<Option<Ready>> {
        let (datagrams, streams) = (&self.listeners.datagrams, &self.listeners.streams);
        let mut places = vec![Place::Changes];
        let mut fds = vec![PollFd::from_borrowed_fd(self.leases.changes(), PollFlags::IN)];
        for (at, socket) in datagrams.iter().enumerate() {
            places.push(Place::Datagrams(at));
            fds.push(PollFd::new(socket, PollFlags::IN));
        }
        for (at, socket) in streams.iter().enumerate() {
            places.push(Place::Streams(at));
            fds.push(PollFd::new(socket, PollFlags::IN));
        }
        for (id, fd, awaited) in self.exchanges.waiting() {
            places.push(Place::Exchange(id));
            fds.push(PollFd::from_borrowed_fd(fd, awaited));
        }
        for (id, fd, awaited) in self.connections.waiting() {
            places.push(Place::Connection(id));
            fds.push(PollFd::from_borrowed_fd(fd, awaited));
        }
        match rustix::event::poll(&mut fds, self.patience().as_ref()) {
            Ok(0) => return Ok(None),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let told = fds.iter().map(PollFd::revents).zip(places).filter(|(told, _)| !told.is_empty());
        Ok(Some(told.fold(Ready::default(), Ready::with)))
    }

    /// Until the next thing is overdue.
    fn patience(&self) -> Option<Timespec> {
        let idle = self.since.map(|since| since + self.idle);
        let quiet = (!self.settled).then(|| Instant::now() + QUIET);
        let all = [self.exchanges.deadline(), self.connections.deadline(), idle, quiet];
        let next = all.into_iter().flatten().min()?;
        // Rounded up: it would only be looked too early.
        let left = next.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        Timespec::try_from(left).ok()
    }

    fn take_in(&mut self, ready: &Ready) {
        self.settled = false;
        self.buffer.resize(LONGEST, 0);
        for at in &ready.datagrams {
            self.datagrams(*at);
        }
        for at in &ready.streams {
            for _ in 0..BATCH {
                let Ok((stream, peer)) = self.listeners.streams[*at].accept() else { break };
                self.connections.take(stream, peer);
            }
        }
        for (id, flags) in &ready.connections {
            if let Some((message, source)) = self.connections.go_on(*id, *flags) {
                self.heard(&message, Asker::Stream { connection: *id, source });
            }
        }
        for id in &ready.exchanges {
            if let Some(answered) = self.exchanges.go_on(*id, &mut self.buffer) {
                self.reply(answered);
            }
        }
    }

    fn datagrams(&mut self, listener: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..BATCH {
            match self.listeners.datagrams[listener].recv_from(&mut buffer) {
                Ok((length, source)) => self.heard(&buffer[..length], Asker::Datagram { listener, source }),
                // There are no more; or one of ours did not arrive.
                Err(_) => break,
            }
        }
        self.buffer = buffer;
    }

    fn heard(&mut self, message: &[u8], asker: Asker) {
        let answered = match Query::parse(message, asker.is_stream()) {
            // Where an answer is due, none is: the connection ends.
            Err(Fault::Silent) => Some(Vec::new()).filter(|_| asker.is_stream()).map(|none| (asker, none)),
            Err(Fault::Told(answer)) => Some((asker, answer)),
            Ok(query) => self.query(&query, asker),
        };
        if let Some(answered) = answered {
            self.reply(answered);
        }
    }

    fn query(&mut self, query: &Query<'_>, asker: Asker) -> Option<Answered> {
        // What was written before somebody asked is known when he is answered.
        self.leases.refresh();
        let (source, table) = (asker.source().ip(), self.leases.table());
        self.turn = self.turn.wrapping_add(1);
        match self.zone.decide(&query.name, query.kind, source, table, self.turn) {
            Verdict::Answer(answer) => Some((asker, query.answer(&answer))),
            Verdict::Forward => {
                let chosen: &[IpAddr] = table.lease(&source).map_or(&[], |lease| &lease.servers);
                let servers = self.upstream.servers(chosen);
                self.exchanges.begin(asker, query, servers)
            }
        }
    }

    /// Whoever cannot be told has gone, or asks again.
    fn reply(&mut self, (asker, answer): Answered) {
        match asker {
            Asker::Datagram { listener, source } => self.send(listener, source, &answer),
            Asker::Stream { connection, .. } => self.connections.answer(connection, &answer),
        }
    }

    fn send(&self, listener: usize, to: SocketAddr, answer: &[u8]) {
        if !answer.is_empty() {
            let _ = self.listeners.datagrams[listener].send_to(answer, to);
        }
    }
}

impl Ready {
    fn with(mut self, (told, place): (PollFlags, Place)) -> Self {
        match place {
            Place::Changes => {}
            Place::Datagrams(at) => self.datagrams.push(at),
            Place::Streams(at) => self.streams.push(at),
            Place::Exchange(id) => self.exchanges.push(id),
            Place::Connection(id) => self.connections.push((id, told)),
        }
        self
    }
}
