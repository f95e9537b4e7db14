//! Which steps a spec takes, and in which order.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Plan, Step, shared};
use crate::container::{
    Clocks, DEFAULT_LIMITS, Labels, Mount, Namespace, Owner, Place, Process, Root, RootChange, Spec,
};
use crate::seccomp::Choice;

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
