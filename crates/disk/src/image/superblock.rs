//! What an image that is not mounted says of itself.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use spec::{Error, Result, ResultExt};

use super::limits::Figures;

/// Where it is in the file, and how much of it matters.
const AT: u64 = 1024;
const LENGTH: usize = 0x24c;

const MAGIC: u16 = 0xef53;
/// INCOMPAT_RECOVER: it was not unmounted, and counts are those of an earlier time.
const UNFINISHED: u32 = 0x4;

/// Those of the image `path`; None while it is mounted, or was when the host went down, or where its
/// maker did not write down what it takes itself.
pub(super) fn figures(path: &Path) -> Result<Option<Figures>> {
    let mut bytes = [0; LENGTH];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut bytes, AT));
    read.doing(|| format!("reading {}", path.display()))?;
    if u16::from_le_bytes([bytes[0x38], bytes[0x39]]) != MAGIC {
        return Err(Error::internal(format!("{} holds no file system", path.display())));
    }
    Ok(parse(&bytes))
}

fn parse(bytes: &[u8; LENGTH]) -> Option<Figures> {
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let long = |low: usize, high: usize| u64::from(word(high)) << 32 | u64::from(word(low));
    let own = u64::from(word(0x248));
    if word(0x60) & UNFINISHED != 0 || own == 0 {
        return None;
    }
    let blocks = long(0x4, 0x150).checked_sub(own)?;
    Some(Figures {
        blocks,
        blocks_used: blocks.checked_sub(long(0xc, 0x158))?,
        inodes: word(0).into(),
        inodes_used: word(0).checked_sub(word(0x10))?.into(),
    })
}
