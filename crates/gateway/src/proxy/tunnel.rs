//! Bytes both ways: connections of other protocols, and those that have become something else.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};

/// What is under way in one direction: most of what passes is short.
const BUFFER: usize = 16 << 10;

/// Carries bytes until both sides have closed; returns how many came from either.
pub(crate) async fn carry(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    instance: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<(u64, u64)> {
    copy_bidirectional_with_sizes(client, instance, BUFFER, BUFFER).await
}
