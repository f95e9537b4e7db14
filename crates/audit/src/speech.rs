//! What attacker and auditor say to each other: lines of JSON on the attacker's output; on its input a
//! line for each beat of the auditor's heart, without which the attacker ends.

use serde::{Deserialize, Serialize};

/// Begins each line of the attacker's, so that it is told from what an image prints by itself.
pub const MARK: &str = "tsubo-attack:";

/// The auditor is there.
pub const BEAT: u8 = b'.';
/// Begin.
pub const GO: u8 = b'g';
/// Let go, and end.
pub const END: u8 = b'e';

/// A line of the attacker's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// It waits for the word.
    Ready,
    /// An attack has taken so much by now.
    Got {
        /// Its name.
        attack: String,
        /// So much.
        got: u64,
    },
    /// An attack is over, and holds what it took.
    Over(Over),
    /// All are.
    Done,
}

/// How an attack ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Over {
    /// Its name.
    pub attack: String,
    /// What it took.
    pub got: u64,
    /// Why it took no more.
    pub stop: Why,
    /// The same for people: `EAGAIN`, a path that could be read.
    pub detail: String,
}

/// Why an attacker stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// A limit.
    Limit,
    /// It was never allowed to.
    Refused,
    /// There is nothing here to do it with.
    Nowhere,
    /// The kernel ended it.
    Killed,
    /// It has taken all that it was to take.
    Amount,
    /// Its time was over.
    Time,
    /// It can be done.
    Possible,
    /// It went wrong.
    Failed,
}
