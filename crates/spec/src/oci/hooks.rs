//! Programs that are run at turns of a container's life.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{absolute, bad, written};
use crate::Result;

/// All six kinds, each in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// In the runtime's namespaces, after the container's are made (deprecated).
    pub prestart: Vec<Hook>,
    /// Likewise, after those.
    pub create_runtime: Vec<Hook>,
    /// In the container's namespaces, before the root changes.
    pub create_container: Vec<Hook>,
    /// In the container, before its program is executed.
    pub start_container: Vec<Hook>,
    /// In the runtime's namespaces, after its program is executed.
    pub poststart: Vec<Hook>,
    /// In the runtime's namespaces, after the container is removed.
    pub poststop: Vec<Hook>,
}

/// One program. It gets the container's state on its standard input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The file.
    pub path: PathBuf,
    /// All arguments, the program's name first.
    pub args: Vec<String>,
    /// The complete environment.
    pub env: Vec<String>,
    /// How long it may take.
    pub timeout: Option<Duration>,
}

impl Hooks {
    /// Whether some are to be run while the root is still the host's.
    pub fn before_the_root_changes(&self) -> bool {
        !(self.prestart.is_empty() && self.create_runtime.is_empty() && self.create_container.is_empty())
    }
}

pub(super) fn hooks(written: written::Hooks) -> Result<Hooks> {
    Ok(Hooks {
        prestart: list("prestart", written.prestart)?,
        create_runtime: list("createRuntime", written.create_runtime)?,
        create_container: list("createContainer", written.create_container)?,
        start_container: list("startContainer", written.start_container)?,
        poststart: list("poststart", written.poststart)?,
        poststop: list("poststop", written.poststop)?,
    })
}

fn list(kind: &str, written: Option<Vec<written::Hook>>) -> Result<Vec<Hook>> {
    let hook = |(index, hook): (usize, written::Hook)| {
        let place = |name: &str| format!("hooks.{kind}[{index}].{name}");
        let timeout = match hook.timeout {
            None => None,
            Some(seconds) => match u64::try_from(seconds) {
                Ok(seconds @ 1..) => Some(Duration::from_secs(seconds)),
                _ => return Err(bad(&place("timeout"), &format!("{seconds} is not above 0"))),
            },
        };
        Ok(Hook {
            path: absolute(&place("path"), &hook.path)?,
            args: hook.args.unwrap_or_default(),
            env: hook.env.unwrap_or_default(),
            timeout,
        })
    };
    written.unwrap_or_default().into_iter().enumerate().map(hook).collect()
}
