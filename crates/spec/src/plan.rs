//! The plan: what a spec means, as a list of steps in the order in which the kernel sees them.
//!
//! A pure function of the spec. A feature that is left out has no step and costs nothing.

mod order;
mod shared;
mod words;

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::container::{
    Capabilities, Clocks, Device, IoPriority, Labels, Landlock, Made, MemoryPolicy, Mount, Namespace, Root,
    Scheduler, Spread, Users,
};
use crate::portable::Ids;
use crate::seccomp::Choice;
use crate::{Id, Name, RootPath};

pub use order::{join, joinable, plan};
pub use shared::Shared;

/// How one process is started: a container's first, or one that joins it later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The container's id.
    pub id: Id,
    /// Its name, for what is said about it.
    pub name: Name,
    /// Namespaces that are made with the process, or by its [`Step::Begin`]; empty for one that joins.
    pub namespaces: BTreeSet<Namespace>,
    /// Who the container's users are on the host, if it has a user namespace of its own.
    pub users: Option<Users>,
    /// It gets a pseudo-terminal of its own.
    pub terminal: bool,
    /// What the new process does, in this order.
    pub steps: Vec<Step>,
}

/// One step of the new process. Steps up to [`Step::Gate`] run before the start returns.
///
/// The process begins in the caller's user namespace, with the caller's privileges, and enters the
/// container's only after everything is mounted: so the container's root owns none of its other
/// namespaces (but those of [`Step::Own`]), and what it is shown needs no permission of its own.
///
/// Where the container is to own them ([`Owner::Container`]) there are two processes. The first has
/// the caller's privileges: it enters what belongs to the host (control groups, namespaces that exist)
/// and sets what takes power over the host and is inherited (limits, priorities, labels). Then it
/// enters the user namespace and, at [`Step::Begin`], makes the second in all other namespaces, which
/// so belong to that. The second has power over them alone. Whatever it shows of the host (the root,
/// binds, mapped owners, a procfs or sysfs that it could not mount itself) was opened by the caller
/// before either existed, and is only attached by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Enter the control groups that were made beforehand.
    Groups {
        /// And hide everything above them, in a control group namespace.
        namespace: bool,
    },
    /// Enter these namespaces of the running container.
    Join {
        /// Which; the user namespace is entered by [`Step::Users`].
        namespaces: BTreeSet<Namespace>,
    },
    /// Enter a namespace that exists, by its file on the host.
    Enter {
        /// Which.
        namespace: Namespace,
        /// The file.
        path: PathBuf,
    },
    /// Cut the mounts off from those of the host.
    PrivateMounts,
    /// Lay out a file system that places of the container are parts of.
    Share(Shared),
    /// Put the root file system in place.
    Root {
        /// Where it comes from.
        root: Root,
        /// Its owners are shown as the container's.
        idmapped: bool,
    },
    /// Mount something in it.
    Mount(Mount),
    /// Show a device of the host.
    Device(Device),
    /// Make a node, a link or the console.
    Make(Made),
    /// Wait while the caller does something in the new namespaces.
    Wait,
    /// Make the root file system itself read-only.
    Seal,
    /// Set the propagation of the root.
    Spread(Spread),
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
    /// Make it the root of this process only.
    Chroot,
    /// Set the host name.
    Hostname {
        /// The name.
        name: String,
    },
    /// Set the NIS domain name.
    Domainname {
        /// The name.
        name: String,
    },
    /// Set the clocks of the time namespace.
    Clocks(Clocks),
    /// How likely this process is killed when memory runs out.
    OomScore {
        /// -1000 to 1000.
        adjustment: i32,
    },
    /// Priority.
    Nice {
        /// -20 to 19.
        level: i32,
    },
    /// Scheduling policy.
    Scheduler(Scheduler),
    /// Priority of input and output.
    IoPriority(IoPriority),
    /// Where its memory comes from.
    MemoryPolicy(MemoryPolicy),
    /// The processors that it is held to.
    Affinity {
        /// Their numbers.
        processors: Vec<u32>,
    },
    /// An empty session keyring of its own.
    Keyring,
    /// Which permissions its files do not get.
    Umask {
        /// Bits.
        mask: u32,
    },
    /// Execution domain.
    Personality {
        /// As in personality(2).
        persona: u32,
    },
    /// Set a resource limit.
    Limit {
        /// Number as in resource.h.
        resource: u32,
        /// Soft limit.
        soft: u64,
        /// Hard limit.
        hard: u64,
        /// An error where the host does not allow as much; else lowered to what it allows.
        exact: bool,
    },
    /// Enter the container's user namespace: from here on, root is nobody on the host.
    Users,
    /// Make the process that goes on, in the namespaces of the plan, and end: they belong to the user
    /// namespace that was entered before.
    Begin,
    /// Make a namespace that the container's root owns.
    Own {
        /// Which.
        namespace: Namespace,
    },
    /// Set a kernel parameter of the container's namespaces.
    Sysctl {
        /// With dots.
        name: String,
        /// As it is written.
        value: String,
    },
    /// Fork: process 1 stays behind as a reaping init, its child goes on.
    Init,
    /// A new session; the terminal, if there is one, controls it.
    Session,
    /// Take the sockets that were handed over as descriptors from 3 on, where its program looks for them.
    Sockets {
        /// So many.
        count: u32,
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
    /// What a security module applies at exec.
    Label(Labels),
    /// No exec gains privilege from here on.
    NoNewPrivileges,
    /// Restrict files and ports.
    Landlock(Landlock),
    /// Load the system call filter for a process with these capabilities.
    Filter {
        /// Which.
        choice: Choice,
        /// Bits numbered as in capability.h.
        capabilities: u64,
    },
    /// Wait until the start is released.
    Gate,
    /// Give up every other capability.
    Capabilities {
        /// The sets.
        sets: Capabilities,
    },
    /// Execute the command.
    Execute {
        /// Program and arguments.
        argv: Vec<String>,
        /// The environment.
        env: Vec<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Place, Process, Spec};

    fn spec() -> Spec {
        let root = Root::Tree { path: "/tree".into() };
        let name = "web".parse().expect("name");
        let mut spec = Spec::new(Id::from_bytes([1; 6]), name, root, Process::new(vec!["true".into()]));
        spec.namespaces.insert(Namespace::Pid, Place::Own);
        spec
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
        spec.namespaces.insert(Namespace::Cgroup, Place::Own);
        spec.init = true;
        spec.process.no_new_privs = true;
        spec.process.seccomp = Choice::Default;
        let plan = plan(&spec);
        assert!(!plan.namespaces.contains(&Namespace::Cgroup));
        assert_eq!(plan.steps[0], Step::Groups { namespace: true });
        let at = |wanted: &Step| plan.steps.iter().position(|step| step == wanted).expect("step");
        assert!(at(&Step::Pivot) < at(&Step::Init));
        let filter = Step::Filter { choice: Choice::Default, capabilities: 0 };
        assert!(at(&Step::NoNewPrivileges) < at(&filter));
        assert!(at(&filter) < at(&Step::Gate));
    }

    #[test]
    fn a_joining_process_makes_no_namespace_and_no_mount() {
        let spec = spec();
        let plan = join(&spec, &spec.process, &joinable(&spec));
        assert!(plan.namespaces.is_empty());
        assert_eq!(plan.steps[1], Step::Join { namespaces: joinable(&spec) });
        assert!(!plan.steps.iter().any(|step| matches!(step, Step::Mount(_) | Step::Root { .. })));
    }

    #[test]
    fn a_plan_survives_its_wire_form() {
        let plan = plan(&spec());
        let bytes = postcard::to_stdvec(&plan).expect("encode");
        assert_eq!(postcard::from_bytes::<Plan>(&bytes).expect("decode"), plan);
    }

    #[test]
    fn the_user_namespace_comes_after_the_mounts_and_owns_the_network() {
        let mut spec = spec();
        spec.users = Some(Users::anywhere());
        for namespace in [Namespace::User, Namespace::Net, Namespace::Uts] {
            spec.namespaces.insert(namespace, Place::Own);
        }
        let plan = plan(&spec);
        assert_eq!(plan.namespaces, [Namespace::Mount, Namespace::Pid, Namespace::Uts].into());
        let at = |wanted: &Step| plan.steps.iter().position(|step| step == wanted).expect("step");
        assert!(at(&Step::Pivot) < at(&Step::Users));
        assert!(at(&Step::Users) < at(&Step::Own { namespace: Namespace::Net }));
        assert!(plan.steps.contains(&Step::Root { root: spec.root.clone(), idmapped: true }));
        let mut joining = joinable(&spec);
        assert_eq!(join(&spec, &spec.process, &joining).steps[2], Step::Users);
        joining.remove(&Namespace::User);
        assert!(!join(&spec, &spec.process, &joining).steps.contains(&Step::Users));
    }
}
