//! What stands open to clients: listening sockets, and what is spoken on the connections that come.

pub(crate) mod http;
pub(crate) mod lent;
pub(crate) mod listen;
pub(crate) mod patience;
pub(crate) mod tcp;
pub(crate) mod tls;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use spec::activation::WaitingPage;
use tokio::sync::watch;

use crate::config::Clients;
use crate::config::route::Routes;
use crate::house::House;
use crate::notes::Log;
use crate::page;
use crate::proxy::Body;
use crate::service::Service;

/// What all doors share.
pub(crate) struct Front {
    pub(crate) house: Rc<House>,
    pub(crate) table: RefCell<Rc<Table>>,
    pub(crate) clients: RefCell<Clients>,
    pub(crate) tls: tls::Tls,
    pub(crate) log: Log,
    /// So many connections are open.
    pub(crate) open: Cell<usize>,
    /// Whether we end.
    leaving: watch::Sender<bool>,
}

/// Who leads where. A new one takes its place as a whole.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) hosts: Routes,
    pub(crate) sni: Routes,
    /// By the numbers of the routes.
    pub(crate) services: Vec<Rc<Service>>,
}

impl Front {
    pub(crate) fn new(house: Rc<House>) -> Rc<Self> {
        Rc::new(Self {
            house,
            table: RefCell::default(),
            clients: RefCell::default(),
            tls: tls::Tls::default(),
            log: Log::default(),
            open: Cell::new(0),
            leaving: watch::Sender::new(false),
        })
    }

    /// Has all connections close: those that are idle at once, the others after what is under way on them.
    pub(crate) fn leave(&self) {
        self.leaving.send_replace(true);
    }

    /// Returns once that is wanted.
    pub(crate) fn leaves(&self) -> impl Future<Output = ()> + use<> {
        let mut leaving = self.leaving.subscribe();
        async move {
            // Without anybody who could say it, it is the end all the same.
            let _ = leaving.wait_for(|leaves| *leaves).await;
        }
    }

    /// The service of a name and a path.
    pub(crate) fn route(&self, host: &str, path: &str) -> Option<Rc<Service>> {
        let table = self.table.borrow();
        table.hosts.find(host, path).and_then(|number| table.services.get(number).cloned())
    }

    /// The service that a name in a TLS greeting leads to, undeciphered.
    pub(crate) fn passed_on(&self, name: &str) -> Option<Rc<Service>> {
        let table = self.table.borrow();
        table.sni.find(name, "/").and_then(|number| table.services.get(number).cloned())
    }

    /// What a browser is shown in place of waiting, if that is wanted; the instance is called all the same.
    pub(crate) fn waiting_page(
        &self,
        service: &Rc<Service>,
        request: &Request<Incoming>,
    ) -> Option<Response<Body>> {
        let settings = service.settings()?;
        let wanted = settings.activation.waiting_page.as_ref()?;
        if service.is_there() || !page::is_for(request.method(), request.headers()) || !service.may_come() {
            return None;
        }
        if !service.called.replace(true) {
            let called = Rc::clone(service);
            tokio::task::spawn_local(async move {
                drop(called.acquire().await);
                called.called.set(false);
            });
        }
        let (text, is_ours) = match wanted {
            WaitingPage::Usual => (page::BODY.to_owned(), true),
            WaitingPage::File(_) => (settings.page.clone().unwrap_or_default(), false),
        };
        let mut response = Response::new(Body::said(text));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        page::head(response.headers_mut(), 1, is_ours);
        Some(response)
    }
}
