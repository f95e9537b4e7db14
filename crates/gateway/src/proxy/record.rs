//! What is known of one request: noted when it is over, however it ends.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use hyper::body::{Body as _, Incoming};
use hyper::header::{HOST, HeaderValue, REFERER, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};

use super::Body;
use super::forward::Asked;
use super::progress::Progress;
use super::upstream::Upstream;
use crate::account::line::Entry;
use crate::door::Front;
use crate::door::patience::Patience;
use crate::service::{Instance, Lease, Service};

/// One request.
pub(crate) struct Record {
    front: Rc<Front>,
    patience: Patience,
    begun: Instant,
    service: Option<Rc<Service>>,
    instance: Option<Rc<Instance>>,
    /// The place and the connection that it has, until it is over.
    held: Option<Held>,
    waited: Duration,
    /// Since when it waits for an instance.
    waits: Option<Instant>,
    cold: bool,
    again: u32,
    status: StatusCode,
    received: u64,
    sent: u64,
    whole: bool,
    /// How long the instance took for the head of its answer.
    upstream: Option<Duration>,
    line: Option<Box<Line>>,
}

struct Held {
    lease: Lease,
    upstream: Upstream,
    request: Rc<Progress>,
}

/// What an access log shows of it besides.
struct Line {
    time: SystemTime,
    client: IpAddr,
    method: Method,
    uri: Uri,
    version: Version,
    host: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    agent: Option<HeaderValue>,
}

impl Record {
    pub(super) fn begin(asked: &Asked, request: &Request<Incoming>) -> Box<Self> {
        asked.patience.begins();
        let line = asked.front.log.is_open().then(|| Box::new(Line::of(asked.caller.client, request)));
        Box::new(Self {
            front: Rc::clone(&asked.front),
            patience: asked.patience.clone(),
            begun: Instant::now(),
            service: None,
            instance: None,
            held: None,
            waited: Duration::ZERO,
            waits: None,
            cold: false,
            again: 0,
            status: client_gone(),
            received: request.body().size_hint().lower(),
            sent: 0,
            whole: false,
            upstream: None,
            line,
        })
    }

    pub(super) fn is_for(&mut self, service: &Rc<Service>) {
        self.service = Some(Rc::clone(service));
    }

    /// An instance is asked for.
    pub(super) fn waits(&mut self) {
        self.waits = Some(Instant::now());
    }

    pub(super) fn is_on(&mut self, lease: &Lease) {
        self.waits = None;
        self.waited += lease.waited;
        self.cold |= lease.cold;
        self.instance = Some(Rc::clone(lease.instance()));
    }

    /// It gets none.
    pub(super) fn is_refused(&mut self) {
        self.waited += self.waits.take().map_or(Duration::ZERO, |since| since.elapsed());
    }

    /// It is sent once more.
    pub(super) fn again(&mut self) {
        self.again += 1;
    }

    pub(super) fn holds(&mut self, lease: Lease, upstream: Upstream, request: Rc<Progress>) {
        self.upstream = Some(self.begun.elapsed().saturating_sub(self.waited));
        self.held = Some(Held { lease, upstream, request });
    }

    /// Goes along with its answer.
    pub(super) fn accompany(mut self: Box<Self>, response: Response<Body>) -> Response<Body> {
        self.status = response.status();
        response.map(|body| body.told_to(self))
    }

    /// So much of the answer has gone to the client.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// All of it has: the connection is for the next request.
    pub(super) fn is_whole(&mut self) {
        self.whole = true;
        // An answer may come before its request has been sent to its end: who came next on that connection would
        // wait for the rest of it.
        if let Some(held) = self.held.take().filter(|held| held.request.is_whole()) {
            held.lease.instance().give_back(held.upstream);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.patience.ends();
        // Or its client did not wait for one.
        self.is_refused();
        let took = self.begun.elapsed();
        if let Some(service) = &self.service {
            let counters = &mut *service.counters.borrow_mut();
            match self.instance {
                Some(_) => counters.request(self.status.as_u16(), took, self.cold),
                // How long it was kept waiting says nothing of how long answers take.
                None => counters.refused(self.status.as_u16()),
            }
            counters.sent += self.sent;
            counters.received += self.received;
            counters.retries += u64::from(self.again);
        }
        if let Some(line) = &self.line {
            self.note(line, took);
        }
    }
}

/// What a request comes to whose client goes before there is an answer: nginx's word for it.
fn client_gone() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

impl Record {
    fn note(&self, line: &Line, took: Duration) {
        let bytes = |value: &'_ Option<HeaderValue>| value.as_ref().map(|value| value.as_bytes().to_vec());
        let (host, referer, agent) = (bytes(&line.host), bytes(&line.referer), bytes(&line.agent));
        let service = self.service.as_ref().map(|service| service.name());
        self.front.log.note(&Entry {
            time: line.time,
            client: line.client,
            method: line.method.as_str(),
            target: line.uri.path_and_query().map_or("", |path| path.as_str()),
            version: Some(line.version),
            host: host.as_deref(),
            referer: referer.as_deref(),
            agent: agent.as_deref(),
            status: self.status.as_u16(),
            sent: self.sent,
            whole: self.whole,
            service: service.as_deref(),
            instance: self.instance.as_ref().map(|instance| instance.number),
            cold: self.cold,
            waited: self.waited,
            upstream: self.upstream,
            took,
            retries: self.again,
        });
    }
}

impl Line {
    fn of(client: IpAddr, request: &Request<Incoming>) -> Self {
        let header = |name| request.headers().get(name).cloned();
        Self {
            time: SystemTime::now(),
            client,
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            // Over HTTP/2 it is a part of what is asked for.
            host: header(HOST).or_else(|| HeaderValue::from_str(request.uri().authority()?.as_str()).ok()),
            referer: header(REFERER),
            agent: header(USER_AGENT),
        }
    }
}
