//! `tsubo-oci resume`: the processes of a paused container go on.

use spec::{Error, Result};

use crate::cli::{Context, Verb};
use crate::container::Container;
use crate::line::{Line, Reach};

/// The verb.
pub(crate) const VERB: Verb = Verb {
    name: "resume",
    words: "ID",
    about: "Let the processes of a paused container go on",
    flags: &[],
    reach: Reach::All,
    example: "  tsubo-oci resume web",
    run,
};

fn run(context: &Context, line: &Line) -> Result<u8> {
    let container = Container::open(&context.home, line.only_id()?)?;
    if !container.record.groups.is_frozen() {
        return Err(Error::conflict("container not paused"));
    }
    container.record.groups.group().thaw().map(|()| 0)
}
