//! What a container says, kept with bounds.
//!
//! A line is `TIME STREAM TAG TEXT`, as Kubernetes' container runtimes write it: the time in UTC
//! (RFC 3339, microseconds), `stdout` or `stderr`, `F` for a whole line or `P` for a part of one
//! (lines are cut at 16 KiB), and the bytes as they came. `log` is the newest file, `log.1` and
//! `log.2` are older; each holds at most 10 MiB and the oldest goes when a new one is begun.

mod format;
mod read;
mod room;
mod write;

pub use read::{Line, Reader};
pub(crate) use room::give_room;
pub use write::Writer;

/// The most that one file holds.
const FILE_BYTES: u64 = 10 << 20;

/// All that is kept, if nobody says more.
pub(crate) const USUAL: u64 = FILES as u64 * FILE_BYTES;

/// How many files there are.
const FILES: usize = 3;

/// The longest text on one line.
const LINE_BYTES: usize = 16 << 10;

/// The name of the file that is the `age`-th newest.
fn file_name(age: usize) -> String {
    if age == 0 { "log".to_owned() } else { format!("log.{age}") }
}
