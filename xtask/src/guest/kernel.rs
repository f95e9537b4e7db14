//! The distribution's own kernel: the installed one, or else the package unpacked, without installing it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::fetch;
use crate::apt;
use crate::shell::{self, Result};

/// The package that depends on the newest kernel for virtual machines.
const NEWEST: &str = "linux-image-cloud-amd64";

/// A kernel and where its modules lie.
pub(super) struct Kernel {
    pub(super) image: PathBuf,
    pub(super) release: String,
    modules: BTreeMap<String, PathBuf>,
}

impl Kernel {
    /// The installed one that can be read, or one unpacked into `target/guest`.
    pub(super) fn find() -> Result<Self> {
        if let Some(kernel) = Self::below(Path::new("/")) {
            return Ok(kernel);
        }
        let home = fetch::home("kernel")?;
        if let Some(kernel) = Self::below(&home) {
            return Ok(kernel);
        }
        let ask = || shell::read(Command::new("apt-cache").args(["depends", NEWEST]));
        let depends = ask().or_else(|_| {
            // A fresh machine has never heard of what the archive holds.
            apt::update()?;
            ask()
        })?;
        let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
        let package = package.ok_or_else(|| format!("{NEWEST} depends on no kernel"))?;
        fetch::unpack(&format!("linux-image-{package}"), &home)?;
        Self::below(&home).ok_or_else(|| "the package holds no kernel".into())
    }

    /// The newest one with its modules below `root`.
    fn below(root: &Path) -> Option<Self> {
        let names = fs::read_dir(root.join("boot")).ok()?.flatten().map(|entry| entry.file_name());
        let mut releases: Vec<String> =
            names.filter_map(|name| Some(name.to_str()?.strip_prefix("vmlinuz-")?.to_owned())).collect();
        releases.sort_by_key(|release| numbers(release));
        let usable = |release: String| {
            let image = root.join("boot").join(format!("vmlinuz-{release}"));
            fs::File::open(&image).ok()?;
            let mut modules = BTreeMap::new();
            collect(&root.join("lib/modules").join(&release).join("kernel"), &mut modules).ok()?;
            Some(Self { image, release, modules })
        };
        releases.into_iter().rev().find_map(usable)
    }

    /// The content of the modules of these names, each after those that it needs. What is not there
    /// is part of the kernel itself.
    pub(super) fn modules(&self, names: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
        let mut found = Vec::new();
        names.iter().try_for_each(|name| self.add(name, &mut found))?;
        Ok(found)
    }

    fn add(&self, name: &str, found: &mut Vec<(String, Vec<u8>)>) -> Result {
        let Some(path) = self.modules.get(name) else { return Ok(()) };
        if found.iter().any(|(other, _)| other == name) {
            return Ok(());
        }
        let content = load(path)?;
        for needed in needs(&content) {
            self.add(&needed, found)?;
        }
        found.push((name.to_owned(), content));
        Ok(())
    }
}

/// Version numbers in their order: 6.10 is newer than 6.9.
fn numbers(release: &str) -> Vec<u32> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
}

fn collect(dir: &Path, modules: &mut BTreeMap<String, PathBuf>) -> Result {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            collect(&path, modules)?;
        } else if let Some((name, _)) = name.split_once(".ko") {
            modules.insert(name.replace('-', "_"), path);
        }
    }
    Ok(())
}

/// Newer distributions compress them.
fn load(path: &Path) -> Result<Vec<u8>> {
    let tool = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return Ok(fs::read(path)?),
    };
    let output = Command::new(tool).arg("-dc").arg(path).output()?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("{tool} -dc {path:?} failed").into())
    }
}

/// What a module says in its `.modinfo` that it needs.
fn needs(module: &[u8]) -> Vec<String> {
    const MARK: &[u8] = b"\0depends=";
    let Some(at) = module.windows(MARK.len()).position(|window| window == MARK) else { return Vec::new() };
    let list = module[at + MARK.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let list = String::from_utf8_lossy(list);
    list.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_tells_what_it_needs() {
        assert_eq!(
            needs(b"x\0license=GPL\0depends=virtio_ring,virtio-pci\0name=y\0"),
            ["virtio_ring", "virtio_pci"]
        );
        assert!(needs(b"x\0depends=\0").is_empty() && needs(b"none").is_empty());
    }

    #[test]
    fn newer_kernels_come_last() {
        assert!(numbers("6.10.1-2-amd64") > numbers("6.9.12-1-amd64"));
    }
}
