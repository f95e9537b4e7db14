//! The table of attacks, a file for each family.

mod cpu;
mod escape;
mod handles;
mod information;
mod io;
mod kernel;
mod memory;
mod network;
mod own;
mod storage;
mod tasks;

use crate::attack::{Attack, Family, questions};
use crate::cell::Stop;

/// All attacks, in the order in which they are made.
pub fn all() -> Vec<&'static Attack> {
    let families: [&'static [Attack]; 10] = [
        &memory::ATTACKS,
        &tasks::ATTACKS,
        &cpu::ATTACKS,
        &io::ATTACKS,
        &storage::ATTACKS,
        &handles::ATTACKS,
        &kernel::ATTACKS,
        &network::ATTACKS,
        &information::ATTACKS,
        &escape::ATTACKS,
    ];
    families.into_iter().flatten().collect()
}

/// What a killed attack has left in places that outlive its container, removed: `got` is how many files and
/// directories went. Not an attack, and in no list; it is ordered like one.
pub static SWEEP: Attack = {
    let [sweep] = questions(Family::Storage, [("sweep", "removes what attacks have left", "none", sweep)]);
    sweep
};

fn sweep(cell: &mut crate::cell::Cell) -> Stop {
    let (removed, kept) = crate::places::sweep();
    sys::system_v::sweep();
    cell.add(removed);
    kept.map_or(Stop::Amount, Stop::Limit)
}

/// What can be ordered: an attack, or the sweep.
pub fn ordered(name: &str) -> Option<&'static Attack> {
    if name == SWEEP.name { Some(&SWEEP) } else { find(name) }
}

/// The attack of this name.
pub fn find(name: &str) -> Option<&'static Attack> {
    all().into_iter().find(|attack| attack.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_there_once_and_every_attack_is_bounded() {
        let mut names: Vec<_> = all().iter().map(|attack| attack.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for attack in all() {
            assert!(attack.bound.proof > 0 && attack.bound.seconds <= 20.0, "{}", attack.name);
            assert!(!attack.what.is_empty() && !attack.mend.is_empty(), "{}", attack.name);
        }
    }
}
