//! Whole lives of containers, from a state directory of their own, with the keeper as built.

mod exec;
mod faults;
mod harness;
mod life;
mod logs;
mod together;
