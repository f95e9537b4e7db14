//! Paths inside a root file system.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// An absolute, normalised path inside some root: starts with `/`, has no empty, `.` or `..`
/// component, no NUL and no trailing slash (but for `/` itself). Bytes, as the kernel has them.
///
/// It says where something *is* in a tree, never how to reach it on the host: files are reached
/// relative to a descriptor of that root, with [`RootPath::relative`].
///
/// As text (JSON, terminal) bytes that are not printable UTF-8 become `\xNN` and a backslash `\\`;
/// parsing undoes it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RootPath(Vec<u8>);

impl RootPath {
    /// The root itself.
    pub fn root() -> Self {
        Self(b"/".to_vec())
    }

    /// Normalises `bytes` lexically: `.` and empty components go, `..` climbs and stops at the
    /// root. Relative input is taken from the root. None if it holds a NUL byte.
    pub fn normalise(bytes: &[u8]) -> Option<Self> {
        if bytes.contains(&0) {
            return None;
        }
        let mut path = Self::root();
        for part in bytes.split(|b| *b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => path = path.parent().unwrap_or_else(Self::root),
                name => path = path.join(name),
            }
        }
        Some(path)
    }

    /// Accepts `bytes` only if they are in normal form already, but for a missing leading slash
    /// and a trailing one (`./usr/bin/` in a tar is `/usr/bin`): `..` is refused.
    pub fn strict(bytes: &[u8]) -> Option<Self> {
        if bytes.split(|b| *b == b'/').any(|part| part == b"..") {
            return None;
        }
        Self::normalise(bytes)
    }

    /// The bytes, starting with `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As a host path type (absolute).
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Relative to the root (`.` for the root itself): what the `*at` calls want.
    pub fn relative(&self) -> &Path {
        match &self.0[1..] {
            b"" => Path::new("."),
            rest => Path::new(OsStr::from_bytes(rest)),
        }
    }

    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        self.0 == b"/"
    }

    /// The directory that holds it; None for `/`.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let slash = self.0.iter().rposition(|b| *b == b'/')?;
        Some(Self(if slash == 0 { b"/".to_vec() } else { self.0[..slash].to_vec() }))
    }

    /// The last component; None for `/`.
    pub fn name(&self) -> Option<&[u8]> {
        if self.is_root() { None } else { self.0.rsplit(|b| *b == b'/').next() }
    }

    /// Every proper ancestor, nearest first, `/` last.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + use<> {
        std::iter::successors(self.parent(), Self::parent)
    }

    /// With one more component. `name` must be a single, ordinary one.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        let mut bytes = self.0.clone();
        if !self.is_root() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name);
        Self(bytes)
    }

    /// Resolves `target`, as found in a symlink at this path, lexically.
    pub fn link_target(&self, target: &[u8]) -> Option<Self> {
        if target.first() == Some(&b'/') {
            return Self::normalise(target);
        }
        let mut bytes = self.parent().unwrap_or_else(Self::root).0;
        bytes.push(b'/');
        bytes.extend_from_slice(target);
        Self::normalise(&bytes)
    }

    /// Whether `self` is `other` or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        other.is_root()
            || self.0.starts_with(&other.0) && matches!(self.0.get(other.0.len()), None | Some(b'/'))
    }

    /// What remains below `other`, without a leading slash; None if it is not within.
    pub fn below(&self, other: &Self) -> Option<&[u8]> {
        if !self.is_within(other) {
            return None;
        }
        let skip = if other.is_root() { 1 } else { (other.0.len() + 1).min(self.0.len()) };
        Some(&self.0[skip..])
    }
}

impl fmt::Display for RootPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    c if c.is_control() => {
                        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                            write!(f, "\\x{byte:02x}")?;
                        }
                    }
                    c => write!(f, "{c}")?,
                }
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

impl fmt::Debug for RootPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for RootPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::user(format!("{text:?} is not an absolute path"))
                .hint("write it from the container's root, as in /srv/site")
        };
        let bytes = unescape(text).ok_or_else(bad)?;
        if bytes.first() != Some(&b'/') {
            return Err(bad());
        }
        Self::strict(&bytes).ok_or_else(bad)
    }
}

/// Undoes the escapes of `Display`.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'\\' {
            bytes.push(first);
        } else if let Some(tail) = rest.strip_prefix(b"\\") {
            bytes.push(b'\\');
            rest = tail;
        } else {
            let hex = rest.strip_prefix(b"x")?.get(..2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
            rest = &rest[3..];
        }
    }
    Some(bytes)
}

impl TryFrom<String> for RootPath {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<RootPath> for String {
    fn from(path: RootPath) -> Self {
        path.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RootPath {
        text.parse().expect(text)
    }

    #[test]
    fn normalising() {
        for (raw, clean) in [("/a//b/./c/", "/a/b/c"), ("../../etc", "/etc"), ("a/../b", "/b"), ("", "/")] {
            assert_eq!(RootPath::normalise(raw.as_bytes()).expect(raw), path(clean));
        }
        assert_eq!(RootPath::normalise(b"/a\0"), None);
        assert_eq!(RootPath::strict(b"a/../b"), None);
        assert_eq!(RootPath::strict(b"./usr/"), Some(path("/usr")));
    }

    #[test]
    fn odd_bytes_survive_text() {
        let odd = RootPath::normalise(b"/a\\b\n\xff\xe3\x81\x82").expect("no NUL");
        assert_eq!(odd.to_string(), "/a\\\\b\\x0a\\xffあ");
        assert_eq!(path(&odd.to_string()), odd);
    }

    #[test]
    fn relations() {
        assert!(path("/usr/lib").is_within(&path("/usr")));
        assert!(!path("/usrx").is_within(&path("/usr")));
        assert_eq!(path("/usr/lib").below(&path("/usr")), Some(&b"lib"[..]));
        assert_eq!(path("/usr").below(&path("/usr")), Some(&b""[..]));
        assert_eq!(path("/usr").below(&RootPath::root()), Some(&b"usr"[..]));
        assert_eq!(path("/usr/bin/x").link_target(b"../lib/x"), Some(path("/usr/lib/x")));
        let up: Vec<_> = path("/a/b/c").ancestors().collect();
        assert_eq!(up, [path("/a/b"), path("/a"), path("/")]);
        assert_eq!(RootPath::root().name(), None);
    }
}
