//! What Haconiwa's users have: `.haco` files, which are Ruby programs. One is run once, where it reaches nothing
//! ([`run`]), and what it says becomes our words ([`words`]).

pub mod record;
pub mod run;
mod sandbox;
mod text;
pub mod words;

pub use record::Record;
pub use run::{Asked, record};
pub use words::{Imported, Note, imported};
