//! A connection whose first bytes were read to be looked at, and come again.
//!
//! They are read, not peeked at: of bytes that stay in the socket nobody is told when there are more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::client_hello::{Greeting, Reader};

/// So much is read at once: nearly all first messages come in one piece.
const PIECE: usize = 4 << 10;

/// A connection from its first byte on.
#[derive(Debug)]
pub struct Rewound<S> {
    /// What was read before.
    first: Vec<u8>,
    /// How much of that has come again.
    done: usize,
    stream: S,
}

impl<S: AsyncRead + Unpin> Rewound<S> {
    /// Reads a connection until it is known for whom it is. How long that may take is for the caller to say.
    ///
    /// # Errors
    /// Where the connection fails, or ends before that.
    pub async fn greeted(stream: S) -> io::Result<(Self, Greeting)> {
        let (mut seen, mut reader) = (0, Reader::default());
        let read = Self::read_until(stream, |first| {
            let greeting = reader.push(&first[seen..]);
            seen = first.len();
            (greeting != Greeting::More).then_some(greeting)
        });
        read.await
    }

    /// Reads a connection until `judge` has something to say of all that has come so far.
    ///
    /// # Errors
    /// Where the connection fails, or ends before that.
    pub async fn read_until<T>(
        mut stream: S,
        mut judge: impl FnMut(&[u8]) -> Option<T>,
    ) -> io::Result<(Self, T)> {
        let mut first = Vec::with_capacity(PIECE);
        loop {
            first.reserve(PIECE);
            if (&mut stream).take(PIECE as u64).read_buf(&mut first).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(verdict) = judge(&first) {
                return Ok((Self { first, done: 0, stream }, verdict));
            }
        }
    }
}

impl<S> Rewound<S> {
    /// The connection itself, past what was read.
    pub fn inner(&self) -> &S {
        &self.stream
    }

    /// The bytes that were read and did not come again yet, and the connection.
    pub fn into_parts(mut self) -> (Vec<u8>, S) {
        (self.first.split_off(self.done), self.stream)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.first.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let left = &this.first[this.done..];
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..count]);
        this.done += count;
        if this.done == this.first.len() {
            // A connection may be open for days.
            (this.first, this.done) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
