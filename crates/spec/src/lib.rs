//! Floor 1: the nouns of Tsuboniwa as plain data.
//!
//! No I/O, no system calls, no unsafe code. The data flows
//! [`definition`] → [`portable`] → [`container`] (the resolved spec) → [`plan`];
//! [`observation`] and [`report`] are what watching and packing leave behind.
#![forbid(unsafe_code)]

pub mod activation;
pub mod container;
pub mod definition;
pub mod digest;
pub mod error;
pub mod hooks;
pub mod id;
pub mod isolation;
pub mod life;
pub mod limits;
pub mod name;
pub mod network;
pub mod observation;
pub mod oci;
pub mod plan;
pub mod portable;
pub mod promise;
pub mod protocol;
pub mod ready;
pub mod report;
pub mod resources;
pub mod root_path;
pub mod seccomp;
pub mod signal;

pub use digest::Digest;
pub use error::{Error, ErrorKind, Result, ResultExt};
pub use id::Id;
pub use name::Name;
pub use promise::Promise;
pub use root_path::RootPath;
