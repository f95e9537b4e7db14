//! Which system calls a container may make, as plain data.
//!
//! [`Choice`] is what a definition picks; [`Profile`] is what a file in the form of the OCI runtime
//! specification or of Docker says. The runtime compiles either to a program for the kernel.

pub mod base;
pub mod calls;
pub(crate) mod parse;

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

pub use parse::Parsed;

/// What decides about a container's system calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// Nothing: every call reaches the kernel.
    None,
    /// The default profile: what Docker's lets through, and less.
    #[default]
    Default,
    /// Of the default profile, the calls with these names (those that an observation saw) and a
    /// documented base.
    Observed(BTreeSet<String>),
    /// A profile of the user's own.
    Profile(Profile),
}

/// A user's profile, as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The answer to calls that no rule names.
    pub default: Action,
    /// The architectures whose calls the rules are about; this machine's own always is among them.
    /// Calls of any other end the process.
    pub architectures: BTreeSet<Architecture>,
    /// How the filter is to be loaded.
    pub flags: BTreeSet<Flag>,
    /// Where several match a call, the strictest answer holds.
    pub rules: Vec<Rule>,
}

/// An answer to a system call, from the most lenient to the strictest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is made.
    Allow,
    /// It is made, and the kernel's audit log says so.
    Log,
    /// Its tracer is asked, with this number; without one it fails with ENOSYS.
    Trace(u16),
    /// Another process decides, by a listener.
    Notify,
    /// It fails with this error number.
    Errno(u16),
    /// The thread gets SIGSYS.
    Trap,
    /// The thread ends.
    KillThread,
    /// The process ends.
    KillProcess,
}

/// An application binary interface: each has its own numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// x86-64.
    X86_64,
    /// The 32-bit calls of x86.
    I386,
    /// 64-bit ARM.
    Aarch64,
}

/// A flag of the kernel's for loading a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flag {
    /// Refused calls are written to the kernel's log.
    Log,
    /// No mitigation against speculative store bypass comes with the filter.
    SpecAllow,
    /// All threads get the filter; at a container's start there is one.
    ThreadSync,
    /// Only what kills a thread interrupts it while another process decides.
    WaitKillable,
}

/// An answer for some calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Their names; those that no architecture of ours knows are skipped.
    pub names: Vec<String>,
    /// The answer.
    pub action: Action,
    /// All of these hold, or the rule is not about this call.
    pub conditions: Vec<Condition>,
    /// Where the rule is in force.
    pub when: When,
}

/// A condition on one argument of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub argument: u8,
    /// How it relates to `value`.
    pub comparison: Comparison,
    /// What it is compared with.
    pub value: u64,
}

/// How an argument is compared with a value; numbers have no sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// Not equal.
    NotEqual,
    /// Less.
    Less,
    /// Less or equal.
    AtMost,
    /// Equal.
    Equal,
    /// Greater or equal.
    AtLeast,
    /// Greater.
    Greater,
    /// Equal in the bits of this mask.
    MaskedEqual(u64),
}

/// Containers and machines for which a rule is in force (Docker's `includes` and `excludes`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct When {
    /// Bits of capabilities that the container holds, all of them.
    pub with: u64,
    /// Bits of capabilities of which it holds none.
    pub without: u64,
    /// Machines, in Go's names of them (`amd64`), of which this is one; empty: any.
    pub on: BTreeSet<String>,
    /// Machines of which this is none.
    pub not_on: BTreeSet<String>,
    /// The least version of the kernel.
    pub since: Option<(u32, u32)>,
    /// A version of the kernel that is not reached yet.
    pub before: Option<(u32, u32)>,
}

impl Display for Choice {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Default => f.write_str("default"),
            Self::Observed(names) => write!(f, "observed ({} calls and the base)", names.len()),
            Self::Profile(profile) => write!(f, "a file ({} rules)", profile.rules.len()),
        }
    }
}
