//! Taking back from a container what it can do without.

use spec::{Error, Result, ResultExt};

use crate::container::Container;
use crate::record::Status;

impl Container {
    /// Has the kernel take `amount` bytes of its memory back, or all that can be spared: files that it
    /// has read, above all. Returns how much that was.
    ///
    /// # Errors
    /// When it does not run, or this host cannot do that.
    pub fn reclaim(&self, amount: Option<u64>) -> Result<u64> {
        let group = match self.status()? {
            Status::Running(state) => state.group,
            other => {
                return Err(Error::conflict(format!(
                    "container {} does not run: {}",
                    self.name(),
                    other.word()
                ))
                .hint("what does not run has no memory to give back"));
            }
        };
        let group = group.ok_or_else(|| {
            Error::unsupported("it runs without control groups")
                .hint("tsubo info tells why this host gives it none")
        });
        group
            .and_then(|group| group.reclaim(amount))
            .doing(|| format!("taking memory back from container {}", self.name()))
    }
}
