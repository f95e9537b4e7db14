//! The same share in the units of both versions.

/// Version 1's processor shares (2 to 262144) as version 2's weight (1 to 10000), as runc and crun
/// do it since 2025: a curve through 2 → 1, 1024 → 100 and 262144 → 10000, so that what says
/// nothing has the default on both. (The straight line used before made 39 of the default 1024.)
pub fn shares_to_weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        shares => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

/// Version 2's weight (1 to 10000) as version 1's shares: the kernel's scheduler takes 1024 shares
/// and weight 100 for the same and goes in proportion from there.
pub fn weight_to_shares(weight: u64) -> u64 {
    (weight.clamp(1, 10_000) * 1024 + 50) / 100
}

/// Version 1's block weight (10 to 1000) as version 2's (1 to 10000), as runc and crun do it: a
/// straight line.
pub fn blkio_to_io_weight(weight: u64) -> u64 {
    1 + (weight.clamp(10, 1000) - 10) * 9999 / 990
}

/// And back: exact for whatever came from version 1.
pub fn io_to_blkio_weight(weight: u64) -> u64 {
    10 + ((weight.clamp(1, 10_000) - 1) * 990).div_ceil(9999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_shares() {
        let table =
            [(0, 1), (2, 1), (3, 2), (102, 17), (512, 59), (1024, 100), (2048, 174), (262_144, 10_000)];
        for (shares, weight) in table {
            assert_eq!(shares_to_weight(shares), weight, "{shares}");
        }
        assert!((2..262_144).step_by(97).all(|shares| (1..=10_000).contains(&shares_to_weight(shares))));
        assert_eq!([1, 100, 200, 10_000].map(weight_to_shares), [10, 1024, 2048, 102_400]);
    }

    #[test]
    fn block_weights_come_back() {
        assert_eq!([10, 500, 1000].map(blkio_to_io_weight), [1, 4950, 10_000]);
        assert!((10..=1000).all(|weight| io_to_blkio_weight(blkio_to_io_weight(weight)) == weight));
    }
}
