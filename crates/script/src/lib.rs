//! Floor 2: scripts of definitions and hooks, in a sandboxed Luau with bounds on its time and memory.
//!
//! A [`Vm`] is made for one evaluation or one firing and thrown away. What a script may reach beyond plain
//! computing is put into it by whoever makes it; nothing here touches files, processes or the network.
#![forbid(unsafe_code)]

pub mod definition;
mod interrupt;
pub mod library;
mod mistake;
pub mod modules;
pub mod plain;
mod sandbox;
pub mod say;
mod shelf;
pub mod value;
mod vm;

pub use mistake::{Mistake, here, refused};
pub use mlua;
pub use vm::{Bounds, Vm};

/// Type definitions for editors, of all that scripts can reach.
pub const TYPES: &str = include_str!("../lib/types.d.luau");
