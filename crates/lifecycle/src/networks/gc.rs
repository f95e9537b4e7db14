//! What killed commands have left of networks.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use spec::{Id, Name, Result};

use super::inspect::entries;
use super::lease::{LEASES, Lease, MACS, NEW, holder};
use super::store::Networks;
use crate::disk;
use crate::lock::Lock;
use crate::record::Record;

/// Nobody takes so long to give a file its place.
const FORGOTTEN: Duration = Duration::from_secs(60);

impl Networks {
    /// Takes back what containers had that are gone; says whose it was. Those that are just being made keep
    /// theirs.
    ///
    /// # Errors
    /// When containers cannot be listed, or files not removed.
    pub(super) fn reclaim(&self, name: &Name) -> Result<Vec<String>> {
        let dir = self.run_dir(name);
        let mut held: BTreeMap<Id, (Lease, Vec<PathBuf>)> = BTreeMap::new();
        for kind in [LEASES, MACS] {
            for (what, lease) in entries(&dir.join(kind)) {
                let file = dir.join(kind).join(what);
                held.entry(lease.id).or_insert_with(|| (lease, Vec::new())).1.push(file);
            }
        }
        let known: Vec<Id> = self.records()?.iter().map(|record| record.spec.id).collect();
        held.retain(|id, _| !known.contains(id));
        let mut lost = Vec::new();
        for (lease, files) in held.into_values() {
            if self.take_back(&lease, &files)? {
                lost.push(format!("addresses of container {} on network {name}", lease.name));
            }
        }
        for kind in [LEASES, MACS] {
            for file in unreadable(&dir.join(kind)) {
                disk::remove_file(&file)?;
                lost.push(format!("{} on network {name}, of nobody", file.display()));
            }
        }
        Ok(lost)
    }

    /// Whoever makes a container, or removes it, has its lock meanwhile.
    fn take_back(&self, lease: &Lease, files: &[PathBuf]) -> Result<bool> {
        let dir = self.lib().join("containers").join(&lease.name);
        let Some(lock) = Lock::try_take(&dir)? else { return Ok(false) };
        // What cannot be read may be its record.
        let there = disk::read_json::<Record>(&dir.join("container.json"));
        let kept = there.map_or(true, |record| record.is_some_and(|record| record.spec.id == lease.id));
        if !kept {
            for file in files.iter().filter(|file| holder(file).is_some_and(|now| now.id == lease.id)) {
                disk::remove_file(file)?;
            }
        }
        if !dir.exists() {
            lock.discard();
        }
        Ok(!kept)
    }

    /// Removes what belongs to no container and no network, and has what records say stand there again.
    ///
    /// # Errors
    /// When something cannot be read or removed.
    pub fn gc(&self) -> Result<Vec<String>> {
        let mut removed = Vec::new();
        let names = self.names()?;
        for name in names.iter().filter(|name| self.run_dir(name).is_dir()) {
            removed.extend(self.reclaim(name)?);
            removed.extend(sweep(&self.run_dir(name)));
        }
        {
            let _lock = self.lock()?;
            for entry in fs::read_dir(self.run_dirs()).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let network = name.parse::<Name>().ok().map(|name| self.get(&name));
                // What cannot be read is somebody's.
                if !matches!(network, Some(Ok(Some(_)) | Err(_))) {
                    disk::remove_tree(&entry.path())?;
                    removed.push(format!("leases of {name}"));
                }
            }
        }
        for record in self.records()? {
            // Whoever starts one whose address is another's is told.
            let _ = self.hold(&record.spec);
            self.rename(&record.spec, &record.spec.name);
        }
        for network in names.iter().filter_map(|name| self.get(name).ok()?) {
            if self.members(&network.name)?.iter().any(|member| member.running) {
                // Whoever looks at the network is told what is wrong with it.
                let _ = self.revive(&network);
            }
        }
        Ok(removed)
    }
}

/// What says of nobody that he has it, and has not just been written.
fn unreadable(dir: &Path) -> Vec<PathBuf> {
    let damaged = |file: &PathBuf| {
        let text = fs::read(file).ok();
        text.is_some_and(|text| serde_json::from_slice::<Lease>(&text).is_err()) && is_old(file)
    };
    let files = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    files.filter(damaged).collect()
}

fn is_old(file: &Path) -> bool {
    let age = fs::metadata(file).and_then(|meta| meta.modified()).ok().and_then(|time| time.elapsed().ok());
    age.is_some_and(|age| age > FORGOTTEN)
}

/// Files that were never given a place.
fn sweep(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let left =
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(NEW) && is_old(&entry.path()));
    let removed = left.filter(|entry| fs::remove_file(entry.path()).is_ok());
    removed.map(|entry| entry.path().display().to_string()).collect()
}
