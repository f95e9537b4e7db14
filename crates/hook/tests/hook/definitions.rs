//! Definitions that compute, and scripts that are taken along.

use std::path::Path;

use serde_json::{Value, json};

use crate::{Said, hook};

fn eval(text: &str, arguments: &[&str]) -> Said {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("tsubo.luau"), text).expect("written");
    std::fs::create_dir(folder.path().join("lib")).expect("lib");
    std::fs::write(folder.path().join("lib/sizes.luau"), "return { small = '64M' }").expect("written");
    let mut all = vec!["eval"];
    all.extend(arguments);
    all.push("tsubo.luau");
    hook(&all, "", folder.path())
}

fn good(text: &str) -> Value {
    let said = eval(text, &["--set", "url=http://a/"]);
    assert_eq!(said.code, 0, "{}", said.error);
    serde_json::from_str(&said.out).expect("JSON")
}

fn bad(text: &str) -> String {
    let said = eval(text, &[]);
    assert!(said.code == 125 && said.out.is_empty(), "{} {}", said.code, said.out);
    said.error
}

#[test]
fn the_table_is_what_toml_would_say() {
    let all = good(
        "local sizes = require('lib/sizes')\n\
         local c = tsubo.container('web')\n\
         c.command = { 'nginx', '-g', 'daemon off;' }\n\
         c.isolation.namespaces = { 'mount', 'pid' }\n\
         c.volumes = {}\n\
         c.environment = {}\n\
         c.limits.memory = host.memory > 8 * TiB and '256M' or sizes.small\n\
         c.limits.pids = 10 * 2\n\
         c.limits.cpus = 0.5\n\
         if c.limits.swap == nil then c.limits.swap = '1M' end\n\
         local looked = c.isolation.nothing.at.all\n\
         c.hooks.allow.http = { flags.url }\n\
         c:before('start', function(ctx) end, { timeout = '5s', on_error = 'abort' })\n\
         c:after('30s', function() end)\n\
         c:after('stop', function() end)\n\
         for i = 1, 2 do c:every(30, function() end, { jitter = '5s', memory = 16 * MiB }) end\n\
         c:on_signal('USR1', function() end, { name = 'told' })\n\
         c:on('memory pressure 20%', function() end)\n\
         return c",
    );
    let table = &all["table"];
    assert_eq!(table["isolation"], json!({ "namespaces": { "mount": "own", "pid": "own" } }));
    assert_eq!(table["volumes"], json!([]));
    assert_eq!(table["environment"], json!({}));
    assert_eq!(table["limits"]["memory"], "64M");
    assert_eq!((&table["limits"]["pids"], &table["limits"]["cpus"]), (&json!(20), &json!(0.5)));
    assert_eq!(table["hooks"]["allow"]["http"], json!(["http://a/"]));
    let hooks = table["hooks"]["hook"].as_array().expect("hooks");
    let names: Vec<&str> = hooks.iter().map(|hook| hook["name"].as_str().expect("a name")).collect();
    let wanted = [
        "before start #1",
        "after 30s #1",
        "after stop #1",
        "every 30s jitter 5s #1",
        "every 30s jitter 5s #2",
        "told",
        "memory pressure 20% #1",
    ];
    assert_eq!(names, wanted);
    assert_eq!(
        hooks[0],
        json!({ "name": "before start #1", "when": "before start", "script": "tsubo.luau", "function": "before start #1", "timeout": "5s", "on_error": "abort" })
    );
    assert_eq!(hooks[3]["memory"], "16777216");
    let files = all["files"].as_object().expect("files");
    assert_eq!(files.keys().collect::<Vec<_>>(), ["lib/sizes.luau", "tsubo.luau"]);
    let facts: Value = serde_json::from_str(all["facts"].as_str().expect("text")).expect("JSON");
    assert!(
        facts["flags"]["url"] == "http://a/" && facts["host"]["memory"].as_u64() > Some(1 << 20),
        "{facts}"
    );
    // The other spelling understands it, all hooks included.
    let computed =
        spec::definition::Definition::computed(&table.to_string(), "tsubo.luau", "").expect("a definition");
    assert_eq!(computed.hooks.hooks(Some("tsubo.luau"), "").expect("hooks").list.len(), 7);
}

#[test]
fn a_plain_table_is_enough() {
    assert_eq!(
        good("return { name = 'web', command = { '/bin/true' } }")["table"],
        json!({ "name": "web", "command": ["/bin/true"] })
    );
    assert_eq!(good("tsubo.container('web').command = { '/bin/true' }")["table"]["name"], "web");
}

#[test]
fn mistakes_have_a_line_and_a_way_out() {
    for (text, wanted) in [
        (
            "local c = tsubo.container('web')\nc:before('lunch', print)\nreturn c",
            "error: tsubo.luau:2: nothing that happens",
        ),
        (
            "local c = tsubo.container('web')\nc:every('1s', 5)",
            "error: tsubo.luau:2: a hook every 1s needs a function",
        ),
        (
            "local c = tsubo.container('web')\nc:every('1s', print, { tiemout = 5 })",
            "error: tsubo.luau:2: a hook has no option tiemout",
        ),
        ("\n\nerror('mine')", "error: tsubo.luau:3: mine"),
        ("local x = = 1", "error: tsubo.luau:1: "),
        ("return 5", "it returns a"),
        ("", "it returns no table"),
        ("return { name = 'x', command = { print } }", "command[1] is a function"),
        ("while true do end", "tsubo.luau:1: the script took too long"),
        (
            "table.sort({ 3, 2, 1 }, function() while true do pcall(function() while true do end end) end end)",
            "tsubo.luau:1: the script took too long",
        ),
        ("\nerror({ code = 5 })", "tsubo.luau:2: it fails with a table: {\"code\":5}"),
        ("\nerror(nil)", "tsubo.luau:2: it fails, and says nothing of why"),
        ("require('../x')", "tsubo.luau:1: \"../x\" is no name of a module"),
        ("\nrequire('missing')", "tsubo.luau:2: there is no module \"missing\""),
        ("host.memory = 5", "tsubo.luau:1: attempt to modify a readonly table"),
        ("local s = 'x' while true do s = s .. s end", "more memory than it may"),
        ("tsubo.container()", "tsubo.luau:1: a container needs a name"),
        ("http.get('http://a/')", "tsubo.luau:1: attempt to index nil with 'get'"),
    ] {
        let error = bad(text);
        assert!(error.contains(wanted), "{text}: {error}");
        assert!(!error.contains("stack") || wanted.contains("stack"), "{error}");
    }
    assert!(
        bad("local c = tsubo.container('web')\nc:before('strat', print)")
            .contains("hint: did you mean \"start\"?")
    );
}

#[test]
fn scripts_are_checked_when_they_are_taken_along() {
    let folder = tempfile::tempdir().expect("folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write("hooks.luau", "local help = require('help')\nreturn { warm = function(ctx) help.go(ctx) end }");
    write("help.luau", "return { go = function() end }");
    write("broken.luau", "return {\n  a = function() if end }");
    let bundle = |what: &str| hook(&["bundle", ".", what], "", folder.path());
    let files: Value = serde_json::from_str(&bundle("hooks.luau#warm").out).expect("JSON");
    assert_eq!(files["files"].as_object().expect("files").len(), 2);
    assert!(bundle("hooks.luau#cold").error.contains("has no function \"cold\""));
    assert!(bundle("broken.luau#a").error.contains("broken.luau:2: "));
    // A link within the folder is one of it; another leads to what nobody has said.
    let outside = tempfile::tempdir().expect("folder");
    std::fs::write(outside.path().join("out.luau"), "return { go = function() end }").expect("written");
    std::os::unix::fs::symlink("help.luau", folder.path().join("near.luau")).expect("link");
    std::os::unix::fs::symlink(outside.path().join("out.luau"), folder.path().join("far.luau"))
        .expect("link");
    std::os::unix::fs::symlink(outside.path(), folder.path().join("far")).expect("link");
    assert_eq!(bundle("near.luau#go").code, 0);
    for name in ["far.luau#go", "far/out.luau#go"] {
        assert!(
            bundle(name).error.contains("leads out of the definition's folder"),
            "{}",
            bundle(name).error
        );
    }
    write("asks.luau", "local far = require('far')\nreturn { a = function() end }");
    let asked = bundle("asks.luau#a").error;
    assert!(asked.contains("asks.luau:1: ") && asked.contains("leads out"), "{asked}");
    assert!(bundle("../x.luau").error.contains("no script of the definition's folder"));
    assert!(hook(&["types"], "", Path::new("/")).out.contains("declare"));
}
