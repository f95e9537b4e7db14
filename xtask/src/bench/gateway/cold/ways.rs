//! Ways to have a server started by a request for it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::bench::gateway::gate::{self, Gate, Served};
use crate::bench::gateway::packed::Usual;
use crate::bench::gateway::{Home, free_port};
use crate::bench::runtimes::{self, Ground, Words, pure_v1};
use crate::shell::Result;

/// From one try to connect to the next, where nobody holds the connection meanwhile: what they cost is taken from
/// who starts on the same processor.
fn retry(time: Duration) -> Duration {
    let cost = Duration::from_micros(60);
    let best = Duration::from_secs_f64((2.0 * cost.as_secs_f64() * time.as_secs_f64()).sqrt());
    best.clamp(Duration::from_micros(100), Duration::from_millis(1))
}

/// Whoever has not answered by now does not.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) trait Way {
    fn name(&self) -> String;
    /// Returns when nothing runs, and somebody waits for a request.
    fn arm(&mut self) -> Result;
    /// Milliseconds to the first byte of the answer.
    fn first(&mut self) -> Result<f64>;
    /// What has been started ends.
    fn disarm(&mut self) -> Result;
}

/// Ours.
pub(super) struct Gateway<'a> {
    pub(super) name: &'static str,
    pub(super) gate: &'a Gate<'a>,
    pub(super) served: &'a Served,
}

impl Way for Gateway<'_> {
    fn name(&self) -> String {
        self.name.into()
    }

    fn arm(&mut self) -> Result {
        self.gate.until_stopped(&self.served.name)
    }

    fn first(&mut self) -> Result<f64> {
        let began = Instant::now();
        answered(began, TcpStream::connect(("127.0.0.1", self.gate.port))?, &self.served.host())
    }

    fn disarm(&mut self) -> Result {
        Ok(())
    }
}

/// A program that waits for one connection, has a server answer it, and ends with that.
pub(super) struct Called {
    name: &'static str,
    command: Words,
    port: u16,
    log: PathBuf,
    child: Option<Child>,
    /// What takes away what it leaves.
    remove: Option<Words>,
}

impl Called {
    fn new(home: &Home, name: &'static str, command: Words, port: u16) -> Self {
        Self { name, command, port, log: home.ground.dir.join("called"), child: None, remove: None }
    }

    /// The floor, which listens (`-l` or `-r`) and then starts the server.
    pub(super) fn floor(
        home: &Home,
        name: &'static str,
        listen: &str,
        parts: &str,
        at: &str,
    ) -> Result<Self> {
        let (port, group) = (free_port()?.to_string(), format!("{}-floor-called", Ground::prefix()));
        let (floor, root) = (home.ground.floor.to_string_lossy(), home.ground.root.to_string_lossy());
        let line = [&floor, listen, &port, "-g", &group, parts, &root, "/bin/server", at, "once"];
        Ok(Self::new(home, name, line.map(str::to_owned).to_vec(), port.parse()?))
    }

    pub(super) fn crun(home: &Home) -> Result<Self> {
        let (port, inner) = (free_port()?, free_port()?.to_string());
        runtimes::bundle(&home.ground, "bundle-called", &["/bin/server", &inner, "once"])?;
        let (state, id) = (home.ground.at("crun-called"), format!("{}-called", Ground::prefix()));
        let script = format!(
            "crun --root {state} run -b {} {id} >&2 & exec socat STDIO TCP4\\:127.0.0.1\\:{inner}\\,retry=10000\\,interval=0.001",
            home.ground.at("bundle-called")
        );
        let listen = format!("TCP4-LISTEN:{port},bind=127.0.0.1,reuseaddr");
        let socat = ["socat", "-d", "-d", &listen, &format!("SYSTEM:{script}")].map(str::to_owned);
        let remove = ["crun", "--root", &state, "delete", "-f", &id].map(str::to_owned);
        let mut called = Self::new(home, "crun + shell", [pure_v1(), socat.to_vec()].concat(), port);
        called.remove = Some([pure_v1(), remove.to_vec()].concat());
        Ok(called)
    }
}

impl Way for Called {
    fn name(&self) -> String {
        self.name.into()
    }

    fn arm(&mut self) -> Result {
        let mut child = command(&self.command)?.stderr(File::create(&self.log)?).spawn()?;
        let listens = gate::until_said(&mut child, &self.log, "listening on");
        self.child = Some(child);
        listens
    }

    fn first(&mut self) -> Result<f64> {
        let began = Instant::now();
        answered(began, TcpStream::connect(("127.0.0.1", self.port))?, "bench.test")
    }

    fn disarm(&mut self) -> Result {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let began = Instant::now();
        while child.try_wait()?.is_none() {
            if began.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                return Err("it does not end".into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        if let Some(remove) = &self.remove {
            // It may have removed itself.
            command(remove)?.stderr(Stdio::null()).status()?;
        }
        Ok(())
    }
}

/// A process of this host, which the client starts itself.
pub(super) struct Bare {
    name: String,
    command: Words,
    port: u16,
    child: Option<Child>,
}

impl Bare {
    pub(super) fn of_static(home: &Home) -> Result<Self> {
        let port = free_port()?;
        Ok(Self { name: "bare process".into(), command: home.bare_static(port, "once"), port, child: None })
    }

    pub(super) fn of(home: &Home, usual: &Usual) -> Result<Self> {
        let name = format!("{}, bare", usual.name);
        Ok(Self { name, command: home.bare(usual)?, port: usual.port, child: None })
    }
}

impl Way for Bare {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn arm(&mut self) -> Result {
        Ok(())
    }

    fn first(&mut self) -> Result<f64> {
        let mut command = command(&self.command)?;
        // As in a container: what a shell's environment names is not read there either.
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stderr(Stdio::null());
        let began = Instant::now();
        self.child = Some(command.spawn()?);
        loop {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(stream) => return answered(began, stream, "bench.test"),
                Err(_) if began.elapsed() < PATIENCE => thread::sleep(retry(began.elapsed())),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn disarm(&mut self) -> Result {
        end(self.child.take());
        Ok(())
    }
}

impl Drop for Called {
    fn drop(&mut self) {
        end(self.child.take());
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        end(self.child.take());
    }
}

fn end(child: Option<Child>) {
    if let Some(mut child) = child {
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn command(line: &Words) -> Result<Command> {
    let (program, args) = line.split_first().ok_or("no command")?;
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command)
}

/// Asks on a connection; the time from `began` to the answer's first byte.
fn answered(began: Instant, mut stream: TcpStream, host: &str) -> Result<f64> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut head = [0; 12];
    stream.read_exact(&mut head[..1])?;
    let taken = began.elapsed().as_secs_f64() * 1e3;
    stream.read_exact(&mut head[1..])?;
    // All of it: whoever is in between has then nothing left to say.
    stream.read_to_end(&mut Vec::new())?;
    let status = String::from_utf8_lossy(&head[9..]).into_owned();
    if status == "200" { Ok(taken) } else { Err(format!("the answer is {status}").into()) }
}
