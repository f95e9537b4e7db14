//! `tsubo-oci restore`: a container goes on from files.

use std::os::fd::AsFd;
use std::path::Path;

use lifecycle::Pinned;
use rustix::mount::{MountFlags, UnmountFlags};
use spec::{Error, Result, ResultExt};

use crate::cli::{Context, Verb};
use crate::container::{Container, Lock, missing};
use crate::criu::{self, Call};
use crate::groups::{Groups, Spot};
use crate::home::Id;
use crate::line::{Line, Reach, switch, value};
use crate::record::{Claim, Record};
use crate::{bundle, facts, finish, foreground, pid_file, setup};

/// The verb.
pub(crate) const VERB: Verb = Verb {
    name: "restore",
    words: "ID",
    about: "Let a container go on from files, by the program criu",
    flags: &[
        setup::CONSOLE,
        criu::IMAGES,
        criu::WORK,
        criu::TCP,
        criu::UNIX,
        criu::SHELL,
        criu::LOCKS,
        criu::GROUPS,
        setup::BUNDLE,
        switch("detach", Some('d'), "do not stay with it"),
        setup::PID_FILE,
        switch("no-subreaper", None, "no effect: what it leaves is ended by its control groups"),
        setup::NO_PIVOT,
        criu::EMPTY,
        criu::DEDUP,
        criu::LAZY,
        value("lsm-profile", None, "KIND:NAME", "another profile of a security module"),
        value("lsm-mount-context", None, "CONTEXT", "another label of its mounts"),
    ],
    reach: Reach::All,
    example: "  tsubo-oci restore --detach --image-path /srv/images --bundle /srv/web web",
    run,
};

/// What a root looks like to criu while it works.
const ROOT: &str = "root";

/// Where criu writes the number.
const PID: &str = "restored";

fn run(context: &Context, line: &Line) -> Result<u8> {
    let id = Id::parse(line.only_id()?)?;
    let directory = bundle::find(line.text("bundle"))?;
    let path = directory.join("config.json");
    let config = std::fs::read(&path).doing(|| format!("reading {}", path.display()))?;
    let bundle = facts::read(&config, &directory, id.as_str())?;
    let root = criu::check(&bundle)?.to_owned();
    if bundle.spec.process.terminal {
        return Err(Error::unsupported("a container with a terminal is not restored")
            .hint("its terminal has ended with the process that held it"));
    }
    let mut call = Call::new("restore", line)?;
    for option in ["lsm-profile", "lsm-mount-context"] {
        if let Some(text) = line.text(option).filter(|text| !text.is_empty()) {
            call.arg(format!("--{option}")).arg(text);
        }
    }
    let groups = bundle.cgroups_path.clone();
    let spot = Spot::find(groups.as_deref(), id.as_str(), context.systemd, &bundle.resources)?;
    let claim = Claim { cgroups_path: groups.clone(), systemd: context.systemd, missing: spot.missing() };
    let place = context.home.claim(&id)?;
    let _lock = Lock::take(&place)?.ok_or_else(|| missing(&id))?;
    let mut record = Record {
        id: id.as_str().to_owned(),
        directory,
        created: jiff::Timestamp::now().to_string(),
        owner: rustix::process::getuid().as_raw(),
        init: None,
        restored: true,
        rootless: false,
        groups: Groups::default(),
        bundle,
    };
    let made = claim.write(&place).and_then(|()| {
        record.groups = Groups::make(&spot, groups.as_deref(), &record.bundle.resources)?;
        call.reads(&record.bundle, record.groups.unified())?;
        restore(call, &place, &root)
    });
    let made = made.and_then(|pid| {
        record.init = Some(Pinned::of(pid)?);
        record.groups.leave()?;
        record.write(&place)?;
        pid_file::asked(line.text("pid-file")).map_or(Ok(()), |file| pid_file::write(&file, pid))
    });
    if let Err(error) = made {
        if let Err(left) = finish::destroy(context, &id, &record) {
            context.log.warning(&format!("removing what was made: {}", left.chain()));
        }
        return Err(error);
    }
    if line.on("detach") {
        return Ok(0);
    }
    let container = Container { id, place, record };
    let code = foreground::wait_for(container.running()?.as_fd())?;
    finish::destroy(context, &container.id, &container.record)?;
    Ok(code)
}

/// In mounts of our own, where the root is one: criu takes no other. What it restores are our
/// children.
fn restore(mut call: Call, place: &Path, root: &Path) -> Result<i32> {
    sys::private_mounts::enter().doing(|| "separating the mounts")?;
    let at = place.join(ROOT);
    std::fs::create_dir(&at).doing(|| format!("making {}", at.display()))?;
    let bound = rustix::mount::mount(root, &at, c"", MountFlags::BIND | MountFlags::REC, None);
    bound.map_err(std::io::Error::from).doing(|| format!("binding {}", root.display()))?;
    let file = place.join(PID);
    call.arg("--restore-detached")
        .arg("--restore-sibling")
        .arg("--pidfile")
        .arg(&file)
        .arg("--root")
        .arg(&at);
    let done = call.run();
    let gone = rustix::mount::unmount(&at, UnmountFlags::DETACH).map_err(std::io::Error::from);
    done.and(gone.doing(|| format!("unmounting {}", at.display())))?;
    let text = std::fs::read_to_string(&file).doing(|| format!("reading {}", file.display()))?;
    text.trim().parse().map_err(|_| Error::internal("criu has written no number"))
}
