//! `tsubo-oci exec`: one more process in a container.

use std::path::Path;

use spec::container::{Process, capability};
use spec::oci::Status;
use spec::{Error, Result, ResultExt};

use crate::cli::{Context, Verb};
use crate::container::Container;
use crate::joining::{self, Joining};
use crate::line::{Line, Reach, switch, value};
use crate::{foreground, pid_file, rootless, setup};

/// The verb.
pub(crate) const VERB: Verb = Verb {
    name: "exec",
    words: "ID [COMMAND...]",
    about: "Run one more process in a running container",
    flags: &[
        setup::CONSOLE,
        value("cwd", None, "DIR", "working directory inside"),
        value("env", Some('e'), "NAME=VALUE", "a variable of its environment"),
        switch("tty", Some('t'), "a terminal of its own"),
        value("user", Some('u'), "UID[:GID]", "run it as this user"),
        value("additional-gids", Some('g'), "GID", "a further group"),
        value("process", Some('p'), "FILE", "everything about it, as JSON"),
        switch("detach", Some('d'), "do not stay with it"),
        setup::PID_FILE,
        value("process-label", None, "LABEL", "its SELinux label"),
        value("apparmor", None, "PROFILE", "its AppArmor profile"),
        switch("no-new-privs", None, "no exec gains privilege"),
        value("cap", Some('c'), "NAME", "a capability that it gets besides the container's"),
        setup::PRESERVE,
        value("cgroup", None, "[CONTROLLER:]PATH", "a group below the container's that it enters"),
        switch("ignore-paused", None, "also in a container that is paused"),
    ],
    reach: Reach::SecondWord,
    example: "  tsubo-oci exec -t web sh\n  tsubo-oci exec --process process.json web",
    run,
};

fn run(context: &Context, line: &Line) -> Result<u8> {
    let (id, argv) =
        line.words.split_first().ok_or_else(|| Error::user("the id of a container is missing"))?;
    let container = Container::open(&context.home, id)?;
    let record = &container.record;
    if !record.rootless && !runtime::is_out_of_reach(record.bundle.spec.users.as_ref()) {
        runtime::shield()?;
    }
    rootless::join(record)?;
    let joining = read(context, &container, line, argv)?;
    setup::check_console(joining.process.terminal, joining.alone, joining.console.as_deref())?;
    match container.status()? {
        Status::Stopped => return Err(Error::conflict("cannot exec in a stopped container")),
        Status::Paused if !line.on("ignore-paused") => {
            return Err(Error::conflict(
                "cannot exec in a paused container (use --ignore-paused to override)",
            ));
        }
        _ => {}
    }
    let (mut child, terminal) = joining::start(&container, &joining)?;
    if joining.alone {
        child.leave()?;
        return Ok(0);
    }
    foreground::attend(&mut child, terminal)
}

fn read(context: &Context, container: &Container, line: &Line, argv: &[String]) -> Result<Joining> {
    let base = &container.record.bundle.spec.process;
    let (process, size) = match line.text("process").filter(|path| !path.is_empty()) {
        Some(path) => {
            let bytes = std::fs::read(Path::new(path)).doing(|| format!("reading {path}"))?;
            let read = spec::oci::process(&bytes, base)?;
            read.notes.iter().for_each(|note| context.log.warning(note));
            (read.process, read.console_size)
        }
        None => (by_options(base, line, argv)?, None),
    };
    let listened = setup::listened();
    let mut process = process;
    if listened > 0 {
        process.env.extend([format!("LISTEN_FDS={listened}"), "LISTEN_PID=1".to_owned()]);
    }
    Ok(Joining {
        process,
        size,
        console: pid_file::asked(line.text("console-socket")),
        pid_file: pid_file::asked(line.text("pid-file")),
        preserve: listened + line.number::<u32>("preserve-fds")?.unwrap_or(0),
        below: line.all("cgroup").map(str::to_owned).collect(),
        alone: line.on("detach"),
    })
}

/// Like the container's first process, but for what the command line says.
fn by_options(base: &Process, line: &Line, argv: &[String]) -> Result<Process> {
    if argv.is_empty() {
        return Err(Error::user("no command to execute").hint("name one, or give --process FILE"));
    }
    let mut process =
        Process { argv: argv.to_vec(), terminal: line.on("tty"), keyring: false, ..base.clone() };
    for entry in line.all("env") {
        let (name, _) =
            entry.split_once('=').ok_or_else(|| Error::user(format!("--env {entry}: there is no =")))?;
        process.env.retain(|other| other.split_once('=').is_none_or(|(other, _)| other != name));
        process.env.push(entry.to_owned());
    }
    if let Some(path) = line.text("cwd").filter(|path| !path.is_empty()) {
        process.cwd = inside(path)?;
    }
    if let Some(user) = line.text("user").filter(|user| !user.is_empty()) {
        let (uid, gid) = user.split_once(':').unwrap_or((user, ""));
        process.user.uid = number("user", uid)?;
        // Another user is in none of the first one's groups.
        process.user.groups.clear();
        process.user.gid = if gid.is_empty() { process.user.gid } else { number("user", gid)? };
    }
    for gid in line.all("additional-gids") {
        process.user.groups.push(number("additional-gids", gid)?);
    }
    for name in line.all("cap") {
        let bit = capability(name).filter(|_| name.starts_with("CAP_"));
        let bit = bit.ok_or_else(|| Error::user(format!("--cap {name}: there is no such capability")))?;
        let sets = &mut process.capabilities;
        (sets.bounding, sets.permitted, sets.effective) =
            (sets.bounding | bit, sets.permitted | bit, sets.effective | bit);
    }
    process.no_new_privs |= line.on("no-new-privs");
    let label = |name: &str| line.text(name).filter(|label| !label.is_empty()).map(str::to_owned);
    process.labels.apparmor = label("apparmor").or(process.labels.apparmor);
    process.labels.selinux = label("process-label").or(process.labels.selinux);
    Ok(process)
}

fn inside(path: &str) -> Result<spec::RootPath> {
    let wrong = || Error::user(format!("--cwd {path}: it is no absolute path"));
    if !path.starts_with('/') {
        return Err(wrong());
    }
    spec::RootPath::normalise(path.as_bytes()).ok_or_else(wrong)
}

/// Never another user than the one that is named: 4294967295 means nobody to the kernel.
fn number(option: &str, text: &str) -> Result<u32> {
    let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|text| text.parse().ok()).filter(|number| *number != u32::MAX);
    number.ok_or_else(|| Error::user(format!("--{option}: {text:?} is no number of a user or group")))
}
