//! What is reached: nginx that answers two bytes, and iperf3, in a root with nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Home;
use crate::shell::{self, Result};

/// Their ports.
pub(super) const WEB: u16 = 8080;
pub(super) const STREAM: u16 = 5201;

const SERVE: &str = "#!/bin/busybox sh\n/usr/bin/iperf3 -s -p 5201 >/dev/null &\nexec /usr/sbin/nginx -e stderr -c /srv/nginx.conf\n";

const CONFIGURATION: &str = "daemon off; master_process off; user root; pid /tmp/nginx.pid; error_log stderr crit;\n\
    events { }\n\
    http { access_log off; keepalive_requests 10000000; client_body_temp_path /tmp/a; proxy_temp_path /tmp/b;\n\
    fastcgi_temp_path /tmp/c; uwsgi_temp_path /tmp/d; scgi_temp_path /tmp/e;\n\
    server { listen 8080; default_type text/plain; location / { return 200 ok; } } }\n";

/// Programs with their libraries, at the places that they have on this machine.
const COPY: &str = "set -e; for program in /usr/sbin/nginx /usr/bin/iperf3 /bin/busybox; do \
    for file in $program $(ldd $program 2>/dev/null | grep -o '/[^ ]*'); do \
    mkdir -p \"$1$(dirname $file)\"; cp -L $file \"$1$file\"; done; done";

/// Its root.
pub(super) fn root(home: &Home) -> Result<PathBuf> {
    let root = home.state.file("service");
    for folder in ["srv", "etc", "tmp", "proc", "sys", "dev", "run", "var"] {
        fs::create_dir_all(root.join(folder))?;
    }
    shell::read(Command::new("sh").args(["-c", COPY, "sh"]).arg(&root))?;
    for (name, content) in [
        ("srv/nginx.conf", CONFIGURATION),
        ("srv/serve", SERVE),
        ("etc/passwd", "root:x:0:0::/:/bin/sh\n"),
        ("etc/group", "root:x:0:\n"),
        ("etc/hosts", ""),
        ("etc/resolv.conf", ""),
    ] {
        fs::write(root.join(name), content)?;
    }
    shell::run(Command::new("chmod").arg("755").arg(root.join("srv/serve")))?;
    Ok(root)
}

/// Installs it as a package of ours and leaves it running on a network, its ports published.
pub(super) fn start(home: &Home, root: &Path) -> Result {
    let (package, from) = (home.state.file("service.tsubo"), root.to_string_lossy());
    let package = package.to_string_lossy();
    home.state.quiet(&["dev", "service", "--from", &from, "--", "/bin/busybox", "true"])?;
    home.state.quiet(&["test", "service", "--ready", "tcp:8080", "--", "/srv/serve"])?;
    let mut pack = vec!["pack", "service", "-o", &package, "--no-replay"];
    pack.extend(
        ["/usr/**", "/bin/**", "/lib/**", "/lib64/**", "/srv/**", "/etc/**"]
            .iter()
            .flat_map(|kept| ["--keep", kept]),
    );
    home.state.quiet(&pack)?;
    home.state.quiet(&["install", &package])?;
    let run =
        "run -d --name service --network tsubo -p 8080:8080 -p 5201:5201 --tmpfs /tmp service /srv/serve";
    home.state.quiet(&run.split(' ').collect::<Vec<_>>()).map(drop)
}
