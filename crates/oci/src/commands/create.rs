//! `tsubo-oci create`: a container whose process waits for its start.

use spec::Result;

use crate::cli::{Context, Verb};
use crate::line::{Line, Reach};
use crate::setup::{self, Upto, Wanted};

/// The verb.
pub(crate) const VERB: Verb = Verb {
    name: "create",
    words: "ID",
    about: "Make a container; start lets its program run",
    flags: &[
        setup::BUNDLE,
        setup::CONSOLE,
        setup::PID_FILE,
        setup::PRESERVE,
        setup::NO_PIVOT,
        setup::NO_KEYRING,
    ],
    reach: Reach::All,
    example: "  tsubo-oci create --bundle /srv/web web\n  tsubo-oci create --console-socket tty.sock web",
    run,
};

fn run(context: &Context, line: &Line) -> Result<u8> {
    let begun = setup::begin(context, &Wanted::read(line, true)?, Upto::Latch)?;
    begun.child.leave()?;
    Ok(0)
}
