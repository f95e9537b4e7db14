//! What is decided: pure functions of what is known this moment. Nobody here reads a clock, so a clock
//! that jumps changes nothing; time comes in as [`Instant`](std::time::Instant), which only goes forward.

pub mod arrivals;
pub mod backoff;
pub mod fair;
pub mod peak;
pub mod scale;
pub mod share;
