//! Where a namespace comes from, in words.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Error;

/// `own`, `host`, `container:NAME`, or the path of a namespace's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Origin {
    /// Made for the container.
    Own,
    /// The host's.
    Host,
    /// That of another container, which must run.
    Container(String),
    /// By its file.
    Path(PathBuf),
}

impl FromStr for Origin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "own" | "private" | "none" => Ok(Self::Own),
            "host" => Ok(Self::Host),
            path if path.starts_with('/') => Ok(Self::Path(path.into())),
            _ => match text.split_once(':') {
                Some(("container", name)) if !name.is_empty() => Ok(Self::Container(name.to_owned())),
                Some(("path" | "ns", path)) if path.starts_with('/') => Ok(Self::Path(path.into())),
                _ => Err(Error::user(format!(
                    "{text:?} is no place of a namespace; they are own, host, container:NAME, or a path"
                ))),
            },
        }
    }
}

impl TryFrom<String> for Origin {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.to_string()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("own"),
            Self::Host => f.write_str("host"),
            Self::Container(name) => write!(f, "container:{name}"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}
