//! What we answer ourselves.

use std::time::Duration;

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use super::Body;
use super::head::Fault;
use crate::service::Refusal;

/// A plain answer of one line.
pub(super) fn plain(status: StatusCode, why: &str) -> Response<Body> {
    let mut response = Response::new(Body::said(format!("{} {why}\n", status.as_u16())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// For who gets no instance: when to come again.
pub(super) fn refusal(refusal: &Refusal) -> Response<Body> {
    let (why, wait) = match refusal {
        Refusal::Full => ("too many requests wait for this service already", Duration::from_secs(1)),
        Refusal::Late => ("this service is busy, or takes long to start", Duration::from_secs(2)),
        Refusal::Failing(wait) => ("this service does not start at the moment", *wait),
        Refusal::Broken => ("this service is not available", Duration::from_secs(30)),
    };
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, why);
    let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// For who cannot be understood.
pub(super) fn fault(fault: Fault) -> Response<Body> {
    match fault {
        Fault::Host => {
            plain(StatusCode::BAD_REQUEST, "the request does not say clearly which host it is for")
        }
        Fault::Length => plain(StatusCode::BAD_REQUEST, "the request does not say clearly where it ends"),
        Fault::Coding => {
            plain(StatusCode::NOT_IMPLEMENTED, "no transfer coding but \"chunked\" is understood here")
        }
        Fault::Body => plain(StatusCode::BAD_REQUEST, "the body of the request is broken off, or is none"),
        Fault::Connect => plain(StatusCode::METHOD_NOT_ALLOWED, "no tunnels to elsewhere"),
    }
}

/// Nobody is called that.
pub(super) fn unknown() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "no service has this name here")
}

/// The instance gave no answer that could be understood.
pub(super) fn garbage() -> Response<Body> {
    plain(StatusCode::BAD_GATEWAY, "the service gave no proper answer")
}

/// It gave none in time.
pub(super) fn late() -> Response<Body> {
    plain(StatusCode::GATEWAY_TIMEOUT, "the service did not answer in time")
}
