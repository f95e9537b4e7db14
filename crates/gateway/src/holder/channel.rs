//! What holder and worker say to each other.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::IoSliceMut;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use spec::{Error, Result, ResultExt};

/// Longer than the longest message.
const LONGEST: usize = 128;

/// One thing that is said.
#[derive(Debug)]
pub(crate) enum Message {
    /// This listens at that address.
    Socket(SocketAddr, OwnedFd),
    /// Whoever has this is the only one.
    Lock(OwnedFd),
    /// That was all that was held.
    End,
    /// Nobody listens there any more.
    Forget(SocketAddr),
    /// The worker serves.
    Ready,
}

/// One end.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    pub(crate) fn pair() -> Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let (ours, theirs) =
            pair.map_err(std::io::Error::from).doing(|| "making a channel for the worker")?;
        Ok((Self(ours), theirs))
    }

    pub(crate) fn over(socket: OwnedFd) -> Self {
        Self(socket)
    }

    pub(crate) fn send_socket(&self, at: SocketAddr, socket: BorrowedFd<'_>) -> Result<()> {
        self.put(&format!("socket {at}"), Some(socket))
    }

    pub(crate) fn send(&self, message: &Message) -> Result<()> {
        match message {
            Message::Socket(at, socket) => self.send_socket(*at, socket.as_fd()),
            Message::Lock(lock) => self.put("lock -", Some(lock.as_fd())),
            Message::End => self.put("end -", None),
            Message::Forget(at) => self.put(&format!("forget {at}"), None),
            Message::Ready => self.put("ready -", None),
        }
    }

    fn put(&self, text: &str, descriptor: Option<BorrowedFd<'_>>) -> Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if let Some(descriptor) = &descriptor {
            control.push(SendAncillaryMessage::ScmRights(std::slice::from_ref(descriptor)));
        }
        let sent = rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(&self.0, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL)
        });
        sent.map(drop).map_err(std::io::Error::from).doing(|| "talking to who holds the sockets")
    }

    /// The next message; None when the other end is gone.
    pub(crate) fn receive(&self) -> Result<Option<Message>> {
        let mut bytes = [0; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            let into = &mut [IoSliceMut::new(&mut bytes)];
            rustix::net::recvmsg(&self.0, into, &mut control, RecvFlags::CMSG_CLOEXEC)
        });
        let count = match received {
            Ok(received) => received.bytes,
            Err(rustix::io::Errno::CONNRESET) => 0,
            Err(errno) => return Err(Error::io("listening to who holds the sockets", errno.into())),
        };
        let came = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        if count == 0 {
            return Ok(None);
        }
        understand(&String::from_utf8_lossy(&bytes[..count]), came).map(Some)
    }
}

fn understand(text: &str, came: Option<OwnedFd>) -> Result<Message> {
    let odd = || Error::internal(format!("between the gateway's processes: {text:?}"));
    let (word, address) = text.split_once(' ').ok_or_else(odd)?;
    Ok(match (word, came) {
        ("socket", Some(socket)) => Message::Socket(address.parse().map_err(|_| odd())?, socket),
        ("lock", Some(lock)) => Message::Lock(lock),
        ("end", None) => Message::End,
        ("forget", None) => Message::Forget(address.parse().map_err(|_| odd())?),
        ("ready", None) => Message::Ready,
        _ => return Err(odd()),
    })
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_arrives_with_its_address() {
        let (ours, theirs) = Channel::pair().expect("a pair");
        let theirs = Channel::over(theirs);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("an address");
        ours.send_socket(at, listener.as_fd()).expect("sent");
        ours.send(&Message::Forget(at)).expect("sent");
        ours.send(&Message::Ready).expect("sent");
        drop(ours);
        let Some(Message::Socket(said, socket)) = theirs.receive().expect("whole") else {
            panic!("no socket")
        };
        assert_eq!(said, at);
        assert_eq!(std::net::TcpListener::from(socket).local_addr().expect("the same"), at);
        assert!(matches!(theirs.receive(), Ok(Some(Message::Forget(said))) if said == at));
        assert!(matches!(theirs.receive(), Ok(Some(Message::Ready))));
        assert!(matches!(theirs.receive(), Ok(None)));
    }
}
