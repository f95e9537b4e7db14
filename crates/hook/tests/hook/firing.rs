//! Firings of scripts.

use serde_json::json;

use crate::{failure, fire, firing, inside, script, verdict};

#[test]
fn what_a_script_says_keeps_and_sees() {
    let mut own = inside(
        "log('hello', ctx.name, 7, { a = 1 })\nlog.warn('careful')\nprint(host.memory > 0, flags.size, ctx.event, ctx.detail.code)\n\
         ctx.state.count = (ctx.state.count or 0) + 1\nctx.state.gone = nil\nctx.state.same = ctx.state.same",
    );
    own["state"] = json!({ "count": 2, "gone": "x", "same": [1, 2], "tsubo:limits.memory": 5 });
    own["detail"] = json!({ "code": 3 });
    let outcome = fire(&own);
    assert_eq!(verdict(&outcome), ("done", ""));
    assert_eq!(outcome["log"], json!(["hello web 7 {\"a\":1}", "warning: careful", "true 64M every 30s 3"]));
    assert_eq!(outcome["state"], json!({ "count": 3, "gone": null }));
}

#[test]
fn a_mistake_names_file_and_line() {
    assert_eq!(failure(&inside("local x = nil\nreturn x.y")), "hooks.luau:3: attempt to index nil with 'y'");
    assert_eq!(failure(&inside("error('it')")), "hooks.luau:2: it");
    assert!(failure(&script("return {\n it = = 1 }")).starts_with("hooks.luau:2: "));
    assert!(failure(&script("return { other = 1 }")).contains("has no function \"it\""));
    assert!(failure(&script("local x = 1")).contains("it returns no table of functions"));
    assert!(
        failure(&firing(
            json!({ "script": { "file": "x.luau", "function": "it", "definition": false } }),
            json!({})
        ))
        .contains("its text is not there")
    );
}

#[test]
fn what_cannot_be_kept_is_named() {
    assert_eq!(
        failure(&inside("ctx.state.a = { b = { print } }")),
        "hooks.luau: ctx.state.a.b[1] is a function, which cannot be kept or sent"
    );
    let large = failure(&inside("ctx.state.small = 1 ctx.state.big = string.rep('x', 10 * MiB)"));
    assert!(large.contains("ctx.state.big is 104857"), "{large}");
    assert!(failure(&inside("ctx.state = 5")).contains("ctx.state is no table"));
    assert!(failure(&inside("ctx.state.x = ctx.state")).contains("contains itself"));
    let ours = failure(&inside("ctx.state['tsubo:limits.memory'] = 1e15"));
    assert!(ours.contains("\"tsubo:limits.memory\""), "{ours}");
    assert!(failure(&inside("ctx.state.n = 0/0")).contains("ctx.state.n is no number"));
}

#[test]
fn its_time_ends_it_wherever_it_is() {
    for text in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "table.sort({ 3, 2, 1 }, function() while true do end end)",
        "string.find(string.rep('a', 5000), string.rep('a*', 12) .. 'b')",
        "time.sleep(60)",
    ] {
        let mut own = inside(text);
        own["hook"]["timeout"] = json!(200);
        let outcome = fire(&own);
        let (word, why) = verdict(&outcome);
        assert!(word == "overdue" && why.starts_with("hooks.luau:2: "), "{text}: {outcome}");
    }
}

#[test]
fn a_veto_holds_whatever_comes_after_it() {
    let mut own = inside("pcall(function() ctx:veto('not our turn') end) error('again')");
    own["hook"]["when"] = json!("before start");
    assert_eq!(verdict(&fire(&own)), ("veto", "not our turn"));
    assert!(failure(&inside("ctx:veto('late')")).contains("can prevent nothing any more"));
}

#[test]
fn modules_come_from_the_files_and_from_what_ships() {
    let files = json!({
        "hooks.luau": "local own = require('lib/own')\nlocal scaler = require('tsubo/autoscaler')\nreturn { it = function() log(own.word, type(scaler)) end }",
        "lib/own.luau": "return { word = 'found' }",
    });
    let act = json!({ "script": { "file": "hooks.luau", "function": "it", "definition": false } });
    assert_eq!(fire(&firing(act.clone(), files))["log"], json!(["found table"]));
    let files = json!({ "hooks.luau": "require('a')", "a.luau": "\nreturn require('b')", "b.luau": "return require('a')" });
    assert!(failure(&firing(act, files)).contains("requires itself"));
}

#[test]
fn a_definition_is_evaluated_again() {
    let text = "local c = tsubo.container('web')\nc.command = { '/bin/true' }\nc.limits.memory = flags.size\n\
                for i = 1, 3 do c:every('30s', function(ctx) ctx.state.i = i log(host.memory) end) end\nreturn c";
    let act =
        |name: &str| json!({ "script": { "file": "tsubo.luau", "function": name, "definition": true } });
    let outcome = fire(&firing(act("every 30s #2"), json!({ "tsubo.luau": text })));
    assert_eq!(outcome["state"], json!({ "i": 2 }));
    assert_eq!(outcome["log"], json!(["1024"]));
    assert!(
        failure(&firing(act("every 30s #4"), json!({ "tsubo.luau": text }))).contains("has no hook called")
    );
}

#[test]
fn what_comes_in_wrong_is_refused() {
    let said = crate::hook(&["fire"], "{}", std::path::Path::new("/"));
    assert!(said.code == 125 && said.error.contains("no firing"), "{}", said.error);
    let mut own = inside("");
    own["version"] = json!(2);
    assert!(failure(&own).contains("version 2"));
}

#[test]
fn a_container_that_has_gone_is_no_other_of_its_name() {
    let folder = tempfile::tempdir().expect("folder");
    for text in [
        "ctx:exec({ '/bin/true' })",
        "ctx:logs()",
        "ctx.limits.memory = 1",
        "return ctx.limits.memory",
        "ctx:stop()",
        "ctx:restart()",
        "return ctx.stats",
    ] {
        let mut own = inside(text);
        own["container"]["lib"] = json!(folder.path());
        own["container"]["run"] = json!(folder.path().join("run"));
        let why = failure(&own);
        assert!(why.contains("it has gone"), "{text}: {why}");
        own["hook"]["when"] = json!("before create");
        let why = failure(&own);
        assert!(why.contains("is not there yet"), "{text}: {why}");
    }
}
