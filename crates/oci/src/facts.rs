//! What a bundle does not say, for reading it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use spec::container::Namespace;
use spec::oci::{Bundle, Facts};
use spec::{Name, Result};

/// Reads a bundle for the container `id`.
///
/// # Errors
/// What is no bundle.
pub(crate) fn read(config: &[u8], directory: &Path, id: &str) -> Result<Bundle> {
    let facts = Facts {
        id: short(id),
        name: name(id)?,
        resctrl: false,
        selinux: Path::new("/sys/fs/selinux/enforce").exists(),
        is_ours: &is_ours,
    };
    spec::oci::read(config, directory, &facts)
}

/// Six bytes that stand for an id (FNV-1a): nothing in the kernel is found by them.
fn short(id: &str) -> spec::Id {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325, mix).to_be_bytes();
    spec::Id::from_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5]])
}

/// What messages call it: an id may be longer than a name, and have other letters.
fn name(id: &str) -> Result<Name> {
    let kept = id.chars().map(|letter| if letter == '+' { '-' } else { letter });
    let kept: String = kept.skip_while(|letter| !letter.is_ascii_alphanumeric()).take(63).collect();
    if kept.is_empty() { "container".parse() } else { kept.parse() }
}

fn is_ours(namespace: Namespace, path: &Path) -> bool {
    let number = |path: &Path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino())).ok();
    let ours = number(Path::new(&format!("/proc/self/ns/{}", namespace.file())));
    ours.is_some() && ours == number(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_has_a_name() {
        for (id, wanted) in [("web", "web"), ("_a+b", "a-b"), ("---", "container"), ("a.b", "a.b")] {
            assert_eq!(name(id).expect("a name").as_str(), wanted);
        }
        assert_eq!(name(&"x".repeat(100)).expect("a name").as_str().len(), 63);
        assert_ne!(short("a"), short("b"));
    }
}
