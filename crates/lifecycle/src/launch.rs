//! Starting: a keeper for a container, or one more process in a running one.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use spec::container::Process;
use spec::portable::Ids;
use spec::protocol::{Reply, Request};
use spec::{Error, Result, ResultExt, RootPath};

use crate::client::Client;
use crate::container::Container;
use crate::job::Job;
use crate::session::Session;

/// How a container is started.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// The caller stays with it: its output comes here, and its end.
    pub attached: bool,
    /// The caller's input goes to it.
    pub input: bool,
    /// A keeper other than `TSUBO_KEEPER` or the one beside our own program.
    pub keeper: Option<PathBuf>,
}

/// One more process for a running container; what is not said is as for its first.
#[derive(Debug, Clone, Default)]
pub struct Exec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// On top of the container's environment.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub cwd: Option<RootPath>,
    /// Who it runs as.
    pub user: Option<Ids>,
    /// On a pseudo-terminal.
    pub terminal: bool,
    /// The caller's input goes to it.
    pub input: bool,
}

impl Container {
    /// Starts it: returns when its command is executed. One that cannot be started is removed.
    pub fn start(mut self, launch: Launch) -> Result<Session> {
        let started = self.start_keeper(launch);
        if started.is_err() {
            // The first failure is the one to tell.
            let _ = self.remove(true);
            self.lock.take().into_iter().for_each(crate::lock::Lock::discard);
        }
        self.lock = None;
        started
    }

    pub(crate) fn start_keeper(&self, launch: Launch) -> Result<Session> {
        let terminal = self.record().spec.process.terminal;
        let job = Job {
            spec: self.record().spec.clone(),
            dir: self.dir().to_owned(),
            run: self.run_dir().to_owned(),
            remove: self.record().remove,
            attached: launch.attached,
            input: launch.input,
            life: self.record().life.clone(),
            image: self.record().image.clone(),
            again: self.has_ended(),
            size: if terminal { crate::terminal::size() } else { None },
        };
        let (ours, theirs) = connection()?;
        let keeper = spawn_keeper(launch.keeper, theirs)?;
        let mut client = Client::over(ours);
        client.send(&job)?;
        match client.receive()? {
            Some(Reply::Started { pid }) => {
                let input = launch.attached && launch.input;
                Ok(Session::new(client, pid, terminal, input, Some(keeper)))
            },
            Some(Reply::Failed(failure)) => {
                finish(keeper);
                Err(failure.into())
            }
            other => Err(keeper_failed(keeper, other)),
        }
    }

    /// Executes one more process in it.
    pub fn exec(&self, exec: Exec) -> Result<Session> {
        self.await_running(Duration::from_secs(5))?;
        let (terminal, input) = (exec.terminal, exec.input);
        let mut client = Client::connect(self.run_dir())?;
        client.send(&Request::Exec { process: self.process(exec), input })?;
        if let (true, Some((rows, columns))) = (terminal, crate::terminal::size()) {
            client.send(&Request::Resize { rows, columns })?;
        }
        match client.receive()? {
            Some(Reply::Started { pid }) => Ok(Session::new(client, pid, terminal, input, None)),
            Some(Reply::Failed(failure)) => Err(failure.into()),
            _ => Err(Error::conflict(format!("container {} has just ended", self.name()))),
        }
    }

    /// Watches what it says from now on, and its end. Closing the session does not end it.
    pub fn attach(&self) -> Result<Session> {
        let state = self.await_running(Duration::from_secs(5))?;
        let client = Client::connect(self.run_dir())?;
        client.send(&Request::Attach)?;
        Ok(Session::new(client, state.first.pid, false, false, None))
    }

    fn process(&self, exec: Exec) -> Process {
        let first = &self.record().spec.process;
        let mut env = first.env.clone();
        let term = exec.terminal && !env.iter().any(|entry| entry.starts_with("TERM="));
        env.extend(term.then(|| "TERM=xterm".to_owned()));
        for (key, value) in exec.env {
            env.retain(|entry| entry.split('=').next() != Some(&key));
            env.push(format!("{key}={value}"));
        }
        Process {
            argv: exec.argv,
            env,
            cwd: exec.cwd.unwrap_or_else(|| first.cwd.clone()),
            user: exec.user.unwrap_or_else(|| first.user.clone()),
            terminal: exec.terminal,
            ..first.clone()
        }
    }
}

fn connection() -> Result<(OwnedFd, OwnedFd)> {
    let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    pair.map_err(std::io::Error::from).doing(|| "making a connection for the keeper")
}

/// Executes the keeper from a read-only mount of its own: an image that asks the kernel to execute
/// `/proc/self/exe` gets hold of nothing that can be written (2019-5736).
fn spawn_keeper(path: Option<PathBuf>, connection: OwnedFd) -> Result<Child> {
    let path = path.map_or_else(find_keeper, Ok)?;
    let program = runtime::read_only_program(&path)?;
    Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
        .arg0("tsubo-keeper")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(connection))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .doing(|| format!("starting {}", path.display()))
}

/// `TSUBO_KEEPER`, or `tsubo-keeper` beside our own program.
fn find_keeper() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TSUBO_KEEPER") {
        return Ok(path.into());
    }
    // A program that runs from a mount of its own has its path as its first argument.
    let own = std::env::current_exe().ok().filter(|path| path.is_file());
    let own = own.or_else(|| std::env::args_os().next().map(PathBuf::from));
    let beside = own.and_then(|own| Some(own.parent()?.join("tsubo-keeper")));
    beside.filter(|path| path.is_file()).ok_or_else(|| {
        Error::not_found("tsubo-keeper is not there")
            .hint("it must lie beside tsubo; or set TSUBO_KEEPER to its path")
    })
}

fn finish(mut keeper: Child) {
    // It has said all there is to say; only no zombie shall stay.
    let _ = keeper.wait();
}

fn keeper_failed(mut keeper: Child, reply: Option<Reply>) -> Error {
    let _ = keeper.kill();
    let ended = keeper.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
    Error::internal(format!("the container's keeper failed ({ended}, answer {reply:?})"))
}
