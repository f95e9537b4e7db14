//! Floor 4: from development to production - dev, test, pack, and the replay.
#![forbid(unsafe_code)]

pub mod base_tree;
pub mod changes;
pub mod cut;
pub mod dev;
pub mod distribution;
pub mod haconiwa;
pub mod host;
pub mod interrupt;
pub mod pack;
pub mod passwd;
pub mod policy;
pub mod progress;
pub mod replay;
pub mod service;
pub mod terminal;
pub mod trial;
