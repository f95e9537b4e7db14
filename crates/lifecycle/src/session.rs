//! The caller's side of a process in a container: input, output, signals, size, end.

use std::io::{Write, stderr, stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use spec::protocol::{MAX_CHUNK, Reply, Request, Stream};
use spec::{Error, Result, ResultExt};

use crate::client::Client;
use crate::container::listens_to;
use crate::terminal::{self, Raw};

/// Signals that are passed on: HUP INT QUIT USR1 USR2 TERM.
const PASSED: [i32; 6] = [1, 2, 3, 10, 12, 15];

/// SIGWINCH.
const RESIZED: i32 = 28;

/// Where output goes.
type Output<'a> = &'a mut dyn FnMut(Stream, &[u8]) -> Result<()>;

/// A process that was started, and the connection to it.
#[derive(Debug)]
pub struct Session {
    client: Client,
    pid: i32,
    terminal: bool,
    input: bool,
    keeper: Option<Child>,
    code: Option<i32>,
}

impl Session {
    pub(crate) fn new(client: Client, pid: i32, terminal: bool, input: bool, keeper: Option<Child>) -> Self {
        Self { client, pid, terminal, input, keeper, code: None }
    }

    /// Its pid on the host.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Relays between it and the caller's own standard input and output until it ends; returns its
    /// exit code. Signals that the caller gets are passed on.
    pub fn relay(self) -> Result<i32> {
        self.relay_to(&mut |stream, bytes| {
            match stream {
                Stream::Out => stdout().write_all(bytes).and_then(|()| stdout().flush()),
                Stream::Error => stderr().write_all(bytes),
            }
            .doing(|| "writing output")
        })
    }

    /// Like [`relay`](Self::relay), with the output going to `output`.
    pub fn relay_to(mut self, output: &mut dyn FnMut(Stream, &[u8]) -> Result<()>) -> Result<i32> {
        let signals: Vec<i32> = PASSED.into_iter().chain(self.terminal.then_some(RESIZED)).collect();
        let before = sys::signal::block(&[]);
        let signals =
            sys::signal::descriptor(&signals).map_err(std::io::Error::from).doing(|| "watching signals")?;
        let raw = if self.terminal && self.input { Raw::enter()? } else { None };
        let ended = self.relay_until_end(&signals, output);
        drop(raw);
        sys::signal::restore(&before);
        // Output that can go nowhere ends the connection, and with it what we started.
        let code = ended?;
        let keeper = self.keeper.take();
        drop(self.client);
        if let Some(mut keeper) = keeper {
            // It may live longer only where other sessions keep it.
            keeper.wait().doing(|| "waiting for the container's keeper")?;
        }
        Ok(code)
    }

    fn relay_until_end(&mut self, signals: &OwnedFd, output: Output<'_>) -> Result<i32> {
        // What came together with the answer to the start.
        self.take_replies(output, true)?;
        while self.code.is_none() {
            let [from_keeper, signal, input] = self.wait_for_something(signals)?;
            if signal {
                self.pass_signal(signals)?;
            }
            if from_keeper {
                self.take_replies(output, false)?;
            } else if input {
                self.pass_input()?;
            }
        }
        self.code
            .ok_or_else(|| Error::internal("the container's keeper was lost").hint("tsubo ps -a tells more"))
    }

    fn wait_for_something(&self, signals: &OwnedFd) -> Result<[bool; 3]> {
        let stdin = stdin();
        let mut polled = vec![PollFd::new(&self.client, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        polled.extend(self.input.then(|| PollFd::new(&stdin, PollFlags::IN)));
        match rustix::event::poll(&mut polled, None) {
            Err(Errno::INTR) => return Ok([false; 3]),
            result => result.map_err(std::io::Error::from).doing(|| "waiting for the container")?,
        };
        let ready = |at: usize| polled.get(at).is_some_and(|fd| !fd.revents().is_empty());
        Ok([ready(0), ready(1), ready(2)])
    }

    fn take_replies(&mut self, output: Output<'_>, pending: bool) -> Result<()> {
        let code = &mut self.code;
        let each = &mut |reply| match reply {
            Reply::Output { stream, bytes } => output(stream, &bytes),
            Reply::Exit { code: ended } => {
                *code = Some(ended);
                Ok(())
            }
            Reply::Failed(failure) => Err(failure.into()),
            _ => Ok(()),
        };
        if pending {
            return self.client.pending(each);
        }
        if !self.client.receive_some(each)? && self.code.is_none() {
            return Err(Error::internal("the container's keeper was lost").hint("tsubo ps -a tells more"));
        }
        Ok(())
    }

    fn pass_input(&mut self) -> Result<()> {
        let mut buffer = [0; MAX_CHUNK];
        match rustix::io::read(stdin(), &mut buffer) {
            Err(Errno::INTR | Errno::AGAIN) => Ok(()),
            Ok(0) | Err(_) => {
                self.input = false;
                self.tell(&Request::InputEnd)
            }
            Ok(count) => self.tell(&Request::Input { bytes: buffer[..count].to_vec() }),
        }
    }

    fn pass_signal(&self, signals: &OwnedFd) -> Result<()> {
        let mut record = [0; 128];
        let Ok(count) = rustix::io::read(signals, &mut record) else { return Ok(()) };
        match sys::signal::number(&record[..count]) {
            Some(RESIZED) => match terminal::size() {
                Some((rows, columns)) => self.tell(&Request::Resize { rows, columns }),
                None => Ok(()),
            },
            Some(number) => self.tell(&Request::Signal { number: self.effective(number) }),
            None => Ok(()),
        }
    }

    /// To a container that would never hear of it, a request to end means the end: the kernel does
    /// not deliver to a process 1 what that does not catch.
    fn effective(&self, number: i32) -> i32 {
        let ends = matches!(number, 1 | 2 | 3 | 15);
        if self.keeper.is_some() && ends && !listens_to(self.pid, number) { 9 } else { number }
    }

    /// A keeper that is gone already is noticed by reading.
    fn tell(&self, request: &Request) -> Result<()> {
        let _ = self.client.send(request);
        Ok(())
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.client.as_fd()
    }
}
