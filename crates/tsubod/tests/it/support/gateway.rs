//! A gateway that runs, and ends with its test.

use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use super::client::{Answer, Client, good};
use super::{House, package, port, until};

/// A gateway: its holder is our child.
pub struct Gateway<'a> {
    pub house: &'a House,
    pub port: u16,
    child: Child,
}

/// The part of a configuration that is about one service of the usual package, for hosts of any name.
pub fn web(activation: &str) -> String {
    service("web", "\"*\"", "", activation)
}

/// The same with its name, its hosts, and more lines of its own.
pub fn service(name: &str, hosts: &str, more: &str, activation: &str) -> String {
    format!(
        "[service.{name}]\npackage = \"./web.tsubo\"\nhosts = [{hosts}]\n\
         network = {{ networks = [\"none\"] }}\n{more}\n[service.{name}.activation]\nport = 80\n{activation}\n"
    )
}

/// The same for the package `name`, whose file is called so too.
pub fn service_of(name: &str, more: &str, activation: &str) -> String {
    format!(
        "[service.{name}]\npackage = \"./{name}.tsubo\"\nnetwork = {{ networks = [\"none\"] }}\n{more}\n\
         [service.{name}.activation]\n{activation}\n"
    )
}

/// A configuration: `top` are lines of `[gateway]`.
pub fn write_config(house: &House, port: u16, top: &str, services: &str) {
    let text = format!("[gateway]\nhttp = [\"127.0.0.1:{port}\"]\n{top}\n{services}");
    std::fs::write(house.path("gateway.toml"), text).expect("write");
}

/// `tsubod` with the house's configuration; what it says goes to a file.
pub fn command(house: &House) -> Command {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(house.path("gateway.log"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_tsubod"));
    command.arg("--root").arg(house.root()).arg("--config").arg(house.path("gateway.toml"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.expect("a log"));
    command
}

impl<'a> Gateway<'a> {
    /// One with the usual package and that `activation`.
    #[track_caller]
    pub fn of(house: &'a House, activation: &str) -> Self {
        Self::with(house, "", &web(activation))
    }

    /// One with the usual package, `top` in `[gateway]` and these services.
    #[track_caller]
    pub fn with(house: &'a House, top: &str, services: &str) -> Self {
        if !house.path("web.tsubo").exists() {
            package::write(house, "one");
        }
        let port = port();
        write_config(house, port, top, services);
        Self::start(house, port)
    }

    /// One with the configuration that is there.
    #[track_caller]
    pub fn start(house: &'a House, port: u16) -> Self {
        Self::by(house, port, command(house))
    }

    /// The same, where `command` is or becomes the holder.
    #[track_caller]
    pub fn by(house: &'a House, port: u16, mut command: Command) -> Self {
        let child = command.spawn().expect("spawn");
        let mut gateway = Self { house, port, child };
        gateway.until_it_serves();
        gateway
    }

    #[track_caller]
    fn until_it_serves(&mut self) {
        until("the gateway serves", || {
            let ended = self.child.try_wait().expect("wait");
            assert!(ended.is_none(), "{ended:?}: {}", self.log());
            self.try_status().is_some()
        });
    }

    /// What it has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.house.path("gateway.log")).unwrap_or_default()
    }

    /// The holder's process.
    pub fn holder(&self) -> u32 {
        self.child.id()
    }

    /// The worker's.
    #[track_caller]
    pub fn worker(&self) -> u32 {
        self.status()["pid"].as_u64().expect("a pid") as u32
    }

    #[track_caller]
    pub fn status(&self) -> Value {
        self.try_status().expect("a status")
    }

    pub fn try_status(&self) -> Option<Value> {
        // It may be in a mount namespace of its own.
        let seen = format!("/proc/{}/root{}/run/gateway.sock", self.holder(), self.house.root().display());
        let stream = UnixStream::connect(seen).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let answer = Client(BufReader::new(stream)).ask("GET", "/status", "x").ok()?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// What the status says of a service.
    #[track_caller]
    pub fn service(&self, name: &str) -> Value {
        let status = self.status();
        let all = status["services"].as_array().expect("services");
        all.iter().find(|one| one["name"] == name).cloned().unwrap_or_default()
    }

    /// The stages of a service's instances.
    #[track_caller]
    pub fn stages(&self, name: &str) -> Vec<String> {
        let service = self.service(name);
        let all = service["instances"].as_array().into_iter().flatten();
        all.map(|one| one["stage"].as_str().unwrap_or_default().to_owned()).collect()
    }

    #[track_caller]
    pub fn until_stages(&self, name: &str, stages: &[&str]) {
        until(&format!("{name} is {stages:?}"), || self.stages(name) == stages);
    }

    /// A request that must be answered by 200.
    #[track_caller]
    pub fn good(&self, path: &str) -> Answer {
        good(self.port, path)
    }

    /// Sends a signal to the holder.
    pub fn signal(&self, number: Signal) {
        kill(self.holder(), number);
    }

    /// The configuration is another one from now on.
    #[track_caller]
    pub fn reload(&self, top: &str, services: &str) {
        write_config(self.house, self.port, top, services);
        kill(self.worker(), Signal::HUP);
    }

    /// Waits for its end.
    #[track_caller]
    pub fn ends(&mut self) -> ExitStatus {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status;
            }
            assert!(Instant::now() < end, "the gateway does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it with all its instances.
    #[track_caller]
    pub fn interrupt(&mut self) {
        self.signal(Signal::INT);
        assert_eq!(self.ends().code(), Some(0), "{}", self.log());
    }

    /// Ends it without them.
    #[track_caller]
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.ends().code(), Some(0), "{}", self.log());
    }

    /// The end of a holder that got no chance; its worker is left to itself.
    pub fn kill_holder(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Drop for Gateway<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the gateway said\n{}", self.log());
            self.house.tell_logs();
        }
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        self.signal(Signal::INT);
        let end = Instant::now() + Duration::from_secs(60);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > end {
                eprintln!("the gateway does not end:\n{}", self.log());
                let worker = self.try_status().and_then(|status| status["pid"].as_u64());
                let _ = self.child.kill();
                let _ = self.child.wait();
                worker.into_iter().for_each(|pid| kill(pid as u32, Signal::KILL));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Sends a signal to one process; it may be gone already.
pub fn kill(pid: u32, number: Signal) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        let _ = rustix::process::kill_process(pid, number);
    }
}
