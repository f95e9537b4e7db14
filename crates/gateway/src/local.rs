//! Tasks of one thread.

use std::future::Future;

use hyper::rt::Executor;

/// Runs what a protocol needs besides on the calling thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Local;

impl<F> Executor<F> for Local
where
    F: Future<Output: 'static> + 'static,
{
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}
