//! Queries that somebody else answers.
//!
//! Each is asked with an id that cannot be guessed, from a port that nobody knows, over a socket that hears only the
//! server that was asked: whoever wants to answer in its place has to guess all of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::SocketType;

use crate::connection::is_passing;
use crate::listen::socket;
use crate::message::{Answer, Query, is_helpless, is_truncated};

/// So often is asked, one server after the other, and for so long is each waited for: together less than the five
/// seconds after which libraries ask again.
const TRIES: usize = 3;
const PATIENCE: Duration = Duration::from_millis(1500);

/// So many queries may be under way, and so many of one address.
const MOST: usize = 512;
const MOST_OF_ONE: usize = 64;

/// So many messages that answer something else are read at once.
const NOISE: usize = 16;

/// Who asks, and how the answer gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asker {
    /// Over UDP.
    Datagram { listener: usize, source: SocketAddr },
    /// Over TCP.
    Stream { connection: u64, source: SocketAddr },
}

impl Asker {
    pub(crate) fn source(&self) -> SocketAddr {
        match self {
            Self::Datagram { source, .. } | Self::Stream { source, .. } => *source,
        }
    }

    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream { .. })
    }
}

/// All that are under way.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    all: Vec<Exchange>,
    last: u64,
    /// Which server is asked first: the next one, when one has not answered.
    first: usize,
}

/// One of them.
#[derive(Debug)]
struct Exchange {
    id: u64,
    asker: Asker,
    query: Vec<u8>,
    servers: Rc<[SocketAddr]>,
    first: usize,
    tries: usize,
    asked: u16,
    way: Option<Way>,
    until: Instant,
}

#[derive(Debug)]
enum Way {
    Datagram(UdpSocket),
    Stream { stream: TcpStream, output: Vec<u8>, input: Vec<u8> },
}

/// How a step went.
enum Step {
    /// It is waited for more.
    Wait,
    /// This server is of no use.
    Next,
    /// That is it.
    Done(Vec<u8>),
}

/// What is answered, and to whom.
pub(crate) type Answered = (Asker, Vec<u8>);

impl Exchanges {
    /// Asks. What is answered, if nobody can be asked.
    pub(crate) fn begin(
        &mut self,
        asker: Asker,
        query: &Query<'_>,
        servers: Rc<[SocketAddr]>,
    ) -> Option<Answered> {
        let mut own = self.all.iter().filter(|other| other.asker.source().ip() == asker.source().ip());
        if own.clone().any(|other| other.asker == asker && other.query == query.bytes) {
            // Asked again, as libraries do; it is answered once.
            return None;
        }
        if self.all.len() >= MOST || own.nth(MOST_OF_ONE - 1).is_some() || servers.is_empty() {
            return Some((asker, query.answer(&Answer::Failed)));
        }
        self.last += 1;
        let (id, first, until) = (self.last, self.first, Instant::now());
        let query = query.bytes.to_vec();
        let mut exchange =
            Exchange { id, asker, query, servers, first, tries: 0, asked: 0, way: None, until };
        if exchange.ask() {
            self.all.push(exchange);
            return None;
        }
        Some(exchange.failed())
    }

    /// What to wait for.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (u64, BorrowedFd<'_>, PollFlags)> {
        self.all.iter().filter_map(|one| one.way.as_ref().map(|way| (one.id, way.as_fd(), way.awaited())))
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.all.iter().map(|one| one.until).min()
    }

    /// Goes on with one that is ready.
    pub(crate) fn go_on(&mut self, id: u64, buffer: &mut [u8]) -> Option<Answered> {
        let at = self.all.iter().position(|one| one.id == id)?;
        let one = &mut self.all[at];
        let answered = match one.step(buffer) {
            Step::Wait => None,
            Step::Done(answer) => Some((one.asker, answer)),
            Step::Next if one.ask() => None,
            Step::Next => Some(one.failed()),
        }?;
        drop(self.all.swap_remove(at));
        Some(answered)
    }

    /// Asks others where one has not answered in time; what is answered where nobody has.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<Answered> {
        let mut failed = Vec::new();
        for at in (0..self.all.len()).rev() {
            let one = &mut self.all[at];
            if one.until > now {
                continue;
            }
            if one.first == self.first && one.tries == 1 {
                self.first = self.first.wrapping_add(1);
            }
            if !one.ask() {
                failed.push(one.failed());
                drop(self.all.swap_remove(at));
            }
        }
        failed
    }
}

impl Exchange {
    fn failed(&self) -> Answered {
        let query = Query::parse(&self.query, self.asker.is_stream());
        (self.asker, query.map(|query| query.answer(&Answer::Failed)).unwrap_or_default())
    }

    /// Asks the next server; false when there is none left.
    fn ask(&mut self) -> bool {
        while self.tries < TRIES {
            let server = self.server(self.tries);
            self.tries += 1;
            if self.send(server).is_ok() {
                self.until = Instant::now() + PATIENCE;
                return true;
            }
        }
        false
    }

    fn server(&self, number: usize) -> SocketAddr {
        self.servers[self.first.wrapping_add(number) % self.servers.len()]
    }

    fn message(&mut self) -> std::io::Result<Vec<u8>> {
        let mut id = [0; 2];
        rustix::rand::getrandom(&mut id[..], rustix::rand::GetRandomFlags::empty())?;
        self.asked = u16::from_be_bytes(id);
        let query = Query::parse(&self.query, true).map_err(|_| std::io::Error::other("no query"))?;
        Ok(query.asked_as(self.asked))
    }

    fn send(&mut self, server: SocketAddr) -> std::io::Result<()> {
        let message = self.message()?;
        let socket = UdpSocket::from(socket(server, SocketType::DGRAM)?);
        socket.connect(server)?;
        socket.send(&message)?;
        self.way = Some(Way::Datagram(socket));
        Ok(())
    }

    /// The same server is asked for the whole answer.
    fn send_by_stream(&mut self) -> std::io::Result<()> {
        let server = self.server(self.tries - 1);
        let message = self.message()?;
        let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
        let socket = socket(server, SocketType::STREAM)?;
        match rustix::net::connect(&socket, &server) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(errno.into()),
        }
        let output = [&length.to_be_bytes()[..], &message].concat();
        self.way = Some(Way::Stream { stream: socket.into(), output, input: Vec::new() });
        self.until = Instant::now() + PATIENCE;
        Ok(())
    }

    fn step(&mut self, buffer: &mut [u8]) -> Step {
        let answer = match &mut self.way {
            None => return Step::Next,
            Some(Way::Datagram(socket)) => heard(socket, buffer, &self.query, self.asked),
            Some(Way::Stream { stream, output, input }) => flow(stream, output, input, buffer),
        };
        match answer {
            Err(error) if is_passing(&error) => Step::Wait,
            Err(_) => Step::Next,
            Ok(answer) => self.judge(answer),
        }
    }

    fn judge(&mut self, answer: Vec<u8>) -> Step {
        let Ok(query) = Query::parse(&self.query, self.asker.is_stream()) else { return Step::Next };
        if !query.is_answered_by(&answer, self.asked) {
            return Step::Next;
        }
        if is_helpless(&answer) && self.tries < self.servers.len().min(TRIES) {
            return Step::Next;
        }
        let by_datagram = matches!(self.way, Some(Way::Datagram(_)));
        if by_datagram && is_truncated(&answer) && self.asker.is_stream() {
            return if self.send_by_stream().is_ok() { Step::Wait } else { Step::Next };
        }
        Step::Done(query.passed_on(answer))
    }
}

impl Way {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Datagram(socket) => socket.as_fd(),
            Self::Stream { stream, .. } => stream.as_fd(),
        }
    }

    fn awaited(&self) -> PollFlags {
        match self {
            Self::Stream { output, .. } if !output.is_empty() => PollFlags::OUT,
            _ => PollFlags::IN,
        }
    }
}

/// The answer, among whatever else comes to the port.
fn heard(socket: &UdpSocket, buffer: &mut [u8], query: &[u8], asked: u16) -> std::io::Result<Vec<u8>> {
    for _ in 0..NOISE {
        let length = socket.recv(buffer)?;
        let message = &buffer[..length];
        if Query::parse(query, true).is_ok_and(|query| query.is_answered_by(message, asked)) {
            return Ok(message.to_vec());
        }
    }
    Err(std::io::ErrorKind::WouldBlock.into())
}

/// Sends what is to be sent, then reads the length and so much.
fn flow(
    stream: &mut TcpStream,
    output: &mut Vec<u8>,
    input: &mut Vec<u8>,
    buffer: &mut [u8],
) -> std::io::Result<Vec<u8>> {
    if !output.is_empty() {
        let written = stream.write(output)?;
        output.drain(..written);
        return Err(std::io::ErrorKind::WouldBlock.into());
    }
    match stream.read(buffer)? {
        0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
        read => input.extend_from_slice(&buffer[..read]),
    }
    let length = input.get(..2).map_or(usize::MAX, |two| usize::from(u16::from_be_bytes([two[0], two[1]])));
    match input.get(2..length.saturating_add(2)) {
        Some(message) => Ok(message.to_vec()),
        None => Err(std::io::ErrorKind::WouldBlock.into()),
    }
}
