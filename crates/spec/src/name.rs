//! Names of containers and images: validated once, safe as one path component ever after.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The longest name accepted, in bytes: a host name label (RFC 1123), so that it can be one.
pub const MAX_LEN: usize = 63;

/// A name: `[A-Za-z0-9][A-Za-z0-9_.-]*`, at most [`MAX_LEN`] bytes; never `.`, `..` or a flag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let rule = "a name starts with a letter or digit and goes on with letters, digits, '_', '.' or '-', 63 bytes at most";
        let shown: String = text.chars().take(80).collect();
        let bad = |why: &str| Error::user(format!("invalid name {shown:?}: {why}")).hint(rule);
        if text.is_empty() {
            return Err(bad("it is empty"));
        }
        if text.len() > MAX_LEN {
            return Err(bad(&format!("it is {} bytes long", text.len())));
        }
        let odd = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
        if let Some(c) = text.chars().find(|c| odd(*c)) {
            return Err(bad(&format!("{c:?} is not allowed")));
        }
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(bad("it does not start with a letter or digit"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Name {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<std::path::Path> for Name {
    fn as_ref(&self) -> &std::path::Path {
        self.0.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_pass() {
        for name in ["web", "web-1", "a.b_c", "0", "A"] {
            assert_eq!(name.parse::<Name>().expect(name).as_str(), name);
        }
    }

    #[test]
    fn names_that_could_be_paths_or_flags_do_not() {
        let long = "a".repeat(300);
        for name in ["", ".", "..", "../x", "a/b", "-rf", "a\0b", "a\nb", "%2e%2e%2f", "ü", &long] {
            assert!(name.parse::<Name>().is_err(), "{name:?}");
        }
    }
}
