//! A name for a container that was given none.

use std::collections::BTreeSet;
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
    let mut taken = containers.names()?;
    if taken.binary_search(image).is_ok() {
        // To look at it removes what a killed command has left, and frees its name. To look at all
        // of them would make each start slower than the one before.
        let _ = containers.find(image.as_str());
        taken = containers.names()?;
    }
    let taken: BTreeSet<&str> = taken.iter().map(Name::as_str).collect();
    let stem: String = image.as_str().chars().take(spec::name::MAX_LEN - 7).collect();
    let numbered = |number| if number == 1 { image.to_string() } else { format!("{stem}-{number}") };
    let free = (from..1_000_000).map(numbered).find(|name| !taken.contains(name.as_str()));
    free.ok_or_else(|| Error::conflict("all names are taken").hint("give it one with --name"))?.parse()
}

/// A number that another command is not likely to come to.
fn chance() -> u64 {
    RandomState::new().build_hasher().finish()
}
