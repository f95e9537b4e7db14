//! Plain proxies before the same small server, each on a core of its own choosing.

use std::fs;

use crate::bench::gateway::process::{Process, until_served};
use crate::bench::gateway::{Home, free_port, packed};
use crate::bench::runtimes::words;
use crate::shell::Result;

pub(super) struct Proxy {
    pub(super) name: &'static str,
    pub(super) port: u16,
    /// Where it speaks HTTP/2 without being asked for it in words of the first.
    pub(super) second_version: u16,
    _process: Process,
}

/// How one is called: its program, the Debian package of that, its configuration and its command line, where `FILE` is that.
struct Kind {
    name: &'static str,
    program: &'static str,
    package: &'static str,
    configuration: fn(&Home, [u16; 3]) -> String,
    line: &'static str,
}

const KINDS: [Kind; 2] = [
    Kind {
        name: "nginx",
        program: "nginx",
        package: "nginx-light",
        configuration: nginx,
        line: "nginx -e stderr -c FILE",
    },
    Kind {
        name: "haproxy",
        program: "haproxy",
        package: "haproxy",
        configuration: haproxy,
        line: "haproxy -db -f FILE",
    },
];

impl Proxy {
    /// Those that work here, on this core, before the server on a port.
    pub(super) fn all(home: &Home, backend: u16, core: &str) -> Vec<Self> {
        let mut all = Vec::new();
        for kind in KINDS.iter().filter(|kind| packed::has(kind.program, kind.package)) {
            match Self::start(home, kind, backend, core) {
                Ok(proxy) => all.push(proxy),
                Err(error) => println!("SKIPPED: {} does not work on this host: {error}", kind.name),
            }
        }
        all
    }

    fn start(home: &Home, kind: &Kind, backend: u16, core: &str) -> Result<Self> {
        let (port, second) = (free_port()?, free_port()?);
        let file = home.ground.at(&format!("{}-proxy.conf", kind.name));
        fs::write(&file, (kind.configuration)(home, [port, second, backend]))?;
        let process = Process::on_core(core, &words(&kind.line.replace("FILE", &file)))?;
        until_served(port)?;
        Ok(Self { name: kind.name, port, second_version: second, _process: process })
    }
}

fn nginx(home: &Home, [port, second, backend]: [u16; 3]) -> String {
    let at = |name: &str| home.ground.at(name);
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {};", at(what)))
        .concat();
    format!(
        "daemon off; user root; worker_processes 1; pid {}; error_log stderr crit; events {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 1000000000; {folders}\n\
         upstream server {{ server 127.0.0.1:{backend}; keepalive 64; keepalive_requests 1000000000; }}\n\
         server {{ listen 127.0.0.1:{port}; listen 127.0.0.1:{second} http2;\n\
         location / {{ proxy_pass http://server; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }} }}\n",
        at("proxy.pid")
    )
}

fn haproxy(_home: &Home, [port, second, backend]: [u16; 3]) -> String {
    format!(
        "global\n nbthread 1\n maxconn 4096\n\
         defaults\n mode http\n timeout client 60s\n timeout server 60s\n timeout connect 5s\n http-reuse always\n\
         listen web\n bind 127.0.0.1:{port}\n bind 127.0.0.1:{second} proto h2\n server one 127.0.0.1:{backend}\n"
    )
}
