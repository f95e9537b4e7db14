//! TLS with clients: certificates from files, and the name that is asked for before anything is deciphered.

pub mod certificates;
pub mod client_hello;
mod pair;
pub mod rewound;

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::ResolvesServerCert;
use spec::{Error, Result};

/// What is spoken within, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// How TLS is spoken: versions 1.2 and 1.3, with whatever certificate `certificates` has for a name at that
/// moment.
///
/// # Errors
/// Where there is no randomness.
pub fn server_config(certificates: Arc<dyn ResolvesServerCert>) -> Result<Arc<ServerConfig>> {
    let bad = |cause: rustls::Error| Error::internal("setting TLS up").because(cause);
    let made =
        ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(bad)?;
    let mut made = made.with_no_client_auth().with_cert_resolver(certificates);
    made.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    // Who comes back brings what we would have to remember otherwise.
    made.ticketer = rustls::crypto::ring::Ticketer::new().map_err(bad)?;
    Ok(Arc::new(made))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
mod tests;
