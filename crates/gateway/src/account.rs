//! What is told afterwards: how many requests there were, how long they took, and each of them in a log.

pub mod histogram;
pub mod line;
pub mod log;
pub mod metrics;
