//! HTTP on a connection: whichever version its client speaks.

use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::Front;
use super::patience::Patience;
use crate::local::Local;
use crate::proxy::{Asked, answer};
use crate::tls::rewound::Rewound;

/// How a client begins that speaks version 2 without asking (RFC 9113, 3.4): no method is called that.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// So much of it tells.
const TELLING: usize = 4;

/// The head of a request has so many bytes at most, and so many lines.
pub(crate) const HEAD: usize = 64 << 10;
pub(crate) const LINES: usize = 128;

/// So many requests of one client at once over one connection.
const STREAMS: u32 = 128;

/// So much of one answer waits for a slow client; the rest stays with the service.
const BUFFER: usize = 64 << 10;

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) client: IpAddr,
    /// The name that was asked for under TLS, if that was spoken.
    pub(crate) secure: Option<Rc<str>>,
}

/// Serves a connection without TLS until it closes.
pub(crate) async fn serve_plain(front: Rc<Front>, stream: TcpStream, client: IpAddr) {
    let patience = Patience::new(front.clients.borrow().clone());
    let time = front.clients.borrow().idle_time;
    // One that says nothing yet costs no more than its socket and this task.
    let said = tokio::select! {
        said = tokio::time::timeout(time, stream.readable()) => said,
        () = front.leaves() => return,
    };
    let Ok(Ok(())) = said else { return };
    let time = front.clients.borrow().head_time;
    let preface = Box::pin(Rewound::read_until(stream, says_preface));
    let Ok(Ok((stream, second))) = tokio::time::timeout(time, preface).await else { return };
    serve(front, stream, Caller { client, secure: None }, second, patience).await;
}

/// Serves a connection that speaks version 2 or 1.
pub(crate) async fn serve(
    front: Rc<Front>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    caller: Caller,
    second: bool,
    patience: Patience,
) {
    let asked = Asked { front, caller, patience };
    // What is served has its place elsewhere: there are many who are not yet, or in the other way.
    match second {
        true => Box::pin(serve_second(stream, asked)).await,
        false => Box::pin(serve_first(stream, asked)).await,
    }
}

async fn serve_first(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, asked: Asked) {
    let (leaves, stream) = (asked.front.leaves(), TokioIo::new(asked.patience.with(stream)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(HEAD)
        .max_headers(LINES)
        .serve_connection(stream, service_fn(move |request| answer(asked.clone(), request)))
        .with_upgrades();
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        // How a client goes away is its own affair.
        _ = connection.as_mut() => return,
        () = leaves => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn serve_second(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, asked: Asked) {
    let patience = asked.patience.clone();
    patience.is_of_version_two();
    let (leaves, stream) = (asked.front.leaves(), TokioIo::new(patience.with(stream)));
    let connection = http2::Builder::new(Local)
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD as u32)
        .max_send_buf_size(BUFFER)
        .serve_connection(stream, service_fn(move |request| answer(asked.clone(), request)));
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = leaves => {}
        () = patience.is_over() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Whether a client speaks version 2, as soon as what it has said so far tells.
fn says_preface(said: &[u8]) -> Option<bool> {
    let count = said.len().min(PREFACE.len());
    match said[..count] == PREFACE[..count] {
        false => Some(false),
        true => (count >= TELLING).then_some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_bytes_tell_which_version_it_is() {
        assert_eq!(says_preface(b"G"), Some(false));
        assert_eq!(says_preface(b"PRI"), None);
        assert_eq!(says_preface(b"PRIX"), Some(false));
        assert_eq!(says_preface(b"PRI "), Some(true));
        assert_eq!(says_preface(&[PREFACE, b"more"].concat()), Some(true));
    }
}
