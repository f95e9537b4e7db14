//! The default system call filter: Docker's default profile as a BPF program.
//!
//! Deny by default, decided by a binary search over ranges of system call numbers. The tables by
//! number are made by the compiler; what is left to do at start is about a microsecond of emitting.

mod assemble;
mod table;

use sys::seccomp::Instruction;

use assemble::{Answer, Program};

/// What the profile says about one system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Deny,
    Allow,
    Capability(u8),
    Clone,
    Clone3,
    Personality,
    Socket,
}

type Entry = (&'static str, u16, u16, Rule);

/// The system call does not exist on this architecture.
const NONE: u16 = u16::MAX;

/// Numbers from here on are younger than this profile: they are answered with ENOSYS, so that
/// programs fall back instead of failing.
const KNOWN: usize = 470;

static X86_64: [Rule; KNOWN] = by_number(true);
static I386: [Rule; KNOWN] = by_number(false);

const fn by_number(native: bool) -> [Rule; KNOWN] {
    let mut rules = [Rule::Deny; KNOWN];
    let mut index = 0;
    while index < table::TABLE.len() {
        let (_, on_x86_64, on_i386, rule) = table::TABLE[index];
        let number = if native { on_x86_64 } else { on_i386 };
        if number != NONE {
            rules[number as usize] = rule;
        }
        index += 1;
    }
    rules
}

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;

/// The program for a process that holds `capabilities`. x32 calls (a number with bit 30 set) do not
/// exist for it; i386 programs run, as under Docker.
pub fn program(capabilities: u64) -> Vec<Instruction> {
    let native = search(&X86_64, capabilities);
    let other = search(&I386, capabilities);
    let mut program = Program::default();
    program.load_architecture();
    program.skip_unless_equal(AUDIT_ARCH_X86_64, native.len());
    program.append(native);
    program.skip_unless_equal(AUDIT_ARCH_I386, other.len());
    program.append(other);
    program.answer(Answer::Refuse);
    program.instructions
}

fn search(rules: &[Rule], capabilities: u64) -> Program {
    let mut ranges: Vec<(u32, Answer)> = Vec::with_capacity(256);
    let answers = rules.iter().map(|rule| answer(*rule, capabilities));
    for (number, answer) in answers.chain([Answer::NoSuchCall]).enumerate() {
        if ranges.last().is_none_or(|(_, last)| *last != answer) {
            ranges.push((number as u32, answer));
        }
    }
    let mut program = Program::default();
    program.load_number();
    program.append(assemble::binary_search(&ranges));
    program
}

fn answer(rule: Rule, capabilities: u64) -> Answer {
    let administrator = capabilities & (1 << sys::capability::SYS_ADMIN) != 0;
    match rule {
        Rule::Deny => Answer::Refuse,
        Rule::Allow => Answer::Allow,
        Rule::Capability(number) if capabilities & (1 << number) != 0 => Answer::Allow,
        Rule::Capability(_) => Answer::Refuse,
        Rule::Clone | Rule::Clone3 if administrator => Answer::Allow,
        // Its flags lie in memory, out of a filter's reach: glibc falls back to clone.
        Rule::Clone3 => Answer::NoSuchCall,
        Rule::Clone => Answer::CloneWithoutNamespaces,
        Rule::Personality => Answer::HarmlessPersonality,
        Rule::Socket => Answer::OrdinarySocket,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assemble::tests::{Outcome, run};

    const DEFAULT: u64 = spec::container::DEFAULT_CAPABILITIES;

    fn outcome(program: &[Instruction], arch: u32, number: u32, argument: u64) -> Outcome {
        run(program, arch, number, argument)
    }

    #[test]
    fn every_call_gets_the_answer_of_its_rule() {
        for capabilities in [0, DEFAULT, u64::MAX] {
            let program = program(capabilities);
            for (arch, rules) in [(AUDIT_ARCH_X86_64, &X86_64), (AUDIT_ARCH_I386, &I386)] {
                for (number, rule) in rules.iter().enumerate() {
                    let expected = match answer(*rule, capabilities) {
                        Answer::Refuse => Outcome::Errno(1),
                        Answer::NoSuchCall => Outcome::Errno(38),
                        _ => Outcome::Allow,
                    };
                    assert_eq!(outcome(&program, arch, number as u32, 0), expected, "{arch:x} {number}");
                }
            }
        }
    }

    #[test]
    fn arguments_decide_about_clone_personality_and_socket() {
        let program = program(DEFAULT);
        let x86_64 = |number, argument| outcome(&program, AUDIT_ARCH_X86_64, number, argument);
        assert_eq!(x86_64(56, 0x1000_0000), Outcome::Errno(1), "clone(CLONE_NEWUSER)");
        assert_eq!(x86_64(56, 0x003d_0f00), Outcome::Allow, "pthread_create");
        assert_eq!(x86_64(135, 8), Outcome::Allow);
        assert_eq!(x86_64(135, 0x40000), Outcome::Errno(1), "personality(ADDR_NO_RANDOMIZE)");
        assert_eq!(x86_64(41, 2), Outcome::Allow, "socket(AF_INET)");
        assert_eq!(x86_64(41, 40), Outcome::Errno(1), "socket(AF_VSOCK)");
    }

    #[test]
    fn no_i386_call_gets_around_the_rule_of_socket() {
        let program = program(DEFAULT);
        let i386 = |number, argument| outcome(&program, AUDIT_ARCH_I386, number, argument);
        assert_eq!(i386(359, 2), Outcome::Allow, "socket(AF_INET)");
        assert_eq!(i386(359, 40), Outcome::Errno(1), "socket(AF_VSOCK)");
        assert_eq!(i386(102, 1), Outcome::Errno(1), "socketcall(SYS_SOCKET)");
        // What stands in for it: bind, connect, listen, accept4, getsockopt, sendto, recvfrom.
        assert!([361, 362, 363, 364, 365, 369, 371].iter().all(|call| i386(*call, 0) == Outcome::Allow));
    }

    #[test]
    fn foreign_and_future_calls_do_not_get_through() {
        let program = program(DEFAULT);
        assert_eq!(outcome(&program, AUDIT_ARCH_X86_64, 0x4000_0000, 0), Outcome::Errno(38), "x32 read");
        assert_eq!(outcome(&program, AUDIT_ARCH_X86_64, 9999, 0), Outcome::Errno(38));
        assert_eq!(outcome(&program, 0xc000_00b7, 0, 0), Outcome::Errno(1), "aarch64");
    }

    #[test]
    fn the_table_is_sorted_and_the_program_short() {
        assert!(table::TABLE.is_sorted_by_key(|entry| entry.0));
        let len = program(DEFAULT).len();
        assert!(len < 700, "{len} instructions");
    }
}
