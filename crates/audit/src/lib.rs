//! `tsubo audit`: a container attacks its own limits, and the host shows what it lost.
//!
//! * [`attack`] is the vocabulary: what an attack is, how it is bounded, how its verdict is made.
//! * [`attacks`] is the table, a file for each family.
//! * [`inside`] is the attacker, which the container runs (the program `tsubo-attack`).
//! * [`places`] is where a container can write, and [`cell`] what an attack runs in.
//! * [`neighbour`] is the small service beside it that feels what the container does.
//! * [`host`] starts containers, watches what the host has left and what a neighbour feels, and judges
//!   (the program `tsubo-audit`).
#![forbid(unsafe_code)]

pub mod attack;
pub mod attacks;
pub mod cell;
pub mod host;
pub mod inside;
pub mod neighbour;
pub mod places;
pub mod speech;
