//! What the container is made from: `chroot_to`, `bootstrap`, `provision`.

use std::path::Path;

use super::super::record::{said, shown};
use super::{Mapping, said_text};

impl Mapping<'_> {
    /// The root directory on the host, if one is said.
    pub(super) fn rootfs(&self) -> Option<String> {
        let root = self.from.rootfs.get("root").and_then(said);
        root.map(|root| root.trim_end_matches('/').to_owned()).filter(|root| !root.is_empty())
    }

    pub(super) fn base(&mut self) {
        match self.rootfs() {
            Some(root) => self.to.base = root,
            None => self
                .note("config.chroot_to is not said: the base is this host as development containers see it"),
        }
        if self.from.skip_bootstrap {
            self.note("config.skip_bootstrap: the root file system is made by another definition, which must be imported and built first");
        } else {
            self.bootstrap();
            self.provision();
        }
        self.owner();
        match self.from.rootfs.get("readonly").and_then(said).as_deref() {
            Some("false") => self.to.isolation.writable_root = Some(true),
            _ => self.note("the root is read-only, and what the service was seen to write is fresh at each start; volumes = [\"/path\"] outlive it"),
        }
    }

    fn owner(&mut self) {
        let owner = ["owner_uid", "owner_gid"].map(|key| self.from.rootfs.get(key).and_then(said));
        if owner.iter().flatten().any(|id| id != "0") {
            self.note("config.rootfs_owner: owners are mapped to the container's users by the kernel, and no file is changed");
        }
    }

    fn bootstrap(&mut self) {
        let words = &self.from.bootstrap;
        let said = |key: &str| words.get(key).and_then(said_text);
        let Some(strategy) = said("strategy") else { return };
        let place = self.to.base.clone();
        match strategy.as_str() {
            "debootstrap" => self.debootstrap(said("debian_release"), said("mirror_url")),
            "tarball" | "unarchive" => match said("archive_path") {
                Some(archive) => self.to.base = self.absolute(&archive),
                None => self.note("config.bootstrap has no archive_path"),
            },
            "git" | "git_clone" => {
                let url = said("git_url").unwrap_or_default();
                self.note(format!(
                    "config.bootstrap clones {url}: before the first build, git clone {url} {place}"
                ));
            }
            "lxc" | "lxc-create" => self.lxc(said("os_type").as_deref()),
            other => self.note(format!(
                "config.bootstrap by {other:?}: make {place} by hand before the first build: {}",
                said("code").unwrap_or_default()
            )),
        }
        let known = [
            "strategy",
            "debian_release",
            "mirror_url",
            "archive_path",
            "git_url",
            "os_type",
            "code",
            "others",
        ];
        for (key, value) in words.iter().filter(|(key, _)| !known.contains(&key.as_str())) {
            self.note(format!("config.bootstrap.{key} = {}: not taken over", shown(value)));
        }
    }

    fn debootstrap(&mut self, release: Option<String>, mirror: Option<String>) {
        let Some(release) = release else {
            return self
                .note("config.bootstrap by debootstrap has no debian_release: say base = \"debian:SUITE\"");
        };
        let is_ubuntu = mirror.as_deref().is_some_and(|mirror| mirror.contains("ubuntu"));
        self.to.base = format!("{}:{release}", if is_ubuntu { "ubuntu" } else { "debian" });
        if let Some(mirror) = mirror {
            self.note(format!(
                "config.bootstrap.mirror_url = {mirror}: mmdebstrap takes the mirror that the host's apt has"
            ));
        }
    }

    fn lxc(&mut self, kind: Option<&str>) {
        let kind = kind.unwrap_or("nothing");
        let way = match kind {
            "debian" | "ubuntu" => format!("base = \"{kind}:SUITE\" makes the same"),
            _ => format!("make {} with lxc-create once, or name an OCI archive as the base", self.to.base),
        };
        self.note(format!("config.bootstrap makes {kind} with lxc-create: {way}"));
    }

    fn provision(&mut self) {
        for (number, step) in self.from.provision.steps.iter().enumerate() {
            let body = shown(&step.body);
            match said_text(&step.shell).filter(|shell| shell != "/bin/sh") {
                None => self.to.build.push(body.trim_end().to_owned()),
                Some(shell) => {
                    let end = "TSUBO_END_OF_STEP";
                    self.to.build.push(format!("{shell} -xe <<'{end}'\n{}\n{end}", body.trim_end()));
                }
            }
            if let Some(name) = said_text(&step.name) {
                self.note(format!(
                    "config.provision: step {} is called {name:?}; build steps have no names",
                    number + 1
                ));
            }
        }
    }

    /// A path that is relative to the folder of the file.
    pub(super) fn absolute(&mut self, path: &str) -> String {
        if Path::new(path).is_absolute() {
            return path.to_owned();
        }
        let whole = self.origin.folder.join(path).display().to_string();
        self.note(format!("{path} is looked for where haconiwa is started; here it is {whole}"));
        whole
    }
}
