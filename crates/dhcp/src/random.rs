//! Numbers that nobody has to guess right: when to ask again, and under which number.

/// A stream of them (splitmix64). Nothing secret depends on it: whoever is on the segment hears them.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn number(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as u32
    }

    /// Less than `limit`; 0 where that is 0.
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        ((u64::from(self.number()) * u64::from(limit)) >> 32) as u32
    }
}
