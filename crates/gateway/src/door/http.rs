//! HTTP on a connection: whichever version its client speaks.

use std::io;
use std::net::IpAddr;
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

/// How a client begins that speaks version 2 without asking (RFC 9113, 3.4): no method is called that.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

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
    let Ok(Ok(second)) = tokio::time::timeout(time, says_preface(&stream)).await else { return };
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
    if second {
        patience.is_of_version_two();
    }
    let stream = TokioIo::new(patience.with(stream));
    let asked = Asked { front, caller, patience };
    let service = service_fn(move |request| answer(asked.clone(), request));
    // How a client goes away is its own affair.
    let _ = if second {
        http2::Builder::new(Local)
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEAD as u32)
            .max_send_buf_size(BUFFER)
            .serve_connection(stream, service)
            .await
    } else {
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_buf_size(HEAD)
            .max_headers(LINES)
            .serve_connection(stream, service)
            .with_upgrades()
            .await
    };
}

/// Whether a client speaks version 2; waits until it says anything.
async fn says_preface(stream: &TcpStream) -> io::Result<bool> {
    let mut begins = [0; 4];
    let mut seen = 0;
    loop {
        stream.readable().await?;
        let count = match stream.peek(&mut begins).await {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        if begins[..count] != PREFACE[..count] {
            return Ok(false);
        }
        if count == begins.len() {
            return Ok(true);
        }
        if count == seen {
            // A few bytes of it, and no more: whether readable is known only by looking again.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        seen = count;
    }
}
