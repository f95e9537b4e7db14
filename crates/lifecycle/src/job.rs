//! What a keeper is told when it is started: the first frame on its first connection.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use spec::container::Spec;

/// One container to keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// What to start.
    pub spec: Spec,
    /// Its directory in the state directory: logs, its end.
    pub dir: PathBuf,
    /// Its run directory: state, control socket.
    pub run: PathBuf,
    /// Both are removed when it has ended.
    pub remove: bool,
    /// The first connection stays: what the container says goes there, and if it closes before
    /// the container has ended, the container is stopped.
    pub attached: bool,
    /// Input comes over the first connection; otherwise it is empty.
    pub input: bool,
    /// Rows and columns of the terminal.
    pub size: Option<(u16, u16)>,
}

/// The keeper's control socket, in the run directory.
pub const SOCKET: &str = "control";
