//! The standard library and the examples.

use std::path::Path;

use serde_json::Value;

use crate::hook;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/hooks"))
}

#[test]
fn the_examples_do_what_they_say() {
    let said = hook(&["test", "test.luau"], "", folder());
    assert_eq!(said.code, 0, "{}{}", said.out, said.error);
    assert!(said.out.lines().filter(|line| line.starts_with("ok ")).count() >= 8, "{}", said.out);
}

#[test]
fn of_many_who_find_a_lock_that_has_run_out_one_has_it() {
    let folder = tempfile::tempdir().expect("folder");
    let lock = folder.path().join("lock");
    let text = format!(
        "local lock = require('tsubo/leader').file('{}', {{ owner = ctx.name }})\nlog(lock.hold(ctx))",
        lock.display()
    );
    for round in 0..3 {
        let old = ["{\"owner\":\"gone\",\"till\":1}", "nonsense", ""][round];
        if old.is_empty() {
            std::fs::remove_file(&lock).expect("removed");
        } else {
            std::fs::write(&lock, old).expect("written");
        }
        let takers = (0..50).map(|number| {
            let mut own = crate::inside(&text);
            own["container"]["name"] = serde_json::json!(format!("taker-{number}"));
            own["allow"] = serde_json::json!({ "write": [folder.path()] });
            std::thread::spawn(move || crate::fire(&own))
        });
        let takers: Vec<_> = takers.collect();
        let told: Vec<Value> = takers.into_iter().map(|taker| taker.join().expect("an outcome")).collect();
        let leaders: Vec<&str> =
            told.iter().filter_map(|one| one["log"][0].as_str()?.strip_prefix("true ")).collect();
        assert_eq!(leaders.len(), 1, "{old:?}: {told:?}");
        let written: Value = serde_json::from_slice(&std::fs::read(&lock).expect("a lock")).expect("JSON");
        assert_eq!(written["owner"], leaders[0], "{old:?}");
        assert!(told.iter().all(|one| one["verdict"]["is"] == "done"), "{told:?}");
        assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 1, "nothing else is left");
    }
}

#[test]
fn each_can_be_taken_along() {
    for file in [
        "autoscaler.luau#memory",
        "balloon.luau#keep",
        "canary.luau#watch",
        "nightly.luau#recycle",
        "webhook.luau#tell",
        "leader.luau#first",
    ] {
        let said = hook(&["bundle", ".", file], "", folder());
        assert_eq!(said.code, 0, "{file}: {}", said.error);
    }
    let said = hook(&["eval", "--set", "url=http://127.0.0.1:9000/", "tsubo.luau"], "", folder());
    assert_eq!(said.code, 0, "{}", said.error);
    let all: Value = serde_json::from_str(&said.out).expect("JSON");
    let computed = spec::definition::Definition::computed(&all["table"].to_string(), "tsubo.luau", "");
    assert_eq!(
        computed.expect("a definition").hooks.hooks(Some("tsubo.luau"), "").expect("hooks").list.len(),
        5
    );
}

#[test]
fn a_test_that_fails_is_told_and_a_line_can_be_tried() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(
        folder.path().join("t.luau"),
        "return { test_bad = function(play)\nplay.equal(1, 2, 'one') end }",
    )
    .expect("written");
    let said = hook(&["test", "t.luau"], "", folder.path());
    assert!(
        said.code == 1 && said.out.contains("FAILED  test_bad: t.luau:2: one is 1, not 2"),
        "{}{}",
        said.out,
        said.error
    );
    let said = hook(
        &["repl"],
        "1 + 1\nlocal x = 5\ny = 3\ny * 2\n{ a = 1 }\nnil + 1\nwhile true do break end\n",
        folder.path(),
    );
    assert_eq!(said.out.lines().collect::<Vec<_>>()[..3], ["2", "6", "{\"a\":1}"], "{}", said.out);
    assert!(said.out.contains("error: line:1: attempt to perform arithmetic"), "{}", said.out);
}

#[test]
fn a_recorded_firing_shows_what_would_change() {
    let folder = tempfile::tempdir().expect("folder");
    let own = crate::inside("");
    std::fs::write(folder.path().join("firing.json"), own.to_string()).expect("written");
    std::fs::write(
        folder.path().join("h.luau"),
        "return { it = function(ctx) ctx.state.a = 1 log('said') ctx:exec({ '/bin/true' }) end }",
    )
    .expect("written");
    let said = hook(&["run", "h.luau#it", "--record", "firing.json"], "", folder.path());
    assert_eq!(
        said.out.lines().collect::<Vec<_>>(),
        ["log: said", "would change: exec to [\"/bin/true\"]", "state: a = 1", "done"],
        "{}",
        said.error
    );
    assert!(
        hook(&["run", "h.luau#other", "--record", "firing.json"], "", folder.path())
            .error
            .contains("no function \"other\"")
    );
}

/// Asks a policy these questions; what it says to each, without its greeting.
fn asked(text: &str, questions: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("scale.luau"), text).expect("written");
    let said = hook(&["policy", "scale.luau"], questions, folder.path());
    assert_eq!(said.code, 0, "{}", said.error);
    let lines = said.out.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let all: Vec<Value> = lines.collect();
    assert_eq!(all[0]["ready"], true);
    all[1..].to_vec()
}

#[test]
fn the_policy_of_the_docs_answers() {
    let docs = include_str!("../../../../docs/gateway.md");
    let from = docs.find("      -- scale.luau").expect("the example");
    let end = docs[from..].find("\n      end\n").expect("its end");
    let text = &docs[from..from + end + "\n      end\n".len()];
    let told = asked(text, "{\"in_flight\":0,\"wanted\":1}\n");
    assert_eq!(told, [serde_json::json!({ "instances": null })]);
}

#[test]
fn a_policy_keeps_what_it_knows_and_outlives_its_mistakes() {
    let text = "local times = 0\nreturn { policy = function(seen)\n    times += 1\n    log(times)\n    \
         if seen.wanted < 0 then error(\"below\") end\n    return if seen.table then { instances = times } else 1.5\nend }";
    let told = asked(text, "{\"wanted\":1}\n{\"wanted\":-1}\nnonsense\n{\"wanted\":1,\"table\":true}\n");
    assert_eq!(told[0], serde_json::json!({ "instances": 2, "log": ["1"] }));
    assert!(told[1]["error"].as_str().is_some_and(|why| why.contains("scale.luau:5: below")), "{told:?}");
    assert!(told[1]["instances"].is_null() && told[2]["error"].is_string(), "{told:?}");
    assert_eq!(told[3], serde_json::json!({ "instances": 3, "log": ["3"] }));
}
