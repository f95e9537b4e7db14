//! The runtime whose containers are attacked: its command lines, and no more.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use spec::{Error, Result};

use super::package;

/// Containers of the audit begin with this, and so does the image that is made for it.
pub const PREFIX: &str = "tsubo-audit";

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Kind {
    /// Ours
    #[default]
    Tsubo,
    /// Docker
    Docker,
    /// Podman
    Podman,
}

impl Kind {
    /// Its name for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tsubo => "tsubo",
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

/// A runtime, and how its program is called.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// Which.
    pub kind: Kind,
    root: Option<PathBuf>,
}

impl Runtime {
    /// The one of this kind; `root` is the state directory of `tsubo`.
    pub fn new(kind: Kind, root: Option<PathBuf>) -> Self {
        Self { kind, root }
    }

    /// A call of its program.
    pub fn command(&self) -> Result<Command> {
        let mut command = match self.kind {
            Kind::Tsubo => Command::new(sister("tsubo")?),
            kind => Command::new(kind.word()),
        };
        if let (Kind::Tsubo, Some(root)) = (self.kind, &self.root) {
            command.arg("--root").arg(root);
        }
        // crun knows no host with both versions of control groups.
        if self.kind == Kind::Podman && Path::new("/sys/fs/cgroup/unified").is_dir() {
            command.args(["--runtime", "runc"]);
        }
        Ok(command)
    }

    /// Starts a container in the foreground that runs `words` in place of its image's command.
    pub fn run(&self, name: &str, target: &Target, words: &[String]) -> Result<Command> {
        let mut command = self.command()?;
        command.args(["run", "--rm", "-i", "--name", name]);
        if self.kind != Kind::Tsubo {
            command.args(["--network", "none"]);
            if !may_raise_limits() {
                // These engines set limits that they may not set here.
                command.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]);
            }
        }
        if let Some(program) = &target.bound {
            let mut volume = program.clone().into_os_string();
            volume.push(format!(":{}:ro", target.program));
            command.arg("-v").arg(volume);
        }
        command.args(&target.flags);
        match self.kind {
            Kind::Tsubo => command.arg(&target.image).arg(&target.program),
            _ => command.arg("--entrypoint").arg(&target.program).arg(&target.image),
        };
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    /// What a short call prints.
    pub fn read(&self, words: &[&str]) -> Result<String> {
        let mut command = self.command()?;
        let output =
            command.args(words).stdin(Stdio::null()).output().map_err(|cause| self.missing(cause))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Error::internal(format!("{} {}: {}", self.kind.word(), words.join(" "), said.trim())))
    }

    /// The program could not be executed.
    pub fn missing(&self, cause: std::io::Error) -> Error {
        let word = self.kind.word();
        Error::io(format!("executing {word}"), cause).hint(format!("is {word} installed?"))
    }

    /// Removes a container, whatever it does; that there is none is as good.
    pub fn remove(&self, name: &str) {
        if let Ok(mut command) = self.command() {
            let command = command.args(["rm", "-f", name]);
            // What cannot be removed now is by the next audit.
            let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }

    /// Asks it to stop, and gives it a second.
    pub fn stop(&self, name: &str) -> Result<()> {
        self.read(&["stop", "-t", "1", name]).map(drop)
    }

    /// Removes what an audit that was killed has left.
    pub fn sweep(&self) {
        // What stays is told of where more is made.
        sys::system_v::sweep();
        let names = match self.kind {
            Kind::Tsubo => self.read(&["ps", "-a", "--format", "json"]).map(|text| names_of(&text)),
            _ => self
                .read(&["ps", "-a", "--format", "{{.Names}}"])
                .map(|text| text.lines().map(str::to_owned).collect()),
        };
        for name in names.unwrap_or_default().iter().filter(|name| is_left(name)) {
            self.remove(name);
        }
        self.forget_images();
        self.forget_volumes(is_left);
    }

    /// Volumes outlive their containers, and those of the audit's are nobody's: of these names.
    pub fn forget_volumes(&self, which: impl Fn(&str) -> bool) {
        if self.kind != Kind::Tsubo {
            return;
        }
        let volumes = self.root.clone().unwrap_or_else(super::work::usual).join("volumes");
        for entry in std::fs::read_dir(volumes).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if which(&name) {
                // Whatever holds them has to know. What cannot be removed now is by the next audit.
                let _ = self.read(&["rm", "--volumes", &name]);
            }
        }
    }

    /// Installs a package under the audit's own name for it; what it is called by.
    ///
    /// # Errors
    /// It is none, or what `tsubo install` says.
    pub fn install(&self, file: &Path, work: &Path) -> Result<String> {
        let own = work.join(format!("{}.tsubo", package::OWN));
        package::rename(file, &own, package::OWN)?;
        let installed = self.read(&["install", &own.to_string_lossy()]);
        // With the directory it goes in any case.
        let _ = std::fs::remove_file(&own);
        installed.map(|_| package::OWN.to_owned())
    }

    /// Removes the images that were made for the audit.
    pub fn forget_images(&self) {
        let names = if self.kind == Kind::Tsubo { &[PREFIX, package::OWN][..] } else { &[PREFIX] };
        for name in names {
            // Of several with a name only the last is meant by it. There may be none, and somebody may have
            // come to use one: then it is refused.
            while self.read(&["rmi", name]).is_ok() {}
        }
    }

    /// Bytes of what the host keeps of a container's output.
    pub fn log_bytes(&self, name: &str) -> Option<u64> {
        let (dir, file) = match self.kind {
            Kind::Tsubo => {
                let text = self.read(&["inspect", name]).ok()?;
                let value: serde_json::Value = serde_json::from_str(&text).ok()?;
                (PathBuf::from(value["directory"].as_str()?), "log".to_owned())
            }
            kind => {
                let field =
                    if kind == Kind::Docker { "{{.LogPath}}" } else { "{{.HostConfig.LogConfig.Path}}" };
                let path = PathBuf::from(self.read(&["inspect", "-f", field, name]).ok()?.trim());
                (path.parent()?.to_owned(), path.file_name()?.to_str()?.to_owned())
            }
        };
        let entries = std::fs::read_dir(dir).ok()?.flatten();
        let logs = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&file));
        Some(logs.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum())
    }

    /// A directory on the disk that its containers are on.
    pub fn disk(&self) -> PathBuf {
        let told = |field| self.read(&["info", "-f", field]).map(|text| PathBuf::from(text.trim()));
        let usual = match self.kind {
            Kind::Tsubo => self.root.clone().unwrap_or_else(super::work::usual),
            Kind::Docker => told("{{.DockerRootDir}}").unwrap_or_else(|_| PathBuf::from("/var/lib/docker")),
            Kind::Podman => {
                told("{{.Store.GraphRoot}}").unwrap_or_else(|_| PathBuf::from("/var/lib/containers"))
            }
        };
        let there = usual.ancestors().find(|dir| dir.is_dir());
        there.map_or_else(|| PathBuf::from("/"), Path::to_owned)
    }
}

/// The auditor whose container this is, by its name: `tsubo-audit-PID-NUMBER` or `-neighbour`.
pub fn auditor_of(name: &str) -> Option<i32> {
    let (pid, part) = name.strip_prefix(PREFIX)?.strip_prefix('-')?.split_once('-')?;
    let ours = part == "neighbour" || (!part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    pid.parse().ok().filter(|pid| ours && *pid > 0)
}

/// Whether it was left by an audit that is over. A name like it is somebody's.
fn is_left(name: &str) -> bool {
    auditor_of(name).is_some_and(|pid| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        !comm.is_ok_and(|comm| comm.starts_with(PREFIX))
    })
}

/// What is attacked.
#[derive(Debug, Clone)]
pub struct Target {
    /// The image.
    pub image: String,
    /// The attacker's path inside.
    pub program: String,
    /// The attacker's program on the host, where the image does not have it.
    pub bound: Option<PathBuf>,
    /// Flags of the runtime that choose limits and isolation.
    pub flags: Vec<OsString>,
}

/// A program beside our own.
pub fn sister(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(|cause| Error::io("looking for our own program", cause))?;
    let path = own.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(Error::unsupported(format!("the program {} is not there", path.display()))
        .hint(format!("install {name} beside tsubo-audit")))
}

fn names_of(text: &str) -> Vec<String> {
    let rows: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let names =
        rows.as_array().into_iter().flatten().filter_map(|row| row["name"].as_str().map(str::to_owned));
    names.collect()
}

/// CAP_SYS_RESOURCE is number 24.
fn may_raise_limits() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 << 24 != 0)
}
