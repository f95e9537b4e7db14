//! How many files we may have open: more than usual where we need them, and what we start as many as it
//! would have had without us.

use std::sync::OnceLock;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// What we were given; None inside for as long as nothing was raised.
static GIVEN: OnceLock<Rlimit> = OnceLock::new();

/// From now on as many as we may have; returns how many that are.
pub fn raise() -> usize {
    let given = *GIVEN.get_or_init(|| getrlimit(Resource::Nofile));
    let most = Rlimit { current: given.maximum, ..given };
    let raised = setrlimit(Resource::Nofile, most).is_ok();
    let allowed = if raised { given.maximum } else { given.current };
    allowed.map_or(usize::MAX, |allowed| usize::try_from(allowed).unwrap_or(usize::MAX))
}

/// As many as we were given, in a child that is to become another program: programs that ask select(2)
/// know no numbers beyond 1023, and a container may have been promised what its host has. Allocates nothing.
pub(crate) fn as_given() {
    if let Some(given) = GIVEN.get() {
        let _ = setrlimit(Resource::Nofile, *given);
    }
}

/// The same for a program that was begun without that.
pub fn as_given_to(child: &std::process::Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(given) = GIVEN.get() {
        // One that has ended already opens nothing any more.
        let _ = pid.map(|pid| prlimit(Some(pid), Resource::Nofile, *given));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_raised_can_be_given_back() {
        // nextest gives each test a process of its own.
        let before = getrlimit(Resource::Nofile);
        let few = Rlimit { current: before.maximum.map(|most| most.min(512)), ..before };
        setrlimit(Resource::Nofile, few).expect("lowered");
        let most = raise();
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
        assert_eq!(Some(most as u64), before.maximum.or(Some(u64::MAX)));
        as_given();
        assert_eq!(getrlimit(Resource::Nofile).current, few.current);
    }
}
