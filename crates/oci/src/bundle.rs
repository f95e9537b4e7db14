//! The bundle that a container is made of.

use std::path::{Path, PathBuf};

use spec::oci::Bundle;
use spec::{Error, Result, ResultExt};

use crate::home::Id;
use crate::{facts, net_devices};

/// The most that a configuration may have: more is no configuration.
const LARGEST: u64 = 32 << 20;

/// Its directory: what was asked for, or where we are.
///
/// # Errors
/// What is not there.
pub(crate) fn find(asked: Option<&str>) -> Result<PathBuf> {
    let path = asked.filter(|path| !path.is_empty()).unwrap_or(".");
    std::fs::canonicalize(path).doing(|| format!("finding the bundle {path}"))
}

/// Reads its configuration. Where somebody in the container could write to the program that this
/// process runs (2019-5736), it is executed again from a place where nobody can.
///
/// # Errors
/// What is no bundle.
pub(crate) fn read(directory: &Path, id: &Id) -> Result<Bundle> {
    let config = text(directory)?;
    // Mostly there are no users of its own, and then nothing has to be read twice.
    let maps = config.windows(MAPS.len()).any(|window| window == MAPS);
    // An ordinary user can only lose what is his own.
    let shields = rustix::process::geteuid().is_root();
    if shields && !maps {
        runtime::shield()?;
    }
    let bundle = facts::read(&config, directory, id.as_str())?;
    if shields && maps && !runtime::is_out_of_reach(bundle.spec.users.as_ref()) {
        runtime::shield()?;
    }
    net_devices::check(&bundle.net_devices)?;
    Ok(bundle)
}

const MAPS: &[u8] = b"uidMappings";

fn text(directory: &Path) -> Result<Vec<u8>> {
    let path = directory.join("config.json");
    let doing = || format!("reading {}", path.display());
    let about = std::fs::metadata(&path).doing(doing)?;
    if !about.is_file() || about.len() > LARGEST {
        let most = LARGEST >> 20;
        return Err(Error::user(format!("{} is no file of at most {most} MiB", path.display())));
    }
    std::fs::read(&path).doing(doing)
}
