//! A connection to a keeper.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::net::sockopt::Timeout;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use serde::Serialize;
use spec::protocol::{Decoder, Reply, Request, VERSION, encode};
use spec::{Error, Result, ResultExt};

use crate::job::SOCKET;

/// A blocking connection that speaks in messages.
#[derive(Debug)]
pub(crate) struct Client {
    socket: OwnedFd,
    decoder: Decoder,
}

impl Client {
    pub(crate) fn over(socket: OwnedFd) -> Self {
        Self { socket, decoder: Decoder::default() }
    }

    /// Where nothing more than what was asked for was said.
    pub(crate) fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Connects to the keeper with this run directory, and greets it.
    pub(crate) fn connect(run: &Path) -> Result<Self> {
        Self::connect_within(run, None)
    }

    /// The same, for a keeper that may not be there to answer: each message takes so long at most.
    pub(crate) fn connect_within(run: &Path, time: Option<Duration>) -> Result<Self> {
        let mut client = Self::reach(run, time)?;
        client.send(&Request::Hello { version: VERSION })?;
        client.be_greeted()?;
        Ok(client)
    }

    /// The same with a request right behind the greeting: to wake each other twice takes longer than
    /// most of what is asked for.
    pub(crate) fn ask_within(run: &Path, request: &Request, time: Duration) -> Result<Self> {
        let mut client = Self::reach(run, Some(time))?;
        client.send_frames(&[encode(&Request::Hello { version: VERSION })?, encode(request)?].concat())?;
        client.be_greeted()?;
        Ok(client)
    }

    fn reach(run: &Path, time: Option<Duration>) -> Result<Self> {
        let dir = std::fs::File::open(run).doing(|| "looking for the container's keeper")?;
        // A socket's path has 107 bytes at most; this way it may lie anywhere.
        let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()));
        let connect = || {
            let socket = rustix::net::socket_with(
                AddressFamily::UNIX,
                SocketType::STREAM,
                SocketFlags::CLOEXEC,
                None,
            )?;
            rustix::net::sockopt::set_socket_timeout(&socket, Timeout::Recv, time)?;
            rustix::net::sockopt::set_socket_timeout(&socket, Timeout::Send, time)?;
            rustix::net::connect(&socket, &address?)?;
            Ok(socket)
        };
        let socket = connect().map_err(|errno: rustix::io::Errno| {
            Error::conflict("the container's keeper does not answer").because(std::io::Error::from(errno))
        })?;
        Ok(Self::over(socket))
    }

    fn be_greeted(&mut self) -> Result<()> {
        match self.receive()? {
            Some(Reply::Hello { version: 1.. }) => Ok(()),
            Some(other) => Err(foreign(Error::internal(format!("it answers {other:?} to a greeting")))),
            None => Err(Error::conflict("the container's keeper answers nothing to a greeting")),
        }
    }

    /// Nothing more will be sent.
    pub(crate) fn shut(&self) -> Result<()> {
        let shut = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
        shut.map_err(std::io::Error::from).doing(|| "talking to the container's keeper")
    }

    pub(crate) fn send(&self, message: &impl Serialize) -> Result<()> {
        self.send_frames(&encode(message)?)
    }

    fn send_frames(&self, mut rest: &[u8]) -> Result<()> {
        while !rest.is_empty() {
            let send = || rustix::net::send(&self.socket, rest, SendFlags::NOSIGNAL);
            let sent = rustix::io::retry_on_intr(send).map_err(std::io::Error::from);
            rest = &rest[sent.doing(|| "talking to the container's keeper")?..];
        }
        Ok(())
    }

    /// The next message; None when the keeper has closed.
    pub(crate) fn receive(&mut self) -> Result<Option<Reply>> {
        loop {
            if let Some(reply) = self.decoder.take().map_err(foreign)? {
                return Ok(Some(reply));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// The messages that are there already.
    pub(crate) fn pending(&mut self, each: &mut dyn FnMut(Reply) -> Result<()>) -> Result<()> {
        while let Some(reply) = self.decoder.take().map_err(foreign)? {
            each(reply)?;
        }
        Ok(())
    }

    /// The messages that are there after one read; false if there will be no more.
    pub(crate) fn receive_some(&mut self, each: &mut dyn FnMut(Reply) -> Result<()>) -> Result<bool> {
        let open = self.fill()?;
        self.pending(each)?;
        Ok(open)
    }

    fn fill(&mut self) -> Result<bool> {
        // Memory that is not written costs nothing.
        let mut buffer = Vec::with_capacity(64 << 10);
        let read = || rustix::net::recv(&self.socket, spare_capacity(&mut buffer), RecvFlags::empty());
        match rustix::io::retry_on_intr(read).map(|(count, _)| count) {
            Ok(0) | Err(rustix::io::Errno::CONNRESET) => Ok(false),
            Ok(count) => {
                self.decoder.push(&buffer[..count]);
                Ok(true)
            }
            Err(rustix::io::Errno::AGAIN) => Err(Error::conflict("the container's keeper does not answer")
                .hint("it may be stopped; tsubo rm -f ends it with its container")),
            Err(error) => Err(Error::io("listening to the container's keeper", error.into())),
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A keeper that cannot be understood.
fn foreign(cause: Error) -> Error {
    Error::unsupported("the container's keeper does not speak as this tsubo does")
        .because(cause)
        .hint("it may be of another version: use the tsubo that started the container, or start it anew")
        .hint("tsubo rm -f ends it, whatever it speaks")
}

/// Waits for the end of the container with this run directory.
pub(crate) fn wait(run: &Path) -> Result<i32> {
    let mut client = Client::connect(run)?;
    client.send(&Request::Wait)?;
    loop {
        match client.receive()? {
            Some(Reply::Exit { code }) => return Ok(code),
            Some(Reply::Failed(failure)) => return Err(failure.into()),
            Some(_) => {}
            None => return Err(Error::internal("the container's keeper was lost")),
        }
    }
}
