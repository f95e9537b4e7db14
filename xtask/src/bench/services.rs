//! The services that are measured: a Debian root each, an exercise that is watched and another that
//! never was (bench/services/).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::State;
use crate::house;
use crate::shell::{self, Result};

/// What the best known minimiser (slim 1.40) left of the same service from a 154 MB Debian root.
pub(crate) struct Peer {
    pub(crate) megabytes: f64,
    pub(crate) packed_megabytes: f64,
}

/// A real service.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    /// Debian packages on top of the smallest root, separated by commas.
    packages: &'static str,
    pub(crate) command: &'static [&'static str],
    pub(crate) port: u16,
    pub(crate) slim: Option<Peer>,
}

pub(crate) const NGINX: Service = Service {
    name: "nginx",
    packages: "nginx-light",
    command: &["nginx", "-g", "daemon off;"],
    port: 18480,
    slim: Some(Peer { megabytes: 10.1, packed_megabytes: 3.65 }),
};

pub(crate) const REDIS: Service = Service {
    name: "redis",
    packages: "redis-server",
    command: &[
        "redis-server",
        "/etc/redis/redis.conf",
        "--daemonize",
        "no",
        "--supervised",
        "no",
        "--port",
        "18481",
    ],
    port: 18481,
    slim: Some(Peer { megabytes: 17.9, packed_megabytes: 6.19 }),
};

pub(crate) const PYTHON: Service = Service {
    name: "python",
    packages: "python3-flask",
    command: &["python3", "/srv/app/app.py"],
    port: 18482,
    slim: None,
};

impl Service {
    /// Its directory in bench/services.
    fn home(&self) -> PathBuf {
        house::top().join("bench/services").join(self.name)
    }

    /// The script of an exercise, `exercise` or `other`.
    pub(crate) fn script(&self, which: &str) -> String {
        self.home().join(which).with_extension("sh").to_string_lossy().into_owned()
    }

    /// A Debian root with the service and its files; made once, kept in target/bench-roots.
    pub(crate) fn root(&self) -> Result<PathBuf> {
        let roots = house::top().join("target/bench-roots");
        let root = roots.join(self.name);
        if !root.exists() {
            println!("making a Debian root with {}", self.packages);
            fs::create_dir_all(&roots)?;
            let fresh = roots.join(format!("{}.new", self.name));
            let include = format!("--include={}", self.packages);
            let mut make = Command::new("mmdebstrap");
            make.args(["--quiet", "--mode=root", "--variant=minbase", &include, "bookworm"]).arg(&fresh);
            shell::run(&mut make)?;
            fs::rename(&fresh, &root)?;
        }
        // Lists of packages are no part of a service; the peer's root had none.
        for list in ["var/lib/apt/lists", "var/cache/apt"] {
            let _ = fs::remove_dir_all(root.join(list));
        }
        let own = self.home().join("root");
        if own.exists() {
            shell::run(Command::new("cp").arg("-r").arg(own.join(".")).arg(&root))?;
        }
        Ok(root)
    }

    /// A development container over that root.
    pub(crate) fn develop(&self, state: &State) -> Result {
        let root = self.root()?;
        state.quiet(&["dev", self.name, "--from", &root.to_string_lossy(), "--", "true"]).map(drop)
    }

    /// `tsubo test` with these exercises.
    pub(crate) fn test(&self, state: &State, exercises: &[&str]) -> Result<String> {
        let ready = format!("tcp:{}", self.port);
        let mut words = vec!["test", self.name, "--ready", &ready];
        words.extend(exercises.iter().flat_map(|e| ["--exercise", e]));
        words.push("--");
        words.extend(self.command);
        state.quiet(&words)
    }

    /// Whether something accepts connections on the service's port before `seconds` have passed.
    pub(crate) fn answers_within(&self, seconds: u32) -> bool {
        (0..seconds * 50).any(|_| {
            let open = std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok();
            if !open {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            open
        })
    }

    /// Runs one of its exercises against whatever answers on its port.
    pub(crate) fn exercise(&self, which: &str) -> Result {
        shell::read(&mut Command::new(self.script(which))).map(drop)
    }
}

/// A path as the words of a command line want it.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
