//! Carries what comes to published ports of the host to a container, where the host filters what comes to it:
//! every packet is one to a service of the host then, and passes its rules.
//!
//! A process of its own, with one thread and nothing but its sockets. It ends with the keeper that began it: the other
//! end of its leash is there.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use lifecycle::networks::WITHIN;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::process::{Gid, Resource, Rlimit, Uid};

/// Connections at once; more wait in the kernel's queue.
const LINKS: usize = 1024;
/// Of datagrams: one for each who sends some. The one that was quiet for the longest gives way.
const SESSIONS: usize = 256;
/// So long is a session remembered.
const QUIET: Duration = Duration::from_secs(60);
/// So much waits in each direction of a connection, and so long is a datagram at most.
const SIZE: usize = 64 << 10;
/// So many are taken from one socket before the others have their turn.
const TURN: usize = 32;
/// When descriptors run out, nobody is let in for so long.
const PAUSE: Duration = Duration::from_millis(100);
/// So long after the start a service may not listen yet: who comes meanwhile waits, and is not turned away.
const GRACE: Duration = Duration::from_secs(10);
/// So often it is looked whether it listens.
const AGAIN: Duration = Duration::from_millis(10);
/// So many may wait meanwhile.
const WAITING: usize = 256;

/// `words`: the leash's number, the network within which it leads on (`within=FD`) if that is another, then for
/// each socket `FD=tcp|udp=ADDRESS:PORT`.
pub(crate) fn executed(words: &[&str]) -> Option<()> {
    sys::signal::unblock_all();
    let (leash, doors) = words.split_first()?;
    let leash = sys::process::inherited(leash.parse().ok()?).ok()?;
    let within = doors.first().and_then(|word| word.strip_prefix(WITHIN));
    let doors = &doors[usize::from(within.is_some())..];
    let mut relay = Relay::new();
    doors.iter().try_for_each(|door| relay.open(door))?;
    let enough = Some(4 * LINKS as u64);
    if let Some(within) = within {
        // The doors stay where they were made.
        let within = sys::process::inherited(within.parse().ok()?).ok()?;
        sys::namespace::enter(within.as_fd(), sys::namespace::NET).ok()?;
    }
    // Where that is not allowed there is room for fewer.
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: enough, maximum: enough });
    sys::capability::bound(0).ok()?;
    be_nobody().ok()?;
    sys::capability::set(0).ok()?;
    rustix::thread::set_no_new_privs(true).ok()?;
    relay.run(&leash);
    // Whoever waits for our end wants the ports: they are free before the leash is let go.
    drop(relay);
    drop(leash);
    Some(())
}

/// What comes from anybody passes through here: root's files are not to be its own.
fn be_nobody() -> rustix::io::Result<()> {
    const NOBODY: u32 = 65_534;
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

struct Relay {
    begun: Instant,
    doors: Vec<(TcpListener, SocketAddr)>,
    posts: Vec<(UdpSocket, SocketAddr)>,
    links: Vec<Link>,
    sessions: Vec<Session>,
    closed_until: Option<Instant>,
    early: Vec<Early>,
    again: Instant,
}

/// Both ends of a connection, and what is on its way from each.
struct Link {
    ends: [TcpStream; 2],
    ways: [Way; 2],
    connecting: bool,
    to: SocketAddr,
    /// Nobody listens there.
    refused: bool,
}

/// Somebody who has come before the service listens.
struct Early {
    client: TcpStream,
    to: SocketAddr,
}

#[derive(Default)]
struct Way {
    waiting: Vec<u8>,
    ended: bool,
}

/// Somebody who sends datagrams.
struct Session {
    post: usize,
    from: SocketAddr,
    socket: UdpSocket,
    last: Instant,
}

/// Whom an event is about.
enum Of {
    Leash,
    Door(usize),
    Post(usize),
    Link(usize),
    Session(usize),
}

impl Relay {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            doors: Vec::new(),
            posts: Vec::new(),
            links: Vec::new(),
            sessions: Vec::new(),
            closed_until: None,
            early: Vec::new(),
            again: Instant::now(),
        }
    }

    fn open(&mut self, word: &str) -> Option<()> {
        let (number, rest) = word.split_once('=')?;
        let (protocol, to) = rest.split_once('=')?;
        let (socket, to) = (sys::process::inherited(number.parse().ok()?).ok()?, to.parse().ok()?);
        rustix::io::ioctl_fionbio(&socket, true).ok()?;
        match protocol {
            "tcp" => self.doors.push((socket.into(), to)),
            "udp" => self.posts.push((socket.into(), to)),
            _ => return None,
        }
        Some(())
    }

    fn run(&mut self, leash: &OwnedFd) {
        let mut space = vec![0; SIZE];
        loop {
            let now = Instant::now();
            self.sessions.retain(|session| now - session.last < QUIET);
            self.closed_until = self.closed_until.filter(|until| *until > now);
            let Some(ready) = self.wait(leash.as_fd()) else { return };
            let mut broken = Vec::new();
            for of in ready {
                match of {
                    Of::Leash => return,
                    Of::Door(index) => self.let_in(index),
                    Of::Post(index) => self.take(index, &mut space),
                    Of::Session(index) => self.answer(index, &mut space),
                    Of::Link(index) if self.links[index].carry(&mut space).is_none() => broken.push(index),
                    Of::Link(_) => {}
                }
            }
            // From the last on, so that the others keep their places; one with two events is there twice.
            broken.sort_unstable();
            broken.dedup();
            for index in broken.into_iter().rev() {
                let Link { ends: [client, _], to, refused, .. } = self.links.swap_remove(index);
                if refused {
                    self.turned_away(client, to);
                }
            }
            self.try_again();
        }
    }

    /// Leads on to `to`, now or when somebody listens there.
    fn lead(&mut self, client: TcpStream, to: SocketAddr) -> std::io::Result<()> {
        client.set_nonblocking(true)?;
        match connected(to, SocketType::STREAM) {
            Ok(service) => self.links.push(Link::new(client, service.into(), to)?),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => self.turned_away(client, to),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Nobody listens at `to`.
    fn turned_away(&mut self, client: TcpStream, to: SocketAddr) {
        match beside(to) {
            // Whoever cannot be led on sees the connection end.
            Some(other) => drop(self.lead(client, other)),
            None => self.wait_for(client, first_of(to)),
        }
    }

    fn wait_for(&mut self, client: TcpStream, to: SocketAddr) {
        if self.begun.elapsed() >= GRACE || self.early.len() >= WAITING {
            reset(&client);
            return;
        }
        if self.early.is_empty() {
            self.again = Instant::now() + AGAIN;
        }
        self.early.push(Early { client, to });
    }

    /// Of those who wait for one service one is enough to see that it does not listen yet.
    fn try_again(&mut self) {
        if self.early.is_empty() || Instant::now() < self.again {
            return;
        }
        self.again = Instant::now() + AGAIN;
        let mut tried: Vec<SocketAddr> = Vec::new();
        for Early { client, to } in std::mem::take(&mut self.early) {
            if has_left(&client) {
                continue;
            }
            if tried.contains(&to) && !self.is_served(to) {
                self.wait_for(client, to);
                continue;
            }
            tried.push(to);
            // Whoever cannot be led on sees the connection end.
            let _ = self.lead(client, to);
        }
    }

    fn is_served(&self, to: SocketAddr) -> bool {
        self.links.iter().any(|link| !link.connecting && first_of(link.to) == to)
    }

    /// How long nothing has to be done by itself.
    fn rest(&self) -> Option<Duration> {
        let closed = self.closed_until.map(|_| PAUSE);
        let early = (!self.early.is_empty()).then(|| self.again.saturating_duration_since(Instant::now()));
        let quiet = (!self.sessions.is_empty()).then_some(QUIET / 4);
        [closed, early, quiet].into_iter().flatten().min()
    }

    /// All whom somebody has let in.
    fn guests(&self) -> usize {
        self.links.len() + self.early.len()
    }

    /// Who can go on: links and sessions before those who bring new ones, which may take their places.
    fn wait(&self, leash: BorrowedFd<'_>) -> Option<Vec<Of>> {
        let mut asked = vec![(Of::Leash, PollFd::from_borrowed_fd(leash, PollFlags::IN))];
        for (index, link) in self.links.iter().enumerate() {
            for end in 0..2 {
                // An end of which nothing is wanted would say again and again that it is gone.
                if let Some(events) = link.wants(end) {
                    asked.push((Of::Link(index), PollFd::new(&link.ends[end], events)));
                }
            }
        }
        let input = PollFlags::IN;
        let sessions = self.sessions.iter().enumerate();
        asked.extend(sessions.map(|(index, one)| (Of::Session(index), PollFd::new(&one.socket, input))));
        let posts = self.posts.iter().enumerate();
        asked.extend(posts.map(|(index, post)| (Of::Post(index), PollFd::new(&post.0, input))));
        if self.closed_until.is_none() && self.guests() < LINKS {
            let doors = self.doors.iter().enumerate();
            asked.extend(doors.map(|(index, door)| (Of::Door(index), PollFd::new(&door.0, input))));
        }
        let (all, mut polled): (Vec<Of>, Vec<PollFd<'_>>) = asked.into_iter().unzip();
        let limit = self.rest().and_then(|limit| Timespec::try_from(limit).ok());
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, limit.as_ref())).ok()?;
        let ready = all.into_iter().zip(&polled).filter(|(_, polled)| !polled.revents().is_empty());
        Some(ready.map(|(of, _)| of).collect())
    }

    fn let_in(&mut self, index: usize) {
        let to = self.doors[index].1;
        for _ in 0..TURN.min(LINKS.saturating_sub(self.guests())) {
            let made = self.doors[index].0.accept().and_then(|(client, _)| self.lead(client, to));
            match made {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Gone again, or nobody is behind it: that ends quickly. Or descriptors have run out.
                Err(error) if matches!(error.raw_os_error(), Some(23 | 24 | 105 | 12)) => {
                    self.closed_until = Some(Instant::now() + PAUSE);
                    return;
                }
                Err(_) => {}
            }
        }
    }

    fn take(&mut self, post: usize, space: &mut [u8]) {
        for _ in 0..TURN {
            let Ok((length, from)) = self.posts[post].0.recv_from(space) else { return };
            let known = self.sessions.iter().position(|one| one.post == post && one.from == from);
            let Some(index) = known.or_else(|| self.meet(post, from)) else { continue };
            self.sessions[index].last = Instant::now();
            // A datagram may be lost.
            let _ = self.sessions[index].socket.send(&space[..length]);
        }
    }

    fn meet(&mut self, post: usize, from: SocketAddr) -> Option<usize> {
        if self.sessions.len() >= SESSIONS {
            let oldest = self.sessions.iter().enumerate().min_by_key(|(_, one)| one.last)?.0;
            self.sessions.swap_remove(oldest);
        }
        let to = self.posts[post].1;
        let socket = UdpSocket::from(connected(to, SocketType::DGRAM).ok()?);
        self.sessions.push(Session { post, from, socket, last: Instant::now() });
        Some(self.sessions.len() - 1)
    }

    fn answer(&mut self, index: usize, space: &mut [u8]) {
        let session = &mut self.sessions[index];
        for _ in 0..TURN {
            match session.socket.recv(space) {
                Ok(length) => {
                    session.last = Instant::now();
                    let _ = self.posts[session.post].0.send_to(&space[..length], session.from);
                }
                Err(_) => return,
            }
        }
    }
}

impl Link {
    fn new(client: TcpStream, service: TcpStream, to: SocketAddr) -> std::io::Result<Self> {
        let ends = [client, service];
        for end in &ends {
            end.set_nodelay(true)?;
            sockopt::set_socket_keepalive(end, true)?;
        }
        Ok(Self { ends, ways: Default::default(), connecting: true, to, refused: false })
    }

    fn wants(&self, end: usize) -> Option<PollFlags> {
        if self.connecting {
            return (end == 1).then_some(PollFlags::OUT);
        }
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, !self.ways[end].ended && self.ways[end].waiting.is_empty());
        events.set(PollFlags::OUT, !self.ways[1 - end].waiting.is_empty());
        (!events.is_empty()).then_some(events)
    }

    /// None when it is over.
    fn carry(&mut self, space: &mut [u8]) -> Option<()> {
        if self.connecting {
            match self.ends[1].take_error() {
                Ok(None) => self.connecting = false,
                Ok(Some(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                    self.refused = true;
                    return None;
                }
                _ => return self.reset(),
            }
        }
        for from in 0..2 {
            let (source, target) = (&self.ends[from], &self.ends[1 - from]);
            if self.ways[from].carry(source, target, space).is_err() {
                return self.reset();
            }
        }
        let over = self.ways.iter().all(|way| way.ended && way.waiting.is_empty());
        (!over).then_some(())
    }

    /// Both ends see that it did not end well.
    fn reset(&self) -> Option<()> {
        self.ends.iter().for_each(reset);
        None
    }
}

/// Whoever is at the other end sees that it did not end well.
fn reset(end: &TcpStream) {
    let _ = sockopt::set_socket_linger(end, Some(Duration::ZERO));
}

impl Way {
    fn carry(&mut self, mut from: &TcpStream, to: &TcpStream, space: &mut [u8]) -> std::io::Result<()> {
        if !self.waiting.is_empty() {
            let written = put(to, &self.waiting)?;
            self.waiting.drain(..written);
            if self.waiting.is_empty() {
                self.waiting = Vec::new();
                return if self.ended { to.shutdown(Shutdown::Write) } else { Ok(()) };
            }
        }
        if self.ended || !self.waiting.is_empty() {
            return Ok(());
        }
        match from.read(space) {
            Ok(0) => {
                self.ended = true;
                to.shutdown(Shutdown::Write)
            }
            Ok(length) => {
                let written = put(to, &space[..length])?;
                self.waiting.extend_from_slice(&space[written..length]);
                Ok(())
            }
            Err(error) if is_passing(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn put(mut to: &TcpStream, bytes: &[u8]) -> std::io::Result<usize> {
    match to.write(bytes) {
        Err(error) if is_passing(&error) => Ok(0),
        written => written,
    }
}

fn is_passing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Who has said nothing and is gone needs no answer.
fn has_left(client: &TcpStream) -> bool {
    matches!(client.peek(&mut [0]), Ok(0)) || client.take_error().is_ok_and(|error| error.is_some())
}

/// At a loopback a service may listen on either kind of address: where to go when nobody is at `to`.
fn beside(to: SocketAddr) -> Option<SocketAddr> {
    (to.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST)).then(|| (Ipv6Addr::LOCALHOST, to.port()).into())
}

/// Where to begin anew.
fn first_of(to: SocketAddr) -> SocketAddr {
    if to.ip() == IpAddr::V6(Ipv6Addr::LOCALHOST) { (Ipv4Addr::LOCALHOST, to.port()).into() } else { to }
}

/// A socket that is connected, or about to be.
fn connected(to: SocketAddr, kind: SocketType) -> std::io::Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    match rustix::net::connect(&socket, &to) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno.into()),
    }
}
