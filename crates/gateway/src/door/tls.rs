//! TLS: ended here, or passed on by the name in its greeting.

use std::net::IpAddr;
use std::rc::Rc;

use spec::Result;
use tokio::net::TcpStream;

use super::Front;
use crate::config::Config;

/// The certificates.
#[derive(Default)]
pub(crate) struct Tls;

impl Tls {
    pub(crate) fn prepare(&self, _config: &Config) -> Result<()> {
        Ok(())
    }

    pub(crate) fn take(&self, _certificates: ()) {}
}

pub(crate) async fn serve(_front: Rc<Front>, _stream: TcpStream, _client: IpAddr) {}
