//! What the process may not do.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use spec::ErrorKind;
use spec::container::{Capabilities, DEFAULT_CAPABILITIES, DEFAULT_LIMITS, capability};
use spec::seccomp::Choice;

use crate::harness::{container, shell};

#[test]
fn every_namespace_is_its_own() {
    let inside = shell("for n in mnt pid ipc uts cgroup; do readlink /proc/self/ns/$n; done; readlink /proc/self/ns/net; hostname").said();
    let lines: Vec<_> = inside.lines().collect();
    for (line, name) in lines.iter().zip(["mnt", "pid", "ipc", "uts", "cgroup"]) {
        let ours = fs::read_link(format!("/proc/self/ns/{name}")).expect(name);
        assert_ne!(*line, ours.to_string_lossy(), "{name}");
    }
    assert_eq!(lines[5], fs::read_link("/proc/self/ns/net").expect("net").to_string_lossy(), "host network");
    assert_eq!(lines[6], "inside");
}

#[test]
fn capabilities_are_dockers_and_none_is_inheritable() {
    let said = shell("grep Cap /proc/self/status").said();
    let sets: Vec<_> = said.split_whitespace().skip(1).step_by(2).collect();
    assert_eq!(
        sets,
        ["0000000000000000", "00000000a80425fb", "00000000a80425fb", "00000000a80425fb", "0000000000000000"]
    );
}

#[test]
fn a_user_without_capabilities() {
    let mut made = shell("id -u; id -g; id -G; grep -E 'CapPrm|CapEff|NoNew' /proc/self/status");
    made.spec.process.user = spec::portable::Ids { uid: 33, gid: 44, groups: vec![55, 66] };
    let said = made.said();
    assert!(said.starts_with("33\n44\n44 55 66\n"), "{said}");
    assert_eq!(said.matches("0000000000000000").count(), 2, "{said}");
}

#[test]
fn nonsense_users_and_unknown_powers_are_refused() {
    let mut made = shell("true");
    made.spec.process.user.uid = u32::MAX;
    assert_eq!(made.fails().kind(), ErrorKind::User);
    let mut made = shell("true");
    made.spec.process.capabilities = Capabilities::of(DEFAULT_CAPABILITIES | 1 << 55);
    made.fails();
}

#[test]
fn attack_23_no_new_privileges() {
    for (no_new_privs, expected) in [(true, "1"), (false, "0")] {
        let mut made = shell("grep NoNewPrivs /proc/self/status | grep -o '[01]'");
        made.spec.process.no_new_privs = no_new_privs;
        assert_eq!(made.said(), expected);
    }
}

#[test]
fn attack_34_the_filter_refuses_what_docker_refuses() {
    let made = shell("unshare -m true 2>&1; unshare -U true 2>&1; mount -t tmpfs x /tmp 2>&1; true");
    let said = made.said();
    assert_eq!(
        said.matches("Operation not permitted").count() + said.matches("permission denied").count(),
        3,
        "{said}"
    );
    assert_eq!(shell("grep Seccomp: /proc/self/status | grep -o '[0-9]'").said(), "2");
    let mut unfiltered = shell("grep Seccomp: /proc/self/status | grep -o '[0-9]'");
    unfiltered.spec.process.seccomp = Choice::None;
    assert_eq!(unfiltered.said(), "0");
}

#[test]
fn the_filter_is_loaded_without_no_new_privs_too() {
    let mut made = shell("grep -E 'Seccomp:|NoNew|CapEff' /proc/self/status | grep -o '[0-9a-f]*$'");
    made.spec.process.no_new_privs = false;
    made.spec.process.user.uid = 33;
    assert_eq!(made.said(), "0000000000000000\n0\n2");
}

#[test]
fn attack_21_descriptors_0_to_2_only() {
    let leak = fs::File::open("/etc/hostname").expect("file");
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).expect("no close-on-exec");
    for init in [false, true] {
        let mut made = container(&["/bin/sh", "-c", "exec ls /proc/self/fd"]);
        made.spec.init = init;
        // ls itself has the directory open as 3.
        assert_eq!(made.said(), "0\n1\n2\n3");
    }
}

#[test]
fn limits_mask_signals_and_session() {
    let mut made = shell(
        "ulimit -n; umask; grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status | grep -o '[0-9a-f]*$' | sort -u; \
                          exec cat /proc/self/stat",
    );
    made.spec.process.argv =
        ["/bin/cat", "/proc/self/status", "/proc/self/limits", "/proc/self/stat"].map(String::from).to_vec();
    made.spec.process.rlimits = vec![(7, 64, 128)];
    let said = made.said();
    for wanted in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "Umask:\t0022"] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    let files = said.lines().find(|line| line.starts_with("Max open files")).expect("limits");
    assert!(files.contains("64") && files.contains("128"), "{files}");
    let stat = said.lines().last().expect("stat");
    assert!(stat.starts_with("1 (cat) R 0 1 1 0 "), "session and group of its own: {stat}");
}

#[test]
fn a_default_limit_is_lowered_to_what_the_host_allows() {
    let mut made = shell("ulimit -Sn; ulimit -Hn");
    made.spec.process.rlimits = DEFAULT_LIMITS.to_vec();
    let said = made.said();
    let ours = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let ours = ours.unwrap_or(u64::MAX).min(524_288);
    let raised = format!("{}\n524288", 1024);
    assert!(said == format!("{}\n{ours}", ours.min(1024)) || said == raised, "{said}");
}

#[test]
fn a_limit_that_was_asked_for_is_set_or_an_error() {
    let mut made = shell("ulimit -Sn; ulimit -Hn");
    // No host has as many open files as this, so not even CAP_SYS_RESOURCE may raise it so far.
    made.spec.process.rlimits = vec![(7, 1024, u64::MAX - 1)];
    let error = made.fails();
    assert!(error.hints().iter().any(|hint| hint.contains("hard limit")), "{error:?}");
}

#[test]
fn attack_20_a_hook_on_proc_self_exe_gets_nothing_of_the_host() {
    let own = std::env::current_exe().expect("own program");
    let before = fs::metadata(&own).expect("own program").len();
    let script = shell("true").scratch();
    fs::write(script.tree().join("bin/evil"), "#!/proc/self/exe\n").expect("script");
    fs::set_permissions(script.tree().join("bin/evil"), fs::Permissions::from_mode(0o755)).expect("mode");
    let mut evil = script;
    evil.spec.process.argv = vec!["/bin/evil".into()];
    let _ = evil.start().map(|(mut child, _)| child.wait());
    // This very program is what it would be: with a test that is not there it says little.
    let mut link = container(&["/bin/self", "--exact", "nothing"]);
    symlink("/proc/self/exe", link.tree().join("bin/self")).expect("link");
    link.spec.process.capabilities = Capabilities::of(capability("CHOWN").expect("known"));
    let _ = link.start().map(|(mut child, _)| child.wait());
    assert_eq!(fs::metadata(&own).expect("own program").len(), before);
}

#[test]
fn attack_20_a_program_on_its_own_read_only_mount_cannot_be_written() {
    let directory = tempfile::tempdir().expect("dir");
    let copy = directory.path().join("program");
    fs::copy("/bin/busybox", &copy).expect("copy");
    let program = tsubo_runtime::read_only_program(&copy).expect("mount");
    let through = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&program));
    let error = fs::File::options().write(true).open(&through).expect_err("writable");
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
}

#[test]
fn attack_24_the_init_cannot_be_looked_into() {
    let mut made = shell("readlink /proc/1/exe || ls /proc/1/fd || cat /proc/1/environ || echo hidden");
    made.spec.init = true;
    made.spec.process.argv[2] = "readlink /proc/1/exe; ls /proc/1/fd; cat /proc/1/maps; true".into();
    let said = made.said();
    assert!(!said.contains("target") && said.contains("Permission denied"), "{said}");
}

#[test]
fn the_init_holds_next_to_nothing_before_the_command_runs() {
    let mut made = shell("grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/1/status");
    made.spec.init = true;
    let said = made.said();
    let fields: Vec<_> = said.split_whitespace().filter(|word| !word.ends_with(':')).collect();
    let (none, kill) = ("0000000000000000", "0000000000000020");
    assert_eq!(fields, [none, kill, kill, none, none, "1", "2"], "{said}");
}

#[test]
fn the_init_passes_signals_on_to_another_user() {
    let mut made = shell("trap 'exit 7' TERM; echo; while true; do sleep 0.1; done");
    made.spec.init = true;
    made.spec.process.user.uid = 33;
    let (mut child, mut output) = made.start().expect("start");
    std::io::Read::read_exact(&mut output, &mut [0]).expect("the trap is set");
    child.signal(15).expect("signal");
    assert_eq!(child.wait().expect("wait"), 7);
}
