//! A netlink socket: it belongs to the network namespace in which it was opened, whoever uses it.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};
use spec::{Result, ResultExt};

use crate::message::{Answer, Batch, answers, word};
use crate::uapi::netlink::{DONE, ERROR};

/// A message that failed: its number in the batch, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) message: u32,
    pub(crate) errno: Errno,
}

/// The kernel's end is synchronous: when `send` returns, all is done and all answers wait.
pub(crate) struct Socket(OwnedFd);

impl From<OwnedFd> for Socket {
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

impl Socket {
    /// For links, addresses, routes and neighbours.
    pub(crate) fn route() -> Result<Self> {
        Self::open(None)
    }

    /// For the packet filter.
    pub(crate) fn filter() -> Result<Self> {
        Self::open(Some(netlink::NETFILTER))
    }

    fn open(protocol: Option<Protocol>) -> Result<Self> {
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
            .map(Self)
            .map_err(std::io::Error::from)
            .doing(|| "opening a netlink socket")
    }

    /// Sends all; the failures, in order.
    pub(crate) fn run(&self, batch: &mut Batch) -> Result<Vec<Failure>> {
        self.ask(batch, |_| {})
    }

    /// Likewise; what is answered besides goes to `each`.
    pub(crate) fn ask(&self, batch: &mut Batch, each: impl FnMut(&Answer<'_>)) -> Result<Vec<Failure>> {
        if batch.count() == 0 {
            return Ok(Vec::new());
        }
        let last = batch.count();
        self.exchange(batch.finished(), last, each)
    }

    /// Sends `bytes` and reads up to the answer to message `last`, or to where nothing waits any more (a batch
    /// that was refused as a whole).
    pub(crate) fn exchange(
        &self,
        bytes: &[u8],
        last: u32,
        mut each: impl FnMut(&Answer<'_>),
    ) -> Result<Vec<Failure>> {
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::io::retry_on_intr(|| rustix::net::sendto(&self.0, bytes, SendFlags::empty(), &kernel))
            .map_err(std::io::Error::from)
            .doing(|| "sending to the kernel by netlink")?;
        let mut failures = Vec::new();
        let mut buffer = vec![0; 32 * 1024];
        let mut done = false;
        while !done {
            let received = rustix::io::retry_on_intr(|| {
                rustix::net::recv(&self.0, &mut buffer[..], RecvFlags::DONTWAIT)
            });
            let length = match received {
                Ok((length, _)) => length,
                Err(Errno::AGAIN) => break,
                Err(errno) => {
                    return Err(std::io::Error::from(errno))
                        .doing(|| "reading the kernel's answer by netlink");
                }
            };
            for answer in answers(&buffer[..length]) {
                match answer.kind {
                    ERROR | DONE => {
                        let code = word(answer.body, 0) as i32;
                        if code != 0 && answer.kind == ERROR {
                            let errno = Errno::from_raw_os_error(-code);
                            failures.push(Failure { message: answer.sequence, errno });
                        }
                        done |= answer.sequence == last;
                    }
                    _ => each(&answer),
                }
            }
        }
        Ok(failures)
    }
}
