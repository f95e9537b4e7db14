//! What a container has changed, seen from the host.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use spec::container::{MountKind, Root, Spec};
use spec::observation::Written;
use spec::{Result, ResultExt, RootPath};

use crate::dev::Development;

/// What was built into a development container, beside its base. The caller has entered a private
/// mount namespace.
///
/// # Errors
/// When its layers cannot be read.
pub fn of_development(development: &Development) -> Result<BTreeMap<RootPath, Written>> {
    let mut found = BTreeMap::new();
    for layer in &development.record.layers {
        let upper = development.dir.join(&layer.dir).join("upper");
        found.extend(observe::written(&upper, &layer.lower, &layer.at)?);
    }
    Ok(found)
}

/// What a running container has changed in the directories that are fresh at each start, and in
/// its root if that is writable. Its files are looked at through its first process, `pid`.
///
/// # Errors
/// When it has just ended.
pub fn of_running(pid: i32, spec: &Spec) -> Result<BTreeMap<RootPath, Written>> {
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let mut found = BTreeMap::new();
    let tree = match &spec.root {
        Root::Tree { path } | Root::Mounted { path } | Root::Bundle { path, .. } => path,
        Root::Scratch { path, .. } => {
            compare(path, &root, &RootPath::root(), &mounted(spec), &mut found)?;
            return Ok(found);
        }
        // What is there is the host's own business.
        Root::Host => return Ok(found),
    };
    for mount in &spec.mounts {
        if matches!(mount.what, MountKind::Tmpfs { .. } | MountKind::Fresh { .. }) {
            let inside = root.join(mount.at.relative());
            compare(&tree.join(mount.at.relative()), &inside, &mount.at, &[], &mut found)?;
        }
    }
    Ok(found)
}

/// Places that are not the container's own files.
fn mounted(spec: &Spec) -> Vec<RootPath> {
    spec.mounts.iter().map(|mount| mount.at.clone()).collect()
}

/// Compares a directory with what it was made from.
fn compare(
    before: &Path,
    now: &Path,
    at: &RootPath,
    skip: &[RootPath],
    found: &mut BTreeMap<RootPath, Written>,
) -> Result<()> {
    let names = |dir: &Path| -> Vec<std::ffi::OsString> {
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect()
    };
    let present = std::fs::symlink_metadata(now).doing(|| format!("looking at {at}"))?;
    if !present.is_dir() {
        return Ok(());
    }
    for name in names(before) {
        if std::fs::symlink_metadata(now.join(&name)).is_err() {
            found.insert(at.join(name.as_bytes()), Written::Removed);
        }
    }
    for name in names(now) {
        let path = at.join(name.as_bytes());
        // What vanishes while we look has not been changed by then.
        let Ok(new) = std::fs::symlink_metadata(now.join(&name)) else { continue };
        if skip.contains(&path) {
            continue;
        }
        match std::fs::symlink_metadata(before.join(&name)) {
            Err(_) => drop(found.insert(path.clone(), Written::Created { bytes: new.len() })),
            Ok(old) if !new.is_dir() && differs(&old, &new) => {
                found.insert(path.clone(), Written::Changed { bytes: new.len() });
            }
            Ok(_) => {}
        }
        if new.is_dir() {
            compare(&before.join(&name), &now.join(&name), &path, skip, found)?;
        }
    }
    Ok(())
}

fn differs(old: &std::fs::Metadata, new: &std::fs::Metadata) -> bool {
    let state = |meta: &std::fs::Metadata| {
        (meta.mode(), meta.uid(), meta.gid(), meta.len(), meta.mtime(), meta.mtime_nsec())
    };
    state(old) != state(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_changed_and_removed_are_told_apart() {
        let dir = tempfile::tempdir().expect("tempdir");
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        for side in [&old, &new] {
            std::fs::create_dir_all(side.join("sub")).expect("dirs");
        }
        std::fs::write(old.join("gone"), "x").expect("write");
        std::fs::write(old.join("sub/changed"), "x").expect("write");
        std::fs::write(new.join("sub/changed"), "longer").expect("write");
        std::fs::write(new.join("sub/added"), "x").expect("write");
        let mut found = BTreeMap::new();
        compare(&old, &new, &"/var".parse().expect("path"), &[], &mut found).expect("compare");
        let told: Vec<String> = found.iter().map(|(path, how)| format!("{path} {how:?}")).collect();
        assert_eq!(
            told,
            [
                "/var/gone Removed",
                "/var/sub/added Created { bytes: 1 }",
                "/var/sub/changed Changed { bytes: 6 }"
            ]
        );
    }
}
