//! Capabilities of the calling thread, as sets of bits numbered as in capability.h.

use rustix::io::{Errno, Result};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// The number of CAP_DAC_OVERRIDE.
pub const DAC_OVERRIDE: u32 = 1;
/// The number of CAP_KILL.
pub const KILL: u32 = 5;
/// The number of CAP_SETPCAP.
pub const SETPCAP: u32 = 8;
/// The number of CAP_NET_BIND_SERVICE.
pub const NET_BIND_SERVICE: u32 = 10;
/// The number of CAP_NET_ADMIN.
pub const NET_ADMIN: u32 = 12;
/// The number of CAP_NET_RAW.
pub const NET_RAW: u32 = 13;
/// The number of CAP_SYS_ADMIN.
pub const SYS_ADMIN: u32 = 21;
/// The number of CAP_SYS_PTRACE.
pub const SYS_PTRACE: u32 = 19;

/// The permitted set of the calling thread.
pub fn permitted() -> Result<u64> {
    Ok(rustix::thread::capabilities(None)?.permitted.bits())
}

/// Makes `set` the effective and permitted set; the inheritable and ambient ones become empty.
pub fn set(set: u64) -> Result<()> {
    let set = CapabilitySet::from_bits_retain(set);
    let sets = CapabilitySets { effective: set, permitted: set, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)?;
    rustix::thread::clear_ambient_capability_set()
}

/// Makes `set` the effective set, within the permitted one.
pub fn set_effective(set: u64) -> Result<()> {
    let sets = rustix::thread::capabilities(None)?;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: CapabilitySet::from_bits_retain(set), ..sets },
    )
}

/// Makes these the sets of the calling thread (all but the bounding one).
pub fn set_all(permitted: u64, effective: u64, inheritable: u64, ambient: u64) -> Result<()> {
    let bits = CapabilitySet::from_bits_retain;
    let sets = CapabilitySets {
        effective: bits(effective),
        permitted: bits(permitted),
        inheritable: bits(inheritable),
    };
    rustix::thread::set_capabilities(None, sets)?;
    rustix::thread::clear_ambient_capability_set()?;
    for number in (0..64_u32).filter(|number| ambient & (1 << number) != 0) {
        let raise = libc::PR_CAP_AMBIENT_RAISE;
        // SAFETY: prctl with numbers only.
        if unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise, libc::c_ulong::from(number), 0, 0) } < 0 {
            return Err(crate::last_error());
        }
    }
    Ok(())
}

/// Drops from the bounding set everything that is not in `keep`.
pub fn bound(keep: u64) -> Result<()> {
    for number in (0..64).filter(|number| keep & (1 << number) == 0) {
        // SAFETY: prctl with numbers only.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) } < 0 {
            match crate::last_error() {
                // Past the last capability that this kernel knows.
                Errno::INVAL => return Ok(()),
                error => return Err(error),
            }
        }
    }
    Ok(())
}
