//! Combinations that cannot work: refused with the reason, before anything is done.

use std::collections::BTreeSet;

use super::{IdRange, Landlock, Namespace, Place, Process, Root, RootChange, SchedulerPolicy, Spec};
use crate::{Error, Result};

/// The most ranges that the kernel takes (user_namespaces(7)).
const MAX_RANGES: usize = 340;

/// Refuses a spec that the kernel could not carry out, or that would reach beyond its container.
///
/// # Errors
/// The first contradiction, with the way out.
pub fn check(spec: &Spec) -> Result<()> {
    check_root(spec)?;
    check_namespaces(spec)?;
    check_users(spec)?;
    for (name, value) in &spec.sysctls {
        check_sysctl(spec, name, value)?;
    }
    if !(1..=64).contains(&spec.stop_signal) {
        return Err(Error::user(format!("the stop signal {} is none of 1 to 64", spec.stop_signal)));
    }
    check_process(spec, &spec.process)
}

/// What one more process in a running container must hold to; the container itself is checked.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_process(spec: &Spec, process: &Process) -> Result<()> {
    let sets = &process.capabilities;
    let within = |name: &str, inner: u64, outer_name: &str, outer: u64| match inner & !outer {
        0 => Ok(()),
        beyond => Err(Error::user(format!(
            "{} is in the {name} set but not in the {outer_name} set",
            super::capability_names(beyond).collect::<Vec<_>>().join(", ")
        ))
        .hint(format!("the kernel keeps the {name} set within the {outer_name} one (capabilities(7))"))),
    };
    within("effective", sets.effective, "permitted", sets.permitted)?;
    within("permitted", sets.permitted, "bounding", sets.bounding)?;
    within("inheritable", sets.inheritable, "bounding", sets.bounding)?;
    within("ambient", sets.ambient, "permitted", sets.permitted)?;
    within("ambient", sets.ambient, "inheritable", sets.inheritable)?;
    check_numbers(process)?;
    process.landlock.as_ref().map_or(Ok(()), |rules| check_landlock(spec, rules))
}

fn check_root(spec: &Spec) -> Result<()> {
    let host = spec.root == Root::Host;
    if host != (spec.root_change == RootChange::None) {
        return Err(Error::user("the host's root goes together with root = \"none\", and only with that"));
    }
    let owns_mounts = spec.owns(Namespace::Mount);
    let changes: [(bool, &str); 5] = [
        (!spec.mounts.is_empty(), "mounts"),
        (!spec.devices.is_empty(), "devices"),
        (!spec.masked.is_empty(), "masked paths"),
        (!spec.read_only.is_empty(), "read-only paths"),
        (spec.root_change == RootChange::Pivot, "root = \"pivot\""),
    ];
    for (there, what) in changes {
        if there && !owns_mounts {
            return Err(Error::user(format!("{what}: that needs a mount namespace of the container's own"))
                .hint("say namespaces.mount = \"own\", or leave it out; root = \"chroot\" does without"));
        }
        if there && host && what != "mounts" {
            return Err(Error::user(format!(
                "{what} in the host's own root would change nothing but the view of it"
            ))
            .hint("use root = \"pivot\" or \"chroot\""));
        }
    }
    if matches!(spec.root, Root::Scratch { .. }) && !owns_mounts {
        return Err(Error::user("a writable root is an overlay, which needs a mount namespace")
            .hint("say namespaces.mount = \"own\""));
    }
    Ok(())
}

fn check_namespaces(spec: &Spec) -> Result<()> {
    let needs = |there: bool, what: &str, namespace: Namespace| match there && !spec.owns(namespace) {
        true => {
            Err(Error::user(format!("{what} needs a {} namespace of the container's own", namespace.word()))
                .hint(format!("say namespaces.{} = \"own\"", namespace.word())))
        }
        false => Ok(()),
    };
    needs(spec.hostname.is_some(), "a host name", Namespace::Uts)?;
    needs(spec.domainname.is_some(), "a domain name", Namespace::Uts)?;
    needs(spec.clocks != super::Clocks::default(), "a clock offset", Namespace::Time)?;
    needs(spec.init, "an init process", Namespace::Pid)?;
    needs(spec.users.is_some(), "a user mapping", Namespace::User)?;
    let attached = spec.network.as_ref().is_some_and(|network| !network.attachments.is_empty());
    needs(attached, "an interface", Namespace::Net)?;
    if spec.owns(Namespace::User) && spec.users.is_none() {
        return Err(Error::user("a user namespace without a mapping has no users")
            .hint("say users = \"auto\", or name the ranges"));
    }
    if matches!(spec.namespaces.get(&Namespace::Cgroup), Some(Place::Own)) && !spec.cgroup {
        return Err(Error::user(
            "a cgroup namespace hides what is above the container's groups, and it has none",
        )
        .hint("leave the groups in, or say namespaces.cgroup = \"host\""));
    }
    let longest = [&spec.hostname, &spec.domainname].into_iter().flatten().map(String::len).max();
    if longest > Some(64) {
        return Err(Error::user("a host or domain name has 64 bytes at most (sethostname(2))"));
    }
    Ok(())
}

fn check_users(spec: &Spec) -> Result<()> {
    let Some(users) = &spec.users else { return Ok(()) };
    for (what, ranges) in [("user", &users.uids), ("group", &users.gids)] {
        check_ranges(what, ranges)?;
    }
    let user = &spec.process.user;
    if users.host_uid(user.uid).is_none() || users.host_gid(user.gid).is_none() {
        return Err(Error::user(format!(
            "user {} group {} has no place in the user mapping",
            user.uid, user.gid
        ))
        .hint("widen the mapping, or run as another user"));
    }
    Ok(())
}

fn check_ranges(what: &str, ranges: &[IdRange]) -> Result<()> {
    if ranges.is_empty() || ranges.len() > MAX_RANGES {
        return Err(Error::user(format!(
            "a {what} mapping has 1 to {MAX_RANGES} ranges, not {}",
            ranges.len()
        )));
    }
    let mut inside: Vec<(u32, u32)> = Vec::new();
    let mut host: Vec<(u32, u32)> = Vec::new();
    for range in ranges {
        let end =
            |start: u32| start.checked_add(range.count).filter(|end| range.count > 0 && *end < u32::MAX);
        let (Some(inside_end), Some(host_end)) = (end(range.inside), end(range.host)) else {
            return Err(Error::user(format!("{what} mapping {range:?} is empty or goes beyond the last id")));
        };
        inside.push((range.inside, inside_end));
        host.push((range.host, host_end));
    }
    for side in [&mut inside, &mut host] {
        side.sort_unstable();
        if side.windows(2).any(|pair| pair[0].1 > pair[1].0) {
            return Err(Error::user(format!("ranges of the {what} mapping overlap")));
        }
    }
    Ok(())
}

/// Parameters of the IPC namespace; everything else of `kernel.` is the whole machine's.
const IPC_SYSCTLS: [&str; 10] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "kernel.auto_msgmni",
    "kernel.sem_next_id",
];

/// Only what belongs to one of the container's own namespaces (CRI-O 2022-0811).
fn check_sysctl(spec: &Spec, name: &str, value: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || !name.chars().all(plain) || name.split('.').any(str::is_empty) {
        return Err(Error::user(format!("{name:?} is no kernel parameter")).hint("as in net.core.somaxconn"));
    }
    if value.is_empty() || value.chars().any(char::is_control) {
        return Err(Error::user(format!("{value:?} is no value for {name}")));
    }
    let namespace = match name {
        "kernel.domainname" | "kernel.hostname" => {
            return Err(Error::user(format!("{name} has a word of its own"))
                .hint("say hostname = … or domainname = …"));
        }
        name if IPC_SYSCTLS.contains(&name) || name.starts_with("fs.mqueue.") => Namespace::Ipc,
        name if name.starts_with("net.") => Namespace::Net,
        name if name.starts_with("user.max_") => Namespace::User,
        _ => {
            return Err(Error::user(format!("{name} would change the whole host"))
                .hint("only net.*, fs.mqueue.*, user.max_* and the kernel.msg*, sem*, shm* ones belong to a container"));
        }
    };
    if spec.owns(namespace) {
        return Ok(());
    }
    Err(Error::user(format!(
        "{name} belongs to a {} namespace, and the container has the host's",
        namespace.word()
    ))
    .hint(format!("say namespaces.{} = \"own\"", namespace.word())))
}

fn check_numbers(process: &Process) -> Result<()> {
    let range = |what: &str, value: Option<i32>, least: i32, most: i32| match value {
        Some(value) if !(least..=most).contains(&value) => {
            Err(Error::user(format!("{what} {value} is not between {least} and {most}")))
        }
        _ => Ok(()),
    };
    range("oom_score_adj", process.oom_score_adj, -1000, 1000)?;
    range("nice", process.nice, -20, 19)?;
    range("the io priority", process.io_priority.map(|priority| priority.level.into()), 0, 7)?;
    if let Some(scheduler) = process.scheduler {
        let real_time = matches!(scheduler.policy, SchedulerPolicy::Fifo | SchedulerPolicy::Rr);
        let least = u32::from(real_time);
        let most = if real_time { 99 } else { 0 };
        if !(least..=most).contains(&scheduler.priority) {
            return Err(Error::user(format!(
                "scheduler {scheduler:?}: the priority is {least} to {most} there"
            )));
        }
    }
    match process.rlimits.iter().find(|(_, soft, hard)| soft > hard) {
        Some((number, soft, hard)) => Err(Error::user(format!(
            "resource limit {number}: the soft one ({soft}) is above the hard one ({hard})"
        ))),
        None => Ok(()),
    }
}

fn check_landlock(spec: &Spec, rules: &Landlock) -> Result<()> {
    let command_needs = rules.execute.is_empty() && (!rules.read.is_empty() || !rules.write.is_empty());
    if command_needs {
        return Err(Error::user("landlock: nothing may be executed, so the command itself could not be")
            .hint("list the directories of programs and libraries in landlock.execute"));
    }
    let shown: BTreeSet<_> = spec.mounts.iter().map(|mount| &mount.at).collect();
    match rules.write.iter().find(|path| spec.read_only.contains(path) && !shown.contains(path)) {
        Some(path) => {
            Err(Error::user(format!("landlock: {path} may be written, but it is a read-only path")))
        }
        None => Ok(()),
    }
}
