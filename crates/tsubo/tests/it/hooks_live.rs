//! What a script of a hook sees of its live container and does to it: `ctx`.

use serde_json::{Value, json};

use crate::limits::{file_of, limits, number, pid};
use crate::support::busybox::installed;
use crate::support::{House, one_clear_error, until};

/// A hook that is the function `name` of `hooks.luau`.
fn script(when: &str, name: &str) -> Value {
    json!({"name": name, "when": when, "timeout": 10_000, "on_error": "warn", "memory": 33_554_432,
        "act": {"script": {"file": "hooks.luau", "function": name, "definition": false}}})
}

/// A house with an image `web` that sleeps, whose hooks are of this script.
fn house(text: &str, hooks: &[Value], allow: Value) -> Option<House> {
    let hooks = json!({"list": hooks, "files": {"hooks.luau": text}, "allow": allow});
    let command = json!(["/bin/sh", "-c", "echo it is up; exec sleep 1000"]);
    installed(|tar| tar, json!({"command": command, "writable": ["/tmp"], "hooks": hooks}))
}

fn said(house: &House) -> String {
    house.ok_elsewhere(["hooks", "--log", "one"])
}

fn past(house: &House, name: &str) -> Value {
    let told = house.json_elsewhere(["hooks", "--format", "json", "one"]);
    let hooks = told["hooks"].as_array().expect("hooks").clone();
    hooks.iter().find(|hook| hook["hook"]["name"] == name).expect("the hook")["past"].clone()
}

/// Sends the signal, and waits until its hook has gone well so often.
fn call(house: &House, signal: &str, name: &str, times: u64) {
    house.ok_elsewhere(["signal", "one", signal]);
    until("the hook", || past(house, name)["times"].as_u64() >= Some(times));
    assert_eq!(past(house, name)["outcome"], "done", "{} {}", past(house, name), said(house));
}

const GOVERNOR: &str = "return {
    look = function(ctx)
        ctx.state.times = (ctx.state.times or 0) + 1
        local done = ctx:exec({ '/bin/sh', '-c', 'echo out $0; echo err >&2; exit 3', 'x y' })
        log('exec', done.code, done.ok, (done.output:gsub('%s+$', '')), (done.error:gsub('%s+$', '')))
        log('late', ctx:exec({ '/bin/sleep', '100' }, { timeout = 0.3 }).timed_out)
        local stats = ctx.stats
        log('stats', stats.memory.current > 0, stats.pids.current >= 1, stats.cpu.seconds >= 0, stats.started > 0)
        log('again', ctx.stats.memory.current > 0, type(ctx.stats.disk), type(ctx.stats.network))
        log('logs', ctx:logs(1)[1])
        log('state', ctx.state.times, ctx.name, ctx.status, ctx.event)
    end,
    shrink = function(ctx)
        ctx.limits.pids = 50
        ctx.limits.memory = '48M'
        log('now', ctx.limits.pids, ctx.limits.memory // MiB)
        local ok, why = pcall(function() ctx.limits.pids = 5000 end)
        log('more', ok, why)
        ctx.limits.pids = 60
    end,
    leave = function(ctx) ctx:stop() end,
}";

#[test]
fn a_script_looks_at_its_container_changes_its_limits_and_stops_it() {
    let hooks =
        [script("signal USR1", "look"), script("signal USR2", "shrink"), script("signal HUP", "leave")];
    let Some(house) = house(GOVERNOR, &hooks, json!({})) else { return };
    let has_groups = limits(&house, "pids", "pids.max", "pids.max");
    house.ok_elsewhere(["run", "-d", "--limit", "pids=100", "--memory", "64m", "--name", "one", "web"]);
    until("its line", || house.ok_elsewhere(["logs", "one"]).contains("it is up"));
    if !has_groups {
        return;
    }
    call(&house, "USR1", "look", 1);
    call(&house, "USR1", "look", 2);
    let told = said(&house);
    for line in [
        "exec 3 false out x y err",
        "late true",
        "stats true true true true",
        "again true table nil",
        "logs it is up",
        "state 1 one running signal USR1",
        "state 2 one running signal USR1",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(!house.ok_elsewhere(["top", "one"]).contains("sleep 100\n"), "what took too long has ended");

    let limit =
        |one: &str, two: &str, controller: &str| number(file_of(pid(&house, "one"), controller, one, two));
    assert_eq!(limit("pids.max", "pids.max", "pids"), 100);
    call(&house, "USR2", "shrink", 1);
    let told = said(&house);
    assert!(told.contains("now 50 48"), "{told}");
    assert!(told.contains("more false hooks.luau:") && told.contains("limits = true"), "{told}");
    assert_eq!(limit("pids.max", "pids.max", "pids"), 60, "up to what it had at its start");
    assert_eq!(limit("memory.limit_in_bytes", "memory.max", "memory"), 48 << 20);

    call(&house, "HUP", "leave", 1);
    until("its end", || house.ok_elsewhere(["ps", "-a"]).contains("exited"));
    house.ok_elsewhere(["rm", "one"]);
}

const SCALER: &str = "return {
    grow = function(ctx) ctx:scale(3) end,
    shrink = function(ctx)
        log('siblings', #ctx.siblings)
        ctx:scale(2)
    end,
    replace = function(ctx) ctx:replace(ctx.image:match('@(%x+)')) end,
}";

/// What a container says of how it was made.
fn made_as_asked(house: &House, name: &str) {
    let inside = "cat /srv/page; echo $KEPT; id -u; cat /proc/1/cmdline | tr '\\0' ' '";
    let said = house.ok_elsewhere(["exec", name, "/bin/sh", "-c", inside]);
    assert_eq!(said, "a page\na b\n0\n/bin/sleep 2000 ", "{name}");
    let told = house.json_elsewhere(["inspect", name]);
    assert!(told.to_string().contains("on-failure"), "{name}: {told}");
    if let Some(text) = file_of(pid(house, name), "pids", "pids.max", "pids.max") {
        assert_eq!(number(Some(text)), 77, "{name}");
    }
}

#[test]
fn siblings_and_who_takes_its_place_are_made_as_it_was() {
    let hooks =
        [script("signal USR1", "grow"), script("signal USR2", "shrink"), script("signal HUP", "replace")];
    let Some(house) = house(SCALER, &hooks, json!({"containers": true})) else { return };
    std::fs::create_dir(house.path("data")).expect("mkdir");
    std::fs::write(house.path("data/page"), "a page\n").expect("write");
    let words = [
        "run",
        "-d",
        "--name=one",
        "--as-packaged",
        "-e",
        "KEPT=a b",
        "-v",
        "./data:/srv:ro",
        "--limit",
        "pids=77",
        "--restart",
        "on-failure:3",
        "web",
        "/bin/sleep",
        "2000",
    ];
    let mut command = house.command_elsewhere(words);
    crate::support::succeed({
        command.current_dir(house.dir());
        command
    });
    made_as_asked(&house, "one");
    let running = || {
        let all = house.json_elsewhere(["ps", "--format", "json"]);
        let names = all
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one["name"].as_str().expect("a name").to_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    call(&house, "USR1", "grow", 1);
    until("three", || running() == ["one", "one-2", "one-3"]);
    made_as_asked(&house, "one-2");
    made_as_asked(&house, "one-3");
    call(&house, "USR2", "shrink", 1);
    until("two", || running() == ["one", "one-2"]);
    assert!(said(&house).contains("siblings 2"), "{}", said(&house));

    let old = pid(&house, "one");
    house.ok_elsewhere(["signal", "one", "HUP"]);
    let other = || {
        house.command_elsewhere(["inspect", "one"]).output().is_ok_and(|told| {
            let told: Value = serde_json::from_slice(&told.stdout).unwrap_or_default();
            told["state"]["pid"].as_i64().is_some_and(|pid| pid != old)
        })
    };
    until("another in its place", other);
    made_as_asked(&house, "one");
    until("nobody else", || {
        house.json_elsewhere(["ps", "-a", "--format", "json"]).as_array().map(Vec::len) == Some(2)
    });
    for name in ["one", "one-2"] {
        house.ok_elsewhere(["rm", "-f", name]);
    }
}

#[test]
fn mistakes_in_hooks_of_a_definition_name_their_line() {
    let house = House::new();
    std::fs::create_dir(house.path("def")).expect("mkdir");
    std::fs::write(house.path("outside.luau"), "return { f = function() end }").expect("write");
    std::os::unix::fs::symlink("../outside.luau", house.path("def/link.luau")).expect("a link");
    std::fs::write(house.path("def/hooks.luau"), "return { f = function() end }").expect("write");
    std::os::unix::fs::symlink("hooks.luau", house.path("def/other.luau")).expect("a link");
    let spec = |hook: &str| {
        let text = format!(
            "name = \"app\"\ncommand = [\"true\"]\n\n[[hooks.hook]]\nwhen = \"after start\"\nscript = \"hooks.luau\"\nfunction = \"f\"\n\n{hook}\n"
        );
        std::fs::write(house.path("def/tsubo.toml"), text).expect("write");
        house.command(["spec", &house.path("def").display().to_string()])
    };
    let hook = |rest: &str| format!("[[hooks.hook]]\nwhen = \"after stop\"\n{rest}");
    for (text, line, needles) in [
        (hook("script = \"none.luau\"\nfunction = \"f\""), 9, &["none.luau"][..]),
        (hook("script = \"hooks.luau\"\nfunction = \"g\""), 9, &["hooks.luau", "no function \"g\""]),
        (hook("script = \"link.luau\"\nfunction = \"f\""), 9, &["link.luau", "leads out"]),
        (hook("script = \"hooks.luau\""), 9, &["says not"]),
        (hook("script = 5"), 11, &["string"]),
        (hook("run = [\"/bin/true\"]\ntimeout = 5"), 12, &["string"]),
        (hook("run = \"/bin/true\""), 11, &["sequence"]),
        (hook("run = [\"/bin/true\"]\nname = \"after start #1\""), 9, &["two hooks"]),
        (hook("run = [\"/bin/true\"]\nwen = \"x\""), 12, &["wen", "when"]),
        ("[[hooks.hook]]\nwhen = \"after lunch\"\nrun = [\"/bin/true\"]".to_owned(), 9, &["lunch"]),
        ("[hooks.allow]\nhttp = [\"https://example.com\"]".to_owned(), 9, &["example.com"]),
        ("[hooks.allow]\nenv = \"TOKEN\"".to_owned(), 10, &["sequence"]),
    ] {
        let complaint = crate::support::fail(spec(&text), 125);
        assert!(complaint.contains(&format!("line {line}")), "{text}: {complaint}");
        one_clear_error(&complaint, needles);
    }
    crate::support::succeed(spec(&hook("script = \"other.luau\"\nfunction = \"f\"")));
}
