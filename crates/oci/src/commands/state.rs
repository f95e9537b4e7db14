//! `tsubo-oci state`: how a container is.

use serde_json::{Value, json};
use spec::oci::Status;
use spec::{Error, Result};

use crate::cli::{Context, Verb};
use crate::container::{Container, word};
use crate::line::{Line, Reach};

/// The verb.
pub(crate) const VERB: Verb = Verb {
    name: "state",
    words: "ID",
    about: "Print how a container is, as JSON",
    flags: &[],
    reach: Reach::All,
    example: "  tsubo-oci state web",
    run,
};

fn run(context: &Context, line: &Line) -> Result<u8> {
    let container = Container::open(&context.home, line.only_id()?)?;
    let text = serde_json::to_string_pretty(&document(&container)?);
    say!("{}", text.map_err(|cause| Error::internal("encoding the state").because(cause))?);
    Ok(0)
}

/// With what runc adds to the specification's: engines read it.
///
/// # Errors
/// Where its process cannot be looked at.
pub(crate) fn document(container: &Container) -> Result<Value> {
    let record = &container.record;
    let status = container.status()?;
    let root = match &record.bundle.spec.root {
        spec::container::Root::Bundle { path, .. } => path.display().to_string(),
        _ => String::new(),
    };
    Ok(json!({
        "ociVersion": spec::oci::VERSION,
        "id": record.id,
        "pid": record.init.map_or(0, |init| if status == Status::Stopped { 0 } else { init.pid }),
        "status": word(status),
        "bundle": record.directory,
        "rootfs": root,
        "created": record.created,
        "annotations": record.bundle.annotations,
        "owner": owner(record.owner),
    }))
}

/// By name; root's is told by all engines as nothing but that.
pub(crate) fn owner(uid: u32) -> String {
    if uid == 0 {
        return "root".to_owned();
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("#{uid}"))
}
