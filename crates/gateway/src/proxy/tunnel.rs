//! Bytes both ways: connections of other protocols, and those that have become something else.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};

/// What is under way in one direction: most of what passes is short.
const BUFFER: usize = 16 << 10;

/// Once one side has said its last, the other may be silent for so long: some never end by themselves.
const GRACE: Duration = Duration::from_secs(30);

/// Carries bytes until both sides have closed, or one has and the other says nothing any more; returns how many
/// came from either.
pub(crate) async fn carry(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    instance: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> (u64, u64) {
    let (from_client, to_client) = split(client);
    let (from_instance, to_instance) = split(instance);
    let (asked, answered) = (Cell::new(0), Cell::new(0));
    {
        let up = pass(from_client, to_instance, &asked);
        let down = pass(from_instance, to_client, &answered);
        tokio::pin!(up, down);
        tokio::select! {
            sent = &mut up => if sent.is_ok() { finish(down, &answered).await },
            sent = &mut down => if sent.is_ok() { finish(up, &asked).await },
        }
    }
    (asked.get(), answered.get())
}

/// One direction to its end, which the other side is told.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    passed: &Cell<u64>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer).await? {
            0 => return to.shutdown().await,
            count => {
                to.write_all(&buffer[..count]).await?;
                passed.set(passed.get() + count as u64);
            }
        }
    }
}

/// The rest of a direction, for as long as anything comes.
async fn finish(mut rest: impl Future<Output = io::Result<()>> + Unpin, passed: &Cell<u64>) {
    loop {
        let before = passed.get();
        let ended = tokio::time::timeout(GRACE, &mut rest).await;
        if ended.is_ok() || passed.get() == before {
            return;
        }
    }
}
