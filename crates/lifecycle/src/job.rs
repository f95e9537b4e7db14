//! What a keeper is told when it is started: the first frame on its first connection.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::IoSliceMut;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use serde::{Deserialize, Serialize};
use spec::container::Spec;
use spec::life::Life;
use spec::protocol::{Decoder, encode};
use spec::{Error, Result, ResultExt};

use crate::sockets::MOST;

/// One container to keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// What to start.
    pub spec: Spec,
    /// Its directory in the state directory: logs, its end.
    pub dir: PathBuf,
    /// Its run directory: state, control socket.
    pub run: PathBuf,
    /// Both are removed when it has ended.
    pub remove: bool,
    /// The first connection stays: what the container says goes there, and if it closes before
    /// the container has ended, the container is stopped.
    pub attached: bool,
    /// Input comes over the first connection; otherwise it is empty.
    pub input: bool,
    /// Rows and columns of the terminal.
    pub size: Option<(u16, u16)>,
    /// What is done when it ends, and how its health is told.
    pub life: Life,
    /// What it was made from, for those who follow the events.
    pub image: String,
    /// It has run before.
    pub again: bool,
    /// What the sockets are called that are handed over to its program.
    pub sockets: Vec<String>,
}

/// The form of a job, and of what a keeper hands over to the program in its place: it goes ahead, so
/// that programs of two versions say so instead of taking each other's words for something else.
pub const FORM: &str = concat!(env!("CARGO_PKG_VERSION"), "-", env!("TSUBO_FORM"));

/// The keeper's control socket, in the run directory.
pub const SOCKET: &str = "control";

/// A job as it came.
#[derive(Debug)]
pub struct Received {
    /// The job.
    pub job: Job,
    /// The caller's lock on the container; whoever has it last gives it back.
    pub lock: Option<OwnedFd>,
    /// Those of [`Job::sockets`].
    pub sockets: Vec<OwnedFd>,
    /// What came behind the job.
    pub decoder: Decoder,
}

/// As many descriptors as one message has.
const RIGHTS: usize = 1 + MOST;

/// Sends a job with the lock, and the sockets behind it.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    job: &Job,
    lock: Option<BorrowedFd<'_>>,
    sockets: &[BorrowedFd<'_>],
) -> Result<()> {
    let rights: Vec<BorrowedFd<'_>> = lock.into_iter().chain(sockets.iter().copied()).collect();
    let frame = [encode(&FORM)?, encode(job)?].concat();
    let mut sent = 0;
    while sent < frame.len() {
        let rights: &[_] = if sent == 0 { &rights } else { &[] };
        sent += send_part(socket, &frame[sent..], rights)
            .map_err(std::io::Error::from)
            .doing(|| "talking to the container's keeper")?;
    }
    Ok(())
}

fn send_part(socket: BorrowedFd<'_>, bytes: &[u8], rights: &[BorrowedFd<'_>]) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(RIGHTS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !rights.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(rights));
    }
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
    })
}

/// Receives the job.
///
/// # Errors
/// When the connection closes without one, or brings something else.
pub fn receive(socket: impl AsFd) -> Result<Received> {
    let (mut decoder, mut rights, mut form) = (Decoder::default(), Vec::new(), None);
    let mut buffer = [0; 4 << 10];
    loop {
        if form.is_none() {
            form = decoder.take::<String>()?;
        }
        if let Some(form) = &form {
            must_be_ours(form)?;
            if let Some(job) = decoder.take::<Job>()? {
                return received(job, rights, decoder);
            }
        }
        let count = receive_part(socket.as_fd(), &mut buffer, &mut rights)
            .map_err(std::io::Error::from)
            .doing(|| "receiving the job")?;
        match count {
            0 => return Err(Error::internal("the first connection closed without a job")),
            count => decoder.push(&buffer[..count]),
        }
    }
}

/// The sockets are the last of what came along.
fn received(job: Job, mut rights: Vec<OwnedFd>, decoder: Decoder) -> Result<Received> {
    let others = rights.len().checked_sub(job.sockets.len());
    let others = others.ok_or_else(|| Error::internal("a job without the sockets that it speaks of"))?;
    let sockets = rights.split_off(others);
    Ok(Received { job, lock: rights.pop(), sockets, decoder })
}

/// Whether what comes is of a form that this program understands.
///
/// # Errors
/// With the way out, where it is not.
pub fn must_be_ours(form: &str) -> Result<()> {
    if form == FORM {
        return Ok(());
    }
    Err(Error::user(format!("tsubo and tsubo-keeper are of different versions ({form} and {FORM})"))
        .hint("install both programs of one version, side by side"))
}

fn receive_part(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    rights: &mut Vec<OwnedFd>,
) -> rustix::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(RIGHTS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        let buffer = &mut [IoSliceMut::new(buffer)];
        rustix::net::recvmsg(socket, buffer, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            rights.extend(descriptors);
        }
    }
    Ok(received.bytes)
}
