//! A packed stream as its unpacked bytes: one thread reads, hashes and unpacks, the caller works.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use sha2::{Digest as _, Sha256};
use spec::{Digest, Error, Result};

use crate::input::{Skip, bad};
use crate::limits;

const PIECE: usize = 256 << 10;
/// Pieces in flight.
const DEPTH: usize = 8;

/// What went through.
pub(crate) struct Sums {
    /// Digest of the packed bytes.
    pub(crate) packed: Digest,
    /// Digest of the unpacked bytes.
    pub(crate) unpacked: Digest,
    /// How many unpacked bytes there were.
    pub(crate) bytes: u64,
}

/// Gives `work` the unpacked bytes of `source`, at most `limit`; then sums up the whole stream.
/// `progress` is told how many packed bytes are done.
pub(crate) fn unpacked<T>(
    source: impl Read + Send,
    limit: u64,
    progress: &dyn Fn(u64),
    work: impl FnOnce(&mut Pieces<'_>) -> Result<T>,
) -> Result<(T, Sums)> {
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(DEPTH);
        let done = &done;
        let producer = scope.spawn(move || produce(source, limit, done, &sender));
        let mut pieces = Pieces { receiver, piece: Vec::new(), at: 0, done, progress };
        let result = work(&mut pieces);
        let rest = if result.is_ok() { io::copy(&mut pieces, &mut io::sink()) } else { Ok(0) };
        drop(pieces); // a producer that is ahead now stops
        let sums = producer.join();
        let result = result?;
        rest.map_err(|cause| bad("unpacking", cause))?;
        let sums = sums.map_err(|_| Error::internal("the unpacking thread died"))?;
        Ok((result, sums.ok_or_else(|| Error::internal("the unpacking thread gave up"))?))
    })
}

/// The unpacked bytes, as they come.
pub(crate) struct Pieces<'a> {
    receiver: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    at: usize,
    done: &'a AtomicU64,
    progress: &'a dyn Fn(u64),
}

impl Pieces<'_> {
    /// The first bytes, up to one piece, without taking them.
    pub(crate) fn peek(&mut self) -> io::Result<&[u8]> {
        if self.at == self.piece.len() {
            let Ok(piece) = self.receiver.recv() else { return Ok(&[]) };
            (self.piece, self.at) = (piece?, 0);
            (self.progress)(self.done.load(Ordering::Relaxed));
        }
        Ok(&self.piece[self.at..])
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let ready = self.peek()?;
        let count = ready.len().min(buf.len());
        buf[..count].copy_from_slice(&ready[..count]);
        self.at += count;
        Ok(count)
    }
}

impl Skip for Pieces<'_> {}
impl Skip for &mut Pieces<'_> {}

/// None if the receiver went away or reading failed (then it has been told).
fn produce(
    source: impl Read + Send,
    limit: u64,
    done: &AtomicU64,
    sender: &SyncSender<io::Result<Vec<u8>>>,
) -> Option<Sums> {
    let mut source = Counted { inner: source, hash: Sha256::new(), done };
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let pumped = decoder(&mut source).and_then(|mut decoder| {
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            decoder.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
            bytes += piece.len() as u64;
            if bytes > limit {
                return Err(io::Error::other(too_large(limit)));
            }
            hash.update(&piece);
            let last = piece.is_empty();
            if last || sender.send(Ok(piece)).is_err() {
                return Ok(last);
            }
        }
    });
    let finished = pumped.and_then(|complete| {
        io::copy(&mut source, &mut io::sink())?;
        Ok(complete)
    });
    match finished {
        Ok(true) => {
            let digest = |hash: Sha256| Digest::from_bytes(hash.finalize().into());
            Some(Sums { packed: digest(source.hash), unpacked: digest(hash), bytes })
        }
        Ok(false) => None,
        Err(cause) => {
            // If nobody listens any more, nobody needs to know.
            let _ = sender.send(Err(cause));
            None
        }
    }
}

fn too_large(limit: u64) -> Error {
    Error::user(format!("it unpacks to more than the {limit} bytes that are allowed for it"))
        .hint("what grows so far beyond its packed size is not a program; if it is yours, cut it down first")
}

/// Unpacks by what the first bytes say, never by a name.
fn decoder<'a>(source: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut source = BufReader::with_capacity(PIECE, source);
    let magic = source.fill_buf()?;
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            let mut decoder = zstd::Decoder::with_buffer(source)?;
            decoder.window_log_max(limits::ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            let stream = liblzma::stream::Stream::new_stream_decoder(
                limits::XZ_MEMORY,
                liblzma::stream::CONCATENATED,
            )?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(source, stream))
        }
        [b'B', b'Z', b'h', ..] => {
            let error = Error::user("it is packed with bzip2, which is not supported");
            return Err(io::Error::other(error.hint("bunzip2 it, or pack it with gzip, xz or zstd")));
        }
        _ => Box::new(source),
    })
}

/// Counts and hashes what is read.
struct Counted<'a, R> {
    inner: R,
    hash: Sha256,
    done: &'a AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        self.hash.update(&buf[..count]);
        self.done.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
