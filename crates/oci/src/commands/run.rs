//! `tsubo-oci run`: create and start at once, and stay with it.

use spec::Result;

use crate::cli::{Context, Verb};
use crate::line::{Line, Reach, switch};
use crate::setup::{self, Begun, Upto, Wanted};
use crate::{finish, foreground, hooks};

/// The verb.
pub(crate) const VERB: Verb = Verb {
    name: "run",
    words: "ID",
    about: "Make a container, start it, and remove it when it has ended",
    flags: &[
        setup::BUNDLE,
        setup::CONSOLE,
        switch("detach", Some('d'), "do not stay with it"),
        switch("keep", None, "do not remove it when it has ended"),
        switch("no-subreaper", None, "no effect: what it leaves is ended by its control groups"),
        setup::PID_FILE,
        setup::PRESERVE,
        setup::NO_PIVOT,
        setup::NO_KEYRING,
    ],
    reach: Reach::All,
    example: "  tsubo-oci run web\n  tsubo-oci run --detach --bundle /srv/web web",
    run,
};

fn run(context: &Context, line: &Line) -> Result<u8> {
    let wanted = Wanted::read(line, line.on("detach"))?;
    let begun = setup::begin(context, &wanted, Upto::Program)?;
    hooks::after_the_start(&begun.record, &context.log);
    if wanted.alone {
        begun.child.leave()?;
        return Ok(0);
    }
    let Begun { record, mut child, terminal, .. } = begun;
    let code = foreground::attend(&mut child, terminal);
    // It is our own child: nobody else knows its code.
    drop(child);
    if !line.on("keep") {
        finish::destroy(context, &wanted.id, &record)?;
    }
    code
}
