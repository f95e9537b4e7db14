//! Defaults, choices, refusals.

use std::path::Path;

use spec::RootPath;
use spec::container::{self, Capabilities, MountKind, Namespace, Place, Root, Users, capability};
use spec::isolation::set;
use spec::observation::Port;
use spec::portable::{Policy, Portable};
use spec::seccomp::Choice;

use super::room::{FRESH_BYTES, FRESH_INODES};
use super::*;

fn portable() -> Portable {
    Portable::new("web".parse().expect("name"), vec!["/bin/true".to_owned()])
}

fn path(text: &str) -> RootPath {
    text.parse().expect(text)
}

#[test]
fn written_directories_become_fresh_ones_outermost_only() {
    let mut portable = portable();
    portable.writable = [path("/var/lib"), path("/var/lib/nginx"), path("/tmp")].into();
    let spec =
        resolve(&portable, Path::new(env!("CARGO_MANIFEST_DIR")), &RunOptions::named(portable.name.clone()))
            .expect("spec");
    let fresh: Vec<String> = spec
        .mounts
        .iter()
        .filter(|mount| matches!(mount.what, MountKind::Fresh { .. }))
        .map(|mount| mount.at.to_string())
        .collect();
    assert_eq!(fresh, ["/tmp", "/var/lib"]);
    assert!(matches!(spec.root, Root::Tree { .. }));
    assert!(spec.process.no_new_privs);
}

#[test]
fn volumes_are_kept_where_told_and_given_ones_win() {
    let mut portable = portable();
    portable.volumes = [path("/var/lib/db"), path("/data")].into();
    let mut options = RunOptions::named(portable.name.clone());
    options.volumes = Some("/state/volumes".into());
    options.binds = vec![Bind { source: "/tmp".into(), at: path("/data"), read_only: true, idmapped: true }];
    let spec = resolve(&portable, Path::new("/"), &options).expect("spec");
    let bind = |at: &str| spec.mounts.iter().filter(|mount| mount.at == path(at)).collect::<Vec<_>>();
    let kept = MountKind::Bind(container::Bind::of("/state/volumes/var%2flib%2fdb"));
    assert_eq!(bind("/var/lib/db")[0].what, kept);
    assert_eq!(bind("/data").len(), 1);
}

#[test]
fn a_package_cannot_ask_for_the_hosts_secrets() {
    let mut portable = portable();
    portable.host_files = [path("/etc/shadow"), path("/etc/hosts")].into();
    let spec = resolve(&portable, Path::new("/"), &RunOptions::named(portable.name.clone())).expect("spec");
    assert!(!spec.mounts.iter().any(|mount| mount.at == path("/etc/shadow")));
}

#[test]
fn an_empty_command_and_a_missing_source_are_refused() {
    let empty = Portable::new("web".parse().expect("name"), Vec::new());
    assert!(resolve(&empty, Path::new("/"), &RunOptions::named(empty.name.clone())).is_err());
    let mut options = RunOptions::named(empty.name.clone());
    options.binds =
        vec![Bind { source: "/nonexistent".into(), at: path("/x"), read_only: false, idmapped: true }];
    assert!(resolve(&portable(), Path::new("/"), &options).is_err());
}

#[test]
fn nothing_lies_over_the_kernels_files() {
    let mut hostile = portable();
    hostile.writable.insert(path("/proc"));
    let error =
        resolve(&hostile, Path::new("/"), &RunOptions::named(hostile.name.clone())).expect_err("refused");
    assert!(error.chain().contains("/proc"), "{error:?}");
    let bound = |source: &str, at: &str| {
        let mut options = RunOptions::named(portable().name);
        options.binds = vec![Bind { source: source.into(), at: path(at), read_only: false, idmapped: true }];
        resolve(&portable(), Path::new("/"), &options)
    };
    for at in ["/", "/proc", "/proc/sys", "/sys/fs/cgroup/x", "/dev", "/dev/shm/x", "/dev/pts"] {
        assert!(bound("/tmp", at).is_err(), "{at}");
    }
    for (source, at) in [("/tmp", "/dev/shm"), ("/dev/null", "/dev/fuse"), ("/tmp", "/procs")] {
        bound(source, at).expect(at);
    }
}

#[test]
fn limits_are_not_those_of_the_callers_shell() {
    let spec = resolve(&portable(), Path::new("/"), &RunOptions::named(portable().name)).expect("spec");
    let [(4, 0, 0), (7, 1024, files)] = spec.process.rlimits[..] else {
        panic!("{:?}", spec.process.rlimits);
    };
    // As many as this host has for that many processes.
    assert!((1024..=524_288).contains(&files), "{files}");
}

#[test]
fn a_fresh_directory_has_room_for_what_the_image_has_there() {
    let tree = std::env::temp_dir().join(format!("tsubo-resolve-{}", std::process::id()));
    std::fs::create_dir_all(tree.join("srv/data")).expect("tree");
    std::os::unix::fs::symlink("srv", tree.join("link")).expect("link");
    // Sparse here, but a copy in memory is not.
    let file = std::fs::File::create(tree.join("srv/data/large")).expect("file");
    file.set_len((300 << 20) + 1).expect("length");
    let mut portable = portable();
    portable.writable = [path("/link"), path("/none")].into();
    let spec = resolve(&portable, &tree, &RunOptions::named(portable.name.clone()));
    std::fs::remove_dir_all(&tree).expect("clean");
    let spec = spec.expect("spec");
    for at in ["/link", "/none"] {
        let mount = spec.mounts.iter().find(|mount| mount.at == path(at)).expect(at);
        assert!(matches!(mount.what, MountKind::Fresh { .. }), "{at}");
    }
    let bytes = 2 * ((300 << 20) + 4096) + FRESH_BYTES;
    assert_eq!(spec.room, container::Room { bytes, inodes: 2 * FRESH_INODES });
}

#[test]
fn what_docker_hides_is_hidden() {
    let spec = resolve(&portable(), Path::new("/"), &with(&["namespaces.user=host"])).expect("spec");
    for hidden in ["/proc/kcore", "/proc/keys", "/sys/devices/virtual/powercap", "/sys/firmware"] {
        assert!(spec.masked.contains(&path(hidden)), "{hidden}");
    }
}

fn tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn with(settings: &[&str]) -> RunOptions {
    let mut options = RunOptions::named(portable().name);
    if let Some(setting) = settings.first() {
        options.isolation = set(setting).expect(setting);
    }
    options
}

#[test]
fn root_inside_is_nobody_outside() {
    let spec = resolve(&portable(), tree(), &with(&[])).expect("spec");
    assert_eq!(spec.users, Some(Users::anywhere()));
    assert_eq!(spec.namespaces[&Namespace::User], Place::Own);
    assert!(spec.process.no_new_privs);
}

#[test]
fn a_low_port_of_the_hosts_network_takes_the_hosts_users_and_is_told() {
    let mut portable = portable();
    portable.ports.insert(Port { protocol: "tcp".into(), port: 80, local: false });
    let (spec, reasons) = explained(&portable, tree(), &with(&["namespaces.net=host"])).expect("spec");
    assert!(!spec.namespaces.contains_key(&Namespace::User) && spec.users.is_none());
    let reason = reasons.iter().find(|reason| reason.what == "user namespace").expect("reason");
    assert!(reason.notable && reason.why.contains("port 80"), "{reason:?}");
    assert!(spec.masked.contains(&path("/proc/kcore")) && spec.read_only.contains(&path("/proc/irq")));
    let own = resolve(&portable, tree(), &with(&[])).expect("spec");
    assert!(own.users.is_some(), "in a network of its own every port is free");
}

#[test]
fn what_was_observed_is_all_there_is() {
    let mut portable = portable();
    let policy = Policy {
        syscalls: ["read".to_owned()].into(),
        capabilities: ["CAP_CHOWN".to_owned()].into(),
        groups_seen: false,
    };
    portable.policy = Some(policy);
    let spec = resolve(&portable, tree(), &with(&[])).expect("spec");
    assert_eq!(spec.process.capabilities, Capabilities::of(capability("CHOWN").expect("known")));
    assert_eq!(spec.process.seccomp, Choice::Observed(["read".to_owned()].into()));
    let spec = resolve(&portable, tree(), &with(&["capabilities.add=KILL"])).expect("spec");
    assert_eq!(capability_names(&spec), ["CAP_CHOWN", "CAP_KILL"]);
}

fn capability_names(spec: &spec::container::Spec) -> Vec<String> {
    container::capability_names(spec.process.capabilities.effective).collect()
}

#[test]
fn every_preset_is_possible() {
    for preset in spec::isolation::Isolation::presets().filter(|preset| *preset != "strict") {
        resolve(&portable(), tree(), &with(&[&format!("extends={preset}")])).expect(preset);
    }
    let error = resolve(&portable(), tree(), &with(&["extends=strict"])).expect_err("nothing observed");
    assert!(error.chain().contains("observed"), "{error:?}");
    let bare = resolve(&portable(), tree(), &with(&["extends=bare"])).expect("bare");
    assert!(bare.namespaces.is_empty() && bare.mounts.is_empty() && bare.masked.is_empty() && !bare.cgroup);
    assert_eq!(spec::plan::plan(&bare).steps.len(), 8, "{:?}", spec::plan::plan(&bare).steps);
}

#[test]
fn what_cannot_work_is_refused_with_the_reason() {
    for (setting, part) in [
        ("namespaces.mount=host", "mount namespace"),
        ("namespaces.uts=host", ""),
        (
            "hostname=a-name-that-is-far-longer-than-the-sixty-four-bytes-which-the-kernel-gives-it",
            "64 bytes",
        ),
        ("sysctls={ \"kernel.core_pattern\" = \"|/x\" }", "whole host"),
        ("monotonic_offset=5", "time namespace"),
        ("users=0:0:0", "empty"),
        ("nice=40", "between"),
        ("devices=/dev/none-such", "none-such"),
    ] {
        match resolve(&portable(), tree(), &with(&[setting])) {
            Ok(_) => assert!(part.is_empty(), "{setting}"),
            Err(error) => {
                assert!(!part.is_empty() && error.chain().contains(part), "{setting}: {}", error.chain())
            }
        }
    }
    let mut on_hosts = portable();
    on_hosts.network.networks.push("host".to_owned());
    let mut options = with(&["sysctls={ \"net.core.somaxconn\" = \"9\" }"]);
    options.as_packaged = true;
    let error = resolve(&on_hosts, tree(), &options).expect_err("the host's");
    assert!(error.chain().contains("net namespace"), "{}", error.chain());
}

#[test]
fn a_package_from_a_stranger_takes_nothing_of_the_host() {
    let mut portable = portable();
    portable.isolation = set("namespaces.pid=host").expect("setting");
    let error = resolve(&portable, tree(), &with(&[])).expect_err("refused");
    assert!(error.hints()[0].contains("--as-packaged"), "{error:?}");
    let mut trusting = with(&[]);
    trusting.as_packaged = true;
    assert!(!resolve(&portable, tree(), &trusting).expect("trusted").owns(Namespace::Pid));
}

#[test]
fn users_are_its_own_or_the_hosts() {
    let with = |origin: &str| {
        let mut options = RunOptions::named(portable().name);
        let origin = origin.parse().expect("origin");
        options.isolation.namespaces.insert(Namespace::User, origin);
        resolve(&portable(), Path::new("/"), &options)
    };
    for (origin, way_out) in [("container:web", "tsubo exec web"), ("/proc/1/ns/user", "--users")] {
        let error = with(origin).expect_err(origin);
        assert!(error.kind() == spec::ErrorKind::Unsupported, "{error:?}");
        assert!(error.hints()[0].contains(way_out), "{error:?}");
    }
    assert!(!with("host").expect("host").namespaces.contains_key(&Namespace::User));
}
