//! `tsubo-oci checkpoint`: a running container becomes files.

use spec::Result;
use spec::oci::Status;

use crate::cli::{Context, Verb};
use crate::container::{Container, Lock, missing, not_running};
use crate::criu::{self, Call};
use crate::finish;
use crate::line::{Line, Reach, switch, value};

/// The verb.
pub(crate) const VERB: Verb = Verb {
    name: "checkpoint",
    words: "ID",
    about: "Write the processes of a container to files, by the program criu, and end it",
    flags: &[
        criu::IMAGES,
        criu::WORK,
        value("parent-path", None, "DIR", "images of memory from before, as seen from the new ones"),
        switch("leave-running", None, "let it go on"),
        criu::TCP,
        criu::UNIX,
        criu::SHELL,
        criu::LAZY,
        value("status-fd", None, "N", "tell there when pages can be asked for"),
        value("page-server", None, "ADDRESS:PORT", "send pages there"),
        criu::LOCKS,
        switch("pre-dump", None, "only its memory, and let it go on"),
        criu::GROUPS,
        criu::EMPTY,
        criu::DEDUP,
    ],
    reach: Reach::All,
    example: "  tsubo-oci checkpoint --image-path /srv/images web",
    run,
};

fn run(context: &Context, line: &Line) -> Result<u8> {
    let container = Container::open(&context.home, line.only_id()?)?;
    let bundle = &container.record.bundle;
    let root = criu::check(bundle)?;
    let _lock = Lock::take(&container.place)?.ok_or_else(|| missing(&container.id))?;
    if !matches!(container.status()?, Status::Running | Status::Paused) {
        return Err(not_running());
    }
    let action = if line.on("pre-dump") { "pre-dump" } else { "dump" };
    let mut call = Call::new(action, line)?;
    let pid = container.record.init.map_or(0, |init| init.pid);
    call.writes(bundle, pid, container.record.groups.freezer().as_deref())?;
    call.arg("--tree").arg(pid.to_string()).arg("--root").arg(root);
    for (option, word) in [("parent-path", "--prev-images-dir"), ("status-fd", "--status-fd")] {
        if let Some(text) = line.text(option).filter(|text| !text.is_empty() && *text != "-1") {
            call.arg(word).arg(text);
        }
    }
    if let Some((address, port)) = line.text("page-server").and_then(|server| server.rsplit_once(':')) {
        call.arg("--page-server").arg("--address").arg(address).arg("--port").arg(port);
    }
    let goes_on = line.on("leave-running") || action == "pre-dump";
    if line.on("leave-running") && action == "dump" {
        call.arg("--leave-running");
    }
    if action == "pre-dump" {
        call.arg("--track-mem");
    }
    call.run()?;
    if !goes_on {
        finish::destroy(context, &container.id, &container.record)?;
    }
    Ok(0)
}
