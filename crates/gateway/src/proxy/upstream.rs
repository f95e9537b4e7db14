//! Connections to one instance.

use std::io;
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use spec::activation::Protocol;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Body;
use crate::door::http::{HEAD, LINES};
use crate::local::Local;
use crate::service::Instance;

/// A connection that was made to see whether the service is ready may be used for so long: some services
/// close what says nothing.
const FRESH: Duration = Duration::from_secs(1);

/// One that is free may still be at the end of the answer before, which takes a moment and no more.
const MOMENT: Duration = Duration::from_millis(5);

/// A service that runs accepts at once, or has too many to accept.
const CONNECT: Duration = Duration::from_secs(5);

/// Who closes what was used so shortly before may do so while the next request is on its way: one that cannot be said
/// twice is then said on a connection of its own.
const HASTY: Duration = Duration::from_secs(2);

/// What of one request waits to be sent on a shared connection.
const BUFFER: usize = 64 << 10;

/// Connections that nobody uses now.
#[derive(Default)]
pub(crate) struct Free {
    /// The latest last, and since when.
    plain: Vec<(http1::SendRequest<Body>, Instant)>,
    shared: Option<http2::SendRequest<Body>>,
    raw: Option<(TcpStream, Instant)>,
    /// Its service closes without a word what was to be used again.
    hasty: bool,
}

impl Free {
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// A connection on which a request can be sent.
pub(crate) enum Upstream {
    Plain(http1::SendRequest<Body>),
    Shared(http2::SendRequest<Body>),
}

/// What came of sending.
pub(crate) enum Sent {
    Answer(Response<Incoming>),
    /// Nothing of it was heard by anybody.
    Unheard(Box<Request<Body>>),
    /// Whether the service has heard it is not known.
    Lost,
}

impl Upstream {
    pub(crate) async fn send(&mut self, request: Request<Body>) -> Sent {
        let sent = match self {
            Self::Plain(sender) => sender.try_send_request(request).await,
            Self::Shared(sender) => sender.try_send_request(request).await,
        };
        match sent {
            Ok(answer) => Sent::Answer(answer),
            Err(mut error) => match error.take_message() {
                Some(request) => Sent::Unheard(Box::new(request)),
                None => Sent::Lost,
            },
        }
    }
}

impl Instance {
    /// A connection, and whether it was used before; one that nobody has used for longer than `rested` is not taken.
    pub(crate) async fn upstream(&self, rested: Duration) -> io::Result<(Upstream, bool)> {
        while let Some(mut sender) = self.pop_plain(rested) {
            if sender.is_ready() || matches!(timeout(MOMENT, sender.ready()).await, Ok(Ok(()))) {
                return Ok((Upstream::Plain(sender), true));
            }
        }
        let shared = self.free.borrow().shared.clone().filter(|sender| !sender.is_closed());
        if let Some(sender) = shared {
            return Ok((Upstream::Shared(sender), true));
        }
        let stream = self.call().await?;
        Ok((self.greet(stream).await?, false))
    }

    fn pop_plain(&self, rested: Duration) -> Option<http1::SendRequest<Body>> {
        let Free { plain, hasty, .. } = &mut *self.free.borrow_mut();
        while let Some((sender, since)) = plain.pop() {
            let rests = since.elapsed();
            if sender.is_closed() {
                *hasty |= rests < HASTY;
            } else if rests < rested && !(*hasty && rested < Duration::MAX) {
                return Some(sender);
            }
        }
        None
    }

    /// What was to be used again was closed while it was.
    pub(crate) fn closes_in_haste(&self) {
        self.free.borrow_mut().hasty = true;
    }

    /// A new connection, or none in time.
    async fn call(&self) -> io::Result<TcpStream> {
        timeout(CONNECT, self.connect()).await?
    }

    /// Speaks the service's protocol on a new connection.
    async fn greet(&self, stream: TcpStream) -> io::Result<Upstream> {
        let io = TokioIo::new(stream);
        if self.protocol() == Protocol::H2c {
            let mut builder = http2::Builder::new(Local);
            builder.max_send_buf_size(BUFFER).max_header_list_size(HEAD as u32);
            let (sender, connection) = builder.handshake(io).await.map_err(io::Error::other)?;
            tokio::task::spawn_local(connection);
            self.free.borrow_mut().shared = Some(sender.clone());
            return Ok(Upstream::Shared(sender));
        }
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD).max_headers(LINES);
        let (sender, connection) = builder.handshake(io).await.map_err(io::Error::other)?;
        tokio::task::spawn_local(connection.with_upgrades());
        Ok(Upstream::Plain(sender))
    }

    /// Keeps a connection that has just been made.
    pub(crate) async fn keep(&self, stream: TcpStream) -> io::Result<()> {
        if self.protocol() == Protocol::Tcp {
            self.free.borrow_mut().raw = Some((stream, Instant::now()));
            return Ok(());
        }
        let upstream = self.greet(stream).await?;
        self.give_back(upstream);
        Ok(())
    }

    /// A connection whose answer has been taken to its end.
    pub(crate) fn give_back(&self, upstream: Upstream) {
        if let Upstream::Plain(sender) = upstream
            && !sender.is_closed()
        {
            self.free.borrow_mut().plain.push((sender, Instant::now()));
        }
    }

    /// A connection for bytes.
    pub(crate) async fn raw(&self) -> io::Result<TcpStream> {
        let kept = self.free.borrow_mut().raw.take();
        match kept.filter(|(_, since)| since.elapsed() < FRESH) {
            Some((stream, _)) => Ok(stream),
            None => self.call().await,
        }
    }
}
