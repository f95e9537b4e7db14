//! `tsubo-oci pause`: every process of a container stands still.

use spec::oci::Status;
use spec::{Error, Result};

use crate::cli::{Context, Verb};
use crate::container::{Container, not_running, word};
use crate::line::{Line, Reach};

/// The verb.
pub(crate) const VERB: Verb = Verb {
    name: "pause",
    words: "ID",
    about: "Hold every process of a container",
    flags: &[],
    reach: Reach::All,
    example: "  tsubo-oci pause web",
    run,
};

fn run(context: &Context, line: &Line) -> Result<u8> {
    let container = Container::open(&context.home, line.only_id()?)?;
    match container.status()? {
        Status::Running | Status::Created => container.record.groups.group().freeze()?,
        Status::Stopped => return Err(not_running()),
        status => {
            let status = word(status);
            return Err(Error::conflict(format!("container not running or created: {status}")));
        }
    }
    Ok(0)
}
