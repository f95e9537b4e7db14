//! What no rule may add of its own accord: keys, passwords, and what not everybody may read.
//!
//! A rule keeps "the neighbours of what was used", and among those may lie what was never meant to
//! leave the machine. Such files ship when they were used, asked for (`--keep`) or missed by a
//! replay (`--repair`), never because something beside them was. This is the one place that tells.

use std::collections::{BTreeMap, BTreeSet};

use spec::RootPath;
use spec::observation::Written;
use spec::report::{Kept, Reason};

use super::scene::Scene;
use crate::base_tree::Node;

/// Directories that hold what proves who somebody is.
const DIRECTORIES: [&[u8]; 7] = [b".ssh", b".gnupg", b".aws", b".kube", b".docker", b".git", b"private"];
/// What is installed for everybody calls parts of its code private, and means no secret by it.
const PUBLISHED: [&[u8]; 6] =
    [b"node_modules", b"site-packages", b"dist-packages", b"gems", b"vendor_ruby", b"jvm"];
const NAMES: [&[u8]; 5] = [b".netrc", b".npmrc", b".pypirc", b".git-credentials", b".htpasswd"];
const STARTS: [&[u8]; 5] = [b".env", b"id_rsa", b"id_ed25519", b"id_ecdsa", b"privkey"];
const ENDS: [&[u8]; 4] = [b".key", b".pfx", b".p12", b".keytab"];
/// Passwords of accounts: some distributions count them among a package's files.
const ACCOUNTS: [&str; 4] = ["/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-"];
/// A warning names no more paths than this.
const NAMED: usize = 5;

/// Tells what is private in one base.
pub(super) struct Secrets<'a> {
    scene: &'a Scene<'a>,
    /// Directories in which the service changes private files: its data. What lies beside those is
    /// of the same kind (another table of a database), whoever may read it.
    data: BTreeSet<RootPath>,
    /// What rules would have added.
    withheld: BTreeSet<RootPath>,
}

impl<'a> Secrets<'a> {
    pub(super) fn new(scene: &'a Scene<'a>) -> Self {
        let written = scene.request.observation.written.iter();
        let changed = written.filter(|(_, how)| matches!(how, Written::Changed { .. } | Written::Removed));
        let private = changed.filter_map(|(path, _)| scene.tree.real(path));
        let private = private.filter(|path| scene.node(path).is_some_and(|node| !is_public(node)));
        let data = private.filter_map(|path| path.parent()).collect();
        Self { scene, data, withheld: BTreeSet::new() }
    }

    /// Whether `path` is not to be added for this reason; remembers that it was left out.
    pub(super) fn withholds(&mut self, path: &RootPath, reason: Reason) -> bool {
        let withheld = is_widening(reason) && self.is_private(path);
        if withheld {
            self.withheld.insert(path.clone());
        }
        withheld
    }

    fn is_private(&self, path: &RootPath) -> bool {
        let Some(node) = self.scene.node(path) else { return false };
        if is_account(path) {
            return true;
        }
        // What a distribution ships is the same everywhere, and what everybody may read of it public.
        let owned = self.scene.distribution.owner(path).is_some();
        let unreadable = !is_public(node) && !owned && !self.is_data(path);
        unreadable || sounds_secret(path) && !(owned && is_public(node))
    }

    fn is_data(&self, path: &RootPath) -> bool {
        path.parent().is_some_and(|parent| self.data.contains(&parent))
    }

    /// What is to be said of files that were left out, and of private ones that are packed.
    pub(super) fn warnings(&self, kept: &BTreeMap<RootPath, Kept>) -> Vec<String> {
        let is_file = |path: &&RootPath| self.scene.node(path).is_some_and(|node| !node.is_directory());
        let out = self.withheld.iter().filter(|path| !kept.contains_key(path)).filter(is_file).collect();
        let packed = kept.keys().filter(|path| self.is_packed_private(path)).collect();
        let out = told(out, "unused", "left out as private; keep what is needed with --keep");
        let packed = told(packed, "packed", "readable only by owner or group; drop them with --drop");
        out.into_iter().chain(packed).collect()
    }

    /// Of what a distribution ships nothing is said: that would be the same words every time.
    fn is_packed_private(&self, path: &RootPath) -> bool {
        let private = self.scene.node(path).is_some_and(|node| !is_public(node));
        private && (is_account(path) || self.scene.distribution.owner(path).is_none())
    }
}

/// Whether rules of this reason add what was not used.
fn is_widening(reason: Reason) -> bool {
    matches!(reason, Reason::Directory | Reason::Language | Reason::Application | Reason::Facility)
}

/// Whether everybody may read it; directories and links say nothing of content.
fn is_public(node: &Node) -> bool {
    !node.is_file() || node.meta.mode & 0o004 != 0
}

fn is_account(path: &RootPath) -> bool {
    ACCOUNTS.iter().any(|account| account.as_bytes() == path.as_bytes())
}

fn sounds_secret(path: &RootPath) -> bool {
    let name = path.name().unwrap_or_default();
    NAMES.contains(&name)
        || STARTS.iter().any(|start| name.starts_with(start))
        || ENDS.iter().any(|end| name.ends_with(end))
        || name.windows(11).any(|part| part == b"private_key")
        || is_in_secret_directory(path)
}

fn is_in_secret_directory(path: &RootPath) -> bool {
    let parts = || path.as_bytes().split(|b| *b == b'/');
    let published = || parts().any(|part| PUBLISHED.contains(&part));
    parts().any(|part| DIRECTORIES.contains(&part) && !(part == b"private" && published()))
}

/// One sentence on `paths`, if there are any: what they are, and what is so of them.
fn told(paths: Vec<&RootPath>, kind: &str, what: &str) -> Option<String> {
    let named: Vec<String> = paths.iter().take(NAMED).map(ToString::to_string).collect();
    let more = if paths.len() > NAMED { ", …" } else { "" };
    let count = match paths.len() {
        0 => return None,
        1 => format!("1 {kind} file is"),
        several => format!("{several} {kind} files are"),
    };
    Some(format!("{count} {what}: {}{more}", named.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use spec::observation::Use;

    use super::super::Level;
    use super::super::sample::{Asked, Sample, has, path};
    use super::*;

    fn with(name: &str, files: &[&str]) -> Sample {
        let root = Sample::new(name);
        files.iter().for_each(|file| root.file(file, "x"));
        root
    }

    fn hide(root: &Sample, file: &str) {
        set_permissions(root.at(file), Permissions::from_mode(0o600)).expect(file);
    }

    #[test]
    fn nothing_private_comes_with_a_document() {
        let private = [
            "/srv/site/.ssh/id_rsa",
            "/srv/site/.ssh/config",
            "/srv/site/.aws/credentials",
            "/srv/site/.env",
            "/srv/site/.env.local",
            "/srv/site/tls/site.key",
            "/srv/site/private/notes",
            "/srv/site/secrets.yml",
        ];
        let root = with("secrets-site", &private);
        root.file("/srv/site/index.html", "x");
        root.file("/srv/site/style.css", "x");
        hide(&root, "/srv/site/secrets.yml");
        for level in [Level::Directory, Level::Package] {
            let cut = root.cut(level, &[("/srv/site/index.html", Use::Opened)]);
            assert!(has(&cut, "/srv/site/style.css"));
            private.iter().for_each(|file| assert!(!has(&cut, file), "{file}"));
            assert!(
                cut.warnings.iter().any(|text| text.starts_with("8 unused files are left out")),
                "{:?}",
                cut.warnings
            );
        }
        let keep = vec!["/srv/site/.ssh".to_owned()];
        let seen = root.seen(&[("/srv/site/index.html", Use::Opened), ("/srv/site/.env", Use::Opened)]);
        let cut = Asked { keep, ..Asked::default() }.cut(&root, &seen).expect("cut");
        assert!(has(&cut, "/srv/site/.ssh/id_rsa") && has(&cut, "/srv/site/.env"), "asked for, and used");
    }

    #[test]
    fn no_link_leads_a_rule_to_a_secret() {
        let root = with("secrets-link", &["/srv/site/index.html", "/data/.ssh/known", "/data/hidden"]);
        root.link("/srv/site/a", "/data/.ssh/known");
        root.link("/srv/site/b", "/data/hidden");
        root.link("/srv/site/c", "/data/.ssh");
        hide(&root, "/data/hidden");
        let uses = [("/srv/site/index.html", Use::Opened)];
        let cut = root.cut(Level::Package, &uses);
        assert!(!has(&cut, "/data/.ssh/known") && !has(&cut, "/data/hidden"), "{:?}", cut.paths);
        let used = root.cut(Level::Package, &[uses[0], ("/srv/site/b", Use::Opened)]);
        assert!(has(&used, "/data/hidden"), "a link that was used brings its target");
    }

    #[test]
    fn of_a_distribution_package_what_everybody_reads_is_public() {
        let owned = ["/usr/share/site/root.key", "/usr/share/site/group.conf", "/usr/share/site/host.key"];
        let root = with("secrets-owned", &owned);
        root.file("/usr/share/site/index.html", "x");
        root.file("/var/lib/dpkg/info/site.list", owned.join("\n"));
        root.file("/var/lib/dpkg/status", "Package: site\nStatus: install ok installed\nVersion: 1\n\n");
        hide(&root, "/usr/share/site/group.conf");
        hide(&root, "/usr/share/site/host.key");
        let cut = root.cut(Level::Directory, &[("/usr/share/site/index.html", Use::Opened)]);
        assert!(has(&cut, "/usr/share/site/root.key") && has(&cut, "/usr/share/site/group.conf"));
        assert!(!has(&cut, "/usr/share/site/host.key"));
    }

    #[test]
    fn what_lies_beside_the_private_data_of_a_service_is_its_data() {
        let files = ["/var/lib/db/base/1", "/var/lib/db/base/2", "/var/lib/db/base/.pgpass.key"];
        let root = with("secrets-data", &files);
        root.file("/var/lib/db/token", "x");
        files.iter().chain(&["/var/lib/db/token"]).for_each(|file| hide(&root, file));
        let mut seen = root.seen(&[("/var/lib/db/base/1", Use::Opened)]);
        seen.written.insert(path("/var/lib/db/base/1"), Written::Changed { bytes: 1 });
        let cut = Asked::default().cut(&root, &seen).expect("cut");
        assert!(has(&cut, "/var/lib/db/base/2"));
        assert!(!has(&cut, "/var/lib/db/token") && !has(&cut, "/var/lib/db/base/.pgpass.key"));
    }

    #[test]
    fn what_not_everybody_may_read_is_told_when_it_is_packed() {
        let owned = ["/etc/db/db.conf", "/etc/shadow"];
        let root = with("secrets-told", &owned);
        (1..=6).for_each(|number| root.file(&format!("/etc/db/{number}.pass"), "x"));
        root.file("/var/lib/dpkg/info/db.list", owned.join("\n"));
        root.file("/var/lib/dpkg/status", "Package: db\nStatus: install ok installed\nVersion: 1\n\n");
        let passwords: Vec<String> = (1..=6).map(|number| format!("/etc/db/{number}.pass")).collect();
        let used: Vec<&str> = passwords.iter().map(String::as_str).chain(owned).collect();
        used.iter().for_each(|file| hide(&root, file));
        let uses: Vec<(&str, Use)> = used.iter().map(|file| (*file, Use::Opened)).collect();
        let told = |uses: &[(&str, Use)]| root.cut(Level::Package, uses).warnings.join("\n");
        let text = told(&uses);
        assert!(text.contains("7 packed files are readable only by owner or group"), "{text}");
        assert!(text.contains("/etc/db/5.pass, …") && !text.contains("/etc/db/db.conf"), "{text}");
        assert!(told(&uses[7..]).contains("1 packed file is"), "{}", told(&uses[7..]));
        assert_eq!(told(&uses[6..7]).matches("packed").count(), 0, "as it was shipped");
    }
}
