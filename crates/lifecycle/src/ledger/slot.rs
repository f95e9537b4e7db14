//! One promise as it is written: 64 bytes, which the kernel writes whole or not at all.

use spec::{Id, Promise};

use crate::pinned::Pinned;

/// Bytes of a slot.
pub(super) const SLOT: usize = 64;

/// What a slot that is used begins with, and its version. One of zeros is free.
const MAGIC: u32 = 0x3150_5354;

/// What a container is promised while its keeper lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The container.
    pub id: Id,
    /// What it is promised.
    pub promise: Promise,
    /// Its keeper.
    pub keeper: Pinned,
    /// Of which boot.
    pub boot: u32,
}

/// It was not written by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damaged;

impl Entry {
    /// As it is written.
    pub(super) fn bytes(&self) -> [u8; SLOT] {
        let Promise { memory, tasks, disk, cpu } = self.promise;
        let mut slot = [0; SLOT];
        slot[..4].copy_from_slice(&MAGIC.to_le_bytes());
        slot[8..14].copy_from_slice(&self.id.bytes());
        slot[16..24].copy_from_slice(&memory.to_le_bytes());
        slot[24..32].copy_from_slice(&tasks.to_le_bytes());
        slot[32..40].copy_from_slice(&disk.to_le_bytes());
        slot[40..44].copy_from_slice(&u32::try_from(cpu).unwrap_or(u32::MAX).to_le_bytes());
        slot[44..48].copy_from_slice(&self.boot.to_le_bytes());
        slot[48..52].copy_from_slice(&self.keeper.pid.to_le_bytes());
        slot[56..64].copy_from_slice(&self.keeper.start.to_le_bytes());
        let sum = sum(&slot);
        slot[4..8].copy_from_slice(&sum.to_le_bytes());
        slot
    }
}

/// What is in a slot; None if it is free.
pub(super) fn entry(slot: &[u8; SLOT]) -> Result<Option<Entry>, Damaged> {
    if *slot == [0; SLOT] {
        return Ok(None);
    }
    if four(slot, 0) != MAGIC || four(slot, 4) != sum(slot) {
        return Err(Damaged);
    }
    let mut id = [0; 6];
    id.copy_from_slice(&slot[8..14]);
    let promise = Promise {
        memory: eight(slot, 16),
        tasks: eight(slot, 24),
        disk: eight(slot, 32),
        cpu: four(slot, 40).into(),
    };
    let keeper = Pinned { pid: i32::from_le_bytes(four(slot, 48).to_le_bytes()), start: eight(slot, 56) };
    Ok(Some(Entry { id: Id::from_bytes(id), promise, keeper, boot: four(slot, 44) }))
}

fn four(slot: &[u8; SLOT], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&slot[at..at + 4]);
    u32::from_le_bytes(bytes)
}

fn eight(slot: &[u8; SLOT], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&slot[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// Of all behind it. It tells accidents, not attackers: who can write here is root.
fn sum(slot: &[u8; SLOT]) -> u32 {
    let mix =
        |sum: u64, at: usize| (sum ^ eight(slot, at)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let sum = (8..SLOT).step_by(8).fold(u64::from(MAGIC), mix);
    (sum ^ (sum >> 32)) as u32
}

/// A boot in four bytes.
pub(super) fn boot_tag(boot: &str) -> u32 {
    boot.bytes().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_read_as_it_was_written() {
        let promise = Promise { memory: 1 << 40, tasks: 3, disk: u64::MAX, cpu: 1500 };
        let keeper = Pinned { pid: 4711, start: 1 << 33 };
        let written = Entry { id: Id::from_bytes([1, 2, 3, 4, 5, 6]), promise, keeper, boot: boot_tag("x") };
        let slot = written.bytes();
        assert_eq!(entry(&slot), Ok(Some(written)));
        assert_eq!(entry(&[0; SLOT]), Ok(None));
        for at in 0..SLOT {
            let mut damaged = slot;
            damaged[at] ^= 0x10;
            assert_eq!(entry(&damaged), Err(Damaged), "byte {at}");
        }
        assert_ne!(boot_tag("a"), boot_tag("b"));
    }
}
