//! `tsubo import-haco`: real definitions of Haconiwa, run by a real mruby that reaches nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use spec::definition::Definition;

use super::support::{House, fail, have, one_clear_error, succeed};

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/haco")
}

/// Its temporary files are the house's, so that what stays is seen.
fn import(house: &House, file: &Path, words: &[&str]) -> Command {
    let mut command = house.command(["import-haco"]);
    let scratch = house.path("scratch");
    fs::create_dir_all(&scratch).expect("scratch");
    command.arg(file).args(words).env("TMPDIR", scratch);
    command
}

fn left(house: &House) -> usize {
    fs::read_dir(house.path("scratch")).expect("scratch").count()
}

fn parsed(file: &Path) -> Definition {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let definition =
        Definition::parse(&text, "tsubo.toml").unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    definition.hooks.hooks(None, &text).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    definition
}

/// Imports a sample; its folder.
fn imported(house: &House, name: &str) -> PathBuf {
    let to = house.path(name);
    let file = samples().join(name).with_extension("haco");
    succeed(import(house, &file, &["-o", to.to_str().expect("utf-8")]));
    assert_eq!(left(house), 0);
    to
}

#[test]
fn a_web_server() {
    if !have(&["mruby"]) {
        return;
    }
    let house = House::new();
    let to = imported(&house, "web");
    let web = parsed(&to.join("tsubo.toml"));
    assert_eq!((web.name.as_str(), web.base.as_str()), ("web-001", "debian:bookworm"));
    assert_eq!(web.command, ["/usr/sbin/nginx", "-g", "daemon off;"]);
    assert_eq!(web.build, ["apt-get update\napt-get install -y nginx-light", "echo ok > /etc/motd"]);
    assert_eq!(web.environment["WORKERS"], "2");
    assert_eq!((web.ready.as_deref(), web.ready_timeout), (Some("tcp:80"), Some(20)));
    let said = ["cpus", "cpu_shares", "memory", "swap", "pids", "io_read"];
    assert_eq!(web.limits.said(), said);
    assert_eq!(web.limits.swap.expect("said").to_string(), "64M");
    assert_eq!(web.isolation.mounts.len(), 2);
    assert_eq!(web.isolation.rlimits["nofile"], "512:1024");
    let hooks = fs::read_to_string(to.join("hooks.luau")).expect("hooks");
    assert!(
        hooks.contains("--         Kernel.notice(\"#{base.name} has ended: #{base.exit_status}\")\n"),
        "{hooks}"
    );
    for hook in &web.hooks.hook {
        let function = hook.function.as_deref().expect("a function");
        assert!(hooks.contains(&format!("function hooks.{function}(ctx)")), "{function}: {hooks}");
    }
    assert_eq!(web.hooks.hook.len(), 5);
}

#[test]
fn what_is_defined_inside_has_what_was_said_before() {
    if !have(&["mruby"]) {
        return;
    }
    let house = House::new();
    let to = imported(&house, "many");
    for number in 0..3 {
        let one = parsed(&to.join(format!("worker-{number}/tsubo.toml")));
        assert_eq!(one.command, ["/bin/sleep".to_owned(), (30 + number * 10).to_string()]);
        assert_eq!(one.limits.pids.expect("said").to_string(), (16 + number).to_string());
        assert_eq!(one.hooks.hook[0].when, "after cleanup");
    }
}

#[test]
fn what_has_no_counterpart_is_told_and_written_down() {
    if !have(&["mruby"]) {
        return;
    }
    let house = House::new();
    for (name, parts) in [
        (
            "locked",
            &["cap_no_such", "persist_in", "nfs", "/not/inside", "rule.trace", "memory.zswap.max"][..],
        ),
        (
            "restored",
            &["CRIU", "container_ip", "frobnicate much, 3", "ENV[\"SUFFIX\"]", "`which criu`", "Etcd"][..],
        ),
        ("least", &["config.name is not said", "init_command is not said"][..]),
    ] {
        let to = imported(&house, name);
        parsed(&to.join("tsubo.toml"));
        let text = fs::read_to_string(to.join("tsubo.toml")).expect("toml");
        for part in parts {
            let comment = text.lines().any(|line| line.starts_with("# - ") && line.contains(part));
            assert!(comment, "{name}: {part}\n{text}");
        }
        let file = samples().join(name).with_extension("haco");
        let output =
            import(&house, &file, &["--force", "--format", "json", "-o", to.to_str().expect("utf-8")])
                .output();
        let json: serde_json::Value = serde_json::from_slice(&output.expect("run").stdout).expect("json");
        assert!(json[0]["notes"].as_array().is_some_and(|notes| !notes.is_empty()), "{json}");
    }
    let locked = parsed(&house.path("locked/tsubo.toml"));
    assert_eq!(locked.isolation.users, Some(vec!["0:100000:10000".to_owned()]));
    assert_eq!(locked.isolation.groups, Some(vec!["0:200000:10000".to_owned()]));
    assert!(locked.isolation.seccomp.is_some_and(|profile| profile.contains("SCMP_ACT_KILL")));
}

#[test]
fn env_is_given_and_files_are_not_written_over() {
    if !have(&["mruby"]) {
        return;
    }
    let house = House::new();
    let file = samples().join("restored.haco");
    let to = house.path("to");
    let words = ["-o", to.to_str().expect("utf-8"), "--env", "SUFFIX=7"];
    succeed(import(&house, &file, &words));
    assert_eq!(parsed(&to.join("tsubo.toml")).name.as_str(), "rails-7");
    let complaint = fail(import(&house, &file, &words), 125);
    one_clear_error(&complaint, &["tsubo.toml is there already", "--force"]);
    fail(import(&house, &file, &["--env", "SUFFIX"]), 125);
}

/// Each line is tried by a definition that goes on, and tells how it went by its environment.
const TRIES: [(&str, &str); 14] = [
    ("SHADOW", "File.open('/etc/shadow') { |f| f.read }"),
    ("PASSWD", "File.open('/etc/passwd') { |f| f.read }"),
    ("WRITE", "File.open('/tmp/evil', 'w') { |f| f.write 'x' }"),
    ("OUTSIDE", "File.open('OUTSIDE', 'w') { |f| f.write 'x' }"),
    ("OWN", "File.open(HACO_PATH, 'w') { |f| f.write 'x' }"),
    ("PROGRAM", "File.open('/bin/mruby', 'w') { |f| f.write 'x' }"),
    ("UNLINK", "File.unlink(HACO_PATH)"),
    ("NET", "TCPSocket.new('127.0.0.1', PORT)"),
    ("AWAY", "TCPSocket.new('192.0.2.1', 80)"),
    ("UNIX", "UNIXSocket.new('/run/docker.sock')"),
    ("PROC", "File.open('/proc/1/environ') { |f| f.read }"),
    ("DEV", "File.open('/dev/mem') { |f| f.read(1) }"),
    ("DIRECTORY", "File.open('OUTSIDE') { |f| f.read }"),
    ("NEW", "IO.sysopen('/haco/new', 'w')"),
];

#[test]
fn a_definition_reaches_nothing() {
    if !have(&["mruby"]) {
        return;
    }
    let house = House::new();
    let outside = house.path("outside");
    fs::write(&outside, "kept").expect("written");
    super::support::mode(&outside, 0o666);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port().to_string();
    let tries: String = TRIES
        .iter()
        .map(|(name, code)| {
            let code = code.replace("OUTSIDE", outside.to_str().expect("utf-8")).replace("PORT", &port);
            format!("    \"{name}\" => try {{ {code} }},\n")
        })
        .collect();
    let text = format!(
        "def try\n  \"reached \" + yield.inspect\nrescue Exception => e\n  \"refused \" + e.class.to_s\nend\n\
         shell = try {{ IO._popen('id; rm -rf /; touch {0}.shell', 'r').read }}\n\
         system('rm -rf / ; touch {0}.system')\n`touch {0}.ticks`\nIO.popen('touch {0}.popen')\n\
         Haconiwa.define do |config|\n  config.name = 'r'\n  config.environ = {{\n{tries}    'SHELL' => shell.to_s }}\nend\n",
        outside.display()
    );
    let file = house.source("reach.haco", text);
    let to = house.path("to");
    succeed(import(&house, &file, &["-o", to.to_str().expect("utf-8")]));
    let found = parsed(&to.join("tsubo.toml")).environment;
    for (name, _) in TRIES {
        assert!(found[name].starts_with("refused"), "{name}: {found:?}");
    }
    assert!(!found["SHELL"].contains("uid="), "{found:?}");
    assert_eq!(fs::read_to_string(&outside).expect("there"), "kept");
    for more in ["shell", "system", "ticks", "popen"] {
        assert!(!outside.with_extension(more).exists(), "{more}");
    }
    listener.set_nonblocking(true).expect("nonblocking");
    assert!(listener.accept().is_err(), "somebody came through");
    let notes = fs::read_to_string(to.join("tsubo.toml")).expect("toml");
    assert!(notes.contains("runs `rm -rf / ;"), "{notes}");
    assert_eq!(left(&house), 0);
}

#[test]
fn bad_definitions_end_with_a_clear_error() {
    if !have(&["mruby"]) {
        return;
    }
    let house = House::new();
    let cases: [(&str, &str, &[&str]); 13] = [
        ("loop", "loop { begin; loop { }; rescue Exception; end }", &["has not ended after 2 s"]),
        ("flood", "loop { puts 'x' * 10000 }", &["more than 4 MiB"]),
        ("errors", "loop { $stderr.puts 'x' * 10000 }", &["more than 4 MiB"]),
        ("bomb", "a = []\nloop { a << 'x' * 1000000 }", &["emory"]),
        ("deep", "\ndef f(x)\n  f(x + 1)\nend\nf(1)\n", &["deep.haco:3", "too deep"]),
        ("syntax", "Haconiwa.define do |c|\n  c.name = = 3\nend\n", &["syntax.haco:2", "syntax error"]),
        ("raise", "\n\nraise 'no root here'\n", &["raise.haco:3: no root here (RuntimeError)"]),
        ("nil", "Haconiwa.define do |c|\n  nil.foo\nend\n", &["nil.haco:2", "foo"]),
        (
            "read",
            "Haconiwa.define do |c|\n  c.name = File.open('/etc/hostname') { |f| f.read }\nend\n",
            &["read.haco:2", "no file"],
        ),
        ("nothing", "puts 1\n", &["defines no container"]),
        ("empty", "", &["defines no container"]),
        ("twice", "2.times { Haconiwa.define { |c| c.name = 'a' } }", &["two containers called a"]),
        (
            "forged",
            "$stdout.puts Recorder::MARK + '{\"containers\":3}'\nmodule Recorder; def self.json(*); '[]'; end; end",
            &["no sense"],
        ),
    ];
    for (name, text, parts) in cases {
        let file = house.source(&format!("{name}.haco"), text);
        let to = house.path(name);
        let words = ["-o", to.to_str().expect("utf-8"), "--time", if name == "loop" { "2" } else { "60" }];
        let complaint = fail(import(&house, &file, &words), 125);
        one_clear_error(&complaint, parts);
        assert!(complaint.contains(&format!("{name}.haco")) && !to.exists(), "{name}: {complaint}");
        assert_eq!(left(&house), 0, "{name}");
    }
}

#[test]
fn forks_end_with_their_container() {
    if !have(&["mruby"]) {
        return;
    }
    let house = House::new();
    let text = "1000.times { begin; IO._popen('x', 'r'); rescue Exception; end }\nHaconiwa.define { |c| c.name = 'f' }\n";
    let file = house.source("forks.haco", text);
    let mut command = import(&house, &file, &["-o", "to", "--time", "60"]);
    command.current_dir(house.dir());
    // Whether it gets through is its own affair; that nothing of it stays is ours.
    command.output().expect("run");
    assert_eq!(left(&house), 0);
    let left: Vec<_> = super::support::leftovers::processes(house.dir());
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn without_mruby_it_says_what_to_install() {
    let house = House::new();
    let file = house.source("a.haco", "");
    if ["/usr/local/bin/mruby", "/usr/bin/mruby", "/bin/mruby"]
        .iter()
        .any(|program| Path::new(program).exists())
    {
        eprintln!("SKIPPED: mruby is here, and cannot be taken away from a test");
        return;
    }
    let complaint = fail(import(&house, &file, &[]), 125);
    one_clear_error(&complaint, &["apt-get install mruby"]);
}
