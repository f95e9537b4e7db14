//! Processes beside the gateway that end with a part of the benchmark.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::{Home, free_port};
use crate::shell::{self, Result};

/// A process that ends with us.
pub(super) struct Process(Child);

impl Process {
    pub(super) fn start(line: &[String]) -> Result<Self> {
        let (program, args) = line.split_first().ok_or("no command")?;
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(command.spawn()?))
    }

    /// The same, bound to one core.
    pub(super) fn on_core(core: &str, line: &[String]) -> Result<Self> {
        Self::start(&[&["taskset", "-c", core].map(str::to_owned), line].concat())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its worker ends with it; it may have ended by itself.
        let _ = Command::new("kill").arg(self.0.id().to_string()).stderr(Stdio::null()).status();
        let _ = self.0.wait();
    }
}

/// The small server on this host.
pub(super) struct Backend {
    pub(super) port: u16,
    _process: Process,
}

impl Backend {
    /// On this core, or on any.
    pub(super) fn start(home: &Home, core: Option<&str>) -> Result<Self> {
        let port = free_port()?;
        let line = home.bare_static(port, "");
        let process = core.map_or_else(|| Process::start(&line), |core| Process::on_core(core, &line))?;
        until_served(port)?;
        Ok(Self { port, _process: process })
    }
}

/// Returns when somebody accepts connections on a port of this host.
pub(super) fn until_served(port: u16) -> Result {
    for _ in 0..200 {
        shell::unless_interrupted()?;
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Err(format!("nobody serves port {port}").into())
}
