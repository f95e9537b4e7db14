//! What a gateway tells of itself: over a socket in the run directory, and at the address for that.

mod status;

use std::convert::Infallible;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use lifecycle::Home;
use spec::{Result, ResultExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;

use crate::account::metrics;
use crate::door::Front;
use crate::proxy::Body;

pub use status::{InstanceStatus, ServiceStatus, Status};

/// In the run directory: where a gateway can be asked, and where it will be in a moment.
const SOCKET: &str = "gateway.sock";
const FRESH: &str = "gateway.sock.new";

/// Where a gateway of this state directory can be asked.
pub fn socket(home: &Home) -> PathBuf {
    home.run().join(SOCKET)
}

/// A connection to the gateway of this state directory.
///
/// # Errors
/// Not found, or refused, where there is none.
pub fn connect(home: &Home) -> std::io::Result<UnixStream> {
    let run = std::fs::File::open(home.run())?;
    UnixStream::connect(short(&run, SOCKET))
}

/// A socket's path has 107 bytes at most; this way it may lie anywhere.
fn short(run: &std::fs::File, name: &str) -> String {
    format!("/proc/self/fd/{}/{name}", run.as_raw_fd())
}

/// Listens in the run directory: what was there before is of one that is gone, or goes.
///
/// # Errors
/// When the socket cannot be made.
pub(crate) fn listen(home: &Home) -> Result<UnixListener> {
    let (path, fresh) = (socket(home), home.run().join(FRESH));
    let make = || -> std::io::Result<UnixListener> {
        let _ = std::fs::remove_file(&fresh);
        let run = std::fs::File::open(home.run())?;
        // Whatever the umask: nobody else gets into the run directory.
        let listener = UnixListener::bind(short(&run, FRESH))?;
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&fresh, &path)?;
        Ok(listener)
    };
    make().doing(|| format!("listening at {}", path.display()))
}

/// Answers whoever comes, for ever.
pub(crate) async fn answer_all(front: Rc<Front>, listener: UnixListener) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn_local(serve(Rc::clone(&front), stream));
        } else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

/// Answers one who has come.
pub(crate) async fn serve(front: Rc<Front>, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let service = service_fn(move |request| {
        let front = Rc::clone(&front);
        async move { Ok::<_, Infallible>(answer(&front, &request)) }
    });
    // How it goes away is its own affair.
    let _ =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}

fn answer(front: &Front, request: &Request<Incoming>) -> Response<Body> {
    let (status, kind, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/status") => {
            let text = serde_json::to_string(&Status::of(front)).unwrap_or_default();
            (StatusCode::OK, "application/json", text)
        }
        (&Method::GET, "/metrics") => (StatusCode::OK, metrics::CONTENT_TYPE, status::metrics(front)),
        _ => (StatusCode::NOT_FOUND, "text/plain", "there are /status and /metrics\n".to_owned()),
    };
    let mut response = Response::new(Body::said(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
