//! A state directory of its own for `tsubo`, emptied and removed at the end, whatever happened.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::shell::{self, Result};

/// `tsubo --root` for one benchmark or demo.
pub(crate) struct State {
    program: PathBuf,
    dir: PathBuf,
}

impl State {
    /// A fresh directory below `parent`.
    pub(crate) fn new(dist: &Path, parent: &Path) -> Result<Self> {
        let dir = parent.join(format!("tsubo-{}-{}", std::process::id(), unique()));
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        Ok(Self { program: dist.join("tsubo"), dir })
    }

    /// The same with containers that have the host's network where nothing else is said: that of what they are
    /// compared with.
    pub(crate) fn on_hosts_network(dist: &Path, parent: &Path) -> Result<Self> {
        let state = Self::new(dist, parent)?;
        let presets = state.file("state/presets");
        let usual = "extends = \"default\"\n[namespaces]\nnet = \"host\"\n";
        std::fs::create_dir_all(&presets)
            .and_then(|()| std::fs::write(presets.join("default.toml"), usual))
            .map_err(|e| format!("{}: {e}", presets.display()))?;
        Ok(state)
    }

    /// A place for files beside the state.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// `tsubo --root DIR WORDS…`
    pub(crate) fn tsubo(&self, words: &[&str]) -> Command {
        let mut command = shell::as_root(&self.program);
        command.arg("--root").arg(self.dir.join("state")).args(words);
        command
    }

    /// Runs it quietly; what it said is in the error.
    pub(crate) fn quiet(&self, words: &[&str]) -> Result<String> {
        shell::read(&mut self.tsubo(words))
    }

    /// Runs it and reads the JSON that it prints.
    pub(crate) fn json(&self, words: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.quiet(&[words, &["--format", "json"]].concat())?)?)
    }
}

fn unique() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |d| d.subsec_nanos().into())
}

impl Drop for State {
    fn drop(&mut self) {
        // Not through `json`, which gives up after ^C.
        let listed = self.tsubo(&["ps", "-a", "--format", "json"]).stderr(Stdio::null()).output();
        let listed = listed.map(|done| done.stdout).unwrap_or_default();
        let names: Value = serde_json::from_slice(&listed).unwrap_or_default();
        for container in names.as_array().into_iter().flatten() {
            // Development containers are files, and go with the directory.
            let running = container["stage"] == "production";
            if let Some(name) = container["name"].as_str().filter(|_| running) {
                let _ = self.tsubo(&["rm", "-f", name]).stdout(Stdio::null()).status();
            }
        }
        // What containers were on, if any were.
        let _ = self.tsubo(&["network", "rm", "tsubo"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let removed = shell::as_root("rm").arg("-rf").arg(&self.dir).status();
        if !removed.is_ok_and(|status| status.success()) {
            eprintln!("{} could not be removed", self.dir.display());
        }
    }
}
