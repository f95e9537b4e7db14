//! Who decides about a container's system calls gets the listener of its filter.

use std::os::fd::{AsFd, OwnedFd};

use spec::oci::{FileDescriptors, Status};
use spec::{Error, Result};

use crate::console;
use crate::record::Record;

/// Sends it, with the container process state.
///
/// # Errors
/// Where nobody listens.
pub(crate) fn give(listener: Option<OwnedFd>, record: &Record, pid: i32, status: Status) -> Result<()> {
    let (Some(listener), Some(wanted)) = (listener, &record.bundle.listener) else { return Ok(()) };
    let state = record.state(status);
    let document = FileDescriptors::listener(pid, wanted.metadata.clone(), state);
    let text = serde_json::to_vec(&document)
        .map_err(|cause| Error::internal("encoding the container process state").because(cause))?;
    console::send(console::connect(&wanted.path)?, &text, listener.as_fd())
}
