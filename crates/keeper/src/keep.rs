//! The loop: whatever happens first is dealt with, until the container has ended.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use lifecycle::job::Job;
use lifecycle::log::Writer;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::SocketFlags;
use spec::container::Namespace;
use spec::protocol::{Reply, Stream};

use crate::connection::{Connection, Role};
use crate::finish;
use crate::health::Checks;
use crate::hooks::{Gate, Hooks};
use crate::network::Ports;
use crate::restart::Restarts;
use crate::task::Task;

/// How long a container that was asked to stop may take before it is killed.
const STOP_TIME: Duration = Duration::from_secs(10);

/// After so long without anything to do it is taken to be resting.
const BUSY: Duration = Duration::from_secs(1);

/// A copy of a large program stays one no longer than this, unless it must.
const LATEST: Duration = Duration::from_secs(5);

/// How many clients there may be at once; more wait.
const MAX_CONNECTIONS: usize = 256;

/// The keeper of one container.
pub(crate) struct Keeper {
    pub(crate) job: Job,
    pub(crate) task: Task,
    pub(crate) group: Option<cgroup::Group>,
    pub(crate) listener: OwnedFd,
    pub(crate) signals: OwnedFd,
    pub(crate) log: Writer,
    pub(crate) connections: Vec<Connection>,
    pub(crate) kill_at: Option<Instant>,
    /// What the start, or a flood of output, took has been given back.
    settled: Cell<bool>,
    pub(crate) restarts: Restarts,
    pub(crate) checks: Option<Checks>,
    pub(crate) hooks: Option<Box<Hooks>>,
    /// Its processes are held.
    pub(crate) paused: bool,
    /// Processes that were executed, and whose caller has gone.
    pub(crate) loose: Vec<Task>,
    /// Holds the container's place among the host's users.
    pub(crate) claim: Option<runtime::ids::Claim>,
    /// Hold the ports of the host that lead to it.
    pub(crate) ports: Ports,
    /// Handed over to its program, in each of its lives.
    pub(crate) sockets: Vec<OwnedFd>,
    /// We are a copy of the program that started the container, and execute this small one.
    pub(crate) next: RefCell<Option<PathBuf>>,
    /// When that is tried though there is always something to do.
    next_at: Cell<Instant>,
}

impl Keeper {
    pub(crate) fn new(
        job: Job,
        task: Task,
        group: Option<cgroup::Group>,
        listener: OwnedFd,
        signals: OwnedFd,
        log: Writer,
    ) -> Self {
        Self {
            job,
            task,
            group,
            listener,
            signals,
            log,
            connections: Vec::new(),
            kill_at: None,
            settled: Cell::new(false),
            restarts: Restarts::new(),
            checks: None,
            hooks: None,
            paused: false,
            loose: Vec::new(),
            claim: None,
            ports: Ports::new(),
            sockets: Vec::new(),
            next: RefCell::new(None),
            next_at: Cell::new(Instant::now() + LATEST),
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.task.pid()
    }

    pub(crate) fn attach_launch(&mut self, launch: Connection) {
        self.connections.push(launch);
    }

    /// Keeps the container until it has ended and everything of it is cleaned up.
    pub(crate) fn keep(mut self: Box<Self>) {
        loop {
            self.wait();
            self.take_signals();
            self.accept();
            self.serve_connections();
            self.serve_loose();
            self.pass_output();
            self.check_health();
            self.serve_hooks();
            if let Some(code) = self.end_for_good() {
                return finish::finish(*self, code);
            }
            self.kill_if_overdue();
        }
    }

    /// Sleeps until something can be done.
    fn wait(&self) {
        if self.next.borrow().is_some() && self.next_at.get() <= Instant::now() {
            self.next_at.set(Instant::now() + LATEST);
            self.hand_over();
        }
        let mut polled = vec![PollFd::new(&self.signals, PollFlags::IN)];
        if !self.restarts.is_resting() {
            polled.push(PollFd::from_borrowed_fd(self.task.pidfd(), PollFlags::IN));
            watch_task(&mut polled, &self.task, self.is_held_up());
        }
        if self.connections.len() < MAX_CONNECTIONS {
            polled.push(PollFd::new(&self.listener, PollFlags::IN));
        }
        for task in &self.loose {
            polled.push(PollFd::from_borrowed_fd(task.pidfd(), PollFlags::IN));
            watch_task(&mut polled, task, false);
        }
        if let Some(checks) = &self.checks {
            checks.watch(&mut polled);
        }
        if let Some(hooks) = &self.hooks {
            hooks.watch(&mut polled);
        }
        for connection in &self.connections {
            let task = connection.task.as_ref();
            let interest = connection.interest(self.reads_from(connection));
            polled.push(PollFd::from_borrowed_fd(connection.fd(), interest));
            if let Some(task) = task {
                polled.push(PollFd::from_borrowed_fd(task.pidfd(), PollFlags::IN));
                watch_task(&mut polled, task, connection.is_full());
            }
        }
        if self.task.says_much() || self.next.borrow().is_some() {
            self.settled.set(false);
        }
        if !self.settled.get() {
            let quiet = Instant::now() + BUSY;
            if poll_until(&mut polled, self.due().map_or(Some(quiet), |due| Some(due.min(quiet)))) {
                return;
            }
            // It will rest for long, mostly: what the start has taken goes back.
            self.hand_over();
            self.settle();
        }
        poll_until(&mut polled, self.due());
    }

    /// Gives back what a start has taken.
    pub(crate) fn settle(&self) {
        self.settled.set(true);
        sys::memory::settle();
    }

    /// When there is something to do though nothing happens.
    fn due(&self) -> Option<Instant> {
        let checks = self.checks.as_ref().filter(|_| !self.paused).map(Checks::due);
        let hooks = self.hooks.as_ref().and_then(|hooks| hooks.due(self.restarts.is_resting()));
        [self.kill_at, self.start_due(), checks, hooks].into_iter().flatten().min()
    }

    /// When it is started again. Who was asked whether it may be is waited for by his descriptor.
    fn start_due(&self) -> Option<Instant> {
        self.restarts.due().filter(|_| self.gate() != Gate::Asking)
    }

    /// Output waits for the one who started the container and must get all of it, unless others
    /// look on: nobody holds up what others see.
    fn is_held_up(&self) -> bool {
        let looks_on = |connection: &Connection| connection.role == Role::Attached;
        let waits = |connection: &Connection| connection.role == Role::Launch && connection.is_full();
        self.connections.iter().any(waits) && !self.connections.iter().any(looks_on)
    }

    /// Whether there is room for what a client may say: input that its process does not take waits
    /// in the client.
    fn reads_from(&self, connection: &Connection) -> bool {
        let fed = match connection.role {
            Role::Launch | Role::Attached => Some(&self.task),
            _ => connection.task.as_ref(),
        };
        fed.is_none_or(Task::takes_input)
    }

    fn take_signals(&mut self) {
        let mut record = [0; 128];
        if rustix::io::read(&self.signals, &mut record).is_ok() {
            // The first field of signalfd_siginfo, as in signalfd(2).
            let number = i32::from_ne_bytes([record[0], record[1], record[2], record[3]]);
            if self.fire(number).is_err() {
                self.stop();
            }
        }
    }

    /// Asks the container to stop; in time it is killed.
    fn stop(&mut self) {
        self.restarts.quitting = true;
        if self.paused {
            // What cannot be let go on is killed below.
            let _ = self.let_go_on();
        }
        if self.kill_at.is_none() {
            // A process 1 never hears of what it does not catch: waiting for that would be in vain.
            let asked = self.job.spec.stop_signal;
            let signo = if lifecycle::listens_to(self.task.pid(), asked) { asked } else { 9 };
            // One that has just ended needs no signal.
            let _ = self.task.signal(signo);
            self.kill_at = Some(Instant::now() + STOP_TIME);
        }
    }

    fn kill_if_overdue(&mut self) {
        if self.kill_at.is_some_and(|at| at <= Instant::now()) {
            let _ = self.task.signal(9);
            self.kill_at = Some(Instant::now() + STOP_TIME);
        }
    }

    fn accept(&mut self) {
        while self.connections.len() < MAX_CONNECTIONS {
            match rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) {
                Ok(socket) => self.connections.push(Connection::new(socket)),
                Err(_) => return,
            }
        }
    }

    fn serve_connections(&mut self) {
        let mut connections = std::mem::take(&mut self.connections);
        for connection in &mut connections {
            connection.flush();
            if self.reads_from(connection) {
                connection.fill();
            } else {
                connection.notice_end();
            }
            self.answer(connection);
            relay_exec(connection);
            if connection.closed {
                self.let_go(connection);
            }
        }
        connections.retain(|connection| !connection.closed);
        self.connections = connections;
    }

    /// A process ends with the connection that executed it, and a container with the caller that
    /// stayed with it.
    fn let_go(&mut self, connection: &mut Connection) {
        if let Some(task) = connection.task.take() {
            if connection.loose {
                self.loose.push(task);
            } else if self.paused {
                // One that version 1 holds only ends when it goes on: nobody waits for that.
                let _ = task.signal(9);
                self.loose.push(task);
            } else {
                // Kills and reaps.
                drop(task);
            }
        }
        if connection.role == Role::Launch {
            self.stop();
        }
    }

    fn pass_output(&mut self) {
        self.task.feed();
        if !self.is_held_up() {
            self.read_once();
        }
    }

    /// Takes what the container says now to the log and to all who listen.
    fn read_once(&mut self) {
        self.read_with(Task::read);
    }

    /// The last of what a life of the container says. Who is still there without a pid namespace to
    /// die with is ended first.
    pub(crate) fn read_rest(&mut self) {
        if !self.job.spec.owns(Namespace::Pid) {
            // What cannot be ended is left to the end of the group, and no more is read of it than
            // there is.
            let _ = self.group.as_ref().map(cgroup::Group::kill);
        }
        self.read_with(Task::read_rest);
    }

    fn read_with(&mut self, read: impl FnOnce(&mut Task, &mut dyn FnMut(Stream, &[u8]))) {
        let (log, connections) = (&mut self.log, &mut self.connections);
        read(&mut self.task, &mut |stream, bytes| {
            log.add(stream, bytes);
            connections.iter_mut().for_each(|connection| connection.pass(stream, bytes));
        });
    }
}

/// Whether something happened before then. Interrupted or not: everything is looked at without
/// blocking.
fn poll_until(polled: &mut [PollFd<'_>], due: Option<Instant>) -> bool {
    let time = due.map(|at| at.saturating_duration_since(Instant::now()));
    let time =
        time.map(|time| Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() });
    rustix::event::poll(polled, time.as_ref()) != Ok(0)
}

fn watch_task<'a>(polled: &mut Vec<PollFd<'a>>, task: &'a Task, full: bool) {
    if !full {
        polled.extend(task.outputs().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    }
    polled.extend(task.hungry().map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags)));
}

/// Passes the output of an executed process on, and its end.
fn relay_exec(connection: &mut Connection) {
    let Some(mut task) = connection.task.take() else { return };
    task.feed();
    let ended = task.ended();
    let full = connection.is_full();
    let mut send = |stream, bytes: &[u8]| connection.send(&Reply::Output { stream, bytes: bytes.to_vec() });
    let Some(code) = ended else {
        if !full {
            task.read(&mut send);
        }
        return connection.task = Some(task);
    };
    task.read_rest(&mut send);
    connection.send(&Reply::Exit { code });
    connection.role = Role::Waiting;
    connection.greeted = true;
}
