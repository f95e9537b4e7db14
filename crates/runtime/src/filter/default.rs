//! The default profile: what Docker's lets through, and less.
//!
//! What the lists do not name is answered with EPERM: among it keyctl and add_key, io_uring,
//! userfaultfd, kexec, swapon. Stricter than Docker's is this:
//!
//! * the i386 socketcall is refused, because its arguments lie in memory, where no filter sees
//!   which family is asked for;
//! * ioctl does not type into a terminal (TIOCSTI, TIOCLINUX), and leaves no limit of disk;
//! * what arguments decide is decided by the 32 bits that the kernel looks at (2019-10063);
//! * bpf and perf_event_open take their own capability, SYS_ADMIN does not do;
//! * io_setup takes SYS_RESOURCE: the host has one count of asynchronous requests for all
//!   (fs.aio-max-nr), which nothing holds, and databases do without;
//! * x32 calls do not exist.

use spec::seccomp::Architecture;
use spec::seccomp::calls::{self, KNOWN};
use sys::seccomp::assemble::{ALLOW, Case, Check, Table, Test, Verdict, errno};

use super::table::{ALLOWED, GONE, RULES};

/// EPERM.
pub(super) const REFUSE: u32 = errno(1);
/// ENOSYS.
pub(super) const NO_SUCH_CALL: u32 = errno(38);

/// What the profile says about one system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Refuse,
    Allow,
    /// As if the kernel did not have it, so that programs fall back to something else.
    Absent,
    /// No kernel has it: whatever is answered, it does nothing. A program is shorter if it answers
    /// as to the number before, and the shorter it is, the sooner it is loaded.
    Gone,
    /// Allowed to a process with this capability.
    Capability(u8),
    /// The same; others are told that the kernel does not have it.
    Spared(u8),
    Clone,
    Clone3,
    Ioctl,
    Personality,
    Socket,
}

/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const NAMESPACES: u64 = 0x7e02_0000;
/// TIOCSTI and TIOCLINUX.
const TYPING: [u64; 2] = [0x5412, 0x541c];
/// What makes files that no quota of the container counts: another project, or none for new files
/// (FS_IOC_FSSETXATTR, FS_IOC_SETFLAGS and its older form), and on btrfs subvolumes and snapshots, which
/// have quota groups of their own (BTRFS_IOC_SNAP_CREATE, SUBVOL_CREATE, and both of V2).
const ESCAPING: [u64; 7] =
    [0x401c_5820, 0x4008_6602, 0x4004_6602, 0x5000_9401, 0x5000_940e, 0x5000_9417, 0x5000_9418];
/// Linux, UNAME26, and asking; each with and without 32 bit.
const HARMLESS: [u64; 5] = [0, 8, 0x20000, 0x20008, 0xffff_ffff];
/// AF_ALG (38, the kernel's ciphers), AF_VSOCK (40, the hypervisor), and what hardly anybody has
/// any more.
const REFUSED_FAMILIES: [u64; 9] = [12, 19, 20, 23, 25, 34, 37, 38, 40];
/// From here on they are younger than the profile; AF_XDP and AF_MCTP it allows.
const FIRST_UNKNOWN_FAMILY: u64 = 46;

/// The profile of `architecture`, by number.
pub(super) fn rules(architecture: Architecture) -> &'static [Rule; KNOWN] {
    static X86_64: [Rule; KNOWN] = by_number(Architecture::X86_64);
    static I386: [Rule; KNOWN] = by_number(Architecture::I386);
    static AARCH64: [Rule; KNOWN] = by_number(Architecture::Aarch64);
    match architecture {
        Architecture::X86_64 => &X86_64,
        Architecture::I386 => &I386,
        Architecture::Aarch64 => &AARCH64,
    }
}

/// Made by the compiler: nothing is looked up by name when a container starts.
const fn by_number(architecture: Architecture) -> [Rule; KNOWN] {
    let mut rules = [Rule::Absent; KNOWN];
    let mut row = 0;
    while row < calls::TABLE.len() {
        if let Some(number) = calls::on(&calls::TABLE[row], architecture) {
            rules[number as usize] = BY_ROW[row];
        }
        row += 1;
    }
    join(rules)
}

/// The rule of each row of [`calls::TABLE`].
const BY_ROW: [Rule; calls::TABLE.len()] = {
    let mut rules = [Rule::Refuse; calls::TABLE.len()];
    let mut index = 0;
    while index < GONE.len() {
        rules[row(GONE[index])] = Rule::Gone;
        index += 1;
    }
    index = 0;
    while index < ALLOWED.len() {
        rules[row(ALLOWED[index])] = Rule::Allow;
        index += 1;
    }
    index = 0;
    while index < RULES.len() {
        rules[row(RULES[index].0)] = RULES[index].1;
        index += 1;
    }
    rules
};

const fn row(name: &str) -> usize {
    calls::row(name).expect("the lists name calls")
}

/// Gives calls that no kernel has any more the answer of the number before, if that is a plain one.
const fn join(mut rules: [Rule; KNOWN]) -> [Rule; KNOWN] {
    let mut number = 0;
    while number < KNOWN {
        if matches!(rules[number], Rule::Gone) {
            rules[number] = match number {
                1.. if matches!(rules[number - 1], Rule::Allow) => Rule::Allow,
                _ => Rule::Refuse,
            };
        }
        number += 1;
    }
    rules
}

/// The table of these rules. Numbers that are not known, x32's among them, do not exist.
pub(super) fn table(architecture: Architecture, rules: &[Rule; KNOWN], capabilities: u64) -> Table {
    let begins = |(number, rule): &(u32, &Rule)| *number == 0 || rules[*number as usize - 1] != **rule;
    let runs = (0..).zip(rules).filter(begins).map(|(number, rule)| (number, verdict(*rule, capabilities)));
    let others = (KNOWN as u32, Verdict::Always(NO_SUCH_CALL));
    Table::new(super::audit(architecture), runs.chain([others]))
}

pub(super) fn verdict(rule: Rule, capabilities: u64) -> Verdict {
    let administrator = capabilities & (1 << sys::capability::SYS_ADMIN) != 0;
    Verdict::Always(match rule {
        Rule::Refuse | Rule::Gone => REFUSE,
        Rule::Allow => ALLOW,
        Rule::Capability(number) if capabilities & (1 << number) != 0 => ALLOW,
        Rule::Capability(_) => REFUSE,
        Rule::Spared(number) if capabilities & (1 << number) != 0 => ALLOW,
        Rule::Clone | Rule::Clone3 if administrator => ALLOW,
        // The flags of clone3 lie in memory, out of a filter's reach: libraries fall back to clone.
        Rule::Absent | Rule::Clone3 | Rule::Spared(_) => NO_SUCH_CALL,
        Rule::Clone => return Verdict::Depends(vec![case(0, Test::Masked(NAMESPACES), 0, ALLOW)], REFUSE),
        Rule::Ioctl => {
            let refused = TYPING.iter().chain(&ESCAPING).copied().collect::<Vec<_>>();
            return Verdict::Depends(equals(1, &refused, REFUSE), ALLOW);
        }
        Rule::Personality => return Verdict::Depends(equals(0, &HARMLESS, ALLOW), REFUSE),
        Rule::Socket => {
            let mut cases = equals(0, &REFUSED_FAMILIES, REFUSE);
            cases.push(case(0, Test::AtLeast, FIRST_UNKNOWN_FAMILY, REFUSE));
            return Verdict::Depends(cases, ALLOW);
        }
    })
}

fn equals(argument: u8, values: &[u64], answer: u32) -> Vec<Case> {
    values.iter().map(|value| case(argument, Test::Masked(u64::MAX), *value, answer)).collect()
}

fn case(argument: u8, test: Test, value: u64, answer: u32) -> Case {
    Case { checks: vec![Check { argument, wide: false, test, value, not: false }], answer }
}
