//! A worker, as its holder sees it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal};
use spec::{Result, ResultExt};

use super::{Channel, Message};

/// A worker, and what it is known by.
pub(super) struct Worker {
    child: Child,
    pub(super) pidfd: OwnedFd,
    pub(super) channel: Channel,
    pub(super) begun: Instant,
    /// It has served.
    pub(super) ready: bool,
    /// Where it listened before anybody else did.
    pub(super) own: Vec<SocketAddr>,
}

impl Worker {
    /// Begins one, and hands it what is held.
    pub(super) fn begin(
        mut command: Command,
        held: &HashMap<SocketAddr, OwnedFd>,
        lock: &OwnedFd,
    ) -> Result<Self> {
        let (channel, theirs) = Channel::pair()?;
        let lock = lock.try_clone().doing(|| "handing the lock over")?;
        let child = command.stdin(Stdio::from(theirs)).spawn();
        let mut child = child.doing(|| format!("starting {}", command.get_program().to_string_lossy()))?;
        // It has the only other end: who has ended is noticed.
        drop(command);
        let pidfd = rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        let pidfd = match pidfd.map_err(std::io::Error::from).doing(|| "watching the worker") {
            Ok(pidfd) => pidfd,
            Err(error) => {
                end(&mut child);
                return Err(error);
            }
        };
        if let Err(error) = hand_over(&channel, held, lock) {
            // One that has ended already has said why, and its exit code stays what it is.
            if matches!(child.try_wait(), Ok(None)) {
                eprintln!("{}", error.chain());
                let _ = child.kill();
            }
        }
        Ok(Self { child, pidfd, channel, begun: Instant::now(), ready: false, own: Vec::new() })
    }

    /// What it has said meanwhile, if anything; None also when it says nothing any more.
    pub(super) fn says(&self) -> Option<Message> {
        if !is_readable(&self.channel) {
            return None;
        }
        self.channel.receive().ok().flatten()
    }

    pub(super) fn tell(&self, number: i32) {
        if let Some(signal) = Signal::from_named_raw(number) {
            // It may just have ended.
            let _ = rustix::process::pidfd_send_signal(&self.pidfd, signal);
        }
    }

    /// How it ended.
    pub(super) fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().doing(|| "waiting for the worker")
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn hand_over(channel: &Channel, held: &HashMap<SocketAddr, OwnedFd>, lock: OwnedFd) -> Result<()> {
    channel.send(&Message::Lock(lock))?;
    held.iter().try_for_each(|(at, socket)| channel.send_socket(*at, socket.as_fd()))?;
    channel.send(&Message::End)
}

fn is_readable(channel: &Channel) -> bool {
    let mut polled = [PollFd::new(channel, PollFlags::IN)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().contains(PollFlags::IN)
}
