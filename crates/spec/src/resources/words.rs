//! Resources word by word: what one layer says over another.

use super::Resources;

/// One word, or a few that mean nothing alone: takes over what the second says.
type Word = fn(&mut Resources, &Resources);

/// Declares words that are options.
macro_rules! words {
    ($($first:ident $(. $second:ident)? $(+ $($more:ident . $last:ident),+)?;)*) => {
        [$(|to, from| {
            if from.$first$(.$second)?.is_some() {
                to.$first$(.$second)?.clone_from(&from.$first$(.$second)?);
                $($(to.$more.$last.clone_from(&from.$more.$last);)+)?
            }
        },)*]
    };
}

/// All of them, in the order in which the kernel takes them. Swap means nothing to version 1
/// without memory: see [`Resources::words`].
const WORDS: [Word; 22] = words! {
    memory.max;
    memory.high;
    memory.low;
    memory.min;
    memory.swap;
    memory.oom_group;
    memory.disable_oom_killer;
    memory.tcp;
    memory.kernel;
    memory.swappiness;
    cpu.weight;
    cpu.shares;
    cpu.quota + cpu.period, cpu.burst;
    cpu.period;
    cpu.burst;
    cpu.realtime_runtime + cpu.realtime_period;
    cpu.cpus;
    cpu.mems;
    cpu.idle;
    pids;
    io.weight;
    devices;
};

/// Those that are tables and lists.
const TABLES: [Word; 7] = [
    |to, from| to.io.device_weights.extend(from.io.device_weights.iter().copied()),
    |to, from| {
        let of = |rate: &super::DeviceRate| (rate.device, rate.rate);
        to.io.rates.retain(|old| from.io.rates.iter().all(|new| of(new) != of(old)));
        to.io.rates.extend(from.io.rates.iter().copied());
    },
    |to, from| to.hugepages.extend(from.hugepages.iter().map(|(size, pages)| (size.clone(), *pages))),
    |to, from| to.rdma.extend(from.rdma.iter().map(|(name, most)| (name.clone(), *most))),
    |to, from| to.misc.extend(from.misc.iter().map(|(name, most)| (name.clone(), *most))),
    |to, from| {
        to.network.class = from.network.class.or(to.network.class);
        to.network.priorities.extend(from.network.priorities.clone());
    },
    |to, from| to.unified.extend(from.unified.clone()),
];

fn all() -> impl Iterator<Item = Word> {
    WORDS.into_iter().chain(TABLES)
}

impl Resources {
    /// Itself with a stronger layer over it: what that says holds.
    #[must_use]
    pub fn merged(mut self, stronger: &Self) -> Self {
        // Two words for one thing: the later one is meant.
        if stronger.cpu.weight.is_some() || stronger.cpu.shares.is_some() {
            (self.cpu.weight, self.cpu.shares) = (None, None);
        }
        all().for_each(|word| word(&mut self, stronger));
        self
    }

    /// What it says and `other` does not.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut rest = Self::default();
        for word in all() {
            let mut said = Self::default();
            word(&mut said, other);
            if said == Self::default() {
                word(&mut rest, self);
            }
        }
        rest
    }

    /// Each word by itself, in an order in which they can be said one after the other. With swap
    /// goes memory, which version 1 counts together.
    pub fn words(&self) -> Vec<Self> {
        let one = |word: Word| {
            let mut said = Self::default();
            word(&mut said, self);
            if said.memory.swap.is_some() {
                said.memory.max = self.memory.max;
            }
            (said != Self::default()).then_some(said)
        };
        all().filter_map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cpu, HugePages, Limit, Memory};
    use super::*;

    fn some() -> Resources {
        Resources {
            memory: Memory { max: Some(Limit::At(1 << 20)), swap: Some(Limit::At(0)), ..Memory::default() },
            cpu: Cpu { quota: Some(Limit::At(1000)), period: Some(2000), ..Cpu::default() },
            pids: Some(Limit::At(7)),
            hugepages: [("2MB".to_owned(), HugePages::default())].into(),
            ..Resources::default()
        }
    }

    #[test]
    fn words_make_the_whole() {
        let whole = some().words().iter().fold(Resources::default(), Resources::merged);
        assert_eq!(whole, some());
        assert_eq!(some().without(&some()), Resources::default());
        assert_eq!(some().without(&Resources::default()), some());
    }

    #[test]
    fn swap_goes_with_memory() {
        let words = some().words();
        let swap = words.iter().find(|word| word.memory.swap.is_some()).expect("swap");
        assert_eq!(swap.memory.max, Some(Limit::At(1 << 20)));
    }

    #[test]
    fn the_stronger_holds_and_the_rest_stays() {
        let more = Resources { pids: Some(Limit::Max), ..Resources::default() };
        let both = some().merged(&more);
        assert_eq!((both.pids, both.cpu), (Some(Limit::Max), some().cpu));
        let rest = some().without(&more);
        assert_eq!((rest.pids, rest.memory), (None, some().memory));
        let weight = |weight| Resources { cpu: Cpu { weight, ..Cpu::default() }, ..Resources::default() };
        let shares = Resources { cpu: Cpu { shares: Some(2), ..Cpu::default() }, ..Resources::default() };
        assert_eq!(weight(Some(5)).merged(&shares).cpu.weight, None);
    }
}
