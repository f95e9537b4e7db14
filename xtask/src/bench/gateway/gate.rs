//! A gateway that runs for one part of the benchmark.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Home, free_port};
use crate::bench::footprint::processes::parent;
use crate::shell::{self, Result};

/// What a service has of the network where it says nothing else: none is needed to be served.
const ALONE: &str = "network = { networks = [\"none\"] }";

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A service of its configuration.
pub(super) struct Served {
    pub(super) name: String,
    pub(super) package: String,
    /// More lines of its table, and those of its activation.
    pub(super) more: String,
    pub(super) activation: String,
}

impl Served {
    /// Of a package, asked for by its name and `.test`; it is never frozen.
    pub(super) fn new(name: &str, package: &str, port: u16, activation: &str) -> Self {
        let activation = format!("port = {port}\nfreeze = \"never\"\n{activation}\n");
        Self { name: name.to_owned(), package: package.to_owned(), more: String::new(), activation }
    }

    pub(super) fn host(&self) -> String {
        format!("{}.test", self.name)
    }
}

/// The process, ended with the part.
pub(super) struct Gate<'a> {
    home: &'a Home,
    child: Child,
    /// Where it takes requests.
    pub(super) port: u16,
    /// From the command to the first connection that would be taken, milliseconds.
    pub(super) ready: f64,
}

impl<'a> Gate<'a> {
    /// Returns when it listens.
    pub(super) fn open(home: &'a Home, services: &[Served]) -> Result<Self> {
        let (port, admin) = (free_port()?, free_port()?);
        let file = home.state.file("gateway.toml");
        fs::write(&file, configuration(port, admin, services)?)?;
        let log = home.state.file("gateway.log");
        let began = Instant::now();
        let child = home
            .state
            .tsubo(&["gateway", "--config", &file.to_string_lossy()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        let mut gate = Self { home, child, port, ready: 0.0 };
        until_said(&mut gate.child, &log, &format!("listening on http://127.0.0.1:{port}"))?;
        gate.ready = began.elapsed().as_secs_f64() * 1e3;
        Ok(gate)
    }

    /// Names and process ids of the instances that run.
    pub(super) fn running(&self) -> Result<Vec<(String, u32)>> {
        let listed = self.home.state.json(&["ps"])?;
        let one = |container: &Value| {
            let running = container["running"].as_bool()?;
            let pid = u32::try_from(container["pid"].as_u64()?).ok()?;
            running.then(|| Some((container["name"].as_str()?.to_owned(), pid)))?
        };
        Ok(listed.as_array().into_iter().flatten().filter_map(one).collect())
    }

    /// Returns when so many instances run.
    pub(super) fn until_running(&self, count: usize) -> Result {
        self.until(|running| running.len() == count, &format!("{count} instances"))
    }

    /// Returns when no instance of the service runs.
    pub(super) fn until_stopped(&self, service: &str) -> Result {
        let first = format!("{service}.");
        self.until(|running| !running.iter().any(|r| r.0.starts_with(&first)), "a stopped service")
    }

    fn until(&self, reached: impl Fn(&[(String, u32)]) -> bool, what: &str) -> Result {
        let began = Instant::now();
        loop {
            let running = self.running()?;
            if reached(&running) {
                return Ok(());
            }
            shell::unless_interrupted()?;
            if began.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.home.state.file("gateway.log")).unwrap_or_default();
                let said = last_lines(&log);
                return Err(
                    format!("not {what} but {} running after {PATIENCE:?}: {said}", running.len()).into()
                );
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The processes of the gateway itself: of those that it has started, the ones that run its program.
    pub(super) fn processes(&self) -> Vec<u32> {
        self.started().into_iter().filter(|pid| runs_gateway(*pid)).collect()
    }

    /// The others that it has started and not let go: keepers that wait for the word.
    pub(super) fn helpers(&self) -> Vec<u32> {
        self.started().into_iter().filter(|pid| !runs_gateway(*pid)).collect()
    }

    fn started(&self) -> BTreeSet<u32> {
        family_of(self.pid())
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// A process with all that it has started, and what those have.
pub(super) fn family_of(pid: u32) -> BTreeSet<u32> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let ancestors = |pid: u32| std::iter::successors(Some(pid), |pid| parent(*pid));
    pids.filter(|one| ancestors(*one).any(|ancestor| ancestor == pid)).collect()
}

fn runs_gateway(pid: u32) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    program.file_name().is_some_and(|name| name == "tsubod")
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        let asked = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().is_ok();
        let began = Instant::now();
        while asked && began.elapsed() < PATIENCE {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        eprintln!("the gateway does not end: killed");
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(port: u16, admin: u16, services: &[Served]) -> Result<String> {
    let mut text = format!("[gateway]\nhttp = [\"127.0.0.1:{port}\"]\nadmin = \"127.0.0.1:{admin}\"\n");
    for served in services {
        let Served { name, package, more, activation } = served;
        write!(
            text,
            "\n[service.{name}]\npackage = \"{package}\"\nhosts = [\"{}\"]\n{ALONE}\n{more}\n\
             [service.{name}.activation]\n{activation}",
            served.host()
        )?;
    }
    Ok(text)
}

/// Returns when a process has written these words into its log.
pub(super) fn until_said(child: &mut Child, log: &Path, words: &str) -> Result {
    let began = Instant::now();
    loop {
        let said = fs::read_to_string(log).unwrap_or_default();
        if said.contains(words) {
            return Ok(());
        }
        shell::unless_interrupted()?;
        if let Some(status) = child.try_wait()? {
            return Err(format!("{status}: {}", last_lines(&said)).into());
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("it does not say \"{words}\" but: {}", last_lines(&said)).into());
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn last_lines(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
