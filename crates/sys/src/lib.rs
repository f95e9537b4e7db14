//! Floor 0: every system call and all unsafe code of Tsuboniwa.
#![allow(unsafe_code, reason = "this is the one crate where it may live")]
