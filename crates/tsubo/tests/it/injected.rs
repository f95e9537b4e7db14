//! `kill -9` of `tsubo` and of keepers at every step. A tracer (`programs/injector.c`) counts the
//! system calls of each and kills or holds one before its N-th: from outside, with nothing in the
//! product that knows of it. In `./x test` a few moments of each, spread evenly; where
//! `TSUBO_SOAK` is set (`./x soak`) others each time, at random.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::base::compile;
use crate::support::busybox::installed;
use crate::support::leftovers::{self, everything};
use crate::support::{House, ended, have, one_clear_error, until};

/// A command line of `tsubo`.
type Verb<'a> = &'a [&'a str];

/// Which process: the letters that the injector knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// `tsubo`.
    Command,
    /// The keeper that it starts, from the fork on.
    Keeper,
    /// The process that becomes the container's first, or one that is executed in it.
    First,
    /// The keeper that was there before.
    OldKeeper,
}

impl Who {
    fn letter(self) -> &'static str {
        match self {
            Self::Command => "c",
            Self::Keeper => "k",
            Self::First => "f",
            Self::OldKeeper => "p",
        }
    }
}

/// What came of a command under the injector.
struct Seen {
    report: Value,
    output: Output,
}

impl Seen {
    fn calls(&self, who: Who) -> u64 {
        self.report[who.letter()].as_u64().expect("a count")
    }

    fn happened(&self, what: &str) -> bool {
        self.report[what].as_bool().expect("a fact")
    }

    fn succeeded(&self) -> bool {
        self.report["status"] == 0
    }

    fn keepers(&self) -> impl Iterator<Item = (u64, String)> + '_ {
        let all = self.report["keepers"].as_array().into_iter().flatten();
        all.map(|one| (one[0].as_u64().expect("pid"), one[1].as_str().unwrap_or_default().to_owned()))
    }

    fn told(&self) -> String {
        format!("{}{}", self.report, String::from_utf8_lossy(&self.output.stderr))
    }
}

/// A house with an injector, and the command line that all of its containers execute.
struct Scene {
    house: House,
    injector: PathBuf,
    sleeper: String,
    before: Vec<PathBuf>,
}

impl Scene {
    fn new() -> Option<Self> {
        if !have(&["gcc"]) {
            return None;
        }
        // A number of seconds that nobody else sleeps.
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let sleeper = format!("{}{}", NEXT.fetch_add(1, Ordering::Relaxed), std::process::id());
        let house = installed(|tar| tar, json!({"command": ["/bin/sleep", sleeper]}))?;
        let injector = compile(&house, "injector", include_str!("programs/injector.c"), &[]);
        let mut scene = Self { house, injector, sleeper, before: Vec::new() };
        scene.usable();
        scene.before = everything(&scene.house.elsewhere());
        Some(scene)
    }

    /// Runs a verb under the injector.
    fn inject(&self, options: &[&str], old: Option<u64>, verb: &[&str]) -> Seen {
        let report = self.house.path("report");
        let mut command = Command::new(&self.injector);
        command.args(options).arg("-o").arg(&report);
        command.args(old.map(|pid| format!("-p{pid}")));
        command.args([env!("CARGO_BIN_EXE_tsubo"), "--root"]).arg(self.house.elsewhere()).args(verb);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = ended(command.spawn().expect("injector"), "a command under the injector");
        let text = std::fs::read_to_string(&report);
        let text = text.unwrap_or_else(|error| panic!("{error}: {output:?}"));
        Seen { report: serde_json::from_str(&text).expect("a report"), output }
    }

    /// The shell's words for `tsubo`, for what is done in the middle of another command.
    fn tsubo(&self) -> String {
        format!("{} --root {}", env!("CARGO_BIN_EXE_tsubo"), self.house.elsewhere().display())
    }

    fn rows(&self) -> Vec<Value> {
        let rows = self.house.json_elsewhere(["ps", "-a", "--format", "json"]);
        rows.as_array().cloned().unwrap_or_default()
    }

    /// The keeper of the running container `x`.
    fn keeper(&self) -> Option<u64> {
        let rows = self.rows();
        let pid = rows.iter().find(|row| row["name"] == "x" && row["running"] == true)?["pid"].as_u64()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
    }

    /// Processes of this house's containers, whoever knows of them.
    fn sleepers(&self) -> Vec<String> {
        let line = format!("/bin/sleep\0{}\0", self.sleeper).into_bytes();
        let pids = std::fs::read_dir("/proc").expect("/proc").flatten();
        let pids =
            pids.filter(|entry| std::fs::read(entry.path().join("cmdline")).is_ok_and(|own| own == line));
        pids.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Whether this is a keeper's process, or will be: its number may be somebody else's by now.
    fn is_keeper(&self, pid: u64) -> bool {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        line.starts_with("tsubo-keeper") || line.contains(self.house.dir().to_str().expect("UTF-8"))
    }

    /// What is listed is what is there. A start whose caller was killed may go on for a moment; and a
    /// pid namespace ends only when the host's process 1 has reaped who was executed in it from
    /// outside and lost its keeper, for which some take their time.
    #[track_caller]
    fn listed_as_it_is(&self, seen: &Seen, what: &str) {
        let keepers: Vec<u64> = seen.keepers().map(|(pid, _)| pid).collect();
        until(&format!("what is listed is there ({what}): {}", seen.told()), || {
            let rows = self.rows();
            match rows.iter().find(|row| row["running"] == true) {
                Some(row) => self.sleepers().contains(&row["pid"].to_string()),
                None => self.sleepers().is_empty() && !keepers.iter().any(|pid| self.is_keeper(*pid)),
            }
        });
        let rows = self.rows();
        for row in rows.iter().filter(|row| row["running"] == true && row["status"] == "running") {
            self.house.ok_elsewhere(["exec", row["name"].as_str().expect("name"), "/bin/true"]);
        }
    }

    /// Removes everything by name; nothing stays, and the name is free.
    #[track_caller]
    fn removed_without_a_trace(&self, seen: &Seen, what: &str) {
        let mut ids: Vec<String> = seen.keepers().map(|(_, id)| id).filter(|id| !id.is_empty()).collect();
        ids.extend(self.rows().iter().filter_map(|row| row["id"].as_str().map(str::to_owned)));
        for name in ["x", "y"] {
            let removed = self.house.command_elsewhere(["rm", "-f", name]).output().expect("rm");
            let complaint = String::from_utf8_lossy(&removed.stderr);
            assert!(removed.status.success() || complaint.contains("no container"), "{what}: {complaint}");
        }
        assert_eq!(self.sleepers(), [] as [String; 0], "{what}");
        assert_eq!(leftovers::of(&self.house.elsewhere(), &ids), [] as [String; 0], "{what}");
        until("keepers end", || !seen.keepers().any(|(pid, _)| self.is_keeper(pid)));
        let new: Vec<_> = everything(&self.house.elsewhere())
            .into_iter()
            .filter(|path| !self.before.contains(path))
            .collect();
        assert_eq!(new, [] as [PathBuf; 0], "{what}");
    }

    /// A keeper whose container is removed when it ends tells so before it removes its empty groups,
    /// which nobody waits for. One that is killed in that moment leaves them to `tsubo gc`, which
    /// takes them after a minute.
    fn groups_are_forgotten(&self, seen: &Seen) {
        let ids: Vec<String> = seen.keepers().map(|(_, id)| id).filter(|id| !id.is_empty()).collect();
        let left =
            || leftovers::all_groups().into_iter().filter(|group| ids.iter().any(|id| group.ends_with(id)));
        if !self.rows().is_empty() || left().next().is_none() {
            return;
        }
        for group in left() {
            let inside = std::fs::read_to_string(group.join("cgroup.procs"));
            assert!(inside.is_ok_and(|list| list.is_empty()), "{}", group.display());
            let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(120);
            let dir = std::fs::File::open(&group).expect("open");
            dir.set_modified(long_ago).expect("a minute later");
        }
        // Somebody else's may have been quicker.
        self.house.ok_elsewhere(["gc"]);
        let left: Vec<_> = left().collect();
        assert_eq!(left, [] as [PathBuf; 0]);
    }

    fn usable(&self) {
        assert_eq!(self.house.ok_elsewhere(["run", "--rm", "--name", "x", "web", "/bin/echo", "in"]), "in\n");
    }

    /// Prepares, runs `verb` with one of `whom` killed at some moments, and looks at what is left.
    #[track_caller]
    fn killed_at_any_moment(&self, before: &[Verb], verb: Verb, whom: &[Who]) {
        let prepare = || {
            before.iter().for_each(|verb| _ = self.house.ok_elsewhere(*verb));
            whom.contains(&Who::OldKeeper).then(|| self.keeper()).flatten()
        };
        let whole = self.inject(&[], prepare(), verb);
        assert!(whole.succeeded(), "{}", whole.told());
        self.removed_without_a_trace(&whole, "without a fault");
        for who in whom {
            let calls = whole.calls(*who);
            assert!(calls > 0, "{who:?} does nothing in {verb:?}: {}", whole.told());
            let mut longest = (0, 0);
            for at in moments(calls) {
                let what = format!("{who:?} killed before call {at} of {calls} of {verb:?}");
                let seen = self.inject(&["-k", &format!("{}:{at}", who.letter())], prepare(), verb);
                let complaint = String::from_utf8_lossy(&seen.output.stderr);
                assert!(
                    !complaint.contains("panicked") && !complaint.contains("hangs"),
                    "{what}: {complaint}"
                );
                let began = Instant::now();
                self.listed_as_it_is(&seen, &what);
                if *who == Keeper && verb.contains(&"--rm") {
                    self.groups_are_forgotten(&seen);
                }
                self.removed_without_a_trace(&seen, &what);
                longest = longest.max((began.elapsed().as_millis(), at));
                self.usable();
            }
            println!("{verb:?}, {who:?}: {calls} calls; clean again after {longest:?} ms at most");
        }
    }
}

/// Some of the calls from 1 to the last.
fn moments(calls: u64) -> Vec<u64> {
    some(calls, 5)
}

/// So many of them; in a soak more, and others each time.
fn some(calls: u64, few: u64) -> Vec<u64> {
    let soak = std::env::var_os("TSUBO_SOAK").is_some();
    let few = if soak { 4 * few } else { few }.min(calls);
    (0..few)
        .map(|step| {
            let (from, to) = (1 + calls * step / few, calls * (step + 1) / few);
            if soak { from + random() % (to - from + 1) } else { from.midpoint(to) }
        })
        .collect()
}

fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

use Who::{Command as Tsubo, First, Keeper, OldKeeper};

const RUN: Verb = &["run", "-d", "--name", "x", "web"];

#[test]
fn fault_f1_run_is_killed_at_any_call() {
    let Some(scene) = Scene::new() else { return };
    scene.killed_at_any_moment(&[], RUN, &[Tsubo, Keeper, First]);
}

#[test]
fn fault_f1_run_that_stays_is_killed_at_any_call() {
    let Some(scene) = Scene::new() else { return };
    let verb = ["run", "--rm", "--name", "x", "web", "/bin/true"];
    scene.killed_at_any_moment(&[], &verb, &[Tsubo, Keeper, First]);
}

#[test]
fn fault_f1_create_and_start_are_killed_at_any_call() {
    let Some(scene) = Scene::new() else { return };
    let create: &[&str] = &["create", "--name", "x", "web"];
    scene.killed_at_any_moment(&[], create, &[Tsubo]);
    scene.killed_at_any_moment(&[create], &["start", "x"], &[Tsubo, Keeper, First]);
}

#[test]
fn fault_f1_stop_and_rm_are_killed_at_any_call() {
    let Some(scene) = Scene::new() else { return };
    scene.killed_at_any_moment(&[RUN], &["stop", "-t", "0", "x"], &[Tsubo, OldKeeper]);
    scene.killed_at_any_moment(&[RUN], &["rm", "-f", "x"], &[Tsubo, OldKeeper]);
    scene.killed_at_any_moment(&[RUN, &["stop", "-t", "0", "x"]], &["rm", "x"], &[Tsubo]);
}

#[test]
fn fault_f1_restart_is_killed_at_any_call() {
    let Some(scene) = Scene::new() else { return };
    scene.killed_at_any_moment(&[RUN], &["restart", "-t", "0", "x"], &[Tsubo, Keeper, OldKeeper]);
}

#[test]
fn fault_f1_rename_and_pause_are_killed_at_any_call() {
    let Some(scene) = Scene::new() else { return };
    scene.killed_at_any_moment(&[RUN], &["rename", "x", "y"], &[Tsubo, OldKeeper]);
    scene.killed_at_any_moment(&[RUN], &["pause", "x"], &[Tsubo, OldKeeper]);
    scene.killed_at_any_moment(&[RUN, &["pause", "x"]], &["unpause", "x"], &[Tsubo, OldKeeper]);
    scene.killed_at_any_moment(&[RUN, &["pause", "x"]], &["rm", "-f", "x"], &[Tsubo, OldKeeper]);
}

#[test]
fn fault_f1_exec_is_killed_at_any_call() {
    let Some(scene) = Scene::new() else { return };
    scene.killed_at_any_moment(&[RUN], &["exec", "x", "/bin/true"], &[Tsubo, OldKeeper, First]);
}

/// At whatever call `tsubo`, its keeper or the new process are held, a second command sees a
/// container that is being made, or one that runs: it never takes it for dead, and the start comes
/// to its end as if nobody had looked.
#[test]
fn fault_f14_a_start_that_is_held_is_not_disturbed_by_who_looks() {
    let Some(scene) = Scene::new() else { return };
    let look = format!("{0} ps -a; {0} gc; {0} inspect x", scene.tsubo());
    let stays: &[&str] = &["run", "--rm", "--name", "x", "web", "/bin/echo", "in"];
    let create: &[&str] = &["create", "--name", "x", "web"];
    let cases: [(&[Verb], Verb, &str); 3] =
        [(&[], RUN, "x\n"), (&[], stays, "in\n"), (&[create], &["start", "x"], "x\n")];
    for (before, verb, says) in cases {
        let prepare = || before.iter().for_each(|verb| _ = scene.house.ok_elsewhere(*verb));
        prepare();
        let whole = scene.inject(&[], None, verb);
        scene.removed_without_a_trace(&whole, "without a fault");
        for who in [Tsubo, Keeper, First] {
            for at in some(whole.calls(who), 2) {
                prepare();
                let hold = format!("{}:{at}", who.letter());
                // What the others print is not the command's.
                let script = format!("({look}) >/dev/null 2>&1");
                let seen = scene.inject(&["-h", &hold, "-x", &script], None, verb);
                let what = format!("{who:?} held before call {at} of {verb:?}: {}", seen.told());
                assert!(seen.succeeded(), "{what}");
                assert_eq!(String::from_utf8_lossy(&seen.output.stdout), says, "{what}");
                scene.listed_as_it_is(&seen, &what);
                assert_eq!(scene.rows().len(), usize::from(verb != stays), "{what}");
                scene.removed_without_a_trace(&seen, &what);
            }
        }
    }
}

/// `tsubo` is killed while its keeper is held, with the lock on its way or in its hands; somebody
/// looks; the keeper goes on. Whatever comes of it, no process is left that no record knows of.
#[test]
fn fault_f1_a_start_whose_caller_was_killed_is_not_taken_for_dead() {
    let Some(scene) = Scene::new() else { return };
    let whole = scene.inject(&[], None, RUN);
    scene.removed_without_a_trace(&whole, "without a fault");
    let look = format!("({0} ps -a; {0} gc) >/dev/null 2>&1", scene.tsubo());
    let (sent, calls) = (whole.report["sent"].as_u64().expect("a count"), whole.calls(Tsubo));
    assert!(0 < sent && sent + 2 < calls, "{}", whole.told());
    let mut ran = 0;
    // Before the job with the lock is sent, when it is on its way, when the answer has come, at the end.
    for command in [sent, sent + 1, sent + 2, calls] {
        for keeper in moments(whole.calls(Keeper)) {
            let (kill, hold) = (format!("c:{command}"), format!("k:{keeper}"));
            let seen = scene.inject(&["-k", &kill, "-h", &hold, "-x", &look], None, RUN);
            let what = format!("tsubo killed before call {command}, its keeper held before {keeper}");
            scene.listed_as_it_is(&seen, &what);
            let rows = scene.rows();
            // Once the job is sent, the keeper needs nobody to bring it to its end.
            assert_eq!(rows.len(), usize::from(command > sent), "{what}: {}", seen.told());
            ran += rows.len();
            scene.removed_without_a_trace(&seen, &what);
        }
    }
    assert!(ran > 0);
}

/// Who wants to remove what is just being started is told to wait, or waits.
#[test]
fn fault_f14_a_start_that_is_held_is_not_undone_by_who_removes() {
    let Some(scene) = Scene::new() else { return };
    let whole = scene.inject(&[], None, RUN);
    scene.removed_without_a_trace(&whole, "without a fault");
    let errors = scene.house.path("errors");
    let script = format!("{} rm x >/dev/null 2>{}", scene.tsubo(), errors.display());
    let sent = whole.report["sent"].as_u64().expect("a count");
    // Where the lock is held it takes two seconds until the other gives up.
    for (who, at) in [(Tsubo, sent), (Keeper, whole.calls(Keeper) * 3 / 4)] {
        let hold = format!("{}:{at}", who.letter());
        let seen = scene.inject(&["-h", &hold, "-x", &script], None, RUN);
        let what = format!("{who:?} held before call {at}: {}", seen.told());
        assert!(seen.succeeded() && seen.happened("held"), "{what}");
        one_clear_error(&std::fs::read_to_string(&errors).expect("errors"), &["x"]);
        scene.listed_as_it_is(&seen, &what);
        assert_eq!(scene.rows().len(), 1, "{what}");
        scene.removed_without_a_trace(&seen, &what);
    }
}

/// Numbers and words of errors, in the order of the tracer's report.
const ERRORS: [(u8, &str); 5] = [
    (28, "No space left on device"),
    (24, "Too many open files"),
    (12, "Cannot allocate memory"),
    (4, "Interrupted system call"),
    (5, "Input/output error"),
];

/// What is said where the cause is lost on the way: the standard library does not look why it could
/// not look (create_dir_all), a wait that fails counts as one that was in vain, an image whose place cannot be
/// opened counts as missing, and the dynamic loader of a development build has words of its own.
const HIDDEN: [&str; 4] =
    ["File exists", "does not finish", "there is no image", "error while loading shared libraries"];

impl Scene {
    /// Prepares, runs `verb` with one call of one of `whom` failing, and looks at what was said and
    /// what is left. What fails in the command or in a start names the cause; what a keeper that runs
    /// already cannot do it may do without.
    fn failing_at_any_call(&self, before: &[Verb], verb: Verb, whom: &[Who], wrong: &mut Vec<String>) {
        let prepare = || {
            before.iter().for_each(|verb| _ = self.house.ok_elsewhere(*verb));
            whom.contains(&Who::OldKeeper).then(|| self.keeper()).flatten()
        };
        let whole = self.inject(&[], prepare(), verb);
        assert!(whole.succeeded(), "{}", whole.told());
        self.removed_without_a_trace(&whole, "without a fault");
        for who in whom {
            for (index, (number, text)) in ERRORS.iter().enumerate() {
                let calls = whole.report["could_fail"][who.letter()][index].as_u64().expect("a count");
                for at in some(calls, 1) {
                    let failure = format!("{}:{at}:{number}", who.letter());
                    let seen = self.inject(&["-e", &failure], prepare(), verb);
                    let what = format!("{who:?} of {verb:?}: {text} at {at} of {calls}: {}", seen.told());
                    let complaint = String::from_utf8_lossy(&seen.output.stderr);
                    if complaint.contains("panicked") || complaint.contains("hangs") {
                        wrong.push(format!("ended badly: {what}"));
                    }
                    let hidden = HIDDEN.iter().any(|words| complaint.contains(words));
                    if !seen.succeeded() && *who != OldKeeper && !complaint.contains(text) && !hidden {
                        wrong.push(format!("names no cause: {what}"));
                    }
                    self.listed_as_it_is(&seen, &what);
                    if *who == Keeper && verb.contains(&"--rm") {
                        self.groups_are_forgotten(&seen);
                    }
                    self.removed_without_a_trace(&seen, &what);
                }
            }
        }
        self.usable();
    }
}

#[test]
fn fault_f2_errno_at_any_call_of_run_and_start() {
    let Some(scene) = Scene::new() else { return };
    let mut wrong = Vec::new();
    let create: &[&str] = &["create", "--name", "x", "web"];
    let stays: &[&str] = &["run", "--rm", "--name", "x", "web", "/bin/true"];
    scene.failing_at_any_call(&[], RUN, &[Tsubo, Keeper, First], &mut wrong);
    scene.failing_at_any_call(&[], stays, &[Tsubo, Keeper, First], &mut wrong);
    scene.failing_at_any_call(&[], create, &[Tsubo], &mut wrong);
    scene.failing_at_any_call(&[create], &["start", "x"], &[Tsubo, Keeper, First], &mut wrong);
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn fault_f2_errno_at_any_call_of_exec_stop_and_rm() {
    let Some(scene) = Scene::new() else { return };
    let mut wrong = Vec::new();
    scene.failing_at_any_call(&[RUN], &["exec", "x", "/bin/true"], &[Tsubo, OldKeeper, First], &mut wrong);
    scene.failing_at_any_call(&[RUN], &["stop", "-t", "0", "x"], &[Tsubo, OldKeeper], &mut wrong);
    scene.failing_at_any_call(&[RUN], &["rm", "-f", "x"], &[Tsubo, OldKeeper], &mut wrong);
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
