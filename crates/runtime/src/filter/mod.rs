//! The filter of system calls: what was chosen, as a program for the kernel.
//!
//! Every choice becomes a table of answers by number for each architecture, and the tables a program
//! of about 300 instructions ([`sys::seccomp::assemble`]).

mod default;
mod profile;
mod table;

use std::collections::BTreeSet;

use spec::seccomp::base::Admitted;
use spec::seccomp::{Action, Architecture, Choice, Flag, calls};
use spec::{Error, Result};
use sys::seccomp::assemble::{self, KILL_PROCESS, Table};
use sys::seccomp::{Instruction, MAX_INSTRUCTIONS};

use default::{REFUSE, Rule};

/// The architecture of this program and of the kernel under it.
pub const NATIVE: Architecture =
    if cfg!(target_arch = "aarch64") { Architecture::Aarch64 } else { Architecture::X86_64 };

/// The program for a process that holds `capabilities`; empty where nothing is to be loaded.
pub fn program(choice: &Choice, capabilities: u64) -> Result<Vec<Instruction>> {
    if !cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) && *choice != Choice::None {
        return Err(Error::unsupported("system call filters exist for x86-64 and aarch64 only"));
    }
    match choice {
        Choice::None => Ok(Vec::new()),
        Choice::Default => Ok(default_program(capabilities)),
        Choice::Observed(seen) => observed(seen, capabilities),
        Choice::Profile(profile) => {
            let program = assemble::assemble(&profile::tables(profile, capabilities)?, KILL_PROCESS);
            if program.len() > MAX_INSTRUCTIONS {
                let len = program.len();
                return Err(Error::user(format!(
                    "the seccomp profile makes {len} instructions, and the kernel takes {MAX_INSTRUCTIONS}"
                )));
            }
            profile::lets_start(&program)?;
            Ok(program)
        }
    }
}

/// The flags with which the program of `choice` is loaded ([`sys::seccomp::load_with`]).
pub fn flags(choice: &Choice) -> u32 {
    let Choice::Profile(profile) = choice else { return sys::seccomp::SPEC_ALLOW };
    if profile.flags.is_empty() {
        return sys::seccomp::SPEC_ALLOW;
    }
    let bit = |flag: &Flag| match flag {
        Flag::Log => sys::seccomp::LOG,
        Flag::SpecAllow => sys::seccomp::SPEC_ALLOW,
        // There is one thread when a container starts; and the other only goes with a listener.
        Flag::ThreadSync | Flag::WaitKillable => 0,
    };
    profile.flags.iter().map(bit).fold(0, |all, bit| all | bit)
}

/// Whether `choice` has another process decide about some calls; then the flags for its listener.
pub(crate) fn listens(choice: &Choice) -> Option<u32> {
    let Choice::Profile(profile) = choice else { return None };
    let asks =
        profile.default == Action::Notify || profile.rules.iter().any(|rule| rule.action == Action::Notify);
    let killable = profile.flags.contains(&Flag::WaitKillable);
    asks.then(|| flags(choice) | if killable { sys::seccomp::WAIT_KILLABLE } else { 0 })
}

/// The default program for a process that holds `capabilities`. x32 calls do not exist for it;
/// i386 programs run, as under Docker.
pub fn default_program(capabilities: u64) -> Vec<Instruction> {
    let table = |one: &Architecture| default::table(*one, default::rules(*one), capabilities);
    assemble::assemble(&family().iter().map(table).collect::<Vec<_>>(), REFUSE)
}

/// The program for our own process 1 of a container: it waits, passes signals on, and ends.
pub(crate) fn init_program() -> Vec<Instruction> {
    const CALLS: [&str; 16] = [
        "capget",
        "capset",
        "close",
        "close_range",
        "exit",
        "exit_group",
        "kill",
        "prctl",
        "read",
        "restart_syscall",
        "rt_sigprocmask",
        "rt_sigreturn",
        "rt_sigtimedwait",
        "wait4",
        "waitid",
        "write",
    ];
    let mut rules = [Rule::Refuse; calls::KNOWN];
    for number in CALLS.iter().filter_map(|name| calls::number(name, NATIVE)) {
        rules[number as usize] = Rule::Allow;
    }
    assemble::assemble(&[default::table(NATIVE, &rules, 0)], REFUSE)
}

/// What the default program lets through, as far as it was seen or is in the base. The calls of
/// i386 are closed unless a program was seen that makes them.
fn observed(seen: &BTreeSet<String>, capabilities: u64) -> Result<Vec<Instruction>> {
    if seen.is_empty() {
        return Err(Error::user(
            "the observation holds no system calls: its host had no instrument for them",
        )
        .hint("seccomp = \"default\" takes the default filter"));
    }
    let admitted = Admitted::after(seen);
    let open = |one: &&Architecture| **one == NATIVE || admitted.i386;
    let tables = family().iter().filter(open).map(|one| observed_table(*one, &admitted, capabilities));
    Ok(assemble::assemble(&tables.collect::<Vec<_>>(), REFUSE))
}

fn observed_table(architecture: Architecture, admitted: &Admitted, capabilities: u64) -> Table {
    let mut rules = *default::rules(architecture);
    for number in admitted.refused(architecture) {
        let rule = &mut rules[number as usize];
        // What is to look missing goes on doing so.
        let missing = matches!(rule, Rule::Absent | Rule::Clone3 | Rule::Spared(_));
        *rule = if missing { Rule::Absent } else { Rule::Refuse };
    }
    default::table(architecture, &rules, capabilities)
}

/// The architectures of which a process of this machine can make calls; this program's own first.
fn family() -> &'static [Architecture] {
    match NATIVE {
        Architecture::Aarch64 => &[Architecture::Aarch64],
        _ => &[Architecture::X86_64, Architecture::I386],
    }
}

/// As the kernel's audit subsystem numbers it.
fn audit(architecture: Architecture) -> u32 {
    match architecture {
        Architecture::X86_64 => assemble::X86_64,
        Architecture::I386 => assemble::I386,
        Architecture::Aarch64 => assemble::AARCH64,
    }
}

#[cfg(test)]
mod tests;
