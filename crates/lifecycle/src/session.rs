//! The caller's side of a process in a container: input, output, signals, size, end.

use std::io::{Write, stderr, stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use spec::protocol::{MAX_CHUNK, Reply, Request, Stream};
use spec::{Error, Result, ResultExt};

use crate::client::Client;
use crate::container::listens_to;
use crate::detach::{Keys, Matcher};
use crate::keeper_process::KeeperProcess;
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
    keeper: Option<KeeperProcess>,
    /// Whether the keeper's end is waited for.
    reaps: bool,
    code: Option<i32>,
    /// Looks for the keys by which a person goes away.
    keys: Option<Matcher>,
    detached: bool,
    /// The end of our input is not the process's.
    keeps_open: bool,
    /// Signals that we get are not passed on.
    deaf: bool,
}

impl Session {
    pub(crate) fn new(
        client: Client,
        pid: i32,
        terminal: bool,
        input: bool,
        keeper: Option<KeeperProcess>,
    ) -> Self {
        Self {
            client,
            pid,
            terminal,
            input,
            keeper,
            reaps: true,
            code: None,
            keys: None,
            detached: false,
            keeps_open: false,
            deaf: false,
        }
    }

    /// For a caller that ends with the relay: whoever reaps what that leaves reaps the keeper too.
    /// What the container was is gone by then; the keeper only has to end.
    pub fn last(self) -> Self {
        Self { reaps: false, ..self }
    }

    /// These keys, typed on a terminal, leave it running.
    pub fn detached_by(self, keys: Keys) -> Self {
        let keys = (self.terminal && self.input).then(|| Matcher::new(keys));
        Self { keys, ..self }
    }

    /// Signals that the caller gets concern the caller alone; its end ends nothing.
    ///
    /// # Errors
    /// When the keeper has gone.
    pub fn without_signals(self) -> Result<Self> {
        self.client.send(&Request::Loosen)?;
        Ok(Self { deaf: true, ..self })
    }

    /// Leaves what was started to itself: its keeper, if that was begun with it, is the caller's to reap.
    pub fn into_keeper(self) -> Option<KeeperProcess> {
        self.keeper
    }

    pub(crate) fn keeps_input_open(self) -> Self {
        Self { keeps_open: true, ..self }
    }

    /// Its pid on the host.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Relays between it and the caller's own standard input and output until it ends; returns its
    /// exit code, or 0 if the caller went away before. Signals that the caller gets are passed on.
    pub fn relay(self) -> Result<i32> {
        Ok(self.converse()?.unwrap_or(0))
    }

    /// Likewise; None if the caller went away.
    pub fn converse(self) -> Result<Option<i32>> {
        self.converse_to(&mut |stream, bytes| {
            match stream {
                Stream::Out => stdout().write_all(bytes).and_then(|()| stdout().flush()),
                Stream::Error => stderr().write_all(bytes),
            }
            .doing(|| "writing output")
        })
    }

    /// Like [`relay`](Self::relay), with the output going to `output`.
    pub fn relay_to(self, output: &mut dyn FnMut(Stream, &[u8]) -> Result<()>) -> Result<i32> {
        Ok(self.converse_to(output)?.unwrap_or(0))
    }

    fn converse_to(mut self, output: Output<'_>) -> Result<Option<i32>> {
        let passed = PASSED.into_iter().filter(|_| !self.deaf);
        let signals: Vec<i32> = passed.chain(self.terminal.then_some(RESIZED)).collect();
        let before = sys::signal::block(&[]);
        let signals =
            sys::signal::descriptor(&signals).map_err(std::io::Error::from).doing(|| "watching signals")?;
        let raw = if self.terminal && self.input { Raw::enter()? } else { None };
        let ended = self.relay_until_end(&signals, output);
        drop(raw);
        if self.detached {
            // What we have started, the keeper among it, goes on.
            self.client.send(&Request::Loosen)?;
            sys::signal::restore(&before);
            return Ok(None);
        }
        sys::signal::restore(&before);
        // Output that can go nowhere ends the connection, and with it what we started.
        let code = ended?;
        let keeper = self.keeper.take().filter(|_| self.reaps);
        drop(self.client);
        if let Some(keeper) = keeper {
            // It may live longer only where other sessions keep it.
            keeper.wait()?;
        }
        Ok(Some(code))
    }

    fn relay_until_end(&mut self, signals: &OwnedFd, output: Output<'_>) -> Result<i32> {
        // What came together with the answer to the start.
        self.take_replies(output, true)?;
        while self.code.is_none() && !self.detached {
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
        if self.detached {
            return Ok(0);
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
                // That of the container may come right behind that of what was executed in it.
                code.get_or_insert(ended);
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
                if self.keeps_open { Ok(()) } else { self.tell(&Request::InputEnd) }
            }
            Ok(count) => self.pass_typed(&buffer[..count]),
        }
    }

    fn pass_typed(&mut self, typed: &[u8]) -> Result<()> {
        let (bytes, detached) = match &mut self.keys {
            Some(keys) => keys.pass(typed),
            None => (typed.to_vec(), false),
        };
        self.detached = detached;
        if bytes.is_empty() { Ok(()) } else { self.tell(&Request::Input { bytes }) }
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
