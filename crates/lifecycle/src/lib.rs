//! Floor 3: containers on disk and in the kernel - create, start, stop, recover.
#![forbid(unsafe_code)]

mod home;
mod resolve;

pub use home::{Home, new_id};
pub use resolve::{Bind, MASKED, READ_ONLY, RunOptions, resolve, volume_name};
