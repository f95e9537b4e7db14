//! Profiles in the form of the OCI runtime specification (`linux.seccomp`) and in Docker's.
//!
//! Docker's is the other with more words: machines (`archMap`), and rules that are in force for
//! some containers only (`includes`, `excludes`). So one reader reads both.

mod written;

use std::collections::BTreeSet;

use super::{Action, Architecture, Comparison, Condition, Flag, Profile, Rule, When, calls};
use crate::{Error, Result};
pub(crate) use written::Written;
use written::{Document, Linux, Unknown, WrittenCondition, WrittenMachine, WrittenRule, WrittenWhen};

/// A profile, and what a reader of it should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The profile.
    pub profile: Profile,
    /// What was skipped or understood in one of several ways, a sentence each.
    pub warnings: Vec<String>,
}

/// EPERM, which is meant where no error number is given.
const EPERM: u16 = 1;
/// The greatest error number that the kernel passes on.
const MAX_ERRNO: u64 = 4095;

impl Profile {
    /// Reads a profile: Docker's form, `linux.seccomp` of an OCI bundle, or such a bundle's whole
    /// `config.json`. What makes no sense is an error that names the place; names of calls that
    /// nobody knows are skipped with a warning, as others do, because they may be younger than we.
    pub fn parse(text: &str) -> Result<Parsed> {
        let bad = |cause| Error::user("reading a seccomp profile").because(cause);
        let document: Document = serde_json::from_str(text).map_err(bad)?;
        match document {
            Document { linux: Some(Linux { seccomp: Some(written) }), .. } => {
                written.resolve("linux.seccomp.", false)
            }
            Document { linux: Some(_), .. } | Document { bundle: Some(_), .. } => {
                Err(Error::user("the bundle has no linux.seccomp")
                    .hint("seccomp = \"none\" runs without a filter"))
            }
            _ => serde_json::from_str::<Written>(text).map_err(bad)?.resolve("", false),
        }
    }
}

/// Collects warnings while the words become a profile.
struct Reader {
    /// What stands before every place.
    inside: &'static str,
    /// Whoever starts the container hands a listener on.
    bundle: bool,
    warnings: Vec<String>,
    unknown_calls: BTreeSet<String>,
}

impl Written {
    /// `linux.seccomp` of a bundle for a runtime that hands the listener on.
    pub(crate) fn of_bundle(self) -> Result<Parsed> {
        self.resolve("linux.seccomp.", true)
    }

    fn resolve(self, inside: &'static str, bundle: bool) -> Result<Parsed> {
        let mut reader = Reader { inside, bundle, warnings: Vec::new(), unknown_calls: BTreeSet::new() };
        reader.unknown("", &self.unknown);
        if !bundle && self.listener_path.as_ref().is_some_and(|path| !path.is_empty()) {
            return Err(no_listener(reader.place("listenerPath")));
        }
        let default = reader.action(
            "defaultAction",
            &self.default_action,
            ("defaultErrnoRet", self.default_errno_ret),
            self.default_errno.as_deref(),
        )?;
        let mut rules = Vec::new();
        for (index, rule) in self.syscalls.unwrap_or_default().into_iter().enumerate() {
            reader.rule(&format!("syscalls[{index}]"), rule, &mut rules)?;
        }
        let architectures = reader.architectures(self.architectures.unwrap_or_default(), self.arch_map)?;
        let flags = reader.flags(&self.flags.unwrap_or_default())?;
        Ok(Parsed { profile: Profile { default, architectures, flags, rules }, warnings: reader.finish() })
    }
}

impl Reader {
    fn place(&self, place: &str) -> String {
        format!("{}{place}", self.inside)
    }

    fn unknown(&mut self, place: &str, unknown: &Unknown) {
        let dot = if place.is_empty() { "" } else { "." };
        let place = self.place(place);
        self.warnings
            .extend(unknown.keys().map(|key| format!("{place}{dot}{key} is unknown and has no effect")));
    }

    fn finish(mut self) -> Vec<String> {
        if !self.unknown_calls.is_empty() {
            let names: Vec<_> = self.unknown_calls.into_iter().collect();
            self.warnings.push(format!("unknown system calls were skipped: {}", names.join(", ")));
        }
        self.warnings
    }

    fn rule(&mut self, place: &str, written: WrittenRule, rules: &mut Vec<Rule>) -> Result<()> {
        self.unknown(place, &written.unknown);
        let action = self.action(
            &format!("{place}.action"),
            &written.action,
            (&format!("{place}.errnoRet"), written.errno_ret),
            written.errno.as_deref(),
        )?;
        let mut names = written.names;
        names.extend(written.name.filter(|name| !name.is_empty()));
        if names.is_empty() {
            return Err(Error::user(format!("{} names no system call", self.place(place))));
        }
        names.retain(|name| {
            let known = calls::is_known(name);
            if !known {
                self.unknown_calls.insert(name.clone());
            }
            known
        });
        let mut conditions = Vec::new();
        for (index, condition) in written.args.unwrap_or_default().iter().enumerate() {
            conditions.push(self.condition(&format!("{place}.args[{index}]"), condition)?);
        }
        let when =
            self.when(place, written.includes.unwrap_or_default(), written.excludes.unwrap_or_default())?;
        for conditions in self.alternatives(place, conditions) {
            rules.push(Rule { names: names.clone(), action, conditions, when: when.clone() });
        }
        Ok(())
    }

    /// Two conditions on one argument are alternatives: so runc and crun have it, because
    /// libseccomp cannot do otherwise, and profiles are written for them.
    fn alternatives(&mut self, place: &str, conditions: Vec<Condition>) -> Vec<Vec<Condition>> {
        let arguments: BTreeSet<_> = conditions.iter().map(|condition| condition.argument).collect();
        if arguments.len() == conditions.len() {
            return vec![conditions];
        }
        let place = self.place(place);
        self.warnings.push(format!(
            "{place} has several conditions on one argument: each of its conditions suffices, as with runc"
        ));
        conditions.into_iter().map(|condition| vec![condition]).collect()
    }

    fn action(
        &self,
        place: &str,
        word: &str,
        errno: (&str, Option<u64>),
        name: Option<&str>,
    ) -> Result<Action> {
        let place = self.place(place);
        let takes_errno = matches!(word, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE");
        if self.bundle && !takes_errno && errno.1.is_some() {
            return Err(Error::user(format!("{}: {word} takes no error number", self.place(errno.0))));
        }
        Ok(match word {
            "SCMP_ACT_ALLOW" => Action::Allow,
            "SCMP_ACT_LOG" => Action::Log,
            "SCMP_ACT_TRAP" => Action::Trap,
            "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
            "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
            "SCMP_ACT_ERRNO" => Action::Errno(self.errno(errno.0, errno.1, name)?),
            "SCMP_ACT_TRACE" if self.bundle => Action::Trace(self.errno(errno.0, errno.1, name)?),
            "SCMP_ACT_TRACE" => {
                return Err(Error::unsupported(format!(
                    "{place}: SCMP_ACT_TRACE asks a tracer, and a container has none"
                ))
                .hint("SCMP_ACT_LOG has the call logged; SCMP_ACT_ERRNO refuses it"));
            }
            "SCMP_ACT_NOTIFY" if self.bundle => Action::Notify,
            "SCMP_ACT_NOTIFY" => return Err(no_listener(place)),
            other => return Err(unknown(&place, other, "an action", &ACTIONS)),
        })
    }

    fn errno(&self, place: &str, number: Option<u64>, name: Option<&str>) -> Result<u16> {
        match (number, name) {
            (Some(number), _) if number > MAX_ERRNO => Err(Error::user(format!(
                "{}: {number} is no error number, the greatest is {MAX_ERRNO}",
                self.place(place)
            ))),
            (Some(number), _) => Ok(number as u16),
            (None, None | Some("" | "EPERM")) => Ok(EPERM),
            (None, Some(name)) => {
                Err(Error::user(format!("{} is missing beside the name {name}", self.place(place)))
                    .hint("error numbers are given by number, ENOSYS is 38"))
            }
        }
    }

    fn condition(&mut self, place: &str, written: &WrittenCondition) -> Result<Condition> {
        self.unknown(place, &written.unknown);
        let argument = u8::try_from(written.index).ok().filter(|index| *index < 6).ok_or_else(|| {
            Error::user(format!(
                "{}: {} is no argument, they are 0 to 5",
                self.place(&format!("{place}.index")),
                written.index
            ))
        })?;
        let (comparison, value) = match written.op.as_str() {
            "SCMP_CMP_NE" => (Comparison::NotEqual, written.value),
            "SCMP_CMP_LT" => (Comparison::Less, written.value),
            "SCMP_CMP_LE" => (Comparison::AtMost, written.value),
            "SCMP_CMP_EQ" => (Comparison::Equal, written.value),
            "SCMP_CMP_GE" => (Comparison::AtLeast, written.value),
            "SCMP_CMP_GT" => (Comparison::Greater, written.value),
            "SCMP_CMP_MASKED_EQ" => (Comparison::MaskedEqual(written.value), written.value_two),
            other => {
                return Err(unknown(
                    &self.place(&format!("{place}.op")),
                    other,
                    "a comparison",
                    &COMPARISONS,
                ));
            }
        };
        Ok(Condition { argument, comparison, value })
    }

    fn when(&mut self, place: &str, includes: WrittenWhen, excludes: WrittenWhen) -> Result<When> {
        let (inside, outside) = (format!("{place}.includes"), format!("{place}.excludes"));
        self.unknown(&inside, &includes.unknown);
        self.unknown(&outside, &excludes.unknown);
        Ok(When {
            with: self.capabilities(&inside, &includes)?,
            without: self.capabilities(&outside, &excludes)?,
            since: self.version(&inside, &includes)?,
            before: self.version(&outside, &excludes)?,
            on: includes.arches.unwrap_or_default().into_iter().collect(),
            not_on: excludes.arches.unwrap_or_default().into_iter().collect(),
        })
    }

    fn capabilities(&self, place: &str, when: &WrittenWhen) -> Result<u64> {
        let mut bits = 0;
        for (index, name) in when.caps.iter().flatten().enumerate() {
            bits |= crate::container::capability(name).ok_or_else(|| {
                Error::user(format!(
                    "{}: {name} is no capability",
                    self.place(&format!("{place}.caps[{index}]"))
                ))
            })?;
        }
        Ok(bits)
    }

    fn version(&self, place: &str, when: &WrittenWhen) -> Result<Option<(u32, u32)>> {
        let Some(text) = when.min_kernel.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
        let version =
            text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let place = self.place(&format!("{place}.minKernel"));
        version.map(Some).ok_or_else(|| Error::user(format!("{place}: {text} is no version such as 4.8")))
    }

    fn architectures(
        &self,
        list: Vec<String>,
        map: Option<Vec<WrittenMachine>>,
    ) -> Result<BTreeSet<Architecture>> {
        let mut known = BTreeSet::new();
        for (index, word) in list.iter().enumerate() {
            known.extend(self.architecture(&format!("architectures[{index}]"), word)?);
        }
        for (index, machine) in map.unwrap_or_default().iter().enumerate() {
            known
                .extend(self.architecture(&format!("archMap[{index}].architecture"), &machine.architecture)?);
            for (sub, word) in machine.sub_architectures.iter().flatten().enumerate() {
                known.extend(self.architecture(&format!("archMap[{index}].subArchitectures[{sub}]"), word)?);
            }
        }
        Ok(known)
    }

    /// None for one on which we do not run. x32 is accepted and never let through: its calls are
    /// those of x86-64 under other numbers, and hardly any kernel has them.
    fn architecture(&self, place: &str, word: &str) -> Result<Option<Architecture>> {
        match word {
            "SCMP_ARCH_X86_64" => Ok(Some(Architecture::X86_64)),
            "SCMP_ARCH_X86" => Ok(Some(Architecture::I386)),
            "SCMP_ARCH_AARCH64" => Ok(Some(Architecture::Aarch64)),
            other if OTHER_ARCHITECTURES.contains(&other) => Ok(None),
            other => Err(unknown(&self.place(place), other, "an architecture", &ARCHITECTURES)),
        }
    }

    fn flags(&self, words: &[String]) -> Result<BTreeSet<Flag>> {
        let flag = |(index, word): (usize, &String)| match word.as_str() {
            "SECCOMP_FILTER_FLAG_LOG" => Ok(Flag::Log),
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(Flag::SpecAllow),
            "SECCOMP_FILTER_FLAG_TSYNC" => Ok(Flag::ThreadSync),
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" if self.bundle => Ok(Flag::WaitKillable),
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => {
                Err(no_listener(self.place(&format!("flags[{index}]"))))
            }
            other => Err(unknown(&self.place(&format!("flags[{index}]")), other, "a flag", &FLAGS)),
        };
        words.iter().enumerate().map(flag).collect()
    }
}

pub(crate) const ACTIONS: [&str; 6] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_LOG",
    "SCMP_ACT_TRAP",
];
pub(crate) const COMPARISONS: [&str; 7] = [
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
];
pub(crate) const FLAGS: [&str; 3] =
    ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"];
pub(crate) const ARCHITECTURES: [&str; 3] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_AARCH64"];
const OTHER_ARCHITECTURES: [&str; 20] = [
    "SCMP_ARCH_NATIVE",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_SHEB",
];

fn unknown(place: &str, word: &str, what: &str, words: &[&str]) -> Error {
    Error::user(format!("{place}: {word} is not {what}")).hint(format!("there are {}", words.join(", ")))
}

fn no_listener(place: String) -> Error {
    Error::unsupported(format!(
        "{place} wants another process to decide about calls, which no part of ours does yet"
    ))
    .hint("SCMP_ACT_ERRNO refuses them")
}

#[cfg(test)]
mod tests;
