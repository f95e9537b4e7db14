//! How long is waited for a client: for its next request, for the head of one, for more of what it sends
//! or takes. One timer for each connection, which is set anew only when it rings too early.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Sleep;

use crate::config::Clients;

/// What is known of one connection by both of its ends: the one that reads and writes bytes, and the one
/// that deals with requests. A connection that becomes something else may go to another thread, says its
/// type; it never does, so all of this costs what plain numbers cost.
#[derive(Clone)]
pub(crate) struct Patience(Arc<State>);

struct State {
    clients: Clients,
    /// Requests that are under way.
    busy: AtomicU32,
    /// So many bodies are waited for.
    reads: AtomicU32,
    /// Some of a head has come.
    head: AtomicBool,
    /// It speaks version 2.
    second: AtomicBool,
    /// It has become something else, whose silence means nothing.
    free: AtomicBool,
    /// It has been idle for long enough, and is told to close in order.
    over: Notify,
    parting: AtomicBool,
    begun: Instant,
    /// Since when what is waited for is waited for, in microseconds since it has begun.
    since: AtomicU64,
}

impl Patience {
    pub(crate) fn new(clients: Clients) -> Self {
        Self(Arc::new(State {
            clients,
            busy: AtomicU32::new(0),
            reads: AtomicU32::new(0),
            head: AtomicBool::new(false),
            second: AtomicBool::new(false),
            free: AtomicBool::new(false),
            over: Notify::new(),
            parting: AtomicBool::new(false),
            begun: Instant::now(),
            since: AtomicU64::new(0),
        }))
    }

    /// A request has come.
    pub(crate) fn begins(&self) {
        self.0.busy.fetch_add(1, Relaxed);
        self.0.head.store(false, Relaxed);
    }

    /// It is over.
    pub(crate) fn ends(&self) {
        self.0.busy.fetch_sub(1, Relaxed);
        self.begin_anew();
    }

    /// From here on it may be silent for as long as it likes.
    pub(crate) fn lets_be(&self) {
        self.0.free.store(true, Relaxed);
    }

    /// It speaks version 2, where the bytes that come need not be of a request.
    pub(crate) fn is_of_version_two(&self) {
        self.0.second.store(true, Relaxed);
    }

    /// Returns once a connection of version 2 has been idle for long enough: both sides say then that they part.
    pub(crate) async fn is_over(&self) {
        self.0.over.notified().await;
    }

    /// Whether it may still close in order, which it is told once.
    fn parts_in_order(&self) -> bool {
        let State { busy, second, over, parting, .. } = &*self.0;
        if !second.load(Relaxed) || busy.load(Relaxed) > 0 || parting.swap(true, Relaxed) {
            return false;
        }
        self.begin_anew();
        over.notify_one();
        true
    }

    /// More of a request is waited for.
    pub(crate) fn waits_for_body(&self) {
        self.0.reads.fetch_add(1, Relaxed);
        self.begin_anew();
    }

    /// It is not any more.
    pub(crate) fn has_body(&self) {
        self.0.reads.fetch_sub(1, Relaxed);
    }

    fn begin_anew(&self) {
        self.0.since.store(self.0.begun.elapsed().as_micros() as u64, Relaxed);
    }

    /// Bytes have come.
    fn came(&self) {
        let State { busy, reads, head, second, .. } = &*self.0;
        let is_head = || busy.load(Relaxed) == 0 && !second.load(Relaxed);
        if reads.load(Relaxed) > 0 || is_head() && !head.swap(true, Relaxed) {
            self.begin_anew();
        }
    }

    /// When a client that sends nothing is given up.
    fn end_of_reading(&self) -> Option<Instant> {
        let State { clients, busy, reads, head, free, parting, begun, since, .. } = &*self.0;
        if free.load(Relaxed) {
            return None;
        }
        let head = head.load(Relaxed) || parting.load(Relaxed);
        let time = match (busy.load(Relaxed), reads.load(Relaxed) > 0, head) {
            (0, _, false) => clients.idle_time,
            (0, _, true) => clients.head_time,
            (_, true, _) => clients.stall_time,
            // It waits for us.
            (_, false, _) => return None,
        };
        Some(*begun + Duration::from_micros(since.load(Relaxed)) + time)
    }

    /// The connection, with that patience.
    pub(crate) fn with<S>(&self, stream: S) -> Patient<S> {
        Patient { stream, patience: self.clone(), timer: None, stuck: None }
    }
}

/// A connection that gives its client up after a while.
pub(crate) struct Patient<S> {
    stream: S,
    patience: Patience,
    timer: Option<Pin<Box<Sleep>>>,
    /// Since when the client takes nothing.
    stuck: Option<Instant>,
}

impl<S> Patient<S> {
    /// An error once `end` has passed. A request ends without anybody looking here again, so it is looked here
    /// at least as often as a client that is idle then would have to be given up.
    fn wait_until(&mut self, end: Option<Instant>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let idle_time = self.patience.0.clients.idle_time;
        let next = |now: Instant| end.map_or(now + idle_time, |end| end.min(now + idle_time));
        let timer =
            self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(next(Instant::now()).into())));
        if let Some(end) = end.filter(|end| timer.deadline().into_std() > *end) {
            timer.as_mut().reset(end.into());
        }
        while timer.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            if end.is_some_and(|end| now >= end) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            timer.as_mut().reset(next(now).into());
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Ready(read) => {
                this.patience.came();
                Poll::Ready(read)
            }
            Poll::Pending => {
                let waited = this.wait_until(this.patience.end_of_reading(), context);
                if waited.is_ready() && this.patience.parts_in_order() {
                    return this.wait_until(this.patience.end_of_reading(), context);
                }
                waited
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> Patient<S> {
    fn watch<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let since = *self.stuck.get_or_insert_with(Instant::now);
        let end = since + self.patience.0.clients.stall_time;
        self.wait_until(Some(end), context).map(|late| late.and(Err(io::ErrorKind::TimedOut.into())))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.watch(written, context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, bytes);
        this.watch(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        this.watch(flushed, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.stream).poll_shutdown(context);
        this.watch(shut, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience() -> Patience {
        Patience::new(Clients::default())
    }

    fn time_left(patience: &Patience) -> Option<Duration> {
        patience.end_of_reading().map(|end| end - patience.0.begun - since(patience))
    }

    fn since(patience: &Patience) -> Duration {
        Duration::from_micros(patience.0.since.load(Relaxed))
    }

    #[test]
    fn a_head_has_less_time_than_one_who_is_idle() {
        let (patience, clients) = (patience(), Clients::default());
        assert_eq!(time_left(&patience), Some(clients.idle_time));
        patience.came();
        assert_eq!(time_left(&patience), Some(clients.head_time));
        patience.begins();
        assert_eq!(time_left(&patience), None);
        patience.ends();
        assert_eq!(time_left(&patience), Some(clients.idle_time));
    }

    #[test]
    fn bytes_of_version_two_need_not_be_a_head() {
        let (patience, clients) = (patience(), Clients::default());
        patience.is_of_version_two();
        patience.came();
        assert_eq!(time_left(&patience), Some(clients.idle_time));
        assert!(patience.parts_in_order() && !patience.parts_in_order());
        assert_eq!(time_left(&patience), Some(clients.head_time));
    }

    #[test]
    fn each_body_is_waited_for() {
        let (patience, clients) = (patience(), Clients::default());
        patience.begins();
        patience.begins();
        patience.waits_for_body();
        patience.waits_for_body();
        patience.has_body();
        patience.ends();
        assert_eq!(time_left(&patience), Some(clients.stall_time));
        patience.has_body();
        assert_eq!(time_left(&patience), None);
    }
}
