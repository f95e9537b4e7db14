//! What is mounted: `add_mount_point`, `mount_independent`, `mount_network_etc`.

use std::path::PathBuf;

use spec::RootPath;
use spec::isolation::{MountType, MountWord};

use super::super::record::{MountPoint, said, shown};
use super::{Mapping, said_text};

/// What every container of ours has.
const USUAL: [(&str, &str); 5] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("devpts", "/dev/pts"),
    ("tmpfs", "/dev/shm"),
];

impl Mapping<'_> {
    pub(super) fn files(&mut self) {
        for mount in &self.from.mounts {
            self.mount(mount);
        }
        if !self.from.independent.is_empty() {
            let all = self.from.independent.iter().map(shown).collect::<Vec<_>>().join(", ");
            self.note(format!("config.mount_independent {all}: every container has its own /proc, /sys (read-only), /dev, /dev/pts, /dev/shm and /dev/mqueue"));
        }
        self.network_files();
        let masked = self.from.filesystem.get("masked").and_then(|list| list.as_array());
        if let Some(more) = masked {
            let usual = lifecycle::MASKED.iter().map(|path| (*path).to_owned());
            let all = usual.chain(more.iter().map(shown)).filter_map(|path| path.parse().ok());
            self.to.isolation.masked = Some(all.collect());
        }
        for (key, value) in &self.from.filesystem {
            if !matches!(key.as_str(), "masked" | "others") {
                self.note(format!("config.filesystem.{key} = {}: the root is always changed with pivot_root in a mount namespace that is private", shown(value)));
            }
        }
        if !self.to.isolation.mounts.is_empty() {
            self.note("a package with mounts, or other things of the host, is run with tsubo run --as-packaged by who trusts it");
        }
    }

    fn network_files(&mut self) {
        let Some(from) = self.from.network_etc.get("host_root").and_then(said) else { return };
        if from == "/etc" {
            return self.note("config.mount_network_etc: the host's /etc/resolv.conf and /etc/hosts are shown where the service was seen to read them");
        }
        for name in ["resolv.conf", "hosts"] {
            let word = format!("source={from}/{name},target=/etc/{name},ro").parse::<MountWord>();
            match word {
                Ok(word) => self.to.isolation.mounts.push(word),
                Err(error) => self.note(format!("config.mount_network_etc: {error}")),
            }
        }
    }

    fn mount(&mut self, mount: &MountPoint) {
        let line = mount.line;
        let shown_as = format!("config.add_mount_point {:?}", mount.source);
        let Some(to) = mount.options.get("to").and_then(said_text) else {
            return self.note_at(line, format!("{shown_as} has no to:"));
        };
        let Some(at) = self.inside(&to) else {
            return self.note_at(
                line,
                format!(
                    "{shown_as}, to: {to:?} lies outside of the container's root, where nobody inside sees it"
                ),
            );
        };
        let kind = mount.options.get("fs").and_then(said_text);
        if at.as_bytes() == b"/" {
            return self.whole_root(mount, kind.as_deref());
        }
        if kind.as_deref().is_some_and(|kind| USUAL.contains(&(kind, &*at.to_string()))) {
            return self.note_at(line, format!("{shown_as}: every container has its own {at}"));
        }
        let Some(word) = self.word(mount, kind.as_deref(), at) else {
            let kind = kind.unwrap_or_default();
            return self.note_at(line, format!("{shown_as}, fs: {kind:?}: no such file system is mounted for containers; mount it on the host and bind it"));
        };
        self.to.isolation.mounts.push(word);
    }

    /// The place inside of a path of the host.
    fn inside(&self, to: &str) -> Option<RootPath> {
        let Some(root) = self.rootfs() else { return to.parse().ok() };
        let below = to.strip_prefix(&root).filter(|below| below.is_empty() || below.starts_with('/'))?;
        if below.trim_matches('/').is_empty() { Some(RootPath::root()) } else { below.parse().ok() }
    }

    /// What is mounted over the whole root is what the container is made from.
    fn whole_root(&mut self, mount: &MountPoint, kind: Option<&str>) {
        let line = mount.line;
        if kind.is_some() {
            return self.note_at(
                line,
                format!("config.add_mount_point {:?} over the whole root: not taken over", mount.source),
            );
        }
        let base = self.absolute(&mount.source);
        if base != self.to.base {
            self.note_at(
                line,
                format!("config.add_mount_point {:?} lies over the whole root: it is the base", mount.source),
            );
            self.to.base = base;
        }
    }

    fn word(&mut self, mount: &MountPoint, kind: Option<&str>, at: RootPath) -> Option<MountWord> {
        let kind = match kind {
            None => MountType::Bind,
            Some("tmpfs") => MountType::Tmpfs,
            Some("proc") => MountType::Proc,
            Some("sysfs") => MountType::Sys,
            Some("devpts") => MountType::Devpts,
            Some("mqueue") => MountType::Mqueue,
            Some("cgroup" | "cgroup2") => MountType::Cgroup,
            Some(_) => return None,
        };
        let source = (kind == MountType::Bind).then(|| PathBuf::from(self.absolute(&mount.source)));
        let word = MountWord { kind, source, at, options: Vec::new() };
        Some(self.with_options(mount, word))
    }

    /// `readonly: true` and the like, and what is written as mount(8) has it.
    fn with_options(&mut self, mount: &MountPoint, mut word: MountWord) -> MountWord {
        let mut wanted = Vec::new();
        for (key, value) in &mount.options {
            match (key.as_str(), said(value).as_deref()) {
                ("to" | "fs" | "options" | "data", _) | (_, Some("false") | None) => {}
                ("readonly" | "nosuid" | "nodev" | "noexec" | "noatime", Some("true")) => {
                    wanted.push(if key == "readonly" { "ro" } else { key }.to_owned());
                }
                (key, Some(value)) => wanted.push(format!("{key}={value}")),
            }
        }
        let data = ["options", "data"].iter().filter_map(|key| mount.options.get(*key).and_then(said_text));
        wanted.extend(data.flat_map(|data| data.split(',').map(str::to_owned).collect::<Vec<_>>()));
        for option in wanted {
            word.options.push(option.clone());
            if word.mount().is_err() {
                word.options.pop();
                self.note_at(mount.line, format!("the mount at {} has no option {option:?} here", word.at));
            }
        }
        word
    }
}
