//! Gives the form of what is said between `tsubo` and its keepers a name of its own: a digest of the
//! sources that it is made of. Both programs are built from them, and must be of the same.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

fn main() {
    let mut digest = DefaultHasher::new();
    for sources in ["src", "../spec/src", "../runtime/src", "../cgroup/src", "../keeper/src"] {
        println!("cargo::rerun-if-changed={sources}");
        add(Path::new(sources), &mut digest);
    }
    println!("cargo::rustc-env=TSUBO_FORM={:016x}", digest.finish());
}

/// In the order of their names, so that it is the same everywhere.
fn add(path: &Path, digest: &mut DefaultHasher) {
    let Ok(entries) = std::fs::read_dir(path) else {
        return std::fs::read(path).unwrap_or_default().hash(digest);
    };
    let mut entries: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries.iter().for_each(|entry| add(entry, digest));
}
