//! The plan: what a spec means, as a list of steps in the order in which the kernel sees them.
//!
//! A pure function of the spec. A feature that is left out has no step and costs nothing.

mod shared;
mod words;

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::container::{
    Capabilities, Clocks, DEFAULT_LIMITS, Device, IoPriority, Labels, Landlock, Made, MemoryPolicy, Mount,
    Namespace, Owner, Place, Process, Root, RootChange, Scheduler, Spec, Spread, Users,
};
use crate::portable::Ids;
use crate::seccomp::Choice;
use crate::{Id, Name, RootPath};

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

/// The plan for a container's first process.
pub fn plan(spec: &Spec) -> Plan {
    let most = spec.mounts.len() + spec.masked.len() + spec.read_only.len() + spec.made.len() + 28;
    let mut steps = Vec::with_capacity(most);
    if owns_itself(spec) {
        own_steps(spec, &mut steps);
        return with_steps(spec, born_with(spec), steps);
    }
    // Made by a step of its own: it must happen after the control groups were entered.
    let hides_groups = spec.owns(Namespace::Cgroup);
    if spec.cgroup || hides_groups {
        steps.push(Step::Groups { namespace: hides_groups });
    }
    // Before anything of ours is mounted: a mount namespace that is joined brings its own root.
    steps.extend(entered(spec, |namespace| namespace != Namespace::User));
    steps.extend(file_system_steps(spec));
    steps.extend(spec.hostname.clone().map(|name| Step::Hostname { name }));
    steps.extend(spec.domainname.clone().map(|name| Step::Domainname { name }));
    steps.extend((spec.clocks != Clocks::default()).then_some(Step::Clocks(spec.clocks)));
    steps.extend(privileged_steps(&spec.process));
    steps.extend(sysctls(spec, |name| !set_inside(spec, name)));
    steps.extend(spec.owns(Namespace::User).then_some(Step::Users));
    steps.extend(entered(spec, |namespace| namespace == Namespace::User));
    steps.extend(owned_inside(spec).map(|namespace| Step::Own { namespace }));
    steps.extend(sysctls(spec, |name| set_inside(spec, name)));
    steps.extend(spec.init.then_some(Step::Init));
    steps.extend(label_step(&spec.process));
    steps.extend(process_steps(&spec.process));
    with_steps(spec, born_with(spec), steps)
}

fn with_steps(spec: &Spec, namespaces: BTreeSet<Namespace>, steps: Vec<Step>) -> Plan {
    Plan {
        id: spec.id,
        name: spec.name.clone(),
        namespaces,
        users: spec.users.clone(),
        terminal: spec.process.terminal,
        steps,
    }
}

/// Whether the container's user namespace owns its other namespaces.
fn owns_itself(spec: &Spec) -> bool {
    spec.owner == Owner::Container && spec.namespaces.contains_key(&Namespace::User)
}

/// The order for [`Owner::Container`], as [`Step`] tells.
fn own_steps(spec: &Spec, steps: &mut Vec<Step>) {
    steps.extend(spec.cgroup.then_some(Step::Groups { namespace: false }));
    steps.extend(entered(spec, |namespace| namespace != Namespace::User));
    let ends_with_fork = |step: &Step| matches!(step, Step::Scheduler(one) if one.ends_with_fork());
    let (late, early): (Vec<Step>, Vec<Step>) =
        privileged_steps(&spec.process).into_iter().partition(ends_with_fork);
    steps.extend(early);
    steps.extend(label_step(&spec.process));
    steps.extend(spec.owns(Namespace::User).then_some(Step::Users));
    steps.extend(entered(spec, |namespace| namespace == Namespace::User));
    steps.extend((spec.clocks != Clocks::default()).then_some(Step::Clocks(spec.clocks)));
    steps.push(Step::Begin);
    steps.extend(file_system_steps(spec));
    steps.extend(spec.hostname.clone().map(|name| Step::Hostname { name }));
    steps.extend(spec.domainname.clone().map(|name| Step::Domainname { name }));
    steps.extend(sysctls(spec, |_| true));
    steps.extend(late);
    steps.extend(spec.init.then_some(Step::Init));
    steps.extend(process_steps(&spec.process));
}

/// The plan for one more process in the running container of `spec`, confined like its first, in
/// these of its namespaces.
pub fn join(spec: &Spec, process: &Process, namespaces: &BTreeSet<Namespace>) -> Plan {
    let mut steps = Vec::new();
    let (before, after) = &process.affinity;
    let held =
        |processors: &Option<Vec<u32>>| processors.clone().map(|processors| Step::Affinity { processors });
    steps.extend(held(before));
    steps.push(Step::Groups { namespace: false });
    steps.extend(held(after));
    let mut namespaces = namespaces.clone();
    let joins_users = namespaces.remove(&Namespace::User);
    steps.push(Step::Join { namespaces });
    // Its root is not that of any mount namespace that could be joined.
    let loose = spec.root_change == RootChange::Chroot && !spec.namespaces.contains_key(&Namespace::Mount);
    steps.extend(loose.then_some(Step::Chroot));
    steps.extend(privileged_steps(process));
    steps.extend(joins_users.then_some(Step::Users));
    steps.extend(label_step(process));
    steps.extend(process_steps(process));
    Plan { terminal: process.terminal, ..with_steps(spec, BTreeSet::new(), steps) }
}

/// The namespaces of a container that are not the host's, and so can be joined.
pub fn joinable(spec: &Spec) -> BTreeSet<Namespace> {
    spec.namespaces.keys().copied().collect()
}

/// Namespaces that the process is born in. The control groups' is unshared in time, and what
/// the container's root shall own comes after the user namespace.
fn born_with(spec: &Spec) -> BTreeSet<Namespace> {
    let mut later: BTreeSet<Namespace> = owned_inside(spec).chain([Namespace::User]).collect();
    if !owns_itself(spec) {
        later.insert(Namespace::Cgroup);
    }
    let own = spec.namespaces.iter().filter(|(_, place)| **place == Place::Own);
    own.map(|(namespace, _)| *namespace).filter(|namespace| !later.contains(namespace)).collect()
}

/// Of the namespaces of its own only the network is administered from inside: without it a root
/// in a user namespace could not even bind port 80 of it.
fn owned_inside(spec: &Spec) -> impl Iterator<Item = Namespace> {
    let own = spec.owns(Namespace::User) && spec.owns(Namespace::Net) && !owns_itself(spec);
    own.then_some(Namespace::Net).into_iter()
}

/// The parameters of a namespace belong to who owns it, and that is who can set them.
fn set_inside(spec: &Spec, name: &str) -> bool {
    name.starts_with("user.") || (name.starts_with("net.") && owned_inside(spec).next().is_some())
}

fn sysctls(spec: &Spec, which: impl Fn(&str) -> bool) -> impl Iterator<Item = Step> {
    let wanted = spec.sysctls.iter().filter(move |(name, _)| which(name));
    wanted.map(|(name, value)| Step::Sysctl { name: name.clone(), value: value.clone() })
}

fn entered(spec: &Spec, which: impl Fn(Namespace) -> bool) -> Vec<Step> {
    let path = |place: &Place| match place {
        Place::Path(path) => Some(path.clone()),
        // Before a start it is put where that container is by then; in this form it cannot be opened.
        Place::Container(name) => Some(PathBuf::from(format!("container:{name}"))),
        Place::Own => None,
    };
    let wanted = spec.namespaces.iter().filter(|(namespace, _)| which(**namespace));
    let step = |(namespace, place): (&Namespace, &Place)| {
        path(place).map(|path| Step::Enter { namespace: *namespace, path })
    };
    wanted.filter_map(step).collect()
}

fn file_system_steps(spec: &Spec) -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(spec.owns(Namespace::Mount).then_some(Step::PrivateMounts));
    let alone = shared::has_one_place(spec);
    steps.extend(shared::steps(spec));
    if spec.root != Root::Host {
        // What the caller has mounted for it may not take an id mapping, and needs none.
        let as_it_is = matches!(spec.root, Root::Mounted { .. } | Root::Bundle { .. });
        let idmapped = spec.users.is_some() && !as_it_is;
        steps.push(Step::Root { root: spec.root.clone(), idmapped });
    }
    let mounted =
        |mount: &Mount| shared::alone(spec, mount).filter(|_| alone).unwrap_or_else(|| mount.clone());
    steps.extend(spec.mounts.iter().map(mounted).map(Step::Mount));
    steps.extend(spec.devices.iter().cloned().map(Step::Device));
    steps.extend(spec.made.iter().cloned().map(Step::Make));
    steps.extend(spec.waits.then_some(Step::Wait));
    steps.extend(spec.masked.iter().cloned().map(|path| Step::Mask { path }));
    steps.extend(spec.read_only.iter().cloned().map(|path| Step::ReadOnly { path }));
    let sealed = matches!(spec.root, Root::Bundle { read_only: true, .. }) && spec.owns(Namespace::Mount);
    steps.extend(sealed.then_some(Step::Seal));
    steps.extend(match spec.root_change {
        RootChange::Pivot => Some(Step::Pivot),
        RootChange::Chroot => Some(Step::Chroot),
        RootChange::None => None,
    });
    steps.extend(spec.root_propagation.map(Step::Spread));
    steps
}

/// What takes privileges of the host, so before the container's user namespace is entered.
fn privileged_steps(process: &Process) -> Vec<Step> {
    let mut steps = Vec::new();
    steps.extend(process.oom_score_adj.map(|adjustment| Step::OomScore { adjustment }));
    steps.extend(process.scheduler.map(Step::Scheduler));
    steps.extend(process.nice.map(|level| Step::Nice { level }));
    steps.extend(process.io_priority.map(Step::IoPriority));
    steps.extend(process.personality.map(|persona| Step::Personality { persona }));
    steps.extend(process.memory_policy.clone().map(Step::MemoryPolicy));
    let limit = |limit: &(u32, u64, u64)| {
        let exact = !DEFAULT_LIMITS.contains(limit);
        Step::Limit { resource: limit.0, soft: limit.1, hard: limit.2, exact }
    };
    steps.extend(process.rlimits.iter().map(limit));
    steps
}

fn label_step(process: &Process) -> Option<Step> {
    (process.labels != Labels::default()).then(|| Step::Label(process.labels.clone()))
}

fn process_steps(process: &Process) -> Vec<Step> {
    let mut steps = vec![Step::Session];
    steps.extend(process.keyring.then_some(Step::Keyring));
    steps.extend(process.umask.map(|mask| Step::Umask { mask }));
    steps.push(Step::Directory { path: process.cwd.clone() });
    let sets = process.capabilities;
    steps.push(Step::Identity { user: process.user.clone(), bounding: sets.bounding });
    steps.extend(process.no_new_privs.then_some(Step::NoNewPrivileges));
    steps.extend(process.landlock.clone().map(Step::Landlock));
    if process.seccomp != Choice::None {
        let choice = process.seccomp.clone();
        steps.push(Step::Filter { choice, capabilities: sets.bounding });
    }
    steps.push(Step::Gate);
    steps.push(Step::Capabilities { sets });
    steps.push(Step::Execute { argv: process.argv.clone(), env: process.env.clone() });
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

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
