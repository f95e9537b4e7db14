//! A fault at each system call of `tsubo-oci` and of the process that it makes, put there from
//! outside by a tracer (the tests of `tsubo` have the same): killed before the call, or the call
//! fails. In `./x test` a few of them, spread evenly; where `TSUBO_SOAK` is set (`./x soak`) more,
//! and others each time.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Ground, Said};

/// Numbers and words, in the order of the tracer's report.
const ERRORS: [(u8, &str); 5] = [
    (28, "No space left on device"),
    (24, "Too many open files"),
    (12, "Cannot allocate memory"),
    (4, "Interrupted system call"),
    (5, "Input/output error"),
];

/// What is said where the cause is lost on the way: a group of CPUs whose parent's could not be read has
/// none, which the kernel tells who enters it; the dynamic loader of a development build has words of its own.
const HIDDEN: [&str; 2] = ["entering the control groups", "error while loading shared libraries"];

/// The command, a process that it makes, one that this makes.
const WHO: [&str; 3] = ["c", "k", "f"];

struct Scene {
    ground: Ground,
    injector: PathBuf,
    id: String,
}

/// What was done before, and what is tried.
type Case<'a> = (&'a [&'a [&'a str]], &'a [&'a str]);

impl Scene {
    fn new() -> Option<Self> {
        let ground = Ground::new();
        let injector =
            ground.compile("injector", include_str!("../../../tsubo/tests/it/programs/injector.c"))?;
        let mut config = Ground::config("exec sleep 100");
        config["process"]["args"] = json!(["/bin/sleep", "100"]);
        config["linux"]["cgroupsPath"] = json!(format!("/{}/deep/group", ground.name));
        let id = ground.write(&config).id();
        Some(Self { ground, injector, id })
    }

    /// Runs a command under the tracer: its report, and what the command said.
    fn inject(&self, options: &[&str], words: &[&str]) -> (Value, Said) {
        let [report, out, error] = ["report", "out", "error"].map(|name| self.ground.at(name));
        let file = |path: &PathBuf| std::fs::File::create(path).expect("a file");
        let command = self.ground.command(words);
        let mut tracer = Command::new(&self.injector);
        tracer.args(options).arg("-o").arg(&report).arg(command.get_program()).args(command.get_args());
        tracer.current_dir(self.ground.bundle()).stdin(Stdio::null()).stdout(file(&out)).stderr(file(&error));
        assert!(tracer.status().expect("the tracer").success());
        let text = |path: &PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        let report: Value = serde_json::from_str(&text(&report)).expect("a report");
        let status = report["status"].as_i64().expect("a status") as i32;
        // Of a signal, as a shell has it.
        let code = if status & 0x7f == 0 { status >> 8 & 0xff } else { 128 + (status & 0x7f) };
        (report, Said { code, out: text(&out), error: text(&error) })
    }

    fn prepare(&self, before: &[&[&str]]) {
        before.iter().for_each(|words| _ = self.ground.detached(words).well());
    }

    fn remove(&self) {
        self.ground.call(&["delete", "--force", &self.id]).well();
    }

    /// `create`, `start`, `exec`, `delete` and `run` with what each needs.
    fn each(&self, mut attempt: impl FnMut(Case)) {
        let id = self.id.as_str();
        let create: &[&str] = &["create", id];
        let start: &[&str] = &["start", id];
        attempt((&[], create));
        attempt((&[create], start));
        attempt((&[create, start], &["exec", id, "true"]));
        attempt((&[create, start], &["exec", "--detach", id, "true"]));
        attempt((&[create], &["delete", id]));
        attempt((&[create, start], &["delete", "--force", id]));
        attempt((&[], &["run", "--detach", id]));
    }
}

/// So many of the numbers from 1 to the last.
fn some(all: u64, few: u64) -> Vec<u64> {
    let soak = std::env::var_os("TSUBO_SOAK").is_some();
    let few = if soak { 8 * few } else { few }.min(all);
    let one = |step: u64| {
        let (from, to) = (1 + all * step / few, all * (step + 1) / few);
        if soak { from + random() % (to - from + 1) } else { from.midpoint(to) }
    };
    (0..few).map(one).collect()
}

fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

/// runc #4534: killed before its state is written, or at any other moment.
#[test]
fn fault_f1_killed_at_any_call_of_create_start_exec_delete() {
    let Some(scene) = Scene::new() else { return };
    scene.each(|(before, words)| {
        scene.prepare(before);
        let (whole, said) = scene.inject(&[], words);
        assert_eq!(said.code, 0, "{words:?}: {said:?}");
        scene.remove();
        for who in WHO {
            let calls = whole[who].as_u64().expect("a count");
            for at in some(calls, 4) {
                scene.prepare(before);
                let (report, said) = scene.inject(&["-k", &format!("{who}:{at}")], words);
                let what = format!("{words:?}, {who} killed before call {at} of {calls}: {said:?} {report}");
                assert!(!said.error.contains("panicked"), "{what}");
                // Whatever is listed can be asked about.
                for row in scene.ground.rows() {
                    let id = row["id"].as_str().expect("an id").to_owned();
                    assert_eq!(scene.ground.status(&id), row["status"], "{what}");
                }
                scene.remove();
                scene.ground.clean_after(&what);
            }
        }
    });
    // The same id can be made again.
    scene.ground.detached(&["create", &scene.id]).well();
    scene.ground.call(&["delete", &scene.id]).well();
    scene.ground.clean();
}

/// What fails says what it was, and leaves nothing; what did not need that call does what it should.
#[test]
fn fault_f2_errno_at_every_call_of_create_start_exec_delete() {
    let Some(scene) = Scene::new() else { return };
    let mut wrong = Vec::new();
    scene.each(|(before, words)| {
        scene.prepare(before);
        let (whole, said) = scene.inject(&[], words);
        assert_eq!(said.code, 0, "{words:?}: {said:?}");
        scene.remove();
        for (who, (index, (number, text))) in
            WHO.iter().flat_map(|who| ERRORS.iter().enumerate().map(move |error| (who, error)))
        {
            for at in some(whole["could_fail"][who][index].as_u64().expect("a count"), 1) {
                scene.prepare(before);
                let (report, said) = scene.inject(&["-e", &format!("{who}:{at}:{number}")], words);
                let what = format!("{words:?}, {who}: {text} at {at}, call {}: {said:?}", report["failed"]);
                if said.error.contains("panicked") || (said.code > 128 && said.code != 255) {
                    wrong.push(format!("ended badly: {what}"));
                }
                let hidden = HIDDEN.iter().any(|words| said.error.contains(words));
                if said.code != 0 && !said.error.contains(text) && !hidden {
                    wrong.push(format!("names no cause: {what}"));
                }
                // One that could not be made is not there, without anybody's help.
                if said.code != 0 && matches!(words[0], "create" | "run") {
                    if let Err(left) = scene.ground.left() {
                        wrong.push(format!("left {left}: {what}"));
                    }
                }
                if report["status"] == -1 {
                    panic!("hangs: {what}\n{}", wrong.join("\n"));
                }
                let deleted = scene.ground.call(&["delete", "--force", &scene.id]);
                assert_eq!(deleted.code, 0, "cannot be deleted ({deleted:?}): {what}\n{}", wrong.join("\n"));
                if let Err(left) = scene.ground.left() {
                    wrong.push(format!("{left} after deletion: {what}"));
                }
            }
        }
    });
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
