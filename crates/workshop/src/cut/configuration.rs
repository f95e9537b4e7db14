//! Configuration: a program that reads /etc/nginx/nginx.conf may read all of /etc/nginx next time.

use spec::RootPath;
use spec::observation::Use;
use spec::report::Reason;

use super::scene::{Scene, at};
use super::selection::Selection;

/// Directories of /etc that many share, or that serve the machine rather than a service.
/// /etc/ssl above all: its private keys are nobody's by default.
const SHARED: [&str; 30] = [
    "ssl",
    "pki",
    "ca-certificates",
    "alternatives",
    "init.d",
    "systemd",
    "apt",
    "dpkg",
    "apk",
    "pam.d",
    "security",
    "ld.so.conf.d",
    "default",
    "skel",
    "profile.d",
    "logrotate.d",
    "kernel",
    "network",
    "sudoers.d",
    "sysctl.d",
    "modprobe.d",
    "modules-load.d",
    "udev",
    "opt",
    "xdg",
    "terminfo",
    "selinux",
    "conf.d",
    "tmpfiles.d",
    "ssh",
];

/// Keeps the directory of /etc around every file that was opened there.
pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    for top in [at("/etc"), at("/usr/local/etc")] {
        let opened = scene.used_below(&top).filter(|used| used.was(Use::Opened) || used.was(Use::Listed));
        for used in opened {
            if let Some(own) = own_directory(&top, &used.real) {
                selection.keep_tree(&own, Reason::Directory, Some(&used.real), &|_, _| false);
            }
        }
    }
}

/// The directory directly below `top` in which `path` lies, or which it is.
fn own_directory(top: &RootPath, path: &RootPath) -> Option<RootPath> {
    let name = path.below(top)?.split(|b| *b == b'/').next().filter(|name| !name.is_empty())?;
    let text = String::from_utf8_lossy(name);
    let runlevel = text.len() == 5 && text.starts_with("rc") && text.ends_with(".d");
    let shared = runlevel || text.starts_with("cron") || SHARED.contains(&text.as_ref());
    (!shared).then(|| top.join(name))
}

#[cfg(test)]
mod tests {
    use spec::observation::Use;

    use super::super::Level;
    use super::super::sample::{Sample, has};

    #[test]
    fn the_neighbours_of_what_was_opened() {
        let root = Sample::new("etc");
        for file in
            ["nginx/nginx.conf", "nginx/snippets/x.conf", "ssl/openssl.cnf", "ssl/private/key", "passwd"]
        {
            root.file(&format!("/etc/{file}"), "x");
        }
        let opened = ["/etc/nginx/nginx.conf", "/etc/ssl/openssl.cnf", "/etc/passwd"];
        let cut = root.cut(Level::Directory, &opened.map(|path| (path, Use::Opened)));
        assert!(has(&cut, "/etc/nginx/snippets/x.conf"));
        assert!(!has(&cut, "/etc/ssl/private/key"), "private keys of others stay where they are");
        let cut = root.cut(Level::Exact, &opened.map(|path| (path, Use::Opened)));
        assert!(!has(&cut, "/etc/nginx/snippets/x.conf"));
    }
}
