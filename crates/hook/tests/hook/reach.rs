//! What scripts reach: what is allowed, and only that.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};

use serde_json::{Value, json};

use crate::{failure, fire, inside, verdict};

fn allowed(text: &str, allow: Value) -> Value {
    let mut own = inside(text);
    own["allow"] = allow;
    own
}

#[test]
fn what_is_not_allowed_names_the_line_to_add() {
    for (text, line) in [
        ("http.get('https://example.com/a/b')", "add http = [\"https://example.com/\"] to [hooks.allow]"),
        ("env.get('SECRET')", "add env = [\"SECRET\"] to [hooks.allow]"),
        ("fs.read('/etc/passwd')", "add read = [\"/etc/passwd\"] to [hooks.allow]"),
        ("fs.write('/etc/passwd', '')", "add write = [\"/etc/passwd\"] to [hooks.allow]"),
        ("run({ '/bin/true' })", "add run = [\"/bin/true\"] to [hooks.allow]"),
        ("cgroup.write('memory.high', '1')", "add cgroup = [\"memory.high\"] to [hooks.allow]"),
        ("sysctl.set('net.core.somaxconn', '1')", "add sysctl = [\"net.core.somaxconn\"] to [hooks.allow]"),
        ("metrics.emit('a', 1, { to = '127.0.0.1:1' })", "add metrics = [\"127.0.0.1:1\"] to [hooks.allow]"),
        ("net.addresses()", "add net = true to [hooks.allow]"),
        ("store.images()", "add store = true to [hooks.allow]"),
        ("ctx:scale(2)", "add containers = true to [hooks.allow]"),
        ("ctx:replace('web')", "add containers = true to [hooks.allow]"),
        ("return ctx.siblings", "add containers = true to [hooks.allow]"),
    ] {
        let why = failure(&inside(text));
        assert!(why.starts_with("hooks.luau:2: ") && why.contains(line), "{why}");
    }
}

#[test]
fn files_below_what_is_allowed_and_no_link_out() {
    let folder = tempfile::tempdir().expect("folder");
    let at = folder.path();
    std::fs::create_dir(at.join("in")).expect("in");
    std::fs::write(at.join("out"), "secret").expect("out");
    std::os::unix::fs::symlink("../out", at.join("in/link")).expect("link");
    std::os::unix::fs::symlink("/etc", at.join("in/etc")).expect("link");
    let (within, path) = (at.join("in"), |name: &str| at.join("in").join(name).display().to_string());
    let allow = json!({ "write": [within] });
    let text = format!(
        "fs.write('{0}', 'one') fs.write('{0}', 'two', {{ append = true }}) log(fs.read('{0}'), fs.exists('{0}'), fs.exists('{0}x'), fs.list('{1}'))",
        path("file"),
        within.display()
    );
    assert_eq!(
        fire(&allowed(&text, allow.clone()))["log"],
        json!(["onetwo true false [\"etc\",\"file\",\"link\"]"])
    );
    for bad in [path("link"), path("etc/passwd")] {
        assert!(
            failure(&allowed(&format!("fs.read('{bad}')"), allow.clone())).contains("leads out"),
            "{bad}"
        );
        assert!(
            failure(&allowed(&format!("fs.write('{bad}', 'x')"), allow.clone())).contains("leads out"),
            "{bad}"
        );
    }
    assert!(
        failure(&allowed(&format!("fs.read('{}')", path("../out")), allow.clone())).contains("without ..")
    );
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(at.join("in/file"), std::fs::Permissions::from_mode(0o640)).expect("mode");
    std::fs::hard_link(at.join("in/file"), at.join("old")).expect("link");
    let text = format!(
        "log(fs.write('{0}', 'three'), fs.read('{0}'), fs.write('{0}', 'four', {{ exclusive = true }}), fs.write('{0}.new', 'five', {{ exclusive = true }}), fs.read('{0}.new'))",
        path("file")
    );
    assert_eq!(fire(&allowed(&text, allow.clone()))["log"], json!(["true three false true five"]));
    // The old one is as it was for whoever has it open; the new one has its mode, and nothing else is left.
    assert_eq!(std::fs::read_to_string(at.join("old")).expect("old"), "onetwo");
    assert_eq!(std::fs::metadata(at.join("in/file")).expect("file").permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read_dir(&within).expect("in").count(), 4);
    let mut dry = allowed(&format!("fs.write('{}', 'x')", path("dry")), allow);
    dry["dry"] = json!(true);
    assert_eq!(fire(&dry)["changes"][0]["what"], "fs.write");
    assert!(!within.join("dry").exists());
    assert_eq!(std::fs::read_to_string(at.join("out")).expect("out"), "secret");
}

#[test]
fn programs_have_the_limits_of_whoever_started_the_hook() {
    let allow = json!({ "run": ["/bin/sh"] });
    let limits =
        std::process::Command::new("/bin/sh").args(["-c", "ulimit -t; ulimit -v"]).output().expect("sh");
    let own = String::from_utf8(limits.stdout).expect("text");
    let text = "log(run({ '/bin/sh', '-c', 'ulimit -t; ulimit -v' }).output)";
    assert_eq!(fire(&allowed(text, allow))["log"], json!(own.lines().collect::<Vec<_>>()));
}

#[test]
fn programs_and_variables_that_are_declared() {
    let allow = json!({ "run": ["/bin/cat", "/bin/sleep", "/bin/sh"], "env": ["TOLD"] });
    let text = "local r = run({ '/bin/cat' }, { input = 'through' }) log(r.code, r.output, env.get('TOLD'))\n\
                log(run({ '/bin/sleep', '100' }, { timeout = 0.1 }).timed_out, run({ '/bin/sh', '-c', 'echo $SECRET; exit 4' }).code)";
    assert_eq!(fire(&allowed(text, allow.clone()))["log"], json!(["0 through yes", "true 4"]));
    let with = |name: &str| {
        format!("log(run({{ '/bin/sh', '-c', 'echo ${name}' }}, {{ env = {{ {name} = 'set' }} }}).output)")
    };
    for name in ["TOLD", "LANG", "LC_ALL", "TZ"] {
        assert_eq!(fire(&allowed(&with(name), allow.clone()))["log"], json!(["set"]), "{name}");
    }
    let why = failure(&allowed(&with("PATH"), allow.clone()));
    assert!(why.contains("add env = [\"PATH\"] to [hooks.allow]"), "{why}");
    let why = failure(&allowed(&with("LD_PRELOAD"), json!({ "run": ["/bin/sh"], "env": ["LD_PRELOAD"] })));
    assert!(why.contains("LD_PRELOAD is never set"), "{why}");
}

#[test]
fn http_asks_only_below_what_is_allowed() {
    let server = TcpListener::bind("127.0.0.1:0").expect("port");
    let base = format!("http://{}", server.local_addr().expect("address"));
    let serving = std::thread::spawn(move || {
        for stream in server.incoming().take(5) {
            let mut stream = stream.expect("a connection");
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let count = stream.read(&mut buffer).expect("read");
                if count == 0 {
                    break;
                }
                request.extend(&buffer[..count]);
            }
            let line = String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned();
            let (head, body) = match line.split(' ').nth(1) {
                Some("/own/out") => ("302 Found\r\nLocation: /other/", String::new()),
                Some("/own/hop") => ("302 Found\r\nLocation: /own/json", String::new()),
                Some("/own/large") => ("200 OK", "x".repeat((1 << 20) + 1)),
                _ => ("200 OK", format!("{{\"asked\":\"{line}\"}}")),
            };
            let answer = format!(
                "HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    let allow = json!({ "http": [format!("{base}/own/")] });
    let text =
        format!("local r = http.get('{base}/own/hop', {{ timeout = 5 }}) log(r.status, r:json().asked)");
    assert_eq!(fire(&allowed(&text, allow.clone()))["log"], json!(["200 GET /own/json HTTP/1.1"]));
    assert!(
        failure(&allowed(&format!("http.get('{base}/own/out')"), allow.clone()))
            .contains("/other/ is not allowed")
    );
    assert!(
        failure(&allowed(&format!("http.get('{base}/own/large')"), allow.clone()))
            .contains("larger than 1 MiB")
    );
    for bad in ["/own/../x", "/own/%2e%2e/x", "/ownx/", "@127.0.0.1/own/"] {
        let why = failure(&allowed(&format!("http.get('{base}{bad}')"), allow.clone()));
        assert!(why.contains("not allowed") || why.contains("cannot be asked for"), "{why}");
    }
    let mut dry = allowed(&format!("http.post('{base}/own/', {{ a = 1 }})"), allow.clone());
    dry["dry"] = json!(true);
    assert_eq!(fire(&dry)["changes"][0]["what"], "http.post");
    let posted = format!("log(http.post('{base}/own/p', {{ a = 1 }}):json().asked)");
    assert_eq!(fire(&allowed(&posted, allow))["log"], json!(["POST /own/p HTTP/1.1"]));
    serving.join().expect("served");
}

#[test]
fn a_server_that_never_answers_is_left() {
    let server = TcpListener::bind("127.0.0.1:0").expect("port");
    let url = format!("http://{}/", server.local_addr().expect("address"));
    let allow = json!({ "http": [url] });
    let why = failure(&allowed(&format!("http.get('{url}', {{ timeout = 0.2 }})"), allow.clone()));
    assert!(why.starts_with("hooks.luau:2: ") && why.contains("no answer in time"), "{why}");
    let mut own = allowed(&format!("while true do pcall(http.get, '{url}') end"), allow);
    own["hook"]["timeout"] = json!(300);
    let outcome = fire(&own);
    assert_eq!(verdict(&outcome).0, "overdue", "{outcome}");
}

fn inside_many(to: &str) -> Value {
    let mut own = allowed("for i = 1, 5000 do metrics.emit('x', i) end", json!({ "metrics": [to] }));
    own["dry"] = json!(true);
    own
}

#[test]
fn figures_go_where_they_may() {
    let own = UdpSocket::bind("127.0.0.1:0").expect("port");
    let to = own.local_addr().expect("address").to_string();
    let outcome = fire(&allowed(
        "metrics.emit('web.queue', 5) statsd.emit('web.hits', 1, { type = 'c' })",
        json!({ "metrics": [to] }),
    ));
    assert_eq!(verdict(&outcome), ("done", ""));
    let many = inside_many(&to);
    let outcome_of_many = fire(&many);
    assert_eq!(outcome_of_many["changes"].as_array().map(Vec::len), Some(201));
    let mut buffer = [0; 100];
    let count = own.recv(&mut buffer).expect("a figure");
    assert_eq!(&buffer[..count], b"web.queue:5|g");
}

#[test]
fn headers_say_nothing_else_than_the_url_and_secrets_stay_where_they_were_meant() {
    let servers = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("port"));
    let urls = servers.each_ref().map(|own| format!("http://{}/", own.local_addr().expect("address")));
    let answers = [
        format!(
            "HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            urls[1]
        ),
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
    ];
    let serving = std::thread::spawn(move || {
        let asked = servers.iter().zip(&answers).map(|(server, answer)| {
            let (mut stream, _) = server.accept().expect("a connection");
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                let count = stream.read(&mut buffer).expect("read");
                assert!(count > 0, "the end of a request");
                request.extend(&buffer[..count]);
            }
            stream.write_all(answer.as_bytes()).expect("answered");
            String::from_utf8_lossy(&request).to_ascii_lowercase()
        });
        asked.collect::<Vec<_>>()
    });
    let allow = json!({ "http": urls });
    let text = format!(
        "log(http.get('{}', {{ headers = {{ Authorization = 'Bearer x', Cookie = 'a=b', ['X-Own'] = 'c' }} }}).status)",
        urls[0]
    );
    assert_eq!(fire(&allowed(&text, allow.clone()))["log"], json!(["200"]));
    let asked = serving.join().expect("served");
    assert!(asked[0].contains("authorization: bearer x") && asked[0].contains("cookie: a=b"), "{}", asked[0]);
    assert!(!asked[1].contains("authorization") && !asked[1].contains("cookie"), "{}", asked[1]);
    assert!(asked[1].contains("x-own: c"), "{}", asked[1]);
    for name in ["Host", "content-length", "Transfer-Encoding"] {
        let text = format!("http.get('{}', {{ headers = {{ ['{name}'] = '1' }} }})", urls[0]);
        let why = failure(&allowed(&text, allow.clone()));
        assert!(why.contains("not a script's to set"), "{why}");
    }
}
