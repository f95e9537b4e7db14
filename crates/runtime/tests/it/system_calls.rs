//! What system calls a container can make: real programs under each choice of filter.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use spec::seccomp::{Choice, Profile};

use crate::harness::{Box, container, shell};

const EPERM: i64 = 1;
const EINVAL: i64 = 22;
const ENOTTY: i64 = 25;
const ENOSYS: i64 = 38;

/// Compiles one of the C programs beside this file into the tree. False without a compiler for it.
fn compile(made: &Box, source: &str, name: &str, flags: &[&str]) -> bool {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(source);
    let target = made.tree().join("bin").join(name);
    let ended =
        Command::new("gcc").args(["-O1", "-static", "-o"]).arg(target).arg(source).args(flags).output();
    let done = ended.as_ref().is_ok_and(|ended| ended.status.success());
    if !done {
        println!("SKIPPED: no compiler for a static program with {flags:?}: {ended:?}");
    }
    done
}

type Results = BTreeMap<String, i64>;

/// Runs the attacker under `choice`; what came of each of its calls, and what it printed after it
/// executed itself once more.
fn attack(choice: Choice) -> Option<[Results; 2]> {
    let mut made = container(&["/bin/attack", "/bin/attack"]);
    made.spec.process.seccomp = choice;
    compile(&made, "attack.c", "attack", &[]).then(|| {
        let said = made.said();
        let (before, after) = said.split_once("executed\n").expect("two runs");
        [before, after].map(|lines| lines.lines().map(line).collect())
    })
}

fn line(line: &str) -> (String, i64) {
    let (name, errno) = line.split_once(' ').expect(line);
    (name.to_owned(), errno.parse().expect(line))
}

fn expect(results: &Results, expected: &[(&str, i64)]) {
    for (name, errno) in expected {
        assert_eq!(results.get(*name), Some(errno), "{name}");
    }
}

/// Refused by the default filter, before and after an exec.
const REFUSED: [(&str, i64); 54] = [
    ("clone-newuser", EPERM),
    ("clone-newuser-high-bits", EPERM),
    ("clone3-newuser", ENOSYS),
    ("unshare-newuser", EPERM),
    ("unshare-newuser-high-bits", EPERM),
    ("unshare-newns", EPERM),
    ("setns", EPERM),
    ("mount", EPERM),
    ("umount2", EPERM),
    ("pivot_root", EPERM),
    ("fsopen", EPERM),
    ("fsconfig", EPERM),
    ("fsmount", EPERM),
    ("fspick", EPERM),
    ("open_tree", EPERM),
    ("open_tree_attr", ENOSYS),
    ("move_mount", EPERM),
    ("mount_setattr", EPERM),
    ("bpf", EPERM),
    ("perf_event_open", EPERM),
    ("userfaultfd", EPERM),
    ("io_uring_setup", EPERM),
    ("io_uring_enter", EPERM),
    ("io_uring_register", EPERM),
    ("keyctl", EPERM),
    ("add_key", EPERM),
    ("request_key", EPERM),
    ("kexec_load", EPERM),
    ("open_by_handle_at", EPERM),
    ("personality-no-randomize", EPERM),
    ("personality-read-implies-exec", EPERM),
    ("af-alg", EPERM),
    ("af-alg-high-bits", EPERM),
    ("af-vsock", EPERM),
    ("af-vsock-high-bits", EPERM),
    ("tiocsti", EPERM),
    ("tiocsti-high-bits", EPERM),
    ("tioclinux", EPERM),
    ("x32-getpid", ENOSYS),
    ("x32-execve", ENOSYS),
    ("i386-mount", EPERM),
    ("i386-unshare", EPERM),
    ("i386-keyctl", EPERM),
    ("i386-bpf", EPERM),
    ("i386-perf_event_open", EPERM),
    ("i386-userfaultfd", EPERM),
    ("i386-io_uring_setup", EPERM),
    ("i386-socketcall", EPERM),
    ("i386-af-alg", EPERM),
    ("i386-tiocsti", EPERM),
    ("seccomp-off", EINVAL),
    ("unshare-under-lenient-filter", EPERM),
    ("lenient-filter", 0),
    ("i386-getpid", 0),
];

#[test]
fn attacks_25_and_32_to_36_and_38_the_default_filter_stands_before_every_one_and_stays_over_exec() {
    let Some(runs) = attack(Choice::Default) else { return };
    runs.iter().for_each(|results| expect(results, &REFUSED));
}

/// The attacks are attacks: without a filter other answers come, some of them successes.
#[test]
fn attacks_25_and_33_without_a_filter_the_kernel_itself_answers() {
    let Some([results, _]) = attack(Choice::None) else { return };
    expect(&results, &[("tiocsti", ENOTTY), ("tiocsti-high-bits", ENOTTY), ("i386-tiocsti", ENOTTY)]);
    for name in ["clone-newuser", "clone3-newuser", "keyctl", "add_key", "personality-no-randomize"] {
        assert_eq!(results[name], 0, "{name}");
    }
}

fn observed(names: &[&str]) -> Choice {
    Choice::Observed(names.iter().map(ToString::to_string).collect())
}

/// Also if the package claims that all of it was seen.
#[test]
fn attacks_25_and_32_to_36_and_38_an_observed_filter_refuses_what_the_default_refuses_and_what_was_not_seen()
{
    let all: Vec<&str> = spec::seccomp::calls::TABLE.iter().map(|row| row.0).collect();
    let Some(runs) = attack(observed(&all)) else { return };
    runs.iter().for_each(|results| expect(results, &REFUSED));
    let Some(runs) = attack(observed(&["read", "write"])) else { return };
    for results in &runs {
        let still: Vec<_> = REFUSED
            .into_iter()
            // That of the filter on top: loading one was not seen.
            .filter(|(name, _)| !["lenient-filter", "i386-getpid"].contains(name))
            .collect();
        expect(results, &still);
        for name in ["ptrace", "process_vm_readv", "i386-getpid", "lenient-filter"] {
            assert_eq!(results[name], EPERM, "{name}");
        }
    }
}

/// What was seen was one `cat`; what runs is a good part of a system.
#[test]
fn under_an_observed_filter_a_different_exercise_passes() {
    let script = "set -e; cd /tmp; mkdir -p a/b; echo hello > a/one; ln -s one a/two; ln a/one a/three; cp a/one a/four 2>/dev/null || cat a/one > a/four; \
        touch a/five; chmod 600 a/five; ls -laR / > /dev/null 2>&1 || true; find a -type f | sort | xargs cat > all; wc -l < all; \
        dd if=/dev/zero of=big bs=4096 count=10 2> /dev/null; sync; stat big > /dev/null; readlink a/two; \
        (trap 'echo caught; exit 0' TERM; while true; do sleep 0.05; done) & sleep 0.2; kill $!; wait; \
        ps > /dev/null; id -u; seq 1 3 | grep 2; env > /dev/null; hostname; pwd";
    let mut made = shell(script).scratch();
    made.spec.process.seccomp = observed(&["openat", "read", "write", "sendfile"]);
    assert_eq!(made.said(), "3\none\ncaught\n0\n2\ninside\n/tmp");
}

/// A program of the host's with its libraries, under the base alone and sockets.
fn on_the_host(program: &str, argv: &[&str]) -> Option<Box> {
    if !Path::new(program).exists() {
        println!("SKIPPED: no {program} on this host");
        return None;
    }
    let mut made = container(argv);
    for name in ["usr", "lib", "lib64"] {
        let _ = std::fs::create_dir(made.tree().join(name));
    }
    let linked =
        |name: &str| std::fs::canonicalize(Path::new("/").join(name)).ok().filter(|path| path.is_dir());
    for (name, source) in ["usr", "lib", "lib64", "etc"].iter().filter_map(|name| Some((name, linked(name)?)))
    {
        made = made.bind(&format!("/{name}"), &source, true);
    }
    made.spec.process.seccomp = observed(&["accept4"]);
    Some(made.scratch())
}

#[test]
fn the_base_carries_pythons_runtime() {
    let script = "
import os, threading, subprocess, socket, mmap, tempfile, signal, time, select, multiprocessing, random, shutil, fcntl, resource
t = [threading.Thread(target=lambda: sum(range(1000))) for _ in range(8)]
[x.start() for x in t]; [x.join() for x in t]
assert subprocess.run(['/bin/echo', 'hi'], capture_output=True).stdout == b'hi\\n'
a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'
s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); c = socket.create_connection(s.getsockname()); s.accept()
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.sendto(b'x', ('127.0.0.1', 9))
m = mmap.mmap(-1, 1 << 20); m.write(b'x' * 1000); m.close()
d = tempfile.mkdtemp(dir='/tmp'); p = d + '/f'; open(p, 'w').write('x'); os.rename(p, d + '/g'); os.utime(d + '/g'); os.truncate(d + '/g', 0)
f = open(d + '/g'); fcntl.flock(f, fcntl.LOCK_EX); os.posix_fallocate(os.open(d + '/h', os.O_CREAT | os.O_RDWR), 0, 4096); shutil.copyfile(d + '/h', d + '/i'); shutil.rmtree(d)
hit = []; signal.signal(signal.SIGALRM, lambda *_: hit.append(1)); signal.setitimer(signal.ITIMER_REAL, 0.01); time.sleep(0.1); assert hit
e = select.epoll(); e.register(a.fileno(), select.EPOLLIN); e.poll(0); select.poll().poll(0); select.select([], [], [], 0)
pid = os.fork()
if pid == 0: os.abort()
assert os.waitpid(pid, 0)[1] & 127 == 6
os.sched_getaffinity(0); os.getpriority(os.PRIO_PROCESS, 0); resource.getrlimit(resource.RLIMIT_NOFILE); os.urandom(8); os.memfd_create('x'); os.eventfd(0); os.statvfs('/')
try: os.chroot('/'); raise SystemExit('chroot')
except PermissionError: pass
print('all of it')
";
    let Some(mut made) = on_the_host("/usr/bin/python3", &["/usr/bin/python3", "-c", script]) else { return };
    made.spec.process.env.push("LC_ALL=C.UTF-8".into());
    assert_eq!(made.said(), "all of it");
}

#[test]
fn the_base_carries_a_database() {
    let script = "cd /tmp; redis-server --port 0 --unixsocket /tmp/s --appendonly yes --dir /tmp --save '' --io-threads 2 > log 2>&1 & \
        for i in $(seq 1 100); do redis-cli -s /tmp/s ping > /dev/null 2>&1 && break; sleep 0.05; done; \
        redis-cli -s /tmp/s set a b; redis-cli -s /tmp/s bgrewriteaof; redis-cli -s /tmp/s bgsave; redis-cli -s /tmp/s get a; \
        redis-cli -s /tmp/s eval 'return redis.call(\"get\", \"a\")' 0; redis-cli -s /tmp/s shutdown nosave; wait";
    let Some(mut made) = on_the_host("/usr/bin/redis-server", &["/bin/sh", "-c", script]) else { return };
    made.spec.process.env = vec!["PATH=/bin:/usr/bin:/usr/sbin".into()];
    let said = made.said();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        (lines.first(), lines.iter().filter(|line| **line == "b").count()),
        (Some(&"OK"), 2),
        "{said}"
    );
}

fn profile(text: &str) -> Choice {
    Choice::Profile(Profile::parse(text).expect("a profile").profile)
}

#[test]
fn a_file_decides_with_its_own_answers() {
    let mut made = shell("mkdir /tmp/x; ln -s x /tmp/y; sync; echo after");
    made.spec.process.seccomp = profile(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"], "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"names": ["sync"], "action": "SCMP_ACT_KILL_PROCESS"}]}"#,
    );
    let ended = made.run();
    assert!(ended.output.contains("No space left on device"), "{}", ended.output);
    assert!(ended.output.contains("Bad system call") && ended.output.ends_with("after"), "{}", ended.output);
}

#[test]
fn a_file_looks_at_arguments() {
    let mut made = shell("chmod 644 /tmp/f; chmod 4755 /tmp/f; stat -c %a /tmp/f").scratch();
    std::fs::write(made.tree().join("tmp/f"), "x").expect("file");
    made.spec.process.seccomp = profile(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["chmod", "fchmodat"], "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 1, "value": 2048, "valueTwo": 2048, "op": "SCMP_CMP_MASKED_EQ"}]}]}"#,
    );
    let ended = made.run();
    assert!(
        ended.output.contains("Operation not permitted") && ended.output.ends_with("644"),
        "{}",
        ended.output
    );
}

#[test]
fn a_file_that_lets_nothing_start_is_refused_before_anything_is_done() {
    let mut made = shell("true");
    made.spec.process.seccomp = profile(r#"{"defaultAction": "SCMP_ACT_ERRNO"}"#);
    let refused = made.fails();
    assert!(refused.chain().contains("execve"), "{refused:?}");
}

/// The profile that podman ships is in Docker's form.
#[test]
fn podmans_own_profile_works() {
    let file = PathBuf::from("/usr/share/containers/seccomp.json");
    let Ok(text) = std::fs::read_to_string(&file) else {
        println!("SKIPPED: no {}", file.display());
        return;
    };
    let mut made = shell("ls / | wc -l > /dev/null; echo works; unshare -m true 2>&1; true");
    made.spec.process.seccomp = profile(&text);
    assert!(made.said().starts_with("works"));
}

#[test]
fn programs_of_32_bits_run_where_the_filter_knows_of_them() {
    for (choice, runs) in
        [(Choice::Default, true), (observed(&["write"]), false), (observed(&["write", "mmap2"]), true)]
    {
        let mut made = container(&["/bin/small"]);
        made.spec.process.seccomp = choice.clone();
        if !compile(&made, "small.c", "small", &["-m32", "-nostdlib"]) {
            return;
        }
        let ended = made.run();
        assert_eq!(ended.output == "32 bits" && ended.code == 0, runs, "{choice}: {}", ended.output);
    }
}
