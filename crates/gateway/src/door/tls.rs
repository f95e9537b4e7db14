//! TLS: ended here, or passed on by the name in its greeting.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use spec::Result;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::patience::Patience;
use super::{Front, http, tcp};
use crate::config::Config;
use crate::tls::certificates::Certificates;
use crate::tls::client_hello::Greeting;
use crate::tls::rewound::Rewound;
use crate::tls::server_config;

/// The certificates, and how they are used.
#[derive(Default)]
pub(crate) struct Tls(RefCell<Option<(Certificates, TlsAcceptor)>>);

impl Tls {
    /// Reads what a configuration names.
    ///
    /// # Errors
    /// What cannot be used of it.
    pub(crate) fn prepare(&self, config: &Config) -> Result<Option<Certificates>> {
        if config.certificates.is_empty() {
            return Ok(None);
        }
        Certificates::load(&config.certificates).map(Some)
    }

    /// Uses them from now on.
    ///
    /// # Errors
    /// When TLS cannot be spoken with them.
    pub(crate) fn take(&self, certificates: Option<Certificates>) -> Result<()> {
        let used = &mut *self.0.borrow_mut();
        match (certificates, used) {
            (Some(fresh), Some((known, _))) => known.adopt(fresh),
            (Some(fresh), used) => {
                let acceptor = TlsAcceptor::from(server_config(fresh.resolver())?);
                *used = Some((fresh, acceptor));
            }
            (None, used) => *used = None,
        }
        Ok(())
    }

    /// Looks for files that have changed.
    pub(crate) fn refresh(&self) {
        let Some((certificates, _)) = &mut *self.0.borrow_mut() else { return };
        for news in certificates.refresh() {
            match news {
                Ok(path) => eprintln!("the certificate {} is used from now on", path.display()),
                Err(error) => eprintln!("a certificate stays as it was: {}", error.chain()),
            }
        }
    }

    fn acceptor(&self) -> Option<TlsAcceptor> {
        self.0.borrow().as_ref().map(|(_, acceptor)| acceptor.clone())
    }
}

/// Serves a connection whose client speaks TLS.
pub(crate) async fn serve(front: Rc<Front>, stream: TcpStream, client: IpAddr) {
    let time = front.clients.borrow().head_time;
    let greeted = tokio::time::timeout(time, Rewound::greeted(stream)).await;
    let Ok(Ok((stream, Greeting::Complete { name }))) = greeted else { return };
    let name = name.unwrap_or_default();
    match front.passed_on(&name) {
        Some(service) => Box::pin(tcp::serve(service, stream, Rewound::inner)).await,
        None => Box::pin(terminate(front, stream, client, name)).await,
    }
}

async fn terminate(
    front: Rc<Front>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    client: IpAddr,
    name: String,
) {
    let Some(acceptor) = front.tls.acceptor() else { return };
    let time = front.clients.borrow().head_time;
    let Ok(Ok(stream)) = tokio::time::timeout(time, acceptor.accept(stream)).await else { return };
    let second = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let patience = Patience::new(front.clients.borrow().clone());
    http::serve(front, stream, http::Caller { client, secure: Some(name.into()) }, second, patience).await;
}
