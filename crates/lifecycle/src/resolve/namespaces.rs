//! Which namespaces a container has, and who its users are.

use spec::container::{Namespace, Place, Spec, Users};
use spec::isolation::Origin;
use spec::{Error, Result};

use super::Resolving;
use super::reason::Reasons;

/// Unless something else is said.
const OWN: [Namespace; 5] =
    [Namespace::Mount, Namespace::Pid, Namespace::Ipc, Namespace::Uts, Namespace::Cgroup];

impl Resolving<'_> {
    pub(super) fn namespaces(&self, spec: &mut Spec, reasons: &mut Reasons) -> Result<()> {
        spec.namespaces.clear();
        spec.cgroup = match self.layers.value(|layer| layer.cgroup) {
            Some(wanted) => wanted,
            // An ordinary user has groups where some were delegated to him, and else none.
            None => !self.facts.rootless || cgroup::Group::available().is_ok(),
        };
        let others = [Namespace::Net, Namespace::User];
        for namespace in Namespace::ALL.into_iter().filter(|namespace| !others.contains(namespace)) {
            let said = self.layers.get(|layer| layer.namespaces.get(&namespace).cloned());
            let (origin, why) = match said {
                Some((origin, whose)) => (origin, whose.to_owned()),
                None => self.usual(spec, namespace),
            };
            reasons.add(
                about(namespace),
                origin.to_string(),
                why,
                "--namespace NAME=own|host|container:C|PATH",
            );
            spec.namespaces.extend(place(origin).map(|place| (namespace, place)));
        }
        let net = self.network(spec, reasons)?;
        spec.namespaces.extend(place(net).map(|place| (Namespace::Net, place)));
        self.users(spec, reasons)
    }

    fn usual(&self, spec: &Spec, namespace: Namespace) -> (Origin, String) {
        match namespace {
            Namespace::Cgroup if !spec.cgroup => (Origin::Host, "it has no control groups".to_owned()),
            Namespace::Time => (Origin::Host, "its clocks are the host's".to_owned()),
            other if OWN.contains(&other) => (Origin::Own, "default".to_owned()),
            _ => (Origin::Host, "default".to_owned()),
        }
    }

    /// A user namespace of its own wherever that can work: root inside is nobody outside.
    fn users(&self, spec: &mut Spec, reasons: &mut Reasons) -> Result<()> {
        const OTHERWISE: &str = "--namespace user=own|host, --users auto|INSIDE:HOST:COUNT";
        let said = self.layers.get(|layer| layer.namespaces.get(&Namespace::User).cloned());
        let ranges = self.layers.get(|layer| layer.users.clone());
        let (origin, why) = match (said, &ranges) {
            (Some((origin, whose)), _) => (origin, whose.to_owned()),
            (None, Some((_, whose))) => (Origin::Own, (*whose).to_owned()),
            (None, None) => match self.obstacle(spec) {
                Some(why) => (Origin::Host, why),
                None => (Origin::Own, "default: root inside is nobody on the host".to_owned()),
            },
        };
        own_or_hosts(&origin)?;
        let hosts = origin == Origin::Host;
        reasons.add("user namespace", origin.to_string(), why, OTHERWISE);
        if hosts && !self.facts.rootless {
            reasons.notable();
        }
        let (counts, why) = match origin == Origin::Own {
            true => (
                "its own",
                "the kernel counts them for each user of the host, and its root is one for itself",
            ),
            false => {
                ("shared", "the kernel counts them for each user of the host, and it has the host's users")
            }
        };
        reasons.add("inotify, timers, signals", counts, why, OTHERWISE);
        self.check_rootless(spec, &origin)?;
        if origin == Origin::Own {
            spec.users = Some(match ranges {
                Some((words, _)) => self.mapping(&words)?,
                None => Users::anywhere(),
            });
        }
        spec.namespaces.extend(place(origin).map(|place| (Namespace::User, place)));
        Ok(())
    }

    /// Why a user namespace of its own would not work here.
    fn obstacle(&self, spec: &Spec) -> Option<String> {
        if self.facts.rootless {
            return Some("root inside is you already, and everybody else your subordinate ids".to_owned());
        }
        if spec.namespaces.get(&Namespace::Mount) != Some(&Place::Own) {
            return Some("without mounts of its own the image cannot be shown with other owners".to_owned());
        }
        if !self.facts.mappable {
            return Some("the file system of the image cannot be shown with other owners".to_owned());
        }
        let low = self.portable.ports.iter().find(|port| port.port < self.facts.first_free_port);
        let hosts_net = !spec.namespaces.contains_key(&Namespace::Net);
        low.filter(|_| hosts_net).map(|port| {
            format!(
                "it listens on port {} of the host's network, which takes the host's privilege",
                port.port
            )
        })
    }

    /// What an ordinary user cannot have is said before anything is done.
    fn check_rootless(&self, spec: &Spec, users: &Origin) -> Result<()> {
        if !self.facts.rootless {
            return Ok(());
        }
        if *users == Origin::Own {
            return Err(Error::unsupported(
                "without root, users of its own would take a second mapping of the same ids",
            )
            .hint("leave it out: root inside is nobody but you"));
        }
        let low = self.portable.ports.iter().find(|port| port.port < self.facts.first_free_port);
        match low.filter(|_| !spec.namespaces.contains_key(&Namespace::Net)) {
            Some(port) => Err(Error::new(spec::ErrorKind::Denied, format!("it listens on port {}, which takes root on the host's network", port.port))
                .hint("run it with sudo, let it listen on a higher port, or ask for sysctl net.ipv4.ip_unprivileged_port_start")),
            None => Ok(()),
        }
    }

    fn mapping(&self, words: &[String]) -> Result<Users> {
        if words == ["auto"] {
            return Ok(Users::anywhere());
        }
        let groups = self.layers.value(|layer| layer.groups.clone());
        let uids = ranges(words)?;
        let gids = groups.as_deref().map(ranges).transpose()?.unwrap_or_else(|| uids.clone());
        Ok(Users { uids, gids, anywhere: false })
    }
}

/// Users that another has made cannot be shared: its place on the host is free when it ends, while
/// we would go on there, and the owners of our image are shown by a mapping of our own only.
fn own_or_hosts(users: &Origin) -> Result<()> {
    let way_out = match users {
        Origin::Own | Origin::Host => return Ok(()),
        Origin::Container(name) => format!("run the command in it: tsubo exec {name} COMMAND"),
        Origin::Path(_) => "give it users of its own, and say which: --users INSIDE:HOST:COUNT".to_owned(),
    };
    let message = format!("the user namespace of another ({users}) cannot be shared");
    let cause = Error::unsupported(
        "its ids on the host are given to somebody else when it ends, and the image has other owners there",
    );
    Err(Error::unsupported(message)
        .because(cause)
        .hint(format!("{way_out}, or take the host's: --userns host")))
}

fn ranges(words: &[String]) -> Result<Vec<spec::container::IdRange>> {
    words.iter().map(|word| spec::isolation::id_range(word)).collect()
}

fn place(origin: Origin) -> Option<Place> {
    match origin {
        Origin::Own => Some(Place::Own),
        Origin::Host => None,
        Origin::Container(name) => Some(Place::Container(name)),
        Origin::Path(path) => Some(Place::Path(path)),
    }
}

fn about(namespace: Namespace) -> &'static str {
    match namespace {
        Namespace::Mount => "mount namespace",
        Namespace::Pid => "pid namespace",
        Namespace::Ipc => "ipc namespace",
        Namespace::Uts => "uts namespace",
        Namespace::Cgroup => "cgroup namespace",
        Namespace::Net => "network",
        Namespace::User => "user namespace",
        Namespace::Time => "time namespace",
    }
}
