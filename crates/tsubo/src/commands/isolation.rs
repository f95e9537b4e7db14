//! The flags that choose a container's isolation: the words of `[isolation]`, and Docker's where
//! people know those.

use lifecycle::Reason;
use spec::container::Namespace;
use spec::isolation::{DeviceWord, Isolation, MountType, MountWord, Origin, set};
use spec::{Error, Result, RootPath};

use crate::ui;

/// What of the kernel a container gets, and what it does not.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Isolation")]
pub struct IsolationArgs {
    /// Build on this preset: default, strict, system, bare, host-debug, or one of your own
    #[arg(long, value_name = "NAME")]
    pub preset: Option<String>,

    /// Choose a namespace (mount pid ipc uts cgroup net user time): own, host, container:NAME, or a path
    /// (user: own or host)
    #[arg(long, value_name = "NAME=WHERE", value_parser = namespace)]
    pub namespace: Vec<(Namespace, Origin)>,

    /// The processes it sees: own, host, container:NAME, or a path
    #[arg(long, value_name = "WHERE")]
    pub pid: Option<Origin>,

    /// System V IPC and message queues: own, host, container:NAME, or a path
    #[arg(long, value_name = "WHERE")]
    pub ipc: Option<Origin>,

    /// Host and domain name: own, host, container:NAME, or a path
    #[arg(long, value_name = "WHERE")]
    pub uts: Option<Origin>,

    /// Users and privileges: own (root inside is nobody outside), or host
    #[arg(long, value_name = "WHERE")]
    pub userns: Option<Origin>,

    /// Who its users are on the host: auto, or INSIDE:HOST:COUNT (again for more ranges)
    #[arg(long, value_name = "RANGE")]
    pub users: Vec<String>,

    /// Mount something, as in type=tmpfs,target=/run,size=16m or type=bind,source=/srv,target=/srv,ro
    #[arg(long, value_name = "WORDS")]
    pub mount: Vec<MountWord>,

    /// A directory in memory, as in /run or /run:size=16m,mode=755
    #[arg(long, value_name = "PATH[:OPTIONS]", value_parser = tmpfs)]
    pub tmpfs: Vec<MountWord>,

    /// Leave a usual mount out: /proc, /sys, /sys/fs/cgroup, /dev
    #[arg(long, value_name = "PATH")]
    pub without: Vec<RootPath>,

    /// Give it a device of the host
    #[arg(long, value_name = "PATH[:INSIDE][:ro]")]
    pub device: Vec<DeviceWord>,

    /// Add a capability (ALL for every one)
    #[arg(long, value_name = "NAME")]
    pub cap_add: Vec<String>,

    /// Take a capability away (ALL for every one)
    #[arg(long, value_name = "NAME")]
    pub cap_drop: Vec<String>,

    /// The system call filter: default, observed, none, or a file in the form of OCI or Docker
    #[arg(long, value_name = "WHICH")]
    pub seccomp: Option<String>,

    /// A resource limit, as in nofile=1024:4096
    #[arg(long, value_name = "NAME=LIMIT", value_parser = pair)]
    pub ulimit: Vec<(String, String)>,

    /// A kernel parameter of its namespaces
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub sysctl: Vec<(String, String)>,

    /// Host name [default: the container's name]
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,

    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE")]
    pub shm_size: Option<String>,

    /// Any other word of [isolation], as in nice=5 or landlock.read=/usr,/etc
    #[arg(long = "isolation", value_name = "KEY=VALUE", value_parser = set)]
    pub other: Vec<Isolation>,

    /// Give the package what it asks for, even of the host
    #[arg(long)]
    pub as_packaged: bool,

    /// Say what is on, what is off and why, and start nothing
    #[arg(long)]
    pub explain: bool,
}

impl IsolationArgs {
    /// One layer of choices.
    pub fn layer(&self) -> Isolation {
        let others = self.other.iter().cloned();
        let mut layer = others.fold(Isolation::default(), Isolation::merged);
        layer.extends = self.preset.clone().or(layer.extends);
        layer.namespaces.extend(self.namespace.iter().cloned());
        let short = [
            (Namespace::Pid, &self.pid),
            (Namespace::Ipc, &self.ipc),
            (Namespace::Uts, &self.uts),
            (Namespace::User, &self.userns),
        ];
        layer
            .namespaces
            .extend(short.into_iter().filter_map(|(namespace, origin)| Some((namespace, origin.clone()?))));
        layer.users = if self.users.is_empty() { layer.users } else { Some(self.users.clone()) };
        layer.mounts.extend(self.mount.iter().chain(&self.tmpfs).cloned());
        layer.without.extend(self.without.iter().cloned());
        layer.devices.extend(self.device.iter().cloned());
        layer.capabilities.add.extend(self.cap_add.iter().cloned());
        layer.capabilities.drop.extend(self.cap_drop.iter().cloned());
        layer.seccomp = self.seccomp.clone().or(layer.seccomp);
        layer.rlimits.extend(self.ulimit.iter().cloned());
        layer.sysctls.extend(self.sysctl.iter().cloned());
        layer.hostname = self.hostname.clone().or(layer.hostname);
        layer.shm_size = self.shm_size.clone().or(layer.shm_size);
        layer
    }
}

/// Shows the reasons, two lines each: capabilities alone would make a table too wide.
pub fn explain(reasons: &[Reason]) {
    for reason in reasons {
        ui::line(ui::error::printable(&format!("{:<18}{}", reason.what, reason.state)));
        ui::line(ui::error::printable(&format!(
            "{:<18}  {}; otherwise {}",
            "", reason.why, reason.otherwise
        )));
    }
}

/// Says what a careful person would want to know without asking.
pub fn warn(reasons: &[Reason]) {
    for reason in reasons.iter().filter(|reason| reason.notable) {
        ui::error::warn(&format!("{}: {} ({})", reason.what, reason.state, reason.why));
    }
}

fn namespace(text: &str) -> Result<(Namespace, Origin)> {
    let (name, origin) = text.split_once('=').ok_or_else(|| {
        Error::user(format!("{text:?} does not say where from")).hint("as in net=host or pid=container:web")
    })?;
    let known = Namespace::ALL.into_iter().find(|namespace| namespace.word() == name);
    let namespace = known.ok_or_else(|| {
        let words: Vec<_> = Namespace::ALL.into_iter().map(Namespace::word).collect();
        Error::user(format!("{name:?} is no namespace")).hint(format!("they are {}", words.join(", ")))
    })?;
    Ok((namespace, origin.parse()?))
}

fn tmpfs(text: &str) -> Result<MountWord> {
    let (at, options) = text.split_once(':').unwrap_or((text, ""));
    let options = options.split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect();
    let word = MountWord { kind: MountType::Tmpfs, source: None, at: at.parse()?, options };
    word.mount().map(|_| word)
}

fn pair(text: &str) -> Result<(String, String)> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| Error::user(format!("{text:?} is not NAME=VALUE")))?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_words_become_one_layer() {
        let args = IsolationArgs {
            pid: Some(Origin::Own),
            namespace: vec![namespace("time=own").expect("namespace")],
            other: vec![set("nice=5").expect("setting"), set("capabilities.add=KILL").expect("setting")],
            cap_add: vec!["CHOWN".into()],
            tmpfs: vec![tmpfs("/run:size=1m").expect("tmpfs")],
            ..IsolationArgs::default()
        };
        let layer = args.layer();
        assert_eq!(layer.nice, Some(5));
        assert_eq!(layer.capabilities.add, ["KILL", "CHOWN"]);
        assert_eq!(layer.namespaces.len(), 2);
        assert_eq!(layer.mounts.len(), 1);
    }

    #[test]
    fn bad_words_are_refused() {
        assert!(
            namespace("net").is_err() && namespace("network=own").is_err() && namespace("net=mine").is_err()
        );
        assert!(tmpfs("relative").is_err() && tmpfs("/x:size=big").is_err() && pair("nofile").is_err());
    }
}
