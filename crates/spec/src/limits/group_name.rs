//! The name of a group of containers.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Name, Result};

/// How deep groups may be nested.
const DEEPEST: usize = 8;

/// `tenant-a`, or `tenant-a/web` for one inside another: names of containers' kind, with slashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct GroupName(Vec<Name>);

impl GroupName {
    /// Its parts, the outermost first; at least one.
    pub fn parts(&self) -> &[Name] {
        &self.0
    }

    /// The group that it is in, if it is in one.
    pub fn above(&self) -> Option<Self> {
        let (_, above) = self.0.split_last()?;
        (!above.is_empty()).then(|| Self(above.to_vec()))
    }

    /// Itself and those that it is in, the outermost first.
    pub fn line(&self) -> Vec<Self> {
        (1..=self.0.len()).map(|count| Self(self.0[..count].to_vec())).collect()
    }
}

impl FromStr for GroupName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |error: Error| {
            Error::user(format!("{text:?} is no name of a group"))
                .because(error)
                .hint("as in tenant-a or tenant-a/web")
        };
        let parts = text.split('/').map(str::parse).collect::<Result<Vec<Name>>>().map_err(bad)?;
        if parts.len() > DEEPEST {
            return Err(bad(Error::user(format!("groups are nested {DEEPEST} deep at most"))));
        }
        Ok(Self(parts))
    }
}

impl TryFrom<String> for GroupName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<GroupName> for String {
    fn from(name: GroupName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.0.iter();
        parts.next().map_or(Ok(()), |first| write!(f, "{first}"))?;
        parts.try_for_each(|part| write!(f, "/{part}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_parts() {
        let name: GroupName = "tenant-a/web".parse().expect("name");
        assert_eq!((name.parts().len(), name.to_string().as_str()), (2, "tenant-a/web"));
        assert_eq!(name.above().expect("above").to_string(), "tenant-a");
        assert_eq!(name.above().and_then(|above| above.above()), None);
        assert_eq!(name.line().len(), 2);
        for text in ["", "/", "a//b", "/a", "a/", "..", "a/../b", "a b", "a/b/c/d/e/f/g/h/i"] {
            assert!(text.parse::<GroupName>().is_err(), "{text}");
        }
    }
}
