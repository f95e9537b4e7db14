//! Attacks 13 to 38 on `tsubo`: volumes that change while a container is made, and programs that try
//! what a container has no business with, under the defaults and loosened as far as a flag goes.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;

use crate::support::base::compile;
use crate::support::busybox::{file, installed};
use crate::support::{House, ended, have, one_clear_error, until};

/// So many attempts; in a soak many more.
fn rounds(few: u32) -> u32 {
    if std::env::var_os("TSUBO_SOAK").is_some() { 10 * few } else { few }
}

/// Exchanges two names again and again, and leaves them as they were.
struct Swapper {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Swapper {
    fn new(one: &Path, other: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, one, other) = (Arc::clone(&stop), one.to_owned(), other.to_owned());
        let swap = move || renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).expect("an exchange");
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                swap();
                swap();
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // One that failed has told why.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A volume, and a place on the host that nothing may come of.
struct Race {
    house: House,
    outside: PathBuf,
    volume: PathBuf,
}

impl Race {
    fn new() -> Option<Self> {
        let house = installed(|tar| tar.dir("vol/").dir("data/"), json!({"writable": ["/tmp"]}))?;
        let (outside, volume) = (house.path("outside"), house.path("volume"));
        std::fs::create_dir_all(volume.join("x")).expect("mkdir");
        std::fs::create_dir(&outside).expect("mkdir");
        std::fs::write(outside.join("kept"), "kept").expect("write");
        symlink(&outside, volume.join("link")).expect("link");
        crate::support::mode(&volume, 0o777);
        Some(Self { house, outside, volume })
    }

    /// Runs with a part of the volume exchanged for a link to the host.
    fn run(&self, options: &[&str], script: &str, mut look: impl FnMut(&str)) {
        let (mut ran, mut refused) = (0, 0);
        for _ in 0..rounds(15) {
            let swapper = Swapper::new(&self.volume.join("x"), &self.volume.join("link"));
            let volume = format!("{}:/vol", self.volume.display());
            let args = ["run", "--rm", "-v", &volume].into_iter().chain(options.iter().copied());
            let mut run = self.house.command_elsewhere(args.chain(["web", "/bin/sh", "-c", script]));
            let run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run");
            let output = ended(run, "a start in a race");
            drop(swapper);
            if output.status.success() {
                ran += 1;
                look(&String::from_utf8_lossy(&output.stdout));
            } else {
                refused += 1;
                one_clear_error(&String::from_utf8_lossy(&output.stderr), &[]);
            }
            let names: Vec<_> =
                std::fs::read_dir(&self.outside).expect("outside").flatten().map(|e| e.file_name()).collect();
            assert_eq!(names, ["kept"]);
            assert_eq!(std::fs::read_to_string(self.outside.join("kept")).expect("kept"), "kept");
            let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
            assert!(!mounts.contains(self.house.dir().to_str().expect("UTF-8")), "{mounts}");
        }
        println!("{ran} ran, {refused} were refused");
    }
}

/// A mount within a volume that somebody else changes (2021-30465, 2024-45310).
#[test]
fn attack_13_mount_destination_in_a_volume_swapped_during_setup() {
    let Some(race) = Race::new() else { return };
    let source = race.house.path("source");
    std::fs::create_dir(&source).expect("mkdir");
    let bind = format!("{}:/vol/x/in", source.display());
    race.run(
        &["-v", &bind, "--tmpfs", "/vol/x/fresh"],
        "grep -c ' /vol/' /proc/self/mountinfo; true",
        |_| (),
    );
}

#[test]
fn attacks_14_and_15_masked_and_read_only_paths_in_a_volume_swapped_during_setup() {
    let Some(race) = Race::new() else { return };
    let masked = ["--isolation", "masked=/vol/x", "--isolation", "read_only=/vol/x"];
    race.run(&masked, "echo it ran; touch /vol/free; head -c 1 /proc/kcore 2>/dev/null | wc -c", |said| {
        assert_eq!(said, "it ran\n0\n");
    });
    let _ = std::fs::remove_file(race.volume.join("free"));
}

/// The image's places for devices are mounted over, whatever they are; a volume over /dev or in it that
/// leads elsewhere leads nowhere.
#[test]
fn attacks_6_and_16_a_console_a_null_and_a_pts_of_somebody_else() {
    let house = installed(
        |tar| {
            let tar = file(tar, "dev/null", b"fake", 0o666);
            tar.symlink("dev/console", "/etc/passwd")
                .symlink("dev/ptmx", "/etc/passwd")
                .symlink("dev/pts", "/etc")
        },
        json!({}),
    );
    let Some(house) = house else { return };
    let look = "stat -c '%F %t:%T' /dev/null; ls -ld /dev/pts | cut -c 1; cat /proc/timer_list 2>/dev/null | wc -c; ls -l /dev/ptmx";
    let said = house.ok_elsewhere(["run", "--rm", "web", "/bin/sh", "-c", look]);
    assert!(said.starts_with("character special file 1:3\nd\n0\n") && !said.contains("passwd"), "{said}");
    let mut terminal = house.command_elsewhere([
        "run",
        "-d",
        "-it",
        "--name",
        "one",
        "web",
        "/bin/sh",
        "-c",
        "tty; ls -l /dev/console; sleep 100",
    ]);
    let output = terminal.output().expect("run");
    assert!(output.status.success(), "{output:?}");
    until("it speaks", || house.ok_elsewhere(["logs", "one"]).contains("/dev/console"));
    let said = house.ok_elsewhere(["logs", "one"]);
    assert!(!said.contains("passwd"), "{said}");
    house.ok_elsewhere(["rm", "-f", "one"]);
}

/// What is mounted inside, by whatever means, is not seen outside, nor is a read-only bind writable again.
#[test]
fn attacks_18_and_19_mounts_stay_inside_and_read_only() {
    let Some(house) = installed(|tar| tar.dir("data/"), json!({})) else { return };
    let place = house.path("place");
    std::fs::create_dir(&place).expect("mkdir");
    let script = format!(
        "mount -t tmpfs own {0}; mkdir {0}/below; mount -t tmpfs below {0}/below; chmod 777 {0} {0}/below; mount --make-rshared /
         wc -l < /proc/self/mountinfo
         $TSUBO --root $ROOT run --rm --cap-add SYS_ADMIN --seccomp none -v {0}:/data:ro web /bin/sh -c '
           for at in /data /data/below; do echo x 2>/dev/null > $at/file && echo hole at $at
           busybox mount -o remount,bind,rw $at 2>/dev/null; echo x 2>/dev/null > $at/file && echo remounted $at
           busybox mount -t tmpfs inner $at 2>/dev/null && echo mounted; done; busybox umount -l /data 2>/dev/null && echo gone; echo tried'
         wc -l < /proc/self/mountinfo",
        place.display()
    );
    let mut unshare = Command::new("unshare");
    unshare
        .args(["-m", "--propagation", "private", "sh", "-ec", &script])
        .env("TSUBO", env!("CARGO_BIN_EXE_tsubo"));
    unshare.env("ROOT", house.elsewhere()).current_dir(house.dir()).stdin(Stdio::null());
    let output = unshare.output().expect("unshare");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines.len() == 3 && lines[1] == "tried" && lines[0] == lines[2],
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Compiles the two attackers into a package; the second state directory has it.
fn armed() -> Option<House> {
    if !have(&["busybox", "gcc"]) {
        return None;
    }
    let workshop = House::new();
    let program = |name: &str, source: &str| {
        std::fs::read(compile(&workshop, name, source, &["-static"])).expect("program")
    };
    let probe = program("probe", include_str!("programs/probe.c"));
    let attack = program("attack", include_str!("../../../runtime/tests/it/attack.c"));
    installed(
        |tar| file(file(tar, "bin/probe", &probe, 0o755), "bin/attack", &attack, 0o755),
        json!({"writable": ["/tmp"]}),
    )
}

/// What came of each; of several of one name one that succeeded counts.
fn results(house: &House, options: &[&str], command: &[&str]) -> BTreeMap<String, i32> {
    let args = ["run", "--rm"].iter().chain(options).chain(&["web"]).chain(command);
    let output = house.command_elsewhere(args).output().expect("run");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut results = BTreeMap::new();
    for (name, errno) in said.lines().filter_map(|line| line.split_once(' ')) {
        let Ok(errno) = errno.parse::<i32>() else { continue };
        results
            .entry(name.to_owned())
            .and_modify(|one| *one = if errno == 0 { 0 } else { *one })
            .or_insert(errno);
    }
    assert!(results.len() > 3, "{output:?}");
    results
}

#[track_caller]
fn refused(results: &BTreeMap<String, i32>, names: &[&str]) {
    for name in names {
        let errno = results.get(*name).unwrap_or_else(|| panic!("{name}: {results:?}"));
        assert_ne!(*errno, 0, "{name} succeeded");
    }
}

const HOSTS: [&str; 24] = [
    "release_agent",
    "core_pattern",
    "modprobe",
    "sysrq-trigger",
    "sysrq",
    "uevent_helper",
    "uevent",
    "binfmt_misc",
    "panic",
    "kcore",
    "kmsg",
    "timer_list",
    "sched_debug",
    "debug-sched",
    "dev-mem",
    "mknod-disk",
    "mknod-sda",
    "mknod-mem",
    "open_by_handle_at",
    "dev-kmsg",
    "syslog",
    "netlink-route",
    "cgroup-mount",
    "cgroup2-mount",
];

/// Under the defaults, and with every capability and no filter.
#[test]
fn attacks_29_to_32_and_38_under_the_defaults_and_loosened() {
    let Some(house) = armed() else { return };
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").expect("pattern");
    let found = results(&house, &[], &["/bin/probe"]);
    refused(&found, &HOSTS);
    refused(&found, &["af-alg", "af-vsock", "netlink-audit", "binfmt_misc-mount"]);
    let found = results(&house, &["--cap-add", "ALL", "--seccomp", "none"], &["/bin/probe"]);
    refused(&found, &HOSTS);
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/core_pattern").expect("pattern"), pattern);
}

#[test]
fn attacks_33_to_36_of_a_package_under_the_defaults() {
    let Some(house) = armed() else { return };
    let found = results(&house, &[], &["/bin/attack"]);
    refused(
        &found,
        &[
            "clone-newuser",
            "clone-newuser-high-bits",
            "clone3-newuser",
            "unshare-newuser",
            "unshare-newuser-high-bits",
            "setns",
            "mount",
            "pivot_root",
            "fsopen",
            "open_tree",
            "move_mount",
            "mount_setattr",
            "bpf",
            "perf_event_open",
            "userfaultfd",
            "io_uring_setup",
            "keyctl",
            "add_key",
            "x32-getpid",
            "x32-execve",
            "i386-mount",
            "i386-unshare",
            "i386-keyctl",
            "af-alg",
            "af-vsock",
            "tiocsti",
            "tiocsti-high-bits",
        ],
    );
}

/// On a terminal of the caller, of its own, and in one that joins.
#[test]
fn attack_25_typing_into_a_terminal() {
    let Some(house) = armed() else { return };
    if !have(&["script"]) {
        return;
    }
    house.ok_elsewhere(["run", "-d", "--name", "one", "web", "/bin/sleep", "1000"]);
    for line in [
        "run --rm web /bin/probe types",
        "run --rm -it web /bin/probe types",
        "exec -it one /bin/probe types",
        "exec one /bin/probe types",
    ] {
        let command =
            format!("{} --root {} {line}", env!("CARGO_BIN_EXE_tsubo"), house.elsewhere().display());
        let mut script = Command::new("script");
        script
            .args(["-qec", &command, "/dev/null"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = ended(script.spawn().expect("script"), line);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let typed: Vec<&str> = said.lines().filter(|line| line.contains("tiocsti")).collect();
        assert!(
            typed.len() == 6 && typed.iter().all(|line| !line.trim_end().ends_with(" 0")),
            "{line}: {said}"
        );
    }
    house.ok_elsewhere(["rm", "-f", "one"]);
}

/// Nobody inside looks into a process that joins before it is one of theirs.
#[test]
fn attack_24_ptrace_of_who_joins() {
    let Some(house) = armed() else { return };
    for options in [&[][..], &["--cap-add", "ALL", "--seccomp", "none"]] {
        let run = ["run", "-d", "--name", "one"].iter().chain(options);
        house.ok_elsewhere(run.chain(&["web", "/bin/probe", "look", "tsubo"]));
        while house.ok_elsewhere(["logs", "one"]).is_empty() {
            let output = house.command_elsewhere(["exec", "one", "/bin/true"]).output().expect("exec");
            assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
        }
        let said = house.ok_elsewhere(["logs", "one"]);
        assert!(said.ends_with(" passed\n") && said.lines().count() == 1, "{options:?}: {said}");
        house.ok_elsewhere(["rm", "-f", "one"]);
    }
}

/// Changes the path under the eyes of who watches, and is killed while it asks.
const RESTLESS: &str = r#"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
static char path[] = "/srv/u/aaaaaaaa";
static volatile int over;
static void *change(void *unused) {
    while (!over) { memcpy(path + 7, "bbbbbbbb", 8); memcpy(path + 7, "aaaaaaaa", 8); }
    return unused;
}
int main(void) {
    pthread_t thread;
    struct stat st;
    pthread_create(&thread, 0, change, 0);
    for (int i = 0; i < 2000; i++) { stat(path, &st); int file = open(path, O_RDONLY); if (file >= 0) close(file); }
    over = 1;
    pthread_join(thread, 0);
    for (int i = 0; i < 100; i++) {
        int child = fork();
        if (child == 0) for (;;) { stat("/srv/u/asked", &st); stat((char *)1, &st); }
        usleep(i * 20);
        kill(child, SIGKILL);
        waitpid(child, 0, 0);
    }
    puts("over");
    return 0;
}
"#;

/// Whoever answers for a watched call looks whether the caller still waits, and never decides by what he read:
/// the kernel reads again.
#[test]
fn attack_37_pointers_that_change_and_callers_that_die_while_they_are_watched() {
    if !have(&["gcc"]) {
        return;
    }
    let house = House::new();
    compile(&house, "restless", RESTLESS, &["-static", "-pthread"]);
    let script = "cp /src/restless /srv; mkdir -p /srv/u; cd /srv/u; for name in aaaaaaaa bbbbbbbb asked secret; do echo $name > $name; done";
    house.dev("app", &crate::support::base::small(&house), script);
    let said = house.test_job("app", &["/srv/restless"]);
    assert!(!said.contains("panicked"), "{said}");
    let seen = house.json(["observation", "show", "app", "--format", "json"]);
    let paths = seen["paths"].as_object().expect("paths");
    assert!(
        paths.contains_key("/srv/u/asked") && paths.contains_key("/srv/u/aaaaaaaa"),
        "{:?}",
        paths.keys()
    );
    assert!(!paths.contains_key("/srv/u/secret"), "{:?}", paths.keys());
    // What was read halfway is two names in one, and nothing else.
    let below = paths.keys().filter_map(|path| path.strip_prefix("/srv/u/"));
    let odd: Vec<&str> =
        below.filter(|name| *name != "asked" && !name.bytes().all(|byte| b"ab".contains(&byte))).collect();
    assert_eq!(odd, [""; 0]);
}
