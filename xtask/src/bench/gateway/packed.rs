//! The services, packed as a person packs them: from this host, by what they use of it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Home;
use crate::bench::runtimes::{Words, words};
use crate::shell::{self, Result};

/// Where the small server listens in its containers.
pub(super) const PORT: u16 = 8080;

/// The name of its installed image.
pub(super) const STATIC: &str = "static";

/// A service that is not ours.
pub(super) struct Usual {
    pub(super) name: &'static str,
    /// The Debian package that brings it, and a file that shows that it is there.
    debian: (&'static str, &'static str),
    pub(super) port: u16,
    command: &'static [&'static str],
}

/// Where nginx has its configuration, in its package and here.
const CONFIGURED: &str = "/srv/nginx.conf";

const CONFIGURATION: &str = "daemon off; master_process off; user root; pid /tmp/nginx.pid; error_log stderr crit; events { } \
    http { access_log off; server { listen 18491; default_type text/plain; location / { return 200 first; } } }";

const NODE: &str = "require('http').createServer((_, to) => to.end('first')).listen(18493)";

pub(super) const NGINX: Usual = Usual {
    name: "nginx",
    debian: ("nginx-light", "/usr/sbin/nginx"),
    port: 18491,
    command: &["nginx", "-e", "stderr", "-c", CONFIGURED],
};

pub(super) const USUAL: [Usual; 3] = [
    NGINX,
    Usual {
        name: "python",
        debian: ("python3", "/usr/bin/python3"),
        port: 18492,
        command: &["/usr/bin/python3", "-m", "http.server", "18492"],
    },
    Usual {
        name: "node",
        debian: ("nodejs", "/usr/bin/node"),
        port: 18493,
        command: &["/usr/bin/node", "-e", NODE],
    },
];

/// Bash has all that it takes to ask once.
const EXERCISE: &str = "bash -c 'exec 3<>/dev/tcp/127.0.0.1/PORT; printf \"GET / HTTP/1.0\\r\\n\\r\\n\" >&3; cat <&3 >/dev/null'";

impl Home {
    /// Installs the small server.
    pub(super) fn install_static(&self) -> Result {
        if self.has_image(STATIC)? {
            return Ok(());
        }
        let (root, port) = (self.ground.root.to_string_lossy(), PORT.to_string());
        self.state.quiet(&["dev", STATIC, "--from", &root, "--", "/bin/idle", "true"])?;
        self.state.quiet(&["test", STATIC, "--ready", &format!("tcp:{port}"), "--", "/bin/server", &port])?;
        self.install_tested(STATIC)
    }

    /// Installs a service of this host, unless it is not on it.
    pub(super) fn install(&self, usual: &Usual) -> Result {
        let (package, file) = usual.debian;
        if !Path::new(file).exists() {
            return Err(format!("{file} is missing: apt-get install {package}").into());
        }
        if self.has_image(usual.name)? {
            return Ok(());
        }
        let configure = format!("printf '%s' '{CONFIGURATION}' > {CONFIGURED}");
        self.state.quiet(&["dev", usual.name, "--", "sh", "-c", &configure])?;
        let ready = format!("tcp:{}", usual.port);
        let exercise = EXERCISE.replace("PORT", &usual.port.to_string());
        let test = ["test", usual.name, "--ready", &ready, "--exercise", &exercise, "--"];
        self.state.quiet(&[&test, usual.command].concat())?;
        self.install_tested(usual.name)
    }

    fn install_tested(&self, name: &str) -> Result {
        let package = self.state.file(&format!("{name}.tsubo"));
        let package = package.to_string_lossy();
        self.state.quiet(&["pack", name, "-o", &package])?;
        self.state.quiet(&["install", &package]).map(drop)
    }

    fn has_image(&self, name: &str) -> Result<bool> {
        Ok(self.image(name)?.is_some())
    }

    fn image(&self, name: &str) -> Result<Option<Value>> {
        let listed = self.state.json(&["images"])?;
        Ok(listed.as_array().and_then(|all| all.iter().find(|image| image["name"] == name)).cloned())
    }

    /// Where the files of an installed image are.
    pub(super) fn tree(&self, name: &str) -> Result<String> {
        let image = self.image(name)?.unwrap_or_default();
        Ok(image["tree"].as_str().ok_or_else(|| format!("no image {name}"))?.to_owned())
    }

    /// The command that runs it on this host, from the files that its package was made of.
    pub(super) fn bare(&self, usual: &Usual) -> Result<Words> {
        let here = self.nginx_configuration()?;
        Ok(usual
            .command
            .iter()
            .map(|word| if *word == CONFIGURED { here.as_str() } else { word }.to_owned())
            .collect())
    }

    /// A file with that of nginx on this host.
    pub(super) fn nginx_configuration(&self) -> Result<String> {
        let own = self.ground.at("nginx.conf");
        fs::write(&own, CONFIGURATION.replace("/tmp/nginx.pid", &self.ground.at("nginx.pid")))?;
        Ok(own)
    }

    /// The small server on a port of this host; `more` is another word for it.
    pub(super) fn bare_static(&self, port: u16, more: &str) -> Words {
        words(&format!("{} {port} {more}", self.server().display()))
    }
}

/// Says of a peer that is missing what would bring it.
pub(super) fn has(program: &str, package: &str) -> bool {
    let there = shell::has(program);
    if !there {
        println!("SKIPPED: {program} is missing: apt-get install {package}");
    }
    there
}
