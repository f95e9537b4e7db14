//! The same commands as an ordinary user.

use std::process::Command;

use serde_json::json;

use crate::support::busybox::installed;
use crate::support::leftovers::everything;
use crate::support::user::{self, USER};
use crate::support::{House, base, mode};

/// Runs a script as the user, with the programs that were built.
fn as_user(house: &House, script: &str) -> Option<String> {
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_tsubo")).parent().expect("a folder");
    // In the guest there is nothing that does hooks.
    let hook = programs.join("tsubo-hook").is_file().then_some("tsubo-hook");
    let names: Vec<_> = ["tsubo", "tsubo-keeper"].into_iter().chain(hook).collect();
    user::as_user(house.dir(), programs, &names, script)
}

#[test]
fn an_ordinary_user_has_containers() {
    let Some(house) = installed(|tar| tar, json!({})) else { return };
    let script = "tsubo install web.tsubo >/dev/null\n\
        tsubo run --rm web\n\
        tsubo run -d --name one web /bin/sh -c 'trap \"exit 5\" TERM; echo up; while :; do sleep 0.1; done' >/dev/null\n\
        for n in 1 2 3 4 5 6 7 8 9; do tsubo logs one | grep -q up && break; sleep 0.2; done\n\
        tsubo ps | grep -c running\n\
        tsubo exec one /bin/sh -c 'id -u; cat /proc/self/uid_map | wc -l'\n\
        tsubo exec one /bin/true\n\
        tsubo stop one >/dev/null\n\
        tsubo ps -a | grep -c 'exited (5)'\n\
        tsubo rm one >/dev/null\n\
        tsubo rmi web >/dev/null\n\
        tsubo ps -a | wc -l\n\
        ls $XDG_RUNTIME_DIR/tsubo/containers | wc -l";
    let Some(said) = as_user(&house, script) else { return };
    assert_eq!(
        said.split_whitespace().collect::<Vec<_>>(),
        ["it", "ran", "1", "0", "2", "1", "1", "0"],
        "{said}"
    );
    let owner = std::fs::metadata(house.path("home/.local/share/tsubo")).expect("state");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), USER, "in the user's own directory");
}

#[test]
fn hooks_are_done_as_the_user() {
    if !std::path::Path::new(env!("CARGO_BIN_EXE_tsubo")).with_file_name("tsubo-hook").is_file() {
        println!("SKIPPED: tsubo-hook is not here");
        return;
    }
    let text = "return {
        it = function(ctx)
            ctx.state.times = (ctx.state.times or 0) + 1
            local done = ctx:exec({ '/bin/sh', '-c', 'echo inside as $(id -u)' })
            log((done.output:gsub('%s+$', '')), 'times', ctx.state.times, ctx:logs(1)[1])
            log('stats', ctx.stats.started > 0, pcall(fs.read, '/etc/shadow'))
            if ctx.state.times == 2 then ctx:stop() end
        end,
    }";
    let act = json!({"script": {"file": "hooks.luau", "function": "it", "definition": false}});
    let told = json!(["/bin/sh", "-c", "echo a program as $(id -u)"]);
    let hook = |name: &str, when: &str, act: serde_json::Value| json!({"name": name, "when": when, "act": act, "timeout": 5000, "on_error": "warn", "memory": 33_554_432});
    let hooks = json!({
        "list": [hook("script", "signal USR1", act), hook("program", "after start", json!({"program": told}))],
        "allow": {"read": ["/etc/shadow"]},
        "files": {"hooks.luau": text},
    });
    let change = json!({"command": ["/bin/sh", "-c", "echo up; exec sleep 1000"], "hooks": hooks});
    let Some(house) = installed(|tar| tar, change) else { return };
    let script = "tsubo install web.tsubo >/dev/null\n\
        tsubo run -d --as-packaged --name one web >/dev/null\n\
        waits() { for n in $(seq 50); do tsubo hooks --log one | grep -q \"$1\" && return; sleep 0.2; done; tsubo hooks --log one; exit 1; }\n\
        waits 'a program as'\n\
        tsubo signal one USR1\n\
        waits 'times 1'\n\
        tsubo signal one USR1\n\
        waits 'times 2'\n\
        for n in $(seq 50); do tsubo ps -a | grep -q exited && break; sleep 0.2; done\n\
        tsubo hooks --log one\n\
        tsubo ps -a | grep -c exited\n\
        tsubo rm one >/dev/null";
    let Some(said) = as_user(&house, script) else { return };
    assert!(said.contains("inside as 0 times 1 up"), "{said}");
    assert!(said.contains("stats true false") && said.contains("ermission denied"), "{said}");
    assert!(said.contains("a program as ") && said.trim_end().ends_with('1'), "{said}");
}

#[test]
fn what_takes_root_is_said_before_the_start() {
    let Some(house) = installed(|tar| tar, json!({ "ports": [{ "protocol": "tcp", "port": 80 }] })) else {
        return;
    };
    let script = "tsubo install web.tsubo >/dev/null\n\
        tsubo run --rm web 2>&1 && echo unexpected || echo code $?\n\
        tsubo run --rm --network none web\n\
        tsubo run --rm --network none --users auto web 2>&1 && echo unexpected || echo code $?";
    let Some(said) = as_user(&house, script) else { return };
    assert!(said.contains("port 80") && said.contains("it ran") && said.contains("second mapping"), "{said}");
    assert_eq!(said.matches("code 125").count(), 2, "{said}");
}

/// Uses files in every way that a package must know of, through a script whose interpreter and
/// libraries only the kernel and the loader name.
const SERVICE: &str = "#!/usr/bin/interpreter -e\n\
    cat /srv/link; ls /srv/listed; [ -e /srv/none ] || true; [ -d /srv/seen ]; readlink /srv/away\n\
    cd /srv/entered; head -n 1 relative; echo more >> /var/lib/grows; echo new > /var/lib/new; rm /srv/gone\n\
    trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done\n";

/// A base with that service, as an archive.
fn small_service(house: &House) {
    let root = base::small(house);
    for dir in ["srv/listed", "srv/seen", "srv/entered", "srv/unused"] {
        std::fs::create_dir_all(root.join(dir)).expect("mkdir");
    }
    for name in [
        "srv/page",
        "srv/listed/one",
        "srv/entered/relative",
        "srv/gone",
        "srv/unused/page",
        "var/lib/grows",
        "srv/asked",
    ] {
        std::fs::write(root.join(name), format!("{name}\n")).expect("write");
    }
    std::fs::write(root.join("usr/bin/service"), SERVICE).expect("write");
    mode(&root.join("usr/bin/service"), 0o755);
    for (target, link) in [("page", "srv/link"), ("/nowhere", "srv/away"), ("sh", "usr/bin/interpreter")] {
        std::os::unix::fs::symlink(target, root.join(link)).expect("symlink");
    }
    let tar =
        Command::new("tar").args(["-cf", "base.tar", "-C", "base", "."]).current_dir(house.dir()).status();
    assert!(tar.expect("tar").success());
}

/// From the archive to a package, whoever does it.
const STORY: &str = "base=$PWD/base.tar; cd home\n\
    tsubo dev app --from $base -- /bin/sh -ec \
    'mkdir /srv/made; chmod 777 /var/lib /srv; chmod 666 /var/lib/grows; rm -r /srv/unused'\n\
    tsubo test app --ready log:up --exercise true --inside 'cat /srv/asked' --user ann -- /usr/bin/service\n\
    tsubo pack app --closure exact -o app.tsubo\n\
    tsubo observation show app --format json > seen.json\n";

/// What the user does with the package.
const LIFE: &str = "tsubo run -d --name app app.tsubo > /dev/null\n\
    for n in 1 2 3 4 5 6 7 8 9; do tsubo logs app | grep -q up && break; sleep 0.2; done\n\
    tsubo logs app; tsubo top app | grep -c service\n\
    tsubo pause app 2>&1 && tsubo unpause app || echo not held $?\n\
    tsubo stop app; tsubo ps -a | grep -c 'exited (0)'; tsubo rm app";

#[test]
fn an_ordinary_user_packs_what_root_packs() {
    let house = House::new();
    small_service(&house);
    let Some(said) = as_user(&house, &format!("{STORY}{LIFE}")) else { return };
    let expected = ["seen by seccomp-listener\n", "and it works", "the default system calls"];
    for needle in ["srv/page", "srv/entered/relative", "/nowhere"].iter().chain(&expected) {
        assert!(said.contains(needle), "{needle}: {said}");
    }
    let told = said.contains("no control groups") && said.contains("hint");
    assert!(told || !said.contains("not held"), "{said}");
    let theirs = (seen(&house), house.path("app.tsubo"));
    std::fs::rename(house.path("home/app.tsubo"), &theirs.1).expect("rename");
    story_of_root(&house);
    let ours = (seen(&house), house.path("home/app.tsubo"));
    none_missing("seen", &ours.0, &theirs.0);
    let [ours, theirs] = [&ours.1, &theirs.1].map(|file| {
        let files = files(&house.install("app", &file.display().to_string()));
        house.ok_elsewhere(["rmi", "app"]);
        files
    });
    none_missing("packed", &ours, &theirs);
    assert!(!theirs.iter().any(|path| path.contains("unused")), "{theirs:?}");
}

fn story_of_root(house: &House) {
    let script = format!("tsubo() {{ \"$TSUBO\" --root \"$STATE\" \"$@\"; }}\n{STORY}");
    let mut sh = Command::new("sh");
    sh.args(["-ec", &script]).current_dir(house.dir()).env("STATE", house.here());
    let output = sh.env("TSUBO", env!("CARGO_BIN_EXE_tsubo")).output().expect("sh");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The paths of the observation that were there before, with how they were used. What was made or
/// changed is told by the layer of the test; there an open tells nothing more.
fn seen(house: &House) -> Vec<String> {
    let text = std::fs::read(house.path("home/seen.json")).expect("an observation");
    let observation: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    let mut seen = Vec::new();
    for (path, used) in observation["paths"].as_object().expect("paths") {
        let how: Vec<_> =
            used["how"].as_array().expect("uses").iter().filter_map(|how| how.as_str()).collect();
        let there = !used["stamp"].is_null() || how.contains(&"missing");
        let told = |how_one: &str| there && !(how_one == "opened" && how.contains(&"changed"));
        seen.extend(how.iter().filter(|how| told(how)).map(|how| format!("{path} {how}")));
    }
    seen
}

fn none_missing(what: &str, ours: &[String], theirs: &[String]) {
    let missing: Vec<_> = ours.iter().filter(|one| !theirs.contains(one)).collect();
    assert!(missing.is_empty() && ours.len() > 20, "not {what} by the user: {missing:?}");
    println!("{what}: {} by root, {} by the user", ours.len(), theirs.len());
}

/// What is in an image's tree.
fn files(tree: &std::path::Path) -> Vec<String> {
    let inside =
        |path: std::path::PathBuf| path.strip_prefix(tree).ok().map(|path| path.display().to_string());
    everything(tree).into_iter().filter_map(inside).collect()
}

#[test]
fn bases_of_an_ordinary_user() {
    let house = House::new();
    base::small(&house);
    let script = "base=$PWD/base; cd home\n\
        tsubo dev over 2>&1 && echo unexpected || echo code $?\n\
        tsubo dev old --from debian:bookworm 2>&1 && echo unexpected || echo code $?\n\
        tsubo ps -a | wc -l\n\
        tsubo dev copied --from $base -- /bin/sh -ec 'echo x > /srv/x; stat -c %u /srv /srv/x' 2>&1\n\
        mkdir own; cp -r $base/. own\n\
        tsubo test copied --ready tcp:80 -- /bin/true 2>&1 && echo unexpected || echo code $?\n\
        tsubo dev own --from own -- /bin/sh -ec 'echo x > /srv/x; rm -r /etc; mkdir /etc; ls /etc; mv /srv /srv2; cat /srv2/x'\n\
        ls own/etc\n\
        tsubo rm --dev copied own >/dev/null; ls $HOME/.local/share/tsubo/dev | wc -l";
    let Some(said) = as_user(&house, script) else { return };
    assert_eq!(said.matches("code 125").count(), 3, "{said}");
    assert!(
        said.contains("port 80 takes root")
            && said.contains("--from DIRECTORY")
            && said.contains("mmdebstrap --variant=minbase bookworm"),
        "{said}"
    );
    assert!(said.contains("it is copied"), "{said}");
    assert!(said.contains("\n0\n0\n") && said.ends_with("\nx\ngroup\npasswd\n0\n"), "{said}");
}
