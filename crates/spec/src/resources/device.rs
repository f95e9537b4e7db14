//! Rules for the opening and making of device files.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// One rule, written as version 1 does: `c 1:3 rw`, `b *:* m`, `a`; a deny rule with `!` before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceRule {
    /// Whether it allows or forbids.
    pub allow: bool,
    /// The kind of devices.
    pub kind: RuleKind,
    /// Their major number; None for any. At most 4095.
    pub major: Option<u32>,
    /// Their minor number; None for any. At most 1048575.
    pub minor: Option<u32>,
    /// What is done to them.
    pub access: Access,
}

/// The kinds of devices that a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleKind {
    /// Both.
    All,
    /// Block devices.
    Block,
    /// Character devices.
    Char,
}

/// What is done to a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// Opening it for reading.
    pub read: bool,
    /// Opening it for writing.
    pub write: bool,
    /// Making a file for it.
    pub make: bool,
}

impl Access {
    /// All of it.
    pub const ALL: Self = Self { read: true, write: true, make: true };
}

impl DeviceRule {
    /// Forbids everything.
    pub fn deny_all() -> Self {
        Self { allow: false, kind: RuleKind::All, major: None, minor: None, access: Access::ALL }
    }

    /// Whether it is about every device and all that is done to one.
    pub fn is_about_everything(&self) -> bool {
        self.kind == RuleKind::All
            && self.major.is_none()
            && self.minor.is_none()
            && self.access == Access::ALL
    }

    /// What every container may do, whatever its bundle says (as runc and crun have it): make any
    /// device file, use null, zero, full, random, urandom, tty, console and its own terminals.
    pub fn usual() -> Vec<Self> {
        const USUAL: [&str; 10] = [
            "c *:* m",
            "b *:* m",
            "c 1:3 rwm",
            "c 1:5 rwm",
            "c 1:7 rwm",
            "c 1:8 rwm",
            "c 1:9 rwm",
            "c 5:0 rwm",
            "c 5:2 rwm",
            "c 136:* rwm",
        ];
        USUAL.iter().filter_map(|text| text.parse().ok()).collect()
    }

    /// Refuses what the kernel has no such device for.
    ///
    /// # Errors
    /// What is out of range.
    pub fn check(&self) -> Result<()> {
        const MAJOR: u32 = (1 << 12) - 1;
        const MINOR: u32 = (1 << 20) - 1;
        if self.major.is_some_and(|major| major > MAJOR) || self.minor.is_some_and(|minor| minor > MINOR) {
            return Err(Error::user(format!(
                "the device rule {self} names a number that no device has: majors end at {MAJOR}, minors at {MINOR}"
            )));
        }
        if self.access == Access::default() {
            return Err(Error::user(format!("the device rule {self} is about no access"))
                .hint("say which of r, w and m"));
        }
        if self.kind == RuleKind::All && !self.is_about_everything() {
            return Err(Error::user(format!(
                "the device rule {self} is for all kinds but not for everything: the kernel has no such rule"
            ))
            .hint("write one rule for c and one for b"));
        }
        Ok(())
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [(self.read, "r"), (self.write, "w"), (self.make, "m")];
        letters.iter().filter(|(set, _)| *set).try_for_each(|(_, letter)| f.write_str(letter))
    }
}

impl FromStr for Access {
    type Err = Error;

    fn from_str(letters: &str) -> Result<Self> {
        let mut access = Self::default();
        for letter in letters.chars() {
            match letter {
                'r' => access.read = true,
                'w' => access.write = true,
                'm' => access.make = true,
                _ => return Err(Error::user(format!("{letter:?} is no access to a device: r, w and m are"))),
            }
        }
        Ok(access)
    }
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let kind = match self.kind {
            RuleKind::All => 'a',
            RuleKind::Block => 'b',
            RuleKind::Char => 'c',
        };
        let not = if self.allow { "" } else { "!" };
        write!(f, "{not}{kind} {}:{} {}", number(self.major), number(self.minor), self.access)
    }
}

impl FromStr for DeviceRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::user(format!("{text:?} is no device rule")).hint("for example: c 1:3 rw, !b 8:* rwm, a")
        };
        let number = |word: &str| match word {
            "*" => Ok(None),
            digits => digits.parse().map(Some).map_err(|_| wrong()),
        };
        let words = text.strip_prefix('!');
        let mut fields = words.unwrap_or(text).split_ascii_whitespace();
        let kind = match fields.next() {
            Some("a") => RuleKind::All,
            Some("b") => RuleKind::Block,
            Some("c") => RuleKind::Char,
            _ => return Err(wrong()),
        };
        let (major, minor) = fields.next().unwrap_or("*:*").split_once(':').ok_or_else(wrong)?;
        let access = fields.next().map_or(Ok(Access::ALL), str::parse)?;
        if fields.next().is_some() {
            return Err(wrong());
        }
        let rule =
            Self { allow: words.is_none(), kind, major: number(major)?, minor: number(minor)?, access };
        rule.check().map(|()| rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read() {
        for text in ["c 1:3 rw", "!b 8:* rwm", "c *:* m", "!a *:* rwm", "c 136:* r"] {
            assert_eq!(text.parse::<DeviceRule>().expect("a rule").to_string(), text);
        }
        assert_eq!("!a".parse::<DeviceRule>().expect("a rule"), DeviceRule::deny_all());
        assert_eq!(DeviceRule::usual().len(), 10);
    }

    #[test]
    fn what_is_no_rule() {
        for text in [
            "",
            "d 1:3 r",
            "c 1 r",
            "c 1:3 x",
            "c 4096:0 r",
            "c 0:1048576 r",
            "a 1:3 r",
            "a *:* r",
            "c 1:3 r r",
            "c -1:3 r",
        ] {
            assert!(text.parse::<DeviceRule>().is_err(), "{text}");
        }
    }
}
