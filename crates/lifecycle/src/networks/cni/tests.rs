use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// A house of plugins that are shell scripts: each writes down how it was called.
struct Plugins(tempfile::TempDir);

impl Plugins {
    fn new(list: &str, plugins: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("bin")).expect("bin");
        fs::create_dir(dir.path().join("net.d")).expect("net.d");
        fs::write(dir.path().join("net.d/lan.conflist"), list).expect("a list");
        for (name, script) in plugins {
            let path = dir.path().join("bin").join(name);
            let calls = dir.path().join("calls");
            let head = format!(
                "input=$(cat); echo \"$CNI_COMMAND {name} $CNI_IFNAME $CNI_NETNS $input\" >> {}",
                calls.display()
            );
            fs::write(&path, format!("#!/bin/sh\n{head}\n{script}\n")).expect("a plugin");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
        }
        Self(dir)
    }

    fn asked(&self) -> Asked {
        let (configurations, programs) = (Some(self.0.path().join("net.d")), vec![self.0.path().join("bin")]);
        Asked { configurations, programs, ..Asked::default() }
    }

    fn chain(&self, asked: &Asked, networking: &Networking) -> Result<Chain> {
        let (container, ports) = ("web".parse().expect("name"), &networking.published[..]);
        Chain::of(&Wanted { name: "lan", interface: "eth0", asked, container: &container, networking, ports })
    }

    /// What was called since the last time, without the configuration.
    fn calls(&self) -> Vec<String> {
        let path = self.0.path().join("calls");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        text.lines().map(|line| line.split(" {").next().unwrap_or_default().to_owned()).collect()
    }

    fn add(&self, chain: &mut Chain, asked: &Asked) -> (Result<Given>, Vec<usize>) {
        let mut steps = Vec::new();
        let files = Files::of(&self.0.path().join("one"));
        let whose = Whose { id: Id::from_bytes([1; 6]), namespace: "/proc/1/fd/3", files: &files };
        let given = chain.add(&whose, asked, &mut |chain| {
            steps.push(chain.begun);
            Ok(())
        });
        (given, steps)
    }

    fn del(&self, chain: &mut Chain) -> Result<()> {
        let files = Files::of(&self.0.path().join("one"));
        chain.del(&Whose { id: Id::from_bytes([1; 6]), namespace: "", files: &files })
    }
}

const LIST: &str = r#"{"cniVersion":"1.0.0","name":"lan","plugins":[{"type":"first"},
    {"type":"second","capabilities":{"portMappings":true}}]}"#;
const RESULT: &str =
    r#"test $CNI_COMMAND = DEL || echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.0.5/16"}]}'"#;
const REPEAT: &str =
    r#"case $CNI_COMMAND$input in ADD*prevResult*) echo '{"ips":[{"address":"10.1.0.5/16"}]}';; esac"#;

#[test]
fn plugins_are_called_one_after_the_other_and_back() {
    let plugins = Plugins::new(LIST, &[("first", RESULT), ("second", REPEAT)]);
    let published = Publish::parse("8080:80").expect("port");
    let networking = Networking { published, ..Networking::default() };
    let asked = plugins.asked();
    let mut chain = plugins.chain(&asked, &networking).expect("a chain");
    assert!(!chain.is_half() && chain.shape(b"").is_none());
    let (given, steps) = plugins.add(&mut chain, &asked);
    assert_eq!(given.expect("given").addresses[0].to_string(), "10.1.0.5/16");
    assert_eq!(steps, [1, 2, 2], "noted before each, and at the end");
    assert_eq!(plugins.calls(), ["ADD first eth0 /proc/1/fd/3", "ADD second eth0 /proc/1/fd/3"]);
    let input = chain.input(1, chain.result.as_ref());
    assert_eq!(input["name"], "lan");
    assert_eq!(input["prevResult"]["ips"][0]["address"], "10.1.0.5/16");
    assert_eq!(input["runtimeConfig"]["portMappings"][0]["hostPort"], 8080);
    // As it is read again by who has to take it back.
    let text = serde_json::to_string(&chain).expect("JSON");
    let mut chain: Chain = serde_json::from_str(&text).expect("a chain");
    assert!(!chain.is_half());
    plugins.del(&mut chain).expect("taken back");
    plugins.del(&mut chain).expect("once more");
    assert_eq!(plugins.calls(), ["DEL second eth0 ", "DEL first eth0 "], "each of them once");
}

#[test]
fn places_are_absolute() {
    let by = |variable: &'static str, value: &'static str| {
        by_variables(Asked::default(), &|name| (name == variable).then(|| value.into()))
    };
    let programs = by("CNI_PATH", "/a:/b:").expect("absolute").programs;
    assert_eq!(programs, [Path::new("/a"), Path::new("/b")]);
    let configurations = by("NETCONFPATH", "/etc/cni").expect("absolute").configurations;
    assert_eq!(configurations.as_deref(), Some(Path::new("/etc/cni")));
    for (variable, value) in [("CNI_PATH", "/a:bin"), ("CNI_CONFIG_DIR", "net.d"), ("NETCONFPATH", "./x")] {
        let error = by(variable, value).expect_err(value).to_string();
        assert!(error.contains(variable) && error.contains("must be absolute"), "{error}");
    }
}

#[test]
fn a_failure_is_told_and_what_was_begun_is_taken_back() {
    let fails = r#"test $CNI_COMMAND = DEL || { echo '{"code":11,"msg":"no room"}'; exit 1; }"#;
    for (script, part) in [
        (fails, "ADD by the plugin second of the CNI configuration lan: error 11: no room"),
        ("test $CNI_COMMAND = DEL || { echo 'out of luck' >&2; exit 7; }", "exit status: 7 (out of luck)"),
        ("echo garbage", "no result that can be understood: second says \"garbage\""),
        ("kill -9 $$", "signal: 9"),
        (r#"echo '{"ips":[{"address":"x"}]}'"#, "no result"),
    ] {
        let plugins = Plugins::new(LIST, &[("first", RESULT), ("second", script)]);
        let (asked, networking) = (plugins.asked(), Networking::default());
        let mut chain = plugins.chain(&asked, &networking).expect("a chain");
        let error = plugins.add(&mut chain, &asked).0.expect_err(script);
        assert!(error.to_string().contains(part), "{error}");
        plugins.calls();
        let _ = plugins.del(&mut chain);
        assert_eq!(plugins.calls(), ["DEL second eth0 ", "DEL first eth0 "], "{script}");
    }
    let first = Plugins::new(LIST, &[("first", "exit 1"), ("second", REPEAT)]);
    let asked = first.asked();
    let mut chain = first.chain(&asked, &Networking::default()).expect("a chain");
    first.add(&mut chain, &asked).0.expect_err("the first");
    first.calls();
    first.del(&mut chain).expect_err("it fails again");
    assert_eq!(first.calls(), ["DEL first eth0 "]);
    assert!(!chain.is_gone(), "nobody knows what it has done");
}

#[test]
fn a_plugin_that_cannot_even_begin_is_given_up_when_that_is_said() {
    let says = |code: u32, text: &str| format!("echo '{{\"code\":{code},\"msg\":\"'{text}'\"}}'; exit 1");
    for (script, gone) in [
        (says(7, "nonsense"), true),
        (says(999, "nonsense"), true),
        (says(999, "$CNI_COMMAND"), false),
        (says(11, "full"), false),
    ] {
        let plugins = Plugins::new(LIST, &[("first", RESULT), ("second", &script)]);
        let asked = plugins.asked();
        let mut chain = plugins.chain(&asked, &Networking::default()).expect("a chain");
        plugins.add(&mut chain, &asked).0.expect_err("the second");
        plugins.del(&mut chain).expect_err("it says the same again");
        assert_eq!(chain.is_gone(), gone, "{script}");
        // What was made is not given up, whatever is said of it.
        chain.gone.clear();
        chain.whole = true;
        plugins.del(&mut chain).expect_err("once more");
        assert!(!chain.is_gone());
    }
}

#[test]
fn what_a_killed_keeper_has_not_read_is_known_all_the_same() {
    let plugins = Plugins::new(LIST, &[("first", RESULT), ("second", REPEAT)]);
    let mut chain = plugins.chain(&plugins.asked(), &Networking::default()).expect("a chain");
    chain.begun = 1;
    let bare = chain.shape(b"").expect("begun");
    assert!(chain.is_half() && bare.interface == "eth0" && bare.addresses.is_empty());
    let told = chain.shape(br#"{"ips":[{"address":"10.1.0.5/16"}]}"#).expect("begun");
    assert_eq!(told.addresses.len(), 1);
}

#[test]
fn what_is_missing_or_cannot_be_is_refused_before_anything_is_called() {
    let plugins = Plugins::new(LIST, &[("first", RESULT)]);
    let error = plugins.chain(&plugins.asked(), &Networking::default()).expect_err("second");
    assert!(
        error.to_string().contains("the plugin second of the CNI configuration lan is in none of"),
        "{error}"
    );
    let list = r#"{"cniVersion":"1.0.0","name":"lan","plugins":[{"type":"first","ipam":{"type":"nobody"}}]}"#;
    let plugins = Plugins::new(list, &[("first", RESULT)]);
    let error = plugins.chain(&plugins.asked(), &Networking::default()).expect_err("nobody");
    assert!(error.to_string().contains("the plugin nobody"), "{error}");
    let plugins = Plugins::new(LIST, &[("first", RESULT), ("second", REPEAT)]);
    let addresses = vec!["10.1.0.9/32".parse().expect("net")];
    let asked = Asked { addresses, ..plugins.asked() };
    let mut chain = plugins.chain(&asked, &Networking::default()).expect("a chain");
    assert_eq!(chain.args, "IgnoreUnknown=1;K8S_POD_NAME=web;IP=10.1.0.9");
    let error = plugins.add(&mut chain, &asked).0.expect_err("another address");
    assert!(error.to_string().contains("has not given 10.1.0.9"), "{error}");
    assert!(!chain.is_half(), "it is there, and all of it is to be taken back");
}
