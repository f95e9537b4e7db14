//! Configuration: a program that reads /etc/nginx/nginx.conf may read all of /etc/nginx next time.

use spec::RootPath;
use spec::observation::Use;
use spec::report::Reason;

use super::scene::{Scene, Used, at};
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

/// Accounts and the certificates of all domains of a machine: no wider than one domain.
const CERTIFICATES: &str = "/etc/letsencrypt";

/// Keeps the directory of /etc around every file that was opened there.
pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    for top in [at("/etc"), at("/usr/local/etc")] {
        let opened = scene.used_below(&top).filter(|used| used.was(Use::Opened) || used.was(Use::Listed));
        for used in opened {
            if used.real.is_within(&at(CERTIFICATES)) {
                keep_beside(scene, selection, used);
            } else if let Some(own) = own_directory(&top, &used.real) {
                selection.keep_tree(&own, Reason::Directory, Some(&used.real), &|_, _| false);
            }
        }
    }
}

/// Keeps what lies in the directory of what was read, by its name and where that leads: another
/// form of the same certificate, and nobody else's.
fn keep_beside(scene: &Scene<'_>, selection: &mut Selection<'_>, used: &Used<'_>) {
    let listed = used.was(Use::Listed).then(|| used.real.clone());
    let directories = [used.path.parent(), used.real.parent()].into_iter().flatten();
    for directory in listed.into_iter().chain(directories).filter(|dir| dir.is_within(&at(CERTIFICATES))) {
        let entries = scene.entries(&directory).into_iter().filter(|(_, node)| !node.is_directory());
        entries.for_each(|(path, _)| selection.keep(&path, Reason::Directory, Some(&used.real)));
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

    #[test]
    fn a_certificate_brings_nobody_elses() {
        let root = Sample::new("letsencrypt");
        for domain in ["a", "b"] {
            for name in ["fullchain", "chain", "privkey"] {
                root.file(&format!("/etc/letsencrypt/archive/{domain}/{name}1.pem"), "x");
                let target = format!("../../archive/{domain}/{name}1.pem");
                root.link(&format!("/etc/letsencrypt/live/{domain}/{name}.pem"), &target);
            }
        }
        root.file("/etc/letsencrypt/accounts/x/private_key.json", "x");
        root.file("/etc/letsencrypt/renewal/a.conf", "x");
        let read = ["live/a/fullchain.pem", "archive/a/fullchain1.pem"]
            .map(|file| format!("/etc/letsencrypt/{file}"));
        let cut = root.cut(Level::Package, &[(&read[0], Use::Followed), (&read[1], Use::Opened)]);
        assert!(has(&cut, "/etc/letsencrypt/archive/a/chain1.pem"));
        let cut = root.cut(Level::Package, &[(&read[0], Use::Opened)]);
        assert!(has(&cut, "/etc/letsencrypt/live/a/chain.pem"));
        for not in
            ["accounts", "renewal", "live/b", "archive/b", "live/a/privkey.pem", "archive/a/privkey1.pem"]
        {
            assert!(!has(&cut, &format!("/etc/letsencrypt/{not}")), "{not}");
        }
    }
}
