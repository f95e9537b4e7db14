//! How long work tells what it is doing; the command draws it.

/// Something that shows progress to a person.
pub trait Progress {
    /// A new stage of the work has begun.
    fn stage(&self, what: &str);
    /// So much of the stage is done; a total of 0 means that nobody knows.
    fn amount(&self, done: u64, total: u64);
    /// Something worth keeping on the screen.
    fn note(&self, text: &str);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &str) {}
    fn amount(&self, _: u64, _: u64) {}
    fn note(&self, _: &str) {}
}
