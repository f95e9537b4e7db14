//! A process: the container's first, or one that joins.

use super::written::{Capabilities, IoPriority, Limit, Process, Scheduler};
use super::{affinity, bad, host_path, inside, missing, words};
use crate::Result;
use crate::container::{self, IoClass, Labels, SchedulerPolicy};
use crate::portable::Ids;

/// Rows and columns.
pub(super) fn console_size(written: &Process) -> Result<Option<(u16, u16)>> {
    let Some(size) = &written.console_size else { return Ok(None) };
    let short = |number: u32| {
        u16::try_from(number).map_err(|_| bad("process.consoleSize", &format!("{number} is beyond 65535")))
    };
    Ok(Some((short(size.height)?, short(size.width)?)).filter(|size| *size != (0, 0)))
}

pub(super) fn process(
    written: Process,
    base: Option<&container::Process>,
    notes: &mut Vec<String>,
) -> Result<container::Process> {
    let argv = written.args.unwrap_or_default();
    if argv.first().is_none_or(String::is_empty) {
        return Err(bad("process.args", "there is no program to execute"));
    }
    let mut process = container::Process::new(argv);
    if let Some(base) = base {
        process.capabilities = base.capabilities;
        process.no_new_privs = base.no_new_privs;
        process.seccomp = base.seccomp.clone();
        process.labels = base.labels.clone();
        process.rlimits.clone_from(&base.rlimits);
        process.oom_score_adj = base.oom_score_adj;
        process.io_priority = base.io_priority;
        process.scheduler = base.scheduler;
        process.nice = base.nice;
        process.personality = base.personality;
        process.memory_policy.clone_from(&base.memory_policy);
    }
    // What its caller keeps there is not for it.
    process.keyring = base.is_none_or(|base| base.keyring);
    process.env = written.env.unwrap_or_default();
    process.terminal = written.terminal.unwrap_or(false);
    let cwd = written.cwd.ok_or_else(|| missing("process.cwd"))?;
    if !host_path("process.cwd", &cwd)?.is_absolute() {
        return Err(bad("process.cwd", &format!("{cwd:?} is not absolute")));
    }
    process.cwd = inside("process.cwd", &cwd)?;
    let user = written.user.unwrap_or_default();
    process.umask = user.umask.map(umask).transpose()?;
    process.user = ids(user.uid, user.gid, user.additional_gids.unwrap_or_default())?;
    if let Some(sets) = &written.capabilities {
        process.capabilities = capabilities(sets, notes)?;
    }
    if let Some(limits) = &written.rlimits {
        process.rlimits = rlimits(limits)?;
    }
    process.no_new_privs = written.no_new_privileges.unwrap_or(process.no_new_privs);
    let given = |label: Option<String>| label.filter(|label| !label.is_empty());
    let Labels { apparmor, selinux } = process.labels;
    process.labels = Labels {
        apparmor: given(written.apparmor_profile).or(apparmor),
        selinux: given(written.selinux_label).or(selinux),
    };
    process.oom_score_adj = written.oom_score_adj.or(process.oom_score_adj);
    if let Some(score) = process.oom_score_adj.filter(|score| !(-1000..=1000).contains(score)) {
        return Err(bad("process.oomScoreAdj", &format!("{score} is not between -1000 and 1000")));
    }
    if let Some(wanted) = &written.io_priority {
        process.io_priority = Some(io_priority(wanted)?);
    }
    if let Some(wanted) = &written.scheduler {
        (process.scheduler, process.nice) = scheduler(wanted)?;
    }
    if let Some(wanted) = &written.affinity {
        let list = |name: &str, text: &Option<String>| {
            let text = text.as_deref().filter(|text| !text.is_empty());
            text.map(|text| affinity::list(&format!("process.execCPUAffinity.{name}"), text)).transpose()
        };
        process.affinity = (list("initial", &wanted.initial)?, list("final", &wanted.last)?);
    }
    Ok(process)
}

fn umask(mask: u32) -> Result<u32> {
    match mask {
        0..=0o777 => Ok(mask),
        _ => Err(bad("process.user.umask", &format!("{mask} is more than 511 (0777)"))),
    }
}

fn ids(uid: u32, gid: u32, groups: Vec<u32>) -> Result<Ids> {
    // NGROUPS_MAX
    if groups.len() > 65_536 {
        return Err(bad("process.user.additionalGids", "there are more than 65536"));
    }
    let named = [("uid", uid), ("gid", gid)].into_iter();
    if let Some((name, _)) =
        named.chain(groups.iter().map(|gid| ("additionalGids", *gid))).find(|(_, id)| *id == u32::MAX)
    {
        return Err(bad(&format!("process.user.{name}"), "4294967295 means nobody to the kernel"));
    }
    Ok(Ids { uid, gid, groups })
}

/// Names that nobody knows are left out: a runtime must not fail for a capability that is younger
/// than it. Ambient capabilities are those that are permitted and inheritable too; the kernel takes no
/// others, and what lists them without (as `runc spec` does) has always run without them.
fn capabilities(written: &Capabilities, notes: &mut Vec<String>) -> Result<container::Capabilities> {
    let mut set = |name: &str, list: &Option<Vec<String>>| {
        let mut bits = 0;
        for word in list.iter().flatten() {
            match container::capability(word) {
                Some(bit) if word.starts_with("CAP_") => bits |= bit,
                _ => {
                    let word: String = word.chars().take(80).collect();
                    notes.push(format!("process.capabilities.{name}: {word:?} is unknown and left out"));
                }
            }
        }
        bits
    };
    let mut sets = container::Capabilities {
        bounding: set("bounding", &written.bounding),
        permitted: set("permitted", &written.permitted),
        effective: set("effective", &written.effective),
        inheritable: set("inheritable", &written.inheritable),
        ambient: set("ambient", &written.ambient),
    };
    let within = |name: &str, inner: u64, outer_name: &str, outer: u64| match inner & !outer {
        0 => Ok(()),
        beyond => {
            let names: Vec<_> = container::capability_names(beyond).collect();
            let why = format!("{} is not in the {outer_name} set", names.join(", "));
            Err(bad(&format!("process.capabilities.{name}"), &why))
        }
    };
    within("effective", sets.effective, "permitted", sets.permitted)?;
    within("permitted", sets.permitted, "bounding", sets.bounding)?;
    within("inheritable", sets.inheritable, "bounding", sets.bounding)?;
    let possible = sets.ambient & sets.permitted & sets.inheritable;
    if possible != sets.ambient {
        let names: Vec<_> = container::capability_names(sets.ambient & !possible).collect();
        notes.push(format!(
            "process.capabilities.ambient: {} left out, as permitted and inheritable do not both have it",
            names.join(", ")
        ));
        sets.ambient = possible;
    }
    Ok(sets)
}

/// By the numbers of resource.h.
pub(super) const LIMITS: [(&str, u32); 16] = [
    ("RLIMIT_CPU", 0),
    ("RLIMIT_FSIZE", 1),
    ("RLIMIT_DATA", 2),
    ("RLIMIT_STACK", 3),
    ("RLIMIT_CORE", 4),
    ("RLIMIT_RSS", 5),
    ("RLIMIT_NPROC", 6),
    ("RLIMIT_NOFILE", 7),
    ("RLIMIT_MEMLOCK", 8),
    ("RLIMIT_AS", 9),
    ("RLIMIT_LOCKS", 10),
    ("RLIMIT_SIGPENDING", 11),
    ("RLIMIT_MSGQUEUE", 12),
    ("RLIMIT_NICE", 13),
    ("RLIMIT_RTPRIO", 14),
    ("RLIMIT_RTTIME", 15),
];

fn rlimits(written: &[Limit]) -> Result<Vec<(u32, u64, u64)>> {
    let mut limits: Vec<(u32, u64, u64)> = Vec::new();
    for (index, limit) in written.iter().enumerate() {
        let place = || format!("process.rlimits[{index}]");
        let number = words::number(&place(), "resource limit", &limit.kind, &LIMITS)?;
        if limits.iter().any(|(other, ..)| *other == number) {
            return Err(bad(&place(), &format!("{} is there twice", limit.kind)));
        }
        if limit.soft > limit.hard {
            let why = format!("the soft limit {} is above the hard one {}", limit.soft, limit.hard);
            return Err(bad(&place(), &why));
        }
        limits.push((number, limit.soft, limit.hard));
    }
    Ok(limits)
}

fn io_priority(written: &IoPriority) -> Result<container::IoPriority> {
    const CLASSES: [(&str, IoClass); 3] = [
        ("IOPRIO_CLASS_RT", IoClass::RealTime),
        ("IOPRIO_CLASS_BE", IoClass::BestEffort),
        ("IOPRIO_CLASS_IDLE", IoClass::Idle),
    ];
    let class = words::number("process.ioPriority.class", "class", &written.class, &CLASSES)?;
    match u8::try_from(written.priority) {
        Ok(level @ 0..=7) => Ok(container::IoPriority { class, level }),
        _ => Err(bad("process.ioPriority.priority", &format!("{} is not between 0 and 7", written.priority))),
    }
}

/// The policy, and the nice value that comes with it.
fn scheduler(written: &Scheduler) -> Result<(Option<container::Scheduler>, Option<i32>)> {
    const POLICIES: [(&str, SchedulerPolicy); 6] = [
        ("SCHED_OTHER", SchedulerPolicy::Other),
        ("SCHED_FIFO", SchedulerPolicy::Fifo),
        ("SCHED_RR", SchedulerPolicy::Rr),
        ("SCHED_BATCH", SchedulerPolicy::Batch),
        ("SCHED_IDLE", SchedulerPolicy::Idle),
        ("SCHED_DEADLINE", SchedulerPolicy::Deadline),
    ];
    const FLAGS: [(&str, u64); 7] = [
        ("SCHED_FLAG_RESET_ON_FORK", 0x01),
        ("SCHED_FLAG_RECLAIM", 0x02),
        ("SCHED_FLAG_DL_OVERRUN", 0x04),
        ("SCHED_FLAG_KEEP_POLICY", 0x08),
        ("SCHED_FLAG_KEEP_PARAMS", 0x10),
        ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
        ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
    ];
    let place = |name: &str| format!("process.scheduler.{name}");
    let policy = words::number(&place("policy"), "policy of the kernel", &written.policy, &POLICIES)?;
    let mut flags = 0;
    for word in written.flags.iter().flatten() {
        flags |= words::number(&place("flags"), "flag", word, &FLAGS)?;
    }
    let range = |name: &str, value: Option<i32>, least: i32, most: i32| match value.unwrap_or(least.max(0)) {
        value if (least..=most).contains(&value) => Ok(value),
        value => {
            Err(bad(&place(name), &format!("{value} is not between {least} and {most} with this policy")))
        }
    };
    let real_time = matches!(policy, SchedulerPolicy::Fifo | SchedulerPolicy::Rr);
    let (least, most) = if real_time { (1, 99) } else { (0, 0) };
    let priority = range("priority", written.priority, least, most)? as u32;
    let normal = matches!(policy, SchedulerPolicy::Other | SchedulerPolicy::Batch);
    let (least, most) = if normal { (-20, 19) } else { (0, 0) };
    let nice = range("nice", written.nice, least, most)?;
    let times = [written.runtime, written.deadline, written.period].map(Option::unwrap_or_default);
    if times != [0; 3] && policy != SchedulerPolicy::Deadline {
        return Err(bad(&place("runtime"), "runtime, deadline and period are for SCHED_DEADLINE"));
    }
    if policy == SchedulerPolicy::Deadline && times[0] == 0 {
        return Err(bad(&place("runtime"), "SCHED_DEADLINE needs one"));
    }
    let scheduler = container::Scheduler { policy, priority, flags, deadline: times.into() };
    Ok((Some(scheduler), (normal && written.nice.is_some()).then_some(nice)))
}
