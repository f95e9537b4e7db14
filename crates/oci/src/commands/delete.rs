//! `tsubo-oci delete`: nothing of a container is left.

use spec::Result;
use spec::oci::Status;

use crate::cli::{Context, Verb};
use crate::container::{Container, Lock, missing, word};
use crate::finish;
use crate::home::Id;
use crate::line::{Line, Reach, switch};

/// The verb.
pub(crate) const VERB: Verb = Verb {
    name: "delete",
    words: "ID",
    about: "Remove a container that has stopped",
    flags: &[switch("force", Some('f'), "kill it if it runs; one that does not exist is no error")],
    reach: Reach::All,
    example: "  tsubo-oci delete web\n  tsubo-oci delete --force web",
    run,
};

fn run(context: &Context, line: &Line) -> Result<u8> {
    let id = Id::parse(line.only_id()?)?;
    let force = line.on("force");
    let lock = Lock::take(&context.home.place(&id))?;
    match Container::find(&context.home, &id) {
        Ok(Some(container)) => {
            let status = container.status()?;
            if !force && !matches!(status, Status::Stopped | Status::Created) {
                return Err(finish::refuse(&container, word(status)));
            }
            finish::destroy(context, &id, &container.record)?;
        }
        Ok(None) if !force => return Err(missing(&id)),
        // Half of one, or a record that nobody can read.
        Ok(None) | Err(_) if force => finish::sweep(context, &id)?,
        Ok(None) => {}
        Err(error) => return Err(error),
    }
    drop(lock);
    Ok(0)
}
