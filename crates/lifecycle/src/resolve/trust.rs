//! What a package may not take for itself: it comes from somebody else, and describes a container,
//! not what of the host that may use.

use cgroup::Room;
use spec::container::{Capabilities, DEFAULT_CAPABILITIES, Namespace, RootChange, capability_names};
use spec::isolation::{Isolation, MountType, MountWord, Origin, rlimit_number};
use spec::limits::Limits;
use spec::network::{Choice, DEFAULT, NetworkTable, Peer};
use spec::portable::{Portable, is_reserved};
use spec::resources::Limit;
use spec::{Error, Result};

use crate::{log, volumes};

/// Refuses a package whose isolation reaches beyond that of any container.
///
/// # Errors
/// What it asks for, with the flag that grants it.
pub(super) fn check(portable: &Portable) -> Result<()> {
    let mut asked = loosened(&portable.isolation)?;
    asked.extend(unlimited(&portable.limits));
    asked.extend(connected(&portable.network)?);
    if asked.is_empty() {
        return Ok(());
    }
    Err(Error::user(format!(
        "package {} asks for more than a container has: {}",
        portable.name,
        asked.join("; ")
    ))
    .hint("if you trust whoever made it, run it with --as-packaged"))
}

fn loosened(isolation: &Isolation) -> Result<Vec<String>> {
    let mut asked = Vec::new();
    let preset = isolation.extends.as_deref().filter(|name| !matches!(*name, "default" | "strict"));
    asked.extend(preset.map(|name| format!("the preset {name}")));
    let given = |namespace: &Namespace, origin: &Origin| match (namespace, origin) {
        (_, Origin::Own) | (Namespace::Time, Origin::Host) => false,
        (_, Origin::Host | Origin::Container(_) | Origin::Path(_)) => true,
    };
    let shared = isolation.namespaces.iter().filter(|(namespace, origin)| given(namespace, origin));
    asked.extend(shared.map(|(namespace, origin)| format!("the {} namespace {origin}", namespace.word())));
    asked.extend(
        isolation.root.filter(|root| *root != RootChange::Pivot).map(|root| format!("the root {root:?}")),
    );
    asked.extend(isolation.mounts.iter().filter_map(mount));
    asked.extend(isolation.devices.iter().map(|device| format!("the device {}", device.source.display())));
    let sets = isolation.capabilities.apply(Capabilities::of(DEFAULT_CAPABILITIES))?;
    let all = sets.bounding | sets.permitted | sets.effective | sets.inheritable | sets.ambient;
    // Within its own user namespace they mean little; on the host's they mean everything, and
    // which it gets is decided elsewhere.
    asked.extend(capability_names(all & !DEFAULT_CAPABILITIES));
    asked.extend(
        isolation
            .seccomp
            .as_deref()
            .filter(|word| !matches!(*word, "default" | "observed"))
            .map(|_| "a system call filter of its own".to_owned()),
    );
    let mapped = isolation.users.is_some() || isolation.groups.is_some();
    asked.extend(mapped.then(|| "a user mapping".to_owned()));
    let labelled = isolation.apparmor.is_some() || isolation.selinux.is_some();
    asked.extend(labelled.then(|| "a label of the host's".to_owned()));
    let ungrouped = isolation.cgroup == Some(false) || isolation.controllers.is_some();
    asked.extend(ungrouped.then(|| "other control groups".to_owned()));
    asked.extend(
        isolation
            .rlimits
            .iter()
            .filter(|(name, value)| raised(name, value))
            .map(|(name, _)| format!("the limit {name}")),
    );
    asked.extend(isolation.masked.is_some().then(|| "other masked paths".to_owned()));
    asked.extend(isolation.read_only.is_some().then(|| "other read-only paths".to_owned()));
    let first = [
        isolation.oom_score_adj.is_some_and(|value| value < 0),
        isolation.nice.is_some_and(|value| value < 0),
        isolation.io_priority.as_deref().is_some_and(|word| word.starts_with("real-time")),
    ];
    asked.extend(first.contains(&true).then(|| "precedence over other processes".to_owned()));
    asked.extend(
        isolation
            .scheduler
            .as_deref()
            .filter(|word| word.starts_with("fifo") || word.starts_with("rr"))
            .map(|_| "real-time scheduling".to_owned()),
    );
    Ok(asked)
}

/// Limits that take from others: a share above that of everybody, memory that is never given back, or
/// the group of somebody.
fn unlimited(limits: &Limits) -> Vec<String> {
    // Most say nothing, and the host is not to be asked for them.
    if limits.is_empty() {
        return Vec::new();
    }
    let room = Room::of_host().one();
    let beyond = |one: Limit, most: Option<Limit>| most.is_some_and(|most| one > most);
    let more = [
        (limits.group.is_some(), "a group of containers"),
        (limits.cpu_weight.is_some_and(|weight| weight > 100), "a larger share of the processors"),
        (limits.cpu_shares.is_some_and(|shares| shares > 1024), "a larger share of the processors"),
        (limits.io_weight.is_some_and(|weight| weight > 100), "a larger share of the disks"),
        (limits.cpu_realtime.is_some(), "real-time scheduling"),
        (limits.memory_low.is_some() || limits.memory_min.is_some(), "memory that others do not get"),
        (
            limits.memory.is_some_and(|size| beyond(size.0, room.memory.max)),
            "more memory than containers have",
        ),
        (limits.pids.is_some_and(|count| beyond(count.0, room.pids)), "more processes than containers have"),
        (limits.swap.is_some_and(|size| size.0 != Limit::At(0)), "swap"),
        (!limits.unified.is_empty(), "files of control groups"),
        (
            limits.disk.is_some_and(|size| size.0 > Limit::At(volumes::MOST_BYTES)),
            "more disk than containers have",
        ),
        (
            limits.inodes.is_some_and(|count| count.0 > Limit::At(volumes::MOST_INODES)),
            "more files than containers have",
        ),
        (limits.disk_reserved == Some(true), "disk that others do not get"),
        (limits.logs.is_some_and(|size| size.0 > Limit::At(log::USUAL)), "longer logs than containers have"),
    ];
    more.iter().filter(|(asked, _)| *asked).map(|(_, what)| (*what).to_owned()).collect()
}

/// The lowest port that is not kept for services of the host's root.
const FIRST_PORT: u16 = 1024;

/// What of the host's networks is not for everybody: its own interfaces and services, others' networks and
/// containers, and ports that people take for the host's. What comes in by a published port is meant to.
fn connected(table: &NetworkTable) -> Result<Vec<String>> {
    if table.is_empty() {
        return Ok(Vec::new());
    }
    let mut asked = Vec::new();
    match table.choice()? {
        None | Some(Choice::None | Choice::User) => {}
        Some(Choice::Host) => asked.push("the host's network".to_owned()),
        Some(Choice::Container(name)) => asked.push(format!("the network of container {name}")),
        Some(Choice::Path(path)) => asked.push(format!("the network {}", path.display())),
        Some(Choice::Attached(wishes)) => {
            for wish in &wishes {
                asked.extend(wish.host.iter().map(|name| format!("the host's interface {name}")));
                asked.extend(wish.cni.iter().map(|name| format!("the CNI configuration {name}")));
                asked.extend(wish.netavark.iter().map(|name| format!("podman's network {name}")));
                let others = wish.network.iter().filter(|name| name.as_str() != DEFAULT);
                asked.extend(others.map(|name| format!("the network {name}")));
            }
        }
    }
    let networking = table.networking()?;
    let low = networking.published.iter().filter(|port| (1..FIRST_PORT).contains(&port.host));
    asked.extend(low.map(|port| format!("port {} of the host", port.host)));
    // To the outside it may talk anyway; and who else may talk to it is its own business, but for everybody.
    let beyond = networking.allow.iter().filter(|allow| match (&allow.peer, allow.inward) {
        (Peer::Outside, inward) => inward,
        (Peer::Container(_) | Peer::Group(_), inward) => !inward,
        (Peer::Host | Peer::Net(_), _) => true,
    });
    asked.extend(beyond.map(|allow| format!("to talk beyond its network ({allow})")));
    // The host asks them for it, and its files tell them what it is asked.
    asked.extend(
        networking.servers.iter().map(|server| format!("names from a resolver of its own ({server})")),
    );
    Ok(asked)
}

/// What a mount shows of the host. The usual ones are there without a word; one more proc, say,
/// would be one without what is masked in the usual one.
fn mount(word: &MountWord) -> Option<String> {
    match word.kind {
        MountType::Tmpfs | MountType::Devpts | MountType::Mqueue if !is_reserved(&word.at) => None,
        MountType::Bind => Some(format!("{} of the host", word.source.clone().unwrap_or_default().display())),
        _ => Some(format!("a mount of its own at {}", word.at)),
    }
}

/// Limits that are worth something outside: dumps are taken by a program of the host, and the
/// others give precedence or memory that cannot be reclaimed.
fn raised(name: &str, value: &str) -> bool {
    // By number: a name has several spellings.
    let number = rlimit_number(name).ok();
    let kept = ["core", "memlock", "nice", "rtprio"];
    value != "0" && kept.iter().any(|kept| rlimit_number(kept).ok() == number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::isolation::set;

    #[test]
    fn what_reaches_the_host_is_refused() {
        for hostile in [
            "extends=bare",
            "namespaces.pid=host",
            "namespaces.net=container:db",
            "namespaces.net=host",
            "namespaces.user=host",
            "root=none",
            "mounts=[{ source = \"/\", at = \"/host\" }]",
            "devices=/dev/sda",
            "capabilities.add=SYS_ADMIN",
            "capabilities.ambient=SYS_PTRACE",
            "seccomp=none",
            "users=0:0:65536",
            "masked=[]",
            "oom_score_adj=-1000",
            "scheduler=fifo:99",
            "io_priority=real-time:0",
            "groups=0:0:65536",
            "mounts=[{ type = \"proc\", at = \"/mnt\" }]",
            "mounts=[{ type = \"cgroup\", at = \"/sys/fs/cgroup\", options = [\"rw\"] }]",
            "mounts=[{ type = \"tmpfs\", at = \"/proc\" }]",
            "mounts=[{ type = \"sys\", at = \"/mnt\" }]",
            "rlimits={ rtprio = \"99\" }",
            "rlimits={ core = \"unlimited\" }",
            "rlimits={ RLIMIT_CORE = \"unlimited\" }",
            "rlimits={ Memlock = \"unlimited\" }",
            "apparmor=unconfined",
            "cgroup=false",
            "controllers=[]",
        ] {
            assert!(isolated(hostile).is_err(), "{hostile}");
        }
        for hostile in [
            "group=tenant-a",
            "cpu_weight=1000",
            "memory_min=1G",
            "memory=max",
            "memory=900T",
            "pids=4000000",
            "unified={ \"memory.oom.group\" = \"0\" }",
        ] {
            assert!(limited(hostile).is_err(), "{hostile}");
        }
    }

    fn networked(words: &str) -> Result<()> {
        let mut portable = Portable::new("web".parse()?, Vec::new());
        portable.network = serde_json::from_str(words).expect(words);
        check(&portable)
    }

    #[test]
    fn the_hosts_networks_are_not_for_everybody() {
        for hostile in [
            "{\"networks\":[\"host\"]}",
            "{\"networks\":[\"container:db\"]}",
            "{\"networks\":[\"ns:/proc/1/ns/net\"]}",
            "{\"networks\":[\"interface:eth0\"]}",
            "{\"networks\":[\"cni:ptp\"]}",
            "{\"networks\":[\"netavark:podman\"]}",
            "{\"networks\":[\"tsubo\",\"others\"]}",
            "{\"publish\":[\"80:80\"]}",
            "{\"publish\":[\"1020-1030:20-30\"]}",
            "{\"allow\":[\"host\"]}",
            "{\"allow\":[\"from:host:80\"]}",
            "{\"allow\":[\"from:outside\"]}",
            "{\"allow\":[\"db:5432\"]}",
            "{\"allow\":[\"group:tenant-a\"]}",
            "{\"allow\":[\"from:0.0.0.0/0\"]}",
            "{\"dns\":[\"9.9.9.9\"]}",
        ] {
            let error = networked(hostile).expect_err(hostile);
            assert!(error.hints()[0].contains("--as-packaged"), "{error:?}");
        }
        for harmless in [
            "{\"networks\":[\"tsubo:alias=db\"]}",
            "{\"networks\":[\"none\"]}",
            "{\"publish\":[\"8080:80\",\"80\",\"5353:53/udp\"]}",
            "{\"allow\":[\"outside:443\",\"from:web\",\"from:group:tenant-a\"],\"closed\":true}",
            "{\"ingress\":\"1M\",\"aliases\":[\"db\"]}",
        ] {
            networked(harmless).expect(harmless);
        }
    }

    fn isolated(words: &str) -> Result<()> {
        let mut portable = Portable::new("web".parse()?, Vec::new());
        portable.isolation = set(words)?;
        check(&portable)
    }

    fn limited(words: &str) -> Result<()> {
        let mut portable = Portable::new("web".parse()?, Vec::new());
        portable.limits = spec::limits::set(words)?;
        check(&portable)
    }

    #[test]
    fn what_tightens_or_stays_inside_is_not() {
        for harmless in [
            "namespaces.net=own",
            "capabilities.drop=ALL",
            "extends=strict",
            "hostname=web",
            "mounts=[{ type = \"tmpfs\", at = \"/run\" }]",
            "nice=10",
            "rlimits={ core = \"0\", nofile = \"4096\" }",
            "sysctls={ \"net.core.somaxconn\" = \"1024\" }",
        ] {
            isolated(harmless).expect(harmless);
        }
        for harmless in ["memory=64M", "cpus=0.5", "cpu_weight=10", "pids=20", "swap=0"] {
            limited(harmless).expect(harmless);
        }
    }
}
