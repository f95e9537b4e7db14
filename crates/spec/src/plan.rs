//! The plan: what a spec means, as a list of steps in the order in which the kernel sees them.
//!
//! A pure function of the spec. A feature that is left out has no step and costs nothing.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::container::{Mount, MountKind, Namespace, Process, Root, Spec};
use crate::portable::Ids;
use crate::{Id, Name, RootPath};

/// How one process is started: a container's first, or one that joins it later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The container's id.
    pub id: Id,
    /// Its name, for what is said about it.
    pub name: Name,
    /// Namespaces that are made with the process; empty for one that joins.
    pub namespaces: BTreeSet<Namespace>,
    /// It gets a pseudo-terminal of its own.
    pub terminal: bool,
    /// What the new process does, in this order.
    pub steps: Vec<Step>,
}

/// One step of the new process. Steps up to [`Step::Gate`] run before the start returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Enter the control groups that were made beforehand.
    Groups {
        /// And hide everything above them, in a control group namespace.
        namespace: bool,
    },
    /// Enter the namespaces of the running container.
    Join,
    /// Cut the mounts off from those of the host.
    PrivateMounts,
    /// Put the root file system in place.
    Root(Root),
    /// Mount something in it.
    Mount(Mount),
    /// Hide a path, if it is there.
    Mask {
        /// Inside.
        path: RootPath,
    },
    /// Make a path read-only, if it is there.
    ReadOnly {
        /// Inside.
        path: RootPath,
    },
    /// Make the root file system the root; the host's becomes unreachable.
    Pivot,
    /// Set the host name.
    Hostname {
        /// The name.
        name: String,
    },
    /// Fork: process 1 stays behind as a reaping init, its child goes on.
    Init,
    /// A new session; the terminal, if there is one, controls it.
    Session,
    /// Set a resource limit.
    Limit {
        /// Number as in resource.h.
        resource: u32,
        /// Soft limit.
        soft: u64,
        /// Hard limit.
        hard: u64,
    },
    /// Enter the working directory.
    Directory {
        /// Inside.
        path: RootPath,
    },
    /// Become the user; take all but these capabilities out of the bounding set.
    Identity {
        /// User and groups.
        user: Ids,
        /// Bits numbered as in capability.h.
        bounding: u64,
    },
    /// No exec gains privilege from here on.
    NoNewPrivileges,
    /// Load the default system call filter for a process with these capabilities.
    Filter {
        /// Bits numbered as in capability.h.
        capabilities: u64,
    },
    /// Wait until the start is released.
    Gate,
    /// Give up every other capability.
    Capabilities {
        /// The effective and permitted set.
        set: u64,
    },
    /// Execute the command.
    Execute {
        /// Program and arguments.
        argv: Vec<String>,
        /// The environment.
        env: Vec<String>,
    },
}

/// The plan for a container's first process.
pub fn plan(spec: &Spec) -> Plan {
    let mut namespaces = spec.namespaces.clone();
    namespaces.insert(Namespace::Mount);
    // Made by a step of its own: it must happen after the control groups were entered.
    let hides_groups = namespaces.remove(&Namespace::Cgroup);
    let mut steps = Vec::with_capacity(spec.mounts.len() + spec.masked.len() + spec.read_only.len() + 20);
    if spec.cgroup || hides_groups {
        steps.push(Step::Groups { namespace: hides_groups });
    }
    steps.extend([Step::PrivateMounts, Step::Root(spec.root.clone())]);
    steps.extend(spec.mounts.iter().cloned().map(Step::Mount));
    steps.extend(spec.masked.iter().cloned().map(|path| Step::Mask { path }));
    steps.extend(spec.read_only.iter().cloned().map(|path| Step::ReadOnly { path }));
    steps.push(Step::Pivot);
    steps.extend(spec.hostname.clone().map(|name| Step::Hostname { name }));
    if spec.init {
        steps.push(Step::Init);
    }
    steps.extend(process_steps(&spec.process));
    Plan { id: spec.id, name: spec.name.clone(), namespaces, terminal: spec.process.terminal, steps }
}

/// The plan for one more process in the running container of `spec`, confined like its first.
pub fn join(spec: &Spec, process: &Process) -> Plan {
    let mut steps = vec![Step::Groups { namespace: false }, Step::Join];
    steps.extend(process_steps(process));
    Plan {
        id: spec.id,
        name: spec.name.clone(),
        namespaces: BTreeSet::new(),
        terminal: process.terminal,
        steps,
    }
}

fn process_steps(process: &Process) -> Vec<Step> {
    let mut steps = vec![Step::Session];
    let limit = |&(resource, soft, hard): &(u32, u64, u64)| Step::Limit { resource, soft, hard };
    steps.extend(process.rlimits.iter().map(limit));
    steps.push(Step::Directory { path: process.cwd.clone() });
    steps.push(Step::Identity { user: process.user.clone(), bounding: process.capabilities });
    if process.no_new_privs {
        steps.push(Step::NoNewPrivileges);
    }
    if process.seccomp {
        steps.push(Step::Filter { capabilities: process.capabilities });
    }
    steps.push(Step::Gate);
    steps.push(Step::Capabilities { set: process.capabilities });
    steps.push(Step::Execute { argv: process.argv.clone(), env: process.env.clone() });
    steps
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Groups { .. } => write!(f, "entering the control groups"),
            Self::Join => write!(f, "entering the container's namespaces"),
            Self::PrivateMounts => write!(f, "separating the mounts from the host's"),
            Self::Root(Root::Tree { path }) => write!(f, "showing the tree {}", path.display()),
            Self::Root(Root::Scratch { path, .. }) => {
                write!(f, "laying a writable layer over {}", path.display())
            }
            Self::Root(Root::Mounted { path }) => write!(f, "taking the root from {}", path.display()),
            Self::Mount(mount) => write!(f, "mounting {} at {}", mount.what, mount.at),
            Self::Mask { path } => write!(f, "masking {path}"),
            Self::ReadOnly { path } => write!(f, "making {path} read-only"),
            Self::Pivot => write!(f, "changing the root"),
            Self::Hostname { name } => write!(f, "setting the host name to {name}"),
            Self::Init => write!(f, "forking the init process"),
            Self::Session => write!(f, "opening a session"),
            Self::Limit { resource, soft, hard } => {
                write!(f, "setting resource limit {resource} to {soft}:{hard}")
            }
            Self::Directory { path } => write!(f, "entering the working directory {path}"),
            Self::Identity { user, .. } => write!(f, "becoming user {} group {}", user.uid, user.gid),
            Self::NoNewPrivileges => write!(f, "setting no_new_privs"),
            Self::Filter { .. } => write!(f, "loading the system call filter"),
            Self::Gate => write!(f, "waiting for the start"),
            Self::Capabilities { .. } => write!(f, "giving up capabilities"),
            Self::Execute { argv, .. } => {
                write!(f, "executing {:?}", argv.first().map_or("", String::as_str))
            }
        }
    }
}

impl fmt::Display for MountKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proc => f.write_str("proc"),
            Self::Sys => f.write_str("sysfs"),
            Self::Cgroup => f.write_str("the control groups"),
            Self::Dev { .. } => f.write_str("devices"),
            Self::Tmpfs { .. } => f.write_str("a tmpfs"),
            Self::Bind { source, .. } => write!(f, "{}", source.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        Spec {
            id: Id::from_bytes([1; 6]),
            name: "web".parse().expect("name"),
            root: Root::Tree { path: "/tree".into() },
            mounts: Vec::new(),
            namespaces: BTreeSet::from([Namespace::Mount, Namespace::Pid]),
            hostname: None,
            masked: Vec::new(),
            read_only: Vec::new(),
            process: Process {
                argv: vec!["true".into()],
                env: Vec::new(),
                cwd: RootPath::root(),
                user: Ids::default(),
                capabilities: 0,
                no_new_privs: false,
                seccomp: false,
                terminal: false,
                rlimits: Vec::new(),
            },
            init: false,
            cgroup: false,
            stop_signal: 15,
        }
    }

    fn words(plan: &Plan) -> Vec<String> {
        plan.steps.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_left_out_has_no_step() {
        let expected = [
            "separating the mounts from the host's",
            "showing the tree /tree",
            "changing the root",
            "opening a session",
            "entering the working directory /",
            "becoming user 0 group 0",
            "waiting for the start",
            "giving up capabilities",
            "executing \"true\"",
        ];
        assert_eq!(words(&plan(&spec())), expected);
    }

    #[test]
    fn the_cgroup_namespace_comes_after_entering_the_groups() {
        let mut spec = spec();
        spec.namespaces.insert(Namespace::Cgroup);
        spec.init = true;
        spec.process.no_new_privs = true;
        spec.process.seccomp = true;
        let plan = plan(&spec);
        assert!(!plan.namespaces.contains(&Namespace::Cgroup));
        assert_eq!(plan.steps[0], Step::Groups { namespace: true });
        let at = |wanted: &Step| plan.steps.iter().position(|step| step == wanted).expect("step");
        assert!(at(&Step::Pivot) < at(&Step::Init));
        assert!(at(&Step::NoNewPrivileges) < at(&Step::Filter { capabilities: 0 }));
        assert!(at(&Step::Filter { capabilities: 0 }) < at(&Step::Gate));
    }

    #[test]
    fn a_joining_process_makes_no_namespace_and_no_mount() {
        let spec = spec();
        let plan = join(&spec, &spec.process);
        assert!(plan.namespaces.is_empty());
        assert_eq!(plan.steps[1], Step::Join);
        assert!(!plan.steps.iter().any(|step| matches!(step, Step::Mount(_) | Step::Root(_))));
    }

    #[test]
    fn a_plan_survives_its_wire_form() {
        let plan = plan(&spec());
        let bytes = postcard::to_stdvec(&plan).expect("encode");
        assert_eq!(postcard::from_bytes::<Plan>(&bytes).expect("decode"), plan);
    }
}
