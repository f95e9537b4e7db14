//! Where the host has no more to give: no more processes, no room in /run, no numbers for processes
//! but those that others have had.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::support::busybox::installed;
use crate::support::leftovers;
use crate::support::{House, ended, have, one_clear_error, until};

/// A control group of our own that limits processes.
struct Limited(PathBuf);

impl Limited {
    /// None where that cannot be had, which is said.
    fn new(name: &str, most: u32) -> Option<Self> {
        let own = std::fs::read_to_string("/proc/self/cgroup").expect("groups");
        let below = |mount: &str, path: &str| Path::new(mount).join(path.trim_start_matches('/'));
        let parents = own.lines().filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            match (fields.next()?, fields.next()?) {
                ("pids", path) => Some(below("/sys/fs/cgroup/pids", path)),
                ("", path) => Some(below("/sys/fs/cgroup", path)),
                _ => None,
            }
        });
        for parent in parents {
            let group = Self(parent.join(format!("tsubo-it-{}-{name}", std::process::id())));
            let made = std::fs::create_dir(&group.0).is_ok();
            if made && std::fs::write(group.0.join("pids.max"), most.to_string()).is_ok() {
                return Some(group);
            }
        }
        eprintln!("SKIPPED: no control group with a limit of processes can be made here");
        None
    }

    /// Runs `tsubo` in it. The shell that goes there becomes the command.
    fn run(&self, house: &House, args: &[&str]) -> Output {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]).arg(&self.0);
        shell.args([env!("CARGO_BIN_EXE_tsubo"), "--root"]).arg(house.elsewhere()).args(args);
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        ended(shell.spawn().expect("sh"), &format!("{args:?}"))
    }

    /// The groups of containers that were started in it.
    fn containers(&self) -> Vec<PathBuf> {
        let below = std::fs::read_dir(self.0.join("tsubo")).into_iter().flatten().flatten();
        below.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        // The test that failed tells what is left.
        let _ = std::fs::remove_dir(self.0.join("tsubo"));
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// It did what it should, or said what is in the way and what to do.
#[track_caller]
fn done_or_limited(output: &Output, what: &str) -> bool {
    let complaint = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return true;
    }
    assert_eq!(output.status.code(), Some(125), "{what}: {complaint}");
    assert!(complaint.contains("a limit of processes is reached"), "{what}: {complaint}");
    one_clear_error(&complaint, &["pids.max"]);
    false
}

#[test]
fn fault_f2_no_more_processes_can_be_made() {
    let Some(house) = installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"]})) else { return };
    let most = if std::env::var_os("TSUBO_SOAK").is_some() { 12 } else { 6 };
    let mut succeeded = Vec::new();
    for limit in 1..=most {
        house.ok_elsewhere(["run", "-d", "--name", "y", "web"]);
        // Each in a group of its own: the dead count until somebody has reaped them.
        let inside = |name: &str, args: &[&str]| {
            let group = Limited::new(name, limit)?;
            Some((group.run(&house, args), group))
        };
        let what = |verb: &str| format!("{verb} with {limit} processes at most");
        let Some((run, stays)) = inside("run", &["run", "--rm", "web", "/bin/true"]) else { return };
        let once = done_or_limited(&run, &what("run --rm"));
        let Some((run, group)) = inside("start", &["run", "-d", "--name", "x", "web"]) else { return };
        let background = done_or_limited(&run, &what("run -d"));
        let rows = house.json_elsewhere(["ps", "-a", "--format", "json"]);
        let x = rows.as_array().into_iter().flatten().find(|row| row["name"] == "x");
        assert_eq!(x.is_some_and(|row| row["running"] == true), background, "{rows:#}");
        // These make no process here.
        for verb in [&["exec", "y", "/bin/true"][..], &["ps", "-a"], &["stop", "-t", "0", "y"]] {
            let Some((output, _group)) = inside("verb", verb) else { return };
            assert!(output.status.success(), "{verb:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let Some((start, again)) = inside("again", &["start", "y"]) else { return };
        let once_more = done_or_limited(&start, &what("start"));
        succeeded.push([once, background, once_more]);
        // From outside, where what was started in there is to be found all the same.
        house.ok_elsewhere(["rm", "-f", "y"]);
        if background {
            house.ok_elsewhere(["rm", "-f", "x"]);
        }
        for group in [&stays, &group, &again] {
            until("the groups of containers are gone", || group.containers().is_empty());
        }
        assert_eq!(leftovers::of(&house.elsewhere(), &[]), [] as [String; 0]);
    }
    assert_eq!(succeeded[0], [false; 3], "one process cannot start another");
    assert_eq!(succeeded[most as usize - 1], [true; 3], "{succeeded:?}");
}

#[test]
fn fault_f2_a_container_that_is_full_of_processes_can_be_entered_or_says_why_not() {
    let Some(house) = installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"]})) else { return };
    house.ok_elsewhere(["run", "-d", "--name", "y", "web"]);
    let rows = house.json_elsewhere(["ps", "--format", "json"]);
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", rows[0]["pid"])).expect("groups");
    let limit = groups.lines().find_map(|line| {
        let (_, path) = line.split_once(":pids:").or_else(|| line.split_once("0::"))?;
        let roots = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"];
        let files = roots.map(|root| Path::new(root).join(path.trim_start_matches('/')).join("pids.max"));
        files.into_iter().find(|file| std::fs::write(file, "1").is_ok())
    });
    if limit.is_none() {
        eprintln!("SKIPPED: the container has no limit of processes");
        return;
    }
    for command in [&["/bin/true"][..], &["/bin/sh", "-c", "/bin/true; /bin/true"]] {
        let exec = ["exec", "y"].iter().chain(command);
        let mut exec = house.command_elsewhere(exec);
        let exec = exec.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("exec");
        let output = ended(exec, "exec into a full container");
        let complaint = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => {}
            Some(125) => one_clear_error(&complaint, &["pids.max"]),
            // The shell inside, which was let in and can make no more.
            _ => assert!(complaint.contains("can't fork"), "{}: {complaint}", output.status),
        }
    }
    house.ok_elsewhere(["stop", "-t", "0", "y"]);
    house.ok_elsewhere(["rm", "y"]);
}

/// Runs a script in a mount namespace whose /run and /var/lib are its own, the first with `options`.
/// `fill` and `empty` take and give back all that is left there.
fn in_a_small_run(house: &House, options: &str, fill: &str, script: &str) -> (String, String) {
    let script = format!(
        "ip link set lo up; mount -t tmpfs -o size=64m own /var/lib && mount -t tmpfs -o {options} own /run || exit 99
         fill() {{ mkdir /run/filler; {fill}; }}; empty() {{ rm -r /run/filler; }}; T=\"$TSUBO\"
         {script}"
    );
    let mut unshare = Command::new("unshare");
    unshare.args(["-mn", "sh", "-c", &script]).env("TSUBO", env!("CARGO_BIN_EXE_tsubo"));
    unshare.current_dir(house.dir()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = ended(unshare.spawn().expect("unshare"), &script);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_ne!(output.status.code(), Some(99), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

const BYTES: (&str, &str) = ("size=256k", "dd if=/dev/zero of=/run/filler/x bs=4k 2>/dev/null");
const INODES: (&str, &str) =
    ("nr_inodes=64", "i=0; while touch /run/filler/$i 2>/dev/null; do i=$((i+1)); done");

#[test]
fn fault_f6_run_is_full() {
    if !have(&["unshare"]) {
        return;
    }
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    for (options, fill) in [BYTES, INODES] {
        let script = "
            $T install ./web.tsubo 2>/dev/null >&2; $T run --rm web
            $T run -d --name y web /bin/sleep 1000; $T create --name z web; fill
            $T run --rm --name x web; echo code $?; $T run -d --name x web; echo code $?
            $T start z; echo code $?
            $T exec y /bin/echo in; $T pause y; $T unpause y
            $T ps -a | tail -n +2 | cut -d ' ' -f 1 | xargs
            $T rm z; $T stop -t 0 y; $T rm y; empty
            $T ps -a | wc -l; $T gc | grep -v 'control group'
            find /run/tsubo/containers /var/lib/tsubo/containers -mindepth 1
            $T run --rm --name x web";
        let (said, complaint) = in_a_small_run(&house, options, fill, script);
        let expected = "it ran\ny\nz\ncode 125\ncode 125\ncode 125\nin\ny\ny\ny z\nz\ny\ny\n1\n";
        let ending = "it ran\n";
        assert!(said.starts_with(expected) && said.ends_with(ending), "{options}: {said}{complaint}");
        let rest = &said[expected.len()..said.len() - ending.len()];
        assert!(rest.lines().all(|line| line.ends_with("leftovers removed")), "{options}: {said}");
        let errors: Vec<&str> = complaint.lines().filter(|line| line.starts_with("error:")).collect();
        assert_eq!(errors.len(), 3, "{options}: {complaint}");
        assert!(errors.iter().all(|line| line.contains("No space left")), "{options}: {complaint}");
        assert!(complaint.contains("/run") && complaint.contains("hint:"), "{options}: {complaint}");
    }
}

#[test]
fn fault_f6_run_is_full_before_the_first_start() {
    if !have(&["unshare"]) {
        return;
    }
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    for (options, fill) in [BYTES, INODES] {
        let script = "
            fill; for verb in 'install ./web.tsubo' 'run --rm ./web.tsubo' 'ps -a' 'stop x' 'rm -f x'; do
              $T $verb >/dev/null 2>errors; code=$?; test $code = 0 || grep -c '^error:' errors; grep panicked errors
              test $code = 0 || test $code = 125 || echo code $code of $verb; done
            empty; $T run --rm ./web.tsubo 2>/dev/null; $T ps -a | wc -l";
        let (said, complaint) = in_a_small_run(&house, options, fill, script);
        let (ones, rest) = said.split_at(said.find("it ran").unwrap_or(said.len()));
        assert!(ones.lines().all(|line| line == "1"), "{options}: {said}{complaint}");
        assert_eq!(rest, "it ran\n1\n", "{options}: {complaint}");
    }
}

/// Runs a script as process 1 of a pid namespace, where `take N` starts a bystander with the number N.
fn among_few_numbers(house: &House, script: &str) -> Option<String> {
    if !have(&["bash", "unshare"]) {
        return None;
    }
    if !Path::new("/proc/sys/kernel/ns_last_pid").exists() {
        eprintln!("SKIPPED: this kernel does not let the next process's number be chosen (ns_last_pid)");
        return None;
    }
    let script = format!(
        "T=\"$TSUBO --root $ROOT\"; taken=
         take() {{ echo $(($1 - 1)) > /proc/sys/kernel/ns_last_pid; sleep 1000 & test $! = $1 || echo missed $1; taken=\"$taken $1\"; }}
         gone() {{ for i in $(seq 500); do test -e /proc/$1 || return; sleep 0.01; done; echo $1 stays; }}
         pid() {{ grep -A 2 \"\\\"$1\\\"\" $ROOT/run/containers/*/state.json | sed -n 's/.*\"pid\": \\([0-9]*\\).*/\\1/p'; }}
         all() {{ for one in $taken; do kill -0 $one || echo $1 hit $one; done; }}
         {script}"
    );
    let mut unshare = Command::new("unshare");
    unshare.args(["-m", "-p", "-f", "--mount-proc", "bash", "-c", &script]);
    unshare.env("TSUBO", env!("CARGO_BIN_EXE_tsubo")).env("ROOT", house.elsewhere());
    unshare.current_dir(house.dir()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = ended(unshare.spawn().expect("unshare"), &script);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    Some(text(&output.stdout) + &text(&output.stderr))
}

/// The numbers of a keeper that was lost and of its container belong to others by the time that
/// somebody looks.
#[test]
fn fault_f9_numbers_of_the_dead_are_taken_by_others() {
    let Some(house) = installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"]})) else { return };
    let script = "
        for verb in 'ps -a' 'kill x' 'stop -t 0 x' 'rm -f x' 'exec x /bin/true' 'logs x' 'pause x' 'start x'; do
          $T run -d --name x web >/dev/null; keeper=$(pid keeper) first=$(pid first)
          kill -9 $keeper; gone $keeper; gone $first; take $keeper; take $first
          $T $verb >/dev/null 2>&1; all \"$verb\"
          $T ps -a | grep -q running && test \"$verb\" != 'start x' && echo \"$verb: believed\"
          $T rm -f x >/dev/null 2>&1; all \"rm after $verb\"
        done
        # Its first process has ended and it rests; only that number is somebody else's.
        for verb in 'kill x' 'stop -t 0 x' 'rm -f x' 'exec x /bin/true' 'top x'; do
          $T run -d --name x --restart always web /bin/sh -c 'sleep 0.1; exit 1' >/dev/null
          for i in $(seq 300); do $T ps -a | grep -q 'restarting (3)' && break; sleep 0.01; done
          first=$(pid first); gone $first; take $first
          $T $verb >/dev/null 2>&1; all \"$verb of one that rests\"
          $T rm -f x >/dev/null 2>&1; all \"rm -f of one that rests\"
        done; echo done";
    let Some(said) = among_few_numbers(&house, script) else { return };
    assert_eq!(said, "done\n");
}

/// With a few hundred numbers each is used again and again, while containers come and go by force.
#[test]
fn fault_f9_numbers_go_round_while_containers_are_killed() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("osrelease");
    let number = |at: usize| release.split(['.', '-']).nth(at).and_then(|word| word.parse::<u32>().ok());
    // Before Linux 6.14 the limit is the whole host's, and not a test's to change.
    if (number(0), number(1)) < (Some(6), Some(14)) {
        eprintln!("SKIPPED: this kernel has one pid_max for all pid namespaces");
        return;
    }
    let Some(house) = installed(|tar| tar, json!({"command": ["/bin/sleep", "1000"]})) else { return };
    let rounds = if std::env::var_os("TSUBO_SOAK").is_some() { 300 } else { 25 };
    let script = format!(
        "echo 400 > /proc/sys/kernel/pid_max
         for i in $(seq 20); do sleep 1000 & taken=\"$taken $!\"; done
         for i in $(seq {rounds}); do
           $T run -d --name x web >/dev/null || echo run; (sleep 0.02 & true)
           case $((i % 4)) in
             0) $T kill x >/dev/null;; 1) $T stop -t 0 x >/dev/null;; 2) kill -9 $(pid keeper);; 3) ;;
           esac
           sleep 1000 & taken=\"$taken $!\"; $T rm -f x >/dev/null || echo rm; all round $i
           kill $!; wait $! 2>/dev/null; taken=${{taken% *}}
         done; test $! -lt 400 && echo done"
    );
    let Some(said) = among_few_numbers(&house, &script) else { return };
    assert_eq!(said, "done\n");
}

/// Times that the keeper waits for, the pauses before a container is started again among them, are of
/// the clock that nobody sets. **Not tested** is a clock that jumps: nobody may set that of this host,
/// and the kernel has a clock of one's own (time namespaces) only for the other one. The doubling of
/// the pauses is tested beside the code (`keeper/src/restart.rs`), as a function of durations alone.
#[test]
fn fault_f10_nothing_that_waits_asks_for_the_time_of_day() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut seen: Vec<String> = Vec::new();
    for dir in ["keeper/src", "lifecycle/src", "cgroup/src", "runtime/src", "sys/src"] {
        let mut open = vec![crates.join(dir)];
        while let Some(dir) = open.pop() {
            for path in std::fs::read_dir(&dir).expect("sources").flatten().map(|entry| entry.path()) {
                let name = path.strip_prefix(&crates).expect("below").display().to_string();
                if path.is_dir() {
                    open.push(path);
                } else if asks_for_the_time(&std::fs::read_to_string(&path).expect("a source")) {
                    seen.push(name);
                }
            }
        }
    }
    seen.sort();
    // What is written for people to read: when a line was said, something happened, a container was
    // made; when a figure was taken, and how old figures of whom nobody knows are; and how old an empty group is that nobody knows, which `gc` takes after a minute,
    // as it does files of addresses that nobody can read (and its tests make such).
    let stamps = [
        "cgroup/src/group.rs",
        "lifecycle/src/events.rs",
        "lifecycle/src/history/sampler.rs",
        "lifecycle/src/log/format.rs",
        "lifecycle/src/log/write.rs",
        "lifecycle/src/networks/gc.rs",
        "lifecycle/src/networks/tests.rs",
        "lifecycle/src/record.rs",
    ];
    assert_eq!(seen, stamps);
}

fn asks_for_the_time(source: &str) -> bool {
    let words = ["SystemTime", ".modified()", "ClockId::Realtime", "CLOCK_REALTIME", "jiff::"];
    words.iter().any(|word| source.contains(word))
}
