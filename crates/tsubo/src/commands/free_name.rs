//! A name for a container that was given none.

use std::hash::{BuildHasher, Hasher, RandomState};

use lifecycle::Containers;
use spec::{Error, ErrorKind, Name, Result};

/// How often a name may turn out to be taken by another command.
const TRIES: u64 = 20;

/// Makes something with the image's name if no container has it, else with the first free number.
/// Where others take the names that we find at the same time, any number will do.
pub fn with_free_name<T>(
    image: &Name,
    containers: &Containers,
    mut make: impl FnMut(Name) -> Result<T>,
) -> Result<T> {
    for attempt in 1..TRIES {
        let from = if attempt == 1 { 1 } else { 2 + chance() % (100 * attempt) };
        match make(free_name(image, containers, from)?) {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            made => return made,
        }
    }
    make(free_name(image, containers, 2 + chance() % 900_000)?)
}

fn free_name(image: &Name, containers: &Containers, from: u64) -> Result<Name> {
    if from == 1 && containers.has(image) {
        // To look at it removes what a killed command has left, and frees its name.
        let _ = containers.find(image.as_str());
    }
    let stem: String = image.as_str().chars().take(spec::name::MAX_LEN - 7).collect();
    let numbered = |number: u64| match number {
        1 => Ok(image.clone()),
        _ => format!("{stem}-{number}").parse::<Name>(),
    };
    let taken = |number| numbered(number).is_ok_and(|name| containers.has(&name));
    let free = Some(free_number(taken, from)).filter(|free| *free < 1_000_000);
    numbered(free.ok_or_else(|| Error::conflict("all names are taken").hint("give it one with --name"))?)
}

/// A number from `from` on that is not taken; the first one, as long as no number before it is free.
/// To try them one by one, or to list all names, would make each start slower than the one before.
fn free_number(taken: impl Fn(u64) -> bool, from: u64) -> u64 {
    let (mut below, mut step) = (from, 1);
    if !taken(from) {
        return from;
    }
    while taken(below + step) {
        below += step;
        step *= 2;
    }
    let mut free = below + step;
    while free - below > 1 {
        let middle = below + (free - below) / 2;
        if taken(middle) { below = middle } else { free = middle }
    }
    free
}

/// A number that another command is not likely to come to.
fn chance() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_behind_those_that_are_taken_is_found_in_few_looks() {
        for last in [0, 1, 2, 3, 7, 8, 999, 123_456] {
            let looks = std::cell::Cell::new(0);
            let taken = |number| {
                looks.set(looks.get() + 1);
                number <= last
            };
            assert_eq!(free_number(taken, 1), last + 1);
            assert!(looks.get() < 40, "{looks:?} for {last}");
        }
        let odd = free_number(|number| number % 2 == 1, 1);
        assert_eq!(odd % 2, 0);
    }
}
