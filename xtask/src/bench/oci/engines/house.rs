//! Namespaces for one engine: it, its shims and its containers are processes there, and end with the
//! benchmark however that ends; so do its mounts, its loopback, and a `/run` of its own.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::bench::runtimes::{Words, words};
use crate::shell::{self, Result};

/// The first process: it reaps, and ends with the standard input of which we have the other end.
const HOLDER: &str = "mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p /run/lock && busybox ip link set lo up && \
    echo ready && cat >/dev/null";

/// Where an engine lives.
pub(in crate::bench) struct House {
    directory: PathBuf,
    holder: Child,
    first: String,
}

impl House {
    /// Its files are in `directory`.
    pub(in crate::bench) fn new(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let mut holder = Command::new("unshare")
            .args(["--mount", "--pid", "--net", "--fork", "--mount-proc", "sh", "-c", HOLDER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = [0; 6];
        holder.stdout.take().ok_or("no pipe")?.read_exact(&mut said)?;
        let id = holder.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let first = children.split(' ').next().ok_or("no process in the namespaces")?.to_owned();
        Ok(Self { directory: directory.to_owned(), holder, first })
    }

    /// The number of its first process, as we see it.
    pub(in crate::bench) fn first(&self) -> &str {
        &self.first
    }

    /// What a command there begins with.
    pub(in crate::bench) fn wrapper(&self) -> Words {
        words(&format!("nsenter --target {} --mount --pid --net --", self.first))
    }

    fn command(&self, line: &Words) -> Result<Command> {
        let all = [self.wrapper(), line.clone()].concat();
        let (program, args) = all.split_first().ok_or("no command")?;
        let mut command = Command::new(program);
        command.args(args).env("HOME", &self.directory).stdin(Stdio::null());
        Ok(command)
    }

    /// A daemon; what it says goes to a file. It ends with the house.
    pub(in crate::bench) fn daemon(&self, line: &Words) -> Result {
        let log = fs::File::create(self.directory.join("log"))?;
        self.command(line)?.stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(())
    }

    /// Runs a command to its end.
    pub(in crate::bench) fn call(&self, line: &Words) -> Result {
        shell::read(&mut self.command(line)?).map(drop)
    }

    /// Runs it until it succeeds.
    pub(in crate::bench) fn until_well(&self, line: &Words) -> Result {
        for _ in 0..100 {
            shell::unless_interrupted()?;
            let tried = self.command(line)?.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
            if tried.success() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(200));
        }
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        Err(format!("{} does not succeed: {log}", line.join(" ")).into())
    }

    /// Ends everything there.
    pub(in crate::bench) fn end(&mut self) {
        drop(self.holder.stdin.take());
        // Returns when the kernel has ended every process of the namespaces.
        let _ = self.holder.wait();
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.end();
    }
}
