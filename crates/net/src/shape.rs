//! How fast packets leave an interface: a token bucket.

use crate::message::Batch;
use crate::uapi::netlink::{CREATE, REPLACE};
use crate::uapi::route::*;

/// What may leave at once: as much as in a hundredth of a second, and never less than the greatest packet
/// that the kernel cuts up later.
const BURST: u64 = 128 * 1024;

/// No more than `bytes` a second leave the link.
pub(crate) fn shape(batch: &mut Batch, index: u32, bytes: u64) -> u32 {
    let burst = u32::try_from(bytes / 100).unwrap_or(u32::MAX).max(BURST as u32);
    let mut header = vec![0; 4];
    header.extend(index.to_ne_bytes());
    header.extend([0; 4]);
    header.extend(TC_H_ROOT.to_ne_bytes());
    header.extend([0; 4]);
    let number = batch.message(NEWQDISC, CREATE | REPLACE, &header);
    batch.put_text(TCA_KIND, "tbf");
    batch.nest(TCA_OPTIONS, &[], |batch| {
        batch.put(TCA_TBF_PARMS, &parameters(bytes, burst));
        batch.put_u32(TCA_TBF_BURST, burst);
        if u32::try_from(bytes).is_err() {
            batch.put(TCA_TBF_RATE64, &bytes.to_ne_bytes());
        }
    });
    number
}

/// struct tc_tbf_qopt: rate, peak rate (none), limit, buffer, mtu.
fn parameters(bytes: u64, burst: u32) -> Vec<u8> {
    let rate = u32::try_from(bytes).unwrap_or(u32::MAX);
    // Packets wait at most a fifth of a second.
    let limit = u32::try_from(bytes / 5).unwrap_or(u32::MAX).max(burst);
    let mut parameters = rate_spec(rate);
    parameters.extend([0; 12]);
    parameters.extend(limit.to_ne_bytes());
    // How long the burst takes, in ticks of 64 ns; TCA_TBF_BURST counts.
    let ticks = u64::from(burst) * 1_000_000_000 / bytes.max(1) / 64;
    parameters.extend(u32::try_from(ticks).unwrap_or(u32::MAX).to_ne_bytes());
    parameters.extend([0; 4]);
    parameters
}

/// struct tc_ratespec, for Ethernet.
fn rate_spec(rate: u32) -> Vec<u8> {
    let mut spec = vec![0, 1, 0, 0, 0, 0, 0, 0];
    spec.extend(rate.to_ne_bytes());
    spec
}
