//! What bundles say, in our words.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::container::{
    Attributes, CAPABILITY_NAMES, Exact, IdRange, Made, MountKind, NodeKind, Propagation, Source, capability,
};
use crate::plan::Step;
use crate::seccomp::{Action, Choice};

pub(super) const STANDARD: &str = include_str!("standard.json");

pub(super) fn facts() -> Facts<'static> {
    Facts {
        id: Id::from_bytes([1; 6]),
        name: "box".parse().expect("a name"),
        resctrl: false,
        selinux: false,
        is_ours: &|_, path| path == Path::new("/proc/1/ns/net"),
    }
}

pub(super) fn standard() -> Value {
    serde_json::from_str(STANDARD).expect("JSON")
}

pub(super) fn read_value(config: &Value) -> Result<Bundle> {
    read(config.to_string().as_bytes(), Path::new("/bundle"), &facts())
}

/// The standard bundle with `value` at a place.
pub(super) fn with(pointer: &str, value: Value) -> Value {
    let mut config = standard();
    let (above, name) = pointer.rsplit_once('/').expect("a pointer");
    let above = config.pointer_mut(above).unwrap_or_else(|| panic!("{above} is there"));
    match above {
        Value::Array(list) if name == "-" => list.push(value),
        Value::Array(list) => list[name.parse::<usize>().expect("an index")] = value,
        above => above[name] = value,
    }
    config
}

fn reads(pointer: &str, value: Value) -> Bundle {
    read_value(&with(pointer, value)).unwrap_or_else(|error| panic!("{pointer}: {error:?}"))
}

pub(super) fn refused(pointer: &str, value: Value) -> String {
    match read_value(&with(pointer, value.clone())) {
        Ok(_) => panic!("{pointer} = {value} was accepted"),
        Err(error) => error.chain(),
    }
}

fn exact(bundle: &Bundle, at: &str) -> Exact {
    let mount = bundle.spec.mounts.iter().rev().find(|mount| mount.at.to_string() == at).expect(at);
    match &mount.what {
        MountKind::Exact(exact) => (**exact).clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_standard_bundle_of_runc() {
    let bundle = read_value(&standard()).expect("standard");
    assert_eq!(bundle.version, "1.0.2-dev");
    let spec = &bundle.spec;
    assert_eq!(spec.root, Root::Bundle { path: "/bundle/rootfs".into(), read_only: true });
    assert_eq!(spec.hostname.as_deref(), Some("runc"));
    assert_eq!(spec.namespaces.len(), 5);
    assert_eq!(spec.process.argv, ["sh"]);
    assert!(spec.process.terminal && spec.process.no_new_privs);
    assert_eq!(spec.process.rlimits, [(7, 1024, 1024)]);
    assert_eq!(spec.process.capabilities.inheritable, 0, "2022-29162: nothing is inherited unasked");
    assert_eq!(spec.process.capabilities.ambient, 0, "the kernel takes none of these");
    assert_eq!(bundle.notes.len(), 1, "{:?}", bundle.notes);
    assert_eq!(spec.masked.len() + spec.read_only.len(), 15);
    let terminals = exact(&bundle, "/dev/pts");
    let Source::FileSystem { kind, options, .. } = &terminals.source else { panic!("{terminals:?}") };
    assert_eq!((kind.as_str(), options.len()), ("devpts", 4));
    assert_eq!(terminals.attributes, Attributes { set: 0x2 | 0x8, clear: 0 });
    assert_eq!(exact(&bundle, "/sys/fs/cgroup").source, Source::Groups);
    assert!(spec.made.contains(&Made::Console { at: "/dev/console".parse().expect("path") }));
    assert_eq!(bundle.resources.devices.as_ref().map(Vec::is_empty), Some(false));
}

#[test]
fn its_plan_is_in_the_order_that_the_kernel_needs() {
    let mut config = standard();
    config["linux"]["namespaces"].as_array_mut().expect("list").push(json!({ "type": "user" }));
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    config["hooks"] = json!({ "createRuntime": [{ "path": "/bin/true" }] });
    let plan = crate::plan::plan(&read_value(&config).expect("bundle").spec);
    let at = |wanted: fn(&Step) -> bool| plan.steps.iter().position(wanted).expect("a step");
    let order = [
        at(|step| matches!(step, Step::Groups { namespace: false })),
        at(|step| matches!(step, Step::Limit { .. })),
        at(|step| matches!(step, Step::Users)),
        at(|step| matches!(step, Step::Begin)),
        at(|step| matches!(step, Step::PrivateMounts)),
        at(|step| matches!(step, Step::Root { idmapped: false, .. })),
        at(|step| matches!(step, Step::Mount(_))),
        at(|step| matches!(step, Step::Make(_))),
        at(|step| matches!(step, Step::Wait)),
        at(|step| matches!(step, Step::Mask { .. })),
        at(|step| matches!(step, Step::Seal)),
        at(|step| matches!(step, Step::Pivot)),
        at(|step| matches!(step, Step::Hostname { .. })),
        at(|step| matches!(step, Step::Session)),
    ];
    assert!(order.is_sorted(), "{order:?} {:?}", plan.steps);
    assert!(!plan.namespaces.contains(&Namespace::User));
}

#[test]
fn every_word_of_a_process() {
    let bundle = reads(
        "/process",
        json!({
            "args": ["a", "b"], "env": ["A=b"], "cwd": "/srv/../etc", "terminal": false,
            "consoleSize": { "height": 25, "width": 80 },
            "user": { "uid": 5, "gid": 6, "umask": 63, "additionalGids": [7, 8] },
            "capabilities": {
                "bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
                "effective": ["CAP_KILL"], "inheritable": ["CAP_CHOWN"], "ambient": ["CAP_CHOWN"],
            },
            "rlimits": [{ "type": "RLIMIT_CORE", "soft": 0, "hard": 18446744073709551615_u64 }],
            "noNewPrivileges": true, "apparmorProfile": "strict", "selinuxLabel": "a:b:c:s0",
            "oomScoreAdj": -5, "ioPriority": { "class": "IOPRIO_CLASS_IDLE", "priority": 3 },
            "scheduler": { "policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_FLAG_RESET_ON_FORK"] },
        }),
    );
    let process = &bundle.spec.process;
    assert_eq!(process.argv, ["a", "b"]);
    assert_eq!(process.cwd.to_string(), "/etc");
    assert_eq!(bundle.console_size, Some((25, 80)));
    assert_eq!((process.user.uid, process.user.gid, &process.user.groups[..]), (5, 6, &[7, 8][..]));
    assert_eq!(process.umask, Some(0o77));
    let sets = process.capabilities;
    assert_eq!((sets.bounding, sets.effective, sets.inheritable, sets.ambient), (0x21, 0x20, 1, 1));
    assert_eq!(process.rlimits, [(4, 0, u64::MAX)]);
    assert_eq!(process.labels.apparmor.as_deref(), Some("strict"));
    assert_eq!(process.labels.selinux.as_deref(), Some("a:b:c:s0"));
    assert_eq!((process.oom_score_adj, process.nice), (Some(-5), Some(5)));
    let scheduler = process.scheduler.expect("scheduler");
    assert_eq!((scheduler.policy as u32, scheduler.flags), (3, 1));
    assert_eq!(process.io_priority.expect("priority").level, 3);
}

#[test]
fn all_capabilities_are_known_and_others_are_noted() {
    let all: Vec<_> = CAPABILITY_NAMES.iter().map(|name| format!("CAP_{name}")).collect();
    let mut unknown = all.clone();
    unknown.push("CAP_OF_TOMORROW".to_owned());
    let set = json!({ "bounding": unknown, "permitted": all, "effective": all });
    let bundle = reads("/process/capabilities", set);
    assert_eq!(bundle.spec.process.capabilities.bounding, (1 << 41) - 1);
    assert!(bundle.notes.iter().any(|note| note.contains("CAP_OF_TOMORROW")), "{:?}", bundle.notes);
    assert_eq!(capability("CAP_OF_TOMORROW"), None);
}

#[test]
fn every_mount_option_of_the_specification_has_a_meaning() {
    let listed = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev \
                  nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow \
                  private ratime rbind rdev rdiratime relatime remount rexec rnoatime rnodev rnodiratime rnoexec \
                  rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime rro rrw rshared rslave \
                  rstrictatime rsuid rsymfollow runbindable rw shared silent slave strictatime suid symfollow sync \
                  tmpcopyup unbindable idmap ridmap";
    let mut missing: Vec<_> =
        listed.split_whitespace().filter(|word| options::meaning(word).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    missing = options::all().iter().filter(|word| options::meaning(word).is_none()).map(|_| "").collect();
    assert!(missing.is_empty(), "what is told is understood");
}

#[test]
fn binds_with_their_attributes() {
    let mount = |options: &[&str]| {
        let value = json!({ "destination": "/srv", "type": "none", "source": "data", "options": options });
        exact(&reads("/mounts/-", value), "/srv")
    };
    let plain = mount(&["rbind", "ro", "nosuid", "noatime", "rslave"]);
    assert_eq!(plain.source, Source::Bind { path: "/bundle/data".into(), recursive: true });
    assert_eq!(plain.attributes, Attributes { set: 0x1 | 0x2 | 0x10, clear: 0x70 });
    assert_eq!(plain.propagation.map(|spread| spread.propagation), Some(Propagation::Slave));
    let later = mount(&["bind", "ro", "rw", "rro", "rnodev"]);
    assert_eq!(later.attributes, Attributes { set: 0, clear: 1 });
    assert_eq!(later.below, Attributes { set: 0x1 | 0x4, clear: 0 });
    let again = mount(&["remount", "ro"]);
    assert_eq!(again.source, Source::Present);
}

#[test]
fn mapped_binds() {
    let map = json!([{ "containerID": 0, "hostID": 5000, "size": 10 }]);
    let value = json!({
        "destination": "/srv", "type": "bind", "source": "/data", "options": ["ridmap"],
        "uidMappings": map, "gidMappings": map,
    });
    let shown = exact(&reads("/mounts/-", value), "/srv").owners.expect("owners");
    assert!(shown.recursive);
    assert_eq!(shown.users.expect("users").uids, [IdRange { inside: 0, host: 5000, count: 10 }]);
    let without = json!({ "destination": "/srv", "type": "bind", "source": "/data", "options": ["idmap"] });
    assert!(refused("/mounts/-", without).contains("container's users"));
}

#[test]
fn options_of_a_file_system_are_passed_on() {
    let value = json!({
        "destination": "/srv", "type": "tmpfs", "source": "tmpfs",
        "options": ["noswap", "size=1m", "sync", "tmpcopyup", "noexec"],
    });
    let found = exact(&reads("/mounts/-", value), "/srv");
    let Source::FileSystem { options, .. } = found.source else { panic!("no file system") };
    let option = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
    assert_eq!(options, [option("noswap", None), option("size", Some("1m")), option("sync", None)]);
    assert!(found.copied);
}

#[test]
fn devices_may_be_anywhere_and_take_the_place_of_the_usual_ones() {
    let devices = json!([
        { "path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 5, "gid": 6 },
        { "path": "/srv/disk", "type": "b", "major": 8, "minor": 0 },
        { "path": "/srv/pipe", "type": "p" },
        { "path": "/srv/plain", "type": "u", "major": 1, "minor": 5 },
    ]);
    let made = reads("/linux/devices", devices).spec.made;
    let node = |path: &str| {
        let at: crate::RootPath = path.parse().expect("path");
        let found: Vec<_> = made
            .iter()
            .filter_map(|made| match made {
                Made::Node { at: other, kind, mode, uid, .. } if *other == at => Some((*kind, *mode, *uid)),
                _ => None,
            })
            .collect();
        assert_eq!(found.len(), 1, "{path}");
        found[0]
    };
    assert_eq!(node("/dev/null"), (NodeKind::Character(1, 3), 0o666, 5));
    assert_eq!(node("/srv/disk"), (NodeKind::Block(8, 0), 0o666, 0));
    assert_eq!(node("/srv/pipe").0, NodeKind::Pipe);
    assert_eq!(node("/dev/tty").0, NodeKind::Character(5, 0));
}

#[test]
fn a_dev_of_the_hosts_is_left_as_it_is() {
    let value = json!({ "destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind"] });
    assert!(reads("/mounts/1", value).spec.made.is_empty());
}

#[test]
fn hooks_of_all_six_kinds() {
    let hook = json!([{ "path": "/bin/h", "args": ["h", "x"], "env": ["A=b"], "timeout": 3 }]);
    let kinds = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    let all: serde_json::Map<_, _> = kinds.map(|kind| (kind.to_owned(), hook.clone())).into_iter().collect();
    let mut config = standard();
    config["hooks"] = Value::Object(all);
    let bundle = read_value(&config).expect("hooks");
    assert!(bundle.spec.waits);
    for list in [
        bundle.hooks.prestart,
        bundle.hooks.create_runtime,
        bundle.hooks.create_container,
        bundle.hooks.start_container,
        bundle.hooks.poststart,
        bundle.hooks.poststop,
    ] {
        assert_eq!(list[0].timeout, Some(Duration::from_secs(3)));
        assert_eq!(list[0].args, ["h", "x"]);
    }
}

#[test]
fn parameters_with_dots_or_slashes() {
    let wanted = json!({
        "net.ipv4.ip_forward": "1", "net/ipv4/conf/eth0.1/forwarding": "1",
        "kernel.msgmax": "8192", "kernel.domainname": "example",
    });
    let spec = reads("/linux/sysctl", wanted).spec;
    let names: Vec<_> = spec.sysctls.keys().map(String::as_str).collect();
    assert_eq!(names, ["kernel.msgmax", "net.ipv4.conf.eth0/1.forwarding", "net.ipv4.ip_forward"]);
    assert_eq!(spec.domainname.as_deref(), Some("example"));
}

#[test]
fn parameters_of_a_network_that_engines_made_but_not_of_the_hosts() {
    let joined = |path: &str| {
        let mut config = with("/linux/sysctl", json!({ "net.core.somaxconn": "9" }));
        config["linux"]["namespaces"][1]["path"] = json!(path);
        read_value(&config)
    };
    joined("/run/netns/one").expect("another's");
    assert!(joined("/proc/1/ns/net").expect_err("ours").chain().contains("host's"));
}

#[test]
fn filters_may_ask_another_process() {
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent", "listenerMetadata": "x",
        "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "syscalls": [
            { "names": ["mkdir"], "action": "SCMP_ACT_NOTIFY" },
            { "names": ["mknod"], "action": "SCMP_ACT_TRACE", "errnoRet": 7 },
        ],
    });
    let bundle = reads("/linux/seccomp", filter);
    let listener = bundle.listener.expect("listener");
    assert_eq!((listener.path, listener.metadata.as_deref()), ("/run/agent".into(), Some("x")));
    let Choice::Profile(profile) = bundle.spec.process.seccomp else { panic!("no profile") };
    assert_eq!(profile.rules[0].action, Action::Notify);
    assert_eq!(profile.rules[1].action, Action::Trace(7));
}

#[test]
fn clocks_personality_memory_and_the_rest() {
    let mut config = standard();
    config["linux"]["namespaces"].as_array_mut().expect("list").push(json!({ "type": "time" }));
    config["linux"]["timeOffsets"] =
        json!({ "monotonic": { "secs": 5, "nanosecs": 7 }, "boottime": { "secs": -5 } });
    config["linux"]["personality"] = json!({ "domain": "LINUX32" });
    config["linux"]["memoryPolicy"] =
        json!({ "mode": "MPOL_BIND", "nodes": "0-1,3", "flags": ["MPOL_F_STATIC_NODES"] });
    config["linux"]["netDevices"] = json!({ "eth7": { "name": "inner" }, "eth8": {} });
    config["linux"]["rootfsPropagation"] = json!("shared");
    config["domainname"] = json!("example");
    let bundle = read_value(&config).expect("all of it");
    let spec = bundle.spec;
    assert_eq!((spec.clocks.monotonic, spec.clocks.boot, spec.clocks.nanoseconds), (5, -5, (7, 0)));
    assert_eq!(spec.process.personality, Some(8));
    let policy = spec.process.memory_policy.expect("policy");
    assert_eq!((policy.mode, &policy.nodes[..]), (2 | 1 << 15, &[0, 1, 3][..]));
    let devices: Vec<_> = bundle.net_devices.into_iter().collect();
    assert_eq!(devices[0], ("eth7".to_owned(), "inner".to_owned()));
    assert_eq!(devices[1].1, "eth8");
    assert_eq!(spec.root_propagation.map(|spread| spread.propagation), Some(Propagation::Shared));
    assert_eq!(spec.domainname.as_deref(), Some("example"));
}

#[test]
fn a_process_that_joins_is_like_the_first_in_what_it_does_not_say() {
    let base = read_value(&standard()).expect("standard").spec.process;
    let joining = process(
        br#"{"args":["id"],"cwd":"/","user":{"uid":1,"gid":2},"execCPUAffinity":{"initial":"0-1","final":"1"}}"#,
        &base,
    )
    .expect("joining")
    .process;
    assert_eq!(joining.capabilities, base.capabilities);
    assert_eq!(joining.rlimits, base.rlimits);
    assert!(joining.no_new_privs && !joining.terminal);
    assert_eq!(joining.affinity, (Some(vec![0, 1]), Some(vec![1])));
    assert!(process(br#"{"args":[],"cwd":"/"}"#, &base).is_err());
}

#[test]
fn our_own_examples_are_bundles() {
    read_value(&example(None)).expect("example");
    let bundle = read_value(&example(Some((1000, 1000)))).expect("rootless");
    assert!(bundle.notes.is_empty(), "{:?}", bundle.notes);
    assert_eq!(bundle.spec.users.expect("users").uids[0].host, 1000);
    let features = features(true);
    assert_eq!(features["ociVersionMax"], "1.3.0");
}

#[test]
fn the_state_is_written_as_the_specification_has_it() {
    let mut state = State::new("x", Status::Created, "/b".into());
    state.pid = Some(7);
    let text = serde_json::to_string(&state).expect("JSON");
    assert_eq!(text, r#"{"ociVersion":"1.3.0","id":"x","status":"created","pid":7,"bundle":"/b"}"#);
}

/// What Podman 4.3 hands to a runtime: with its defaults, with users of its own, privileged.
#[test]
fn bundles_of_an_engine() {
    for (text, users, filtered) in [
        (include_str!("engines/podman.json"), false, true),
        (include_str!("engines/podman_users.json"), true, true),
        (include_str!("engines/podman_privileged.json"), false, false),
    ] {
        let bundle = read(text.as_bytes(), Path::new("/bundle"), &facts()).expect("a bundle");
        // Its filter names calls that are not of this machine; everything else is understood.
        let notes: Vec<_> = bundle.notes.iter().filter(|note| !note.contains("system calls")).collect();
        assert!(notes.iter().all(|note| note.contains("conditions")), "{notes:?}");
        assert_eq!(bundle.spec.users.is_some(), users);
        assert_eq!(bundle.spec.process.seccomp != Choice::None, filtered);
        assert!(bundle.cgroups_path.is_some());
        assert!(crate::plan::plan(&bundle.spec).steps.len() > 20);
    }
}

#[test]
fn a_mount_namespace_that_exists_has_a_root() {
    let mut config = standard();
    config["linux"]["namespaces"][4]["path"] = json!("/proc/7/ns/mnt");
    assert!(read_value(&config).expect_err("mounts").chain().contains("mounts"));
    config["mounts"] = json!([]);
    config["linux"]["maskedPaths"] = json!([]);
    config["linux"]["readonlyPaths"] = json!([]);
    assert_eq!(read_value(&config).expect("joined").spec.root, Root::Host);
}

/// `cargo test --release -p tsubo-spec -- --ignored --nocapture what_reading`
#[test]
#[ignore = "a measurement"]
fn what_reading_and_planning_cost() {
    let (facts, path) = (facts(), Path::new("/bundle"));
    let mut times = Vec::new();
    for _ in 0..2000 {
        let start = std::time::Instant::now();
        let bundle = read(STANDARD.as_bytes(), path, &facts).expect("standard");
        let read = start.elapsed();
        let plan = crate::plan::plan(&bundle.spec);
        times.push((start.elapsed(), read));
        assert!(plan.steps.len() > 20);
    }
    println!("first: {:?}", times[0]);
    times.sort_unstable();
    println!("median (all, reading alone): {:?}", times[times.len() / 2]);
}
