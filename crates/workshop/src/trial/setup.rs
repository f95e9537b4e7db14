//! How a trial was run, kept so that the replay can do the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spec::portable::Ids;
use spec::ready::Ready;
use spec::{Error, Result, ResultExt, RootPath};

use crate::dev::record::write_durably;
use crate::service::exercise::Exercise;

/// One way of running and exercising the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The service's command line.
    pub command: Vec<String>,
    /// Its complete environment.
    pub env: BTreeMap<String, String>,
    /// Its working directory.
    pub cwd: RootPath,
    /// Who it runs as.
    pub user: Ids,
    /// When it counts as ready.
    pub ready: Option<Ready>,
    /// How long that may take, in seconds.
    pub ready_timeout: u64,
    /// What is done with it, in this order.
    pub exercises: Vec<Exercise>,
    /// The folder of the host that exercises there are run in.
    pub folder: PathBuf,
    /// How long one of them may take, in seconds.
    pub exercise_timeout: u64,
    /// How long it runs on after the exercises, in milliseconds.
    pub linger: u64,
    /// The signal number that asks it to stop.
    pub stop_signal: i32,
    /// Directories whose content is to outlive containers.
    pub volumes: Vec<RootPath>,
}

impl Setup {
    /// Whether the service is expected to run to its end by itself: nothing waits for it.
    pub fn is_job(&self) -> bool {
        self.ready.is_none() && self.exercises.is_empty() && self.linger == 0
    }
}

/// Reads the setups of all trials so far; none if there was no trial.
///
/// # Errors
/// A damaged file.
pub fn read(dir: &Path) -> Result<Vec<Setup>> {
    let path = dir.join("trials.json");
    let Ok(text) = std::fs::read(&path) else { return Ok(Vec::new()) };
    serde_json::from_slice(&text).map_err(|cause| {
        Error::internal(format!("{} is damaged", path.display()))
            .because(cause)
            .hint("run tsubo test --fresh to start over")
    })
}

/// Adds a setup; the same one again moves to the end, where the package takes its command from.
///
/// # Errors
/// What the file system says.
pub fn add(dir: &Path, setup: &Setup, fresh: bool) -> Result<()> {
    let mut setups = if fresh { Vec::new() } else { read(dir)? };
    setups.retain(|known| known != setup);
    setups.push(setup.clone());
    let text = serde_json::to_vec_pretty(&setups)
        .map_err(|cause| Error::internal("writing trials.json").because(cause))?;
    write_durably(&dir.join("trials.json"), &text).doing(|| "keeping how the test was run")
}
