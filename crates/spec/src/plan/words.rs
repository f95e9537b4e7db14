//! Steps in words: for failures, and for `tsubo plan`.

use std::fmt;

use super::{Shared, Step};
use crate::container::{Exact, Made, MountKind, Namespace, Root, Source, capability_names};
use crate::seccomp::Choice;

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Groups { .. } => write!(f, "entering the control groups"),
            Self::Join { .. } => write!(f, "entering the container's namespaces"),
            Self::Enter { namespace, path } => {
                write!(f, "entering the {} namespace {}", namespace.word(), path.display())
            }
            Self::PrivateMounts => write!(f, "separating the mounts from the host's"),
            Self::Share(Shared::Fresh(_)) => write!(f, "making room for files in memory"),
            Self::Share(Shared::Kept) => write!(f, "opening the file system of its volumes"),
            Self::Root { root, .. } => write!(f, "{root}"),
            Self::Mount(mount) => write!(f, "mounting {} at {}", mount.what, mount.at),
            Self::Device(device) => {
                write!(f, "showing the device {} at {}", device.source.display(), device.at)
            }
            Self::Make(made) => write!(f, "{made}"),
            Self::Wait => write!(f, "waiting for what is done in the new namespaces"),
            Self::Seal => write!(f, "making the root read-only"),
            Self::Spread(spread) => write!(f, "making the root {:?}", spread.propagation),
            Self::Begin => write!(f, "making the first process in the container's own namespaces"),
            Self::Mask { path } => write!(f, "masking {path}"),
            Self::ReadOnly { path } => write!(f, "making {path} read-only"),
            Self::Pivot | Self::Chroot => write!(f, "changing the root"),
            Self::Hostname { name } => write!(f, "setting the host name to {name}"),
            Self::Domainname { name } => write!(f, "setting the domain name to {name}"),
            Self::Clocks(clocks) => {
                write!(f, "putting the clocks ahead by {} and {} s", clocks.monotonic, clocks.boot)
            }
            Self::Users => write!(f, "entering the container's user namespace"),
            Self::Own { namespace } => write!(f, "making a {} namespace", namespace.word()),
            Self::Sysctl { name, value } => write!(f, "setting {name} to {value}"),
            Self::Init => write!(f, "forking the init process"),
            other => other.about_the_process(f),
        }
    }
}

impl Step {
    fn about_the_process(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OomScore { adjustment } => write!(f, "setting oom_score_adj to {adjustment}"),
            Self::Nice { level } => write!(f, "setting the priority to {level}"),
            Self::Scheduler(scheduler) => {
                write!(f, "setting the scheduler to {:?} {}", scheduler.policy, scheduler.priority)
            }
            Self::IoPriority(priority) => {
                write!(f, "setting the io priority to {:?} {}", priority.class, priority.level)
            }
            Self::MemoryPolicy(policy) => write!(f, "setting the memory policy to {:#x}", policy.mode),
            Self::Affinity { processors } => write!(f, "holding it to the processors {processors:?}"),
            Self::Keyring => write!(f, "making a session keyring"),
            Self::Umask { mask } => write!(f, "setting the umask to {mask:03o}"),
            Self::Personality { persona } => write!(f, "setting the personality to {persona:#x}"),
            Self::Session => write!(f, "opening a session"),
            Self::Sockets { count } => write!(f, "taking {count} sockets over"),
            Self::Limit { resource, soft, hard, .. } => {
                write!(f, "setting resource limit {resource} to {soft}:{hard}")
            }
            Self::Directory { path } => write!(f, "entering the working directory {path}"),
            Self::Identity { user, .. } => write!(f, "becoming user {} group {}", user.uid, user.gid),
            Self::Label(_) => write!(f, "setting the label of the security module"),
            Self::NoNewPrivileges => write!(f, "setting no_new_privs"),
            Self::Landlock(_) => write!(f, "restricting files and ports with Landlock"),
            Self::Filter { .. } => write!(f, "loading the system call filter"),
            Self::Gate => write!(f, "waiting for the start"),
            Self::Capabilities { .. } => write!(f, "giving up capabilities"),
            Self::Execute { argv, .. } => {
                write!(f, "executing {:?}", argv.first().map_or("", String::as_str))
            }
            other => write!(f, "{other:?}"),
        }
    }

    /// What else there is to say of it, for people who read a plan.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Groups { namespace: true } => Some("and hiding what lies above them".to_owned()),
            Self::Join { namespaces } => Some(
                namespaces.iter().map(|namespace| Namespace::word(*namespace)).collect::<Vec<_>>().join(" "),
            ),
            Self::Root { idmapped: true, .. } | Self::Mount(_) if self.is_idmapped() => {
                Some("owners shown as the container's".to_owned())
            }
            Self::Filter { choice, .. } => Some(filter_word(choice)),
            Self::Capabilities { sets } if sets.effective == 0 => Some("none is left".to_owned()),
            Self::Capabilities { sets } => {
                Some(capability_names(sets.effective).collect::<Vec<_>>().join(" "))
            }
            _ => None,
        }
    }

    fn is_idmapped(&self) -> bool {
        match self {
            Self::Root { idmapped, .. } => *idmapped,
            Self::Mount(mount) => match &mount.what {
                MountKind::Bind(bind) => bind.idmapped,
                MountKind::Exact(exact) => exact.owners.is_some(),
                MountKind::Kept { .. } => true,
                _ => false,
            },
            _ => false,
        }
    }
}

fn filter_word(choice: &Choice) -> String {
    match choice {
        Choice::None => "none".to_owned(),
        Choice::Default => "default".to_owned(),
        Choice::Observed(names) => format!("observed: {} calls and the base", names.len()),
        Choice::Profile(_) => "a profile of the user's".to_owned(),
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tree { path } => write!(f, "showing the tree {}", path.display()),
            Self::Scratch { path, .. } => write!(f, "laying a writable layer over {}", path.display()),
            Self::Mounted { path } | Self::Bundle { path, .. } => {
                write!(f, "taking the root from {}", path.display())
            }
            Self::Host => write!(f, "keeping the host's root"),
        }
    }
}

impl fmt::Display for MountKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proc => f.write_str("proc"),
            Self::Sys { .. } => f.write_str("sysfs"),
            Self::Cgroup { .. } => f.write_str("the control groups"),
            Self::Dev { .. } => f.write_str("devices"),
            Self::Devpts => f.write_str("pseudo-terminals"),
            Self::Mqueue => f.write_str("message queues"),
            Self::Tmpfs { .. } => f.write_str("a tmpfs"),
            Self::Fresh { .. } => f.write_str("a fresh directory"),
            Self::Kept { name } => write!(f, "the volume {name}"),
            Self::Bind(bind) => write!(f, "{}", bind.source.display()),
            Self::Lxcfs { source } => write!(f, "{}, if it is served", source.display()),
            Self::Exact(exact) => write!(f, "{exact}"),
        }
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Bind { path, .. } => write!(f, "{}", path.display()),
            Source::FileSystem { kind, .. } => write!(f, "a {kind}"),
            Source::Groups => f.write_str("the control groups"),
            Source::Present => f.write_str("again what is there"),
        }
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node { at, .. } => write!(f, "making the device {at}"),
            Self::Link { at, target } => write!(f, "making the link {at} to {target}"),
            Self::Console { at } => write!(f, "showing the terminal at {at}"),
        }
    }
}
