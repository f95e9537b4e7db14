//! A request from its first line to the last byte of its answer.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use spec::activation::Protocol;

use super::head::Fault;
use super::progress::Progress;
use super::record::Record;
use super::upstream::{Sent, Upstream};
use super::{Body, carry, head, said};
use crate::door::Front;
use crate::door::http::Caller;
use crate::door::patience::Patience;
use crate::service::{Lease, Service};

/// So often a request that nobody has heard, or that may be said twice, is sent.
const ATTEMPTS: u32 = 3;

/// Services close what says nothing, most of them after five seconds or more: what cannot be said twice is said on a
/// connection that was used later than that.
const RESTED: Duration = Duration::from_secs(4);

/// On which connection a request came.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) front: Rc<Front>,
    pub(crate) caller: Caller,
    pub(crate) patience: Patience,
}

/// Answers a request; there is always an answer.
pub(crate) async fn answer(asked: Asked, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let record = Record::begin(&asked, &request);
    let (response, record) = match find(&asked, &request) {
        Ok((service, host)) => pass(&asked, service, host, request, record).await,
        Err(response) => (*response, record),
    };
    Ok(record.accompany(response))
}

/// The service that it is for.
fn find(
    asked: &Asked,
    request: &Request<Incoming>,
) -> Result<(Rc<Service>, HeaderValue), Box<Response<Body>>> {
    let (host, fine) = (head::host(request), head::check(request));
    let host = fine.and(host).map_err(|fault| Box::new(said::fault(fault)))?;
    let name = host.to_str().unwrap_or_default();
    // What is asked of a service as a whole (RFC 9112, 3.2.4).
    let path = Some(request.uri().path()).filter(|path| *path != "*").unwrap_or("/");
    let service = asked.front.route(name, path);
    service.map(|service| (service, host)).ok_or_else(|| Box::new(said::unknown()))
}

/// What is sent, and sent again if need be.
struct Letter {
    parts: Parts,
    /// None once it has been given to somebody.
    body: Option<Body>,
    progress: Rc<Progress>,
    /// It has no body, and to hear it twice is as good as once.
    repeatable: bool,
    upgrade: Option<(OnUpgrade, HeaderValue)>,
}

async fn pass(
    asked: &Asked,
    service: Rc<Service>,
    host: HeaderValue,
    request: Request<Incoming>,
    mut record: Box<Record>,
) -> (Response<Body>, Box<Record>) {
    record.is_for(&service);
    if let Some(page) = asked.front.waiting_page(&service, &request) {
        return (page, record);
    }
    let mut letter = None;
    let mut request = Some(request);
    for attempt in 1.. {
        record.waits();
        let lease = match service.acquire().await {
            Ok(lease) => lease,
            Err(refusal) => {
                record.is_refused();
                return (said::refusal(&refusal), record);
            }
        };
        record.is_on(&lease);
        if let Some(request) = request.take() {
            letter = Some(write(asked, &lease, request, host.clone()));
        }
        let Some(letter) = letter.as_mut() else { break };
        let delivered = deliver(letter, &lease).await;
        match delivered {
            Delivered::Answer(answer, upstream) => {
                return reply(asked, letter, *answer, upstream, lease, record);
            }
            Delivered::Late => return (said::late(), record),
            Delivered::Lost if letter.progress.is_broken() => return (said::fault(Fault::Body), record),
            Delivered::Deaf | Delivered::Lost if attempt < ATTEMPTS && letter.can_go_again() => {
                record.again();
                if matches!(delivered, Delivered::Deaf) && attempt > 1 {
                    service.is_deaf(lease.instance());
                    continue;
                }
                lease.instance().last_moment(attempt > 1).await;
            }
            Delivered::Garbage | Delivered::Deaf | Delivered::Lost => break,
        }
    }
    (said::garbage(), record)
}

fn write(asked: &Asked, lease: &Lease, mut request: Request<Incoming>, host: HeaderValue) -> Letter {
    let h2c = lease.instance().protocol() == Protocol::H2c;
    let wanted =
        if request.version() == Version::HTTP_11 && !h2c { head::upgrade(request.headers()) } else { None };
    let upgrade = wanted.map(|to| (hyper::upgrade::on(&mut request), to));
    let (mut parts, body) = request.into_parts();
    head::strip(&mut parts.headers, h2c);
    if !h2c {
        head::join_cookies(&mut parts.headers);
    }
    head::introduce(&mut parts, asked.caller.client, asked.caller.secure.is_some(), host);
    if h2c {
        head::absolute_form(&mut parts);
    } else {
        parts.uri = head::origin_form(&parts.uri);
        parts.version = Version::HTTP_11;
    }
    if let Some((_, to)) = &upgrade {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(UPGRADE, to.clone());
    }
    let bare = body.is_end_stream();
    let idempotent = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    let progress = Rc::new(Progress::new(asked.patience.clone(), bare));
    let body = if bare { Body::empty() } else { Body::asked(body, Rc::clone(&progress)) };
    Letter { parts, body: Some(body), progress, repeatable: bare && idempotent, upgrade }
}

impl Letter {
    fn can_go_again(&mut self) -> bool {
        if self.body.is_none() && self.repeatable {
            self.body = Some(Body::empty());
        }
        self.body.is_some()
    }

    /// As it is sent; what may be sent again is kept.
    fn take(&mut self) -> Option<Request<Body>> {
        let body = self.body.take()?;
        let mut request = Request::new(body);
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = self.parts.uri.clone();
        *request.version_mut() = self.parts.version;
        let headers = &mut self.parts.headers;
        *request.headers_mut() = if self.repeatable { headers.clone() } else { std::mem::take(headers) };
        Some(request)
    }

    fn put_back(&mut self, request: Request<Body>) {
        let (parts, body) = request.into_parts();
        (self.parts.headers, self.body) = (parts.headers, Some(body));
    }
}

enum Delivered {
    Answer(Box<Response<Incoming>>, Upstream),
    /// One that cannot be passed on.
    Garbage,
    /// No head within the time.
    Late,
    /// Nobody listens.
    Deaf,
    /// The connection, or the instance, is gone.
    Lost,
}

async fn deliver(letter: &mut Letter, lease: &Lease) -> Delivered {
    let rested = if letter.repeatable { Duration::MAX } else { RESTED };
    let (upstream, used) = match lease.instance().upstream(rested).await {
        Ok(upstream) => upstream,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Delivered::Deaf,
        Err(_) => return Delivered::Lost,
    };
    match send(letter, lease, upstream).await {
        Delivered::Lost if used => lease.instance().closes_in_haste(),
        delivered => return delivered,
    }
    // It may have been closed for being idle just then: once more, on one that was not.
    if !letter.can_go_again() {
        return Delivered::Lost;
    }
    match lease.instance().upstream(Duration::ZERO).await {
        Ok((upstream, _)) => send(letter, lease, upstream).await,
        Err(_) => Delivered::Lost,
    }
}

async fn send(letter: &mut Letter, lease: &Lease, mut upstream: Upstream) -> Delivered {
    let time = lease.instance().settings.activation.answer_time;
    let Some(request) = letter.take() else { return Delivered::Lost };
    let sent = tokio::select! {
        biased;
        sent = upstream.send(request) => sent,
        () = letter.progress.is_late(time) => return Delivered::Late,
    };
    match sent {
        Sent::Answer(answer) if !head::is_clear(answer.headers()) => return Delivered::Garbage,
        Sent::Answer(answer) => return Delivered::Answer(Box::new(answer), upstream),
        Sent::Unheard(request) => letter.put_back(*request),
        Sent::Lost => {}
    }
    Delivered::Lost
}

fn reply(
    asked: &Asked,
    letter: &mut Letter,
    mut answer: Response<Incoming>,
    upstream: Upstream,
    lease: Lease,
    mut record: Box<Record>,
) -> (Response<Body>, Box<Record>) {
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return match letter.upgrade.take() {
            Some((client, _)) => {
                asked.patience.lets_be();
                (switch(client, &mut answer, lease), record)
            }
            // Nobody has asked for that.
            None => (said::garbage(), record),
        };
    }
    letter.progress.is_answered();
    let (mut parts, body) = answer.into_parts();
    head::strip(&mut parts.headers, false);
    if asked.front.house.leaves.get() {
        // What the client says next is for who comes after us.
        parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    parts.version = Version::HTTP_11;
    record.holds(lease, upstream, Rc::clone(&letter.progress));
    (Response::from_parts(parts, Body::answered(body)), record)
}

/// From here on both sides say what they like to each other.
fn switch(client: OnUpgrade, answer: &mut Response<Incoming>, lease: Lease) -> Response<Body> {
    let instance = hyper::upgrade::on(&mut *answer);
    tokio::task::spawn_local(async move {
        if let (Ok(client), Ok(instance)) = (client.await, instance.await) {
            // Which of them broke it off is of no concern to anybody.
            carry(&mut TokioIo::new(client), &mut TokioIo::new(instance)).await;
        }
        drop(lease);
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    response
}
