//! A process that was started: comes to the gate, is let go, is waited for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, WaitId, WaitIdOptions};
use spec::plan::Plan;
use spec::{Error, Result, ResultExt};

use crate::hang;
use crate::options::Waiting;
use crate::prepare::above_standard;
use crate::report::{self, Message};
/// A process that was started. It is killed and reaped when this is dropped before it was waited for.
#[derive(Debug)]
pub struct Child {
    plan: Plan,
    pid: i32,
    pidfd: OwnedFd,
    channel: Option<OwnedFd>,
    listener: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    devpts: Option<OwnedFd>,
    exit: Option<i32>,
    /// It has come to the gate.
    was_set_up: bool,
    patience: Duration,
}

impl Child {
    /// One that sets itself up, heard on `channel`.
    pub(crate) fn begun(
        plan: Plan,
        (pid, pidfd): (i32, OwnedFd),
        channel: OwnedFd,
        [terminal, devpts]: [Option<OwnedFd>; 2],
        patience: Duration,
    ) -> Self {
        let (channel, was_set_up) = (Some(channel), false);
        Self { plan, pid, pidfd, channel, listener: None, terminal, devpts, exit: None, was_set_up, patience }
    }

    /// The first process's pid on the host.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its pidfd.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Leaves it, by its pidfd, to whoever opens its latch: it is there when this process has ended.
    ///
    /// # Errors
    /// Where there is no descriptor left; then it is killed.
    pub fn leave(mut self) -> Result<OwnedFd> {
        let pidfd = self.pidfd.try_clone().doing(|| "duplicating a pidfd")?;
        // What has ended for us is not killed when this is dropped.
        self.exit = Some(0);
        Ok(pidfd)
    }

    /// The descriptor for the notifications of [`Options::listen`], once.
    pub fn listener(&mut self) -> Option<OwnedFd> {
        self.listener.take()
    }

    /// The master side of the terminal, once.
    pub fn terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// The root of the container's own devpts, once: terminals of later processes come from it.
    pub fn devpts(&mut self) -> Option<OwnedFd> {
        self.devpts.take()
    }

    /// One that another program has started, whose place the caller has taken: this process has
    /// executed itself anew since. The plan is what is left of its own.
    pub fn adopt(plan: Plan, pid: i32, pidfd: OwnedFd) -> Self {
        Self {
            plan,
            pid,
            pidfd,
            channel: None,
            listener: None,
            terminal: None,
            devpts: None,
            exit: None,
            was_set_up: true,
            patience: hang::PATIENCE,
        }
    }

    /// What is left of its plan: what names it.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Opens the gate and waits until the command is executed. A failure says which step failed.
    pub fn release(&mut self) -> Result<()> {
        let Some(channel) = self.channel.take() else { return Ok(()) };
        go_on(&channel)?;
        loop {
            match self.next_word_on(&channel)? {
                None if self.was_set_up => break,
                // It comes to a gate that is open already, or has gone through.
                Some((Message::Ready { listener: None }, _)) => self.was_set_up = true,
                other => return self.unexpected(other),
            }
        }
        // Only failures need them.
        self.plan.steps = Vec::new();
        Ok(())
    }

    pub(crate) fn at_gate(mut self, waiting: Option<Waiting<'_>>) -> Result<Self> {
        self.wait_for_gate(waiting)?;
        Ok(self)
    }

    /// Waits for its end: the exit code, or 128 and the number of the signal.
    pub fn wait(&mut self) -> Result<i32> {
        loop {
            if let Some(code) = self.reap(WaitIdOptions::EXITED)? {
                return Ok(code);
            }
        }
    }

    /// The exit code if it has ended.
    pub fn try_wait(&mut self) -> Result<Option<i32>> {
        self.reap(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    /// Sends a signal; it never hits another process.
    pub fn signal(&self, signo: i32) -> Result<()> {
        let sent = sys::process::send_signal(self.pidfd(), signo).map_err(io::Error::from);
        sent.doing(|| format!("sending signal {signo} to container {}", self.plan.name))
    }

    fn reap(&mut self, options: WaitIdOptions) -> Result<Option<i32>> {
        if self.exit.is_none() {
            let wait = || rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options);
            let status = retry_on_intr(wait).map_err(io::Error::from);
            let status = status.doing(|| format!("waiting for container {}", self.plan.name))?;
            self.exit = status.and_then(|status| {
                status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal))
            });
        }
        Ok(self.exit)
    }

    /// Waits until it has something to say, or has closed. One that hangs is killed.
    fn await_word(&mut self, channel: &OwnedFd) -> Result<()> {
        let before = match self.was_set_up {
            true => "before its program is executed",
            false => "while it sets itself up",
        };
        let waited = hang::wait(channel.as_fd(), self.patience, self.pid, before);
        if waited.is_err() && !hang::end(self.pidfd.as_fd()) {
            // Nobody waits for it: it ends when what holds it lets it go.
            self.exit = Some(137);
        }
        waited
    }

    /// The process that was made goes, the one that it has made comes: from then on that is meant.
    pub(crate) fn change_over(&mut self) -> Result<()> {
        let second = match self.next_word()? {
            // The kernel tells its number as it is here.
            Some((Message::Begun, Some(pid))) => pid,
            other => return self.unexpected(other),
        };
        // Our own child, and not waited for: the number is still its.
        let number = rustix::process::Pid::from_raw(second)
            .ok_or_else(|| Error::internal("the new process has no number"))?;
        let pidfd = rustix::process::pidfd_open(number, PidfdFlags::empty()).map_err(io::Error::from);
        let pidfd = above_standard(pidfd.doing(|| "opening the new process")?)?;
        self.wait()?;
        (self.pid, self.pidfd, self.exit) = (second, pidfd, None);
        Ok(())
    }

    fn next_word(&mut self) -> Result<Option<(Message, Option<i32>)>> {
        let Some(channel) = self.channel.take() else { return Ok(None) };
        let received = self.next_word_on(&channel);
        self.channel = Some(channel);
        received
    }

    fn next_word_on(&mut self, channel: &OwnedFd) -> Result<Option<(Message, Option<i32>)>> {
        self.await_word(channel)?;
        receive(channel)
    }

    fn unexpected(&mut self, said: Option<(Message, Option<i32>)>) -> Result<()> {
        match said {
            Some((Message::Failed { step, fault }, _)) => Err(report::explain(&self.plan, step, fault)),
            None => {
                let code = self.wait()?;
                Err(Error::internal(format!("the new process ended with {code} before it was set up")))
            }
            Some(_) => Err(Error::internal("the new process spoke out of turn")),
        }
    }

    pub(crate) fn wait_for_gate(&mut self, mut waiting: Option<Waiting<'_>>) -> Result<()> {
        if self.channel.is_none() {
            return Ok(());
        }
        let mut received = self.next_word()?;
        while let Some((Message::Waiting, _)) = received {
            if let Some(Waiting(act)) = &mut waiting {
                act(self.pid)?;
            }
            if let Some(channel) = &self.channel {
                go_on(channel)?;
            }
            received = self.next_word()?;
        }
        match received {
            Some((Message::Ready { listener }, sender)) => {
                self.was_set_up = true;
                if let Some(number) = listener {
                    self.listener = Some(take_over(sender.unwrap_or(self.pid), number)?);
                }
                Ok(())
            }
            other => self.unexpected(other),
        }
    }
}

/// Lets the process go on. Where nobody reads any more its next word or its exit code tells why; any other
/// failure has to be told, as it would wait for ever.
fn go_on(channel: &OwnedFd) -> Result<()> {
    let sent = retry_on_intr(|| rustix::net::send(channel, &[1], rustix::net::SendFlags::NOSIGNAL));
    match sent {
        Ok(_) | Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Ok(()),
        Err(error) => Err(Error::io("letting the new process go on", error.into())),
    }
}

fn receive(channel: &OwnedFd) -> Result<Option<(Message, Option<i32>)>> {
    let mut bytes = [0; report::SIZE];
    let received = match sys::socket::receive(channel, &mut bytes) {
        // It has ended without taking what we have sent, which is told before its last word.
        Err(rustix::io::Errno::CONNRESET) => sys::socket::receive(channel, &mut bytes),
        received => received,
    };
    match received {
        Ok((0, _)) => Ok(None),
        Ok((len, sender)) => {
            let message = Message::decode(&bytes[..len]);
            Ok(Some((message.ok_or_else(|| Error::internal("the new process sent nonsense"))?, sender)))
        }
        Err(error) => Err(Error::io("listening to the new process", error.into())),
    }
}

/// Fetches descriptor `number` of the process `pid`, which stands still at its gate.
fn take_over(pid: i32, number: RawFd) -> Result<OwnedFd> {
    let fetch = || {
        let pid = rustix::process::Pid::from_raw(pid).ok_or(rustix::io::Errno::SRCH)?;
        let process = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        rustix::process::pidfd_getfd(process, number, PidfdGetfdFlags::empty())
    };
    fetch().map_err(io::Error::from).doing(|| "taking over the listener of the new process")
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.exit.is_none() {
            // Nobody is left to be told of a failure.
            let _ = sys::process::send_signal(self.pidfd.as_fd(), 9);
            let _ = self.wait();
        }
    }
}
