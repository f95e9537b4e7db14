//! `gateway.toml` as it is written.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use spec::activation::ActivationTable;
use spec::isolation::Isolation;
use spec::limits::Limits;
use spec::network::NetworkTable;
use spec::{Error, Result};

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// What is not about one service.
    pub gateway: GatewayTable,
    /// Certificates and their keys.
    pub certificate: Vec<CertificateTable>,
    /// The services, by name.
    pub service: BTreeMap<String, ServiceTable>,
}

/// What is not about one service.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayTable {
    /// Where plain HTTP is spoken: `["0.0.0.0:80", "[::]:80"]`.
    pub http: Vec<SocketAddr>,
    /// Where TLS is.
    pub https: Vec<SocketAddr>,
    /// Where metrics and the status are told.
    pub admin: Option<SocketAddr>,
    /// A file with a line for each request.
    pub access_log: Option<PathBuf>,
    /// So many instances of all services run at once, at most.
    pub instances: Option<usize>,
    /// So many stopped services, the last ones that were asked, have their next start prepared (a process of a few hundred KiB
    /// each). Default: 32.
    pub prepared: Option<usize>,
    /// The head of a request must be complete within this time. Default: 10s.
    pub head_time: Option<String>,
    /// A connection without a request is closed after this. Default: 75s.
    pub idle_time: Option<String>,
    /// A client that neither sends nor takes anything in the midst of a request is given up after this. Default: 60s.
    pub stall_time: Option<String>,
    /// So many clients at once. Default: 100000, or what the limit of open files leaves.
    pub connections: Option<usize>,
}

/// A certificate and its key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateTable {
    /// The chain, PEM.
    pub cert: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}

/// One service.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceTable {
    /// A package file, or the name of an installed image.
    pub package: String,
    /// Names, with or without a path, whose requests go to it: `shop.example`, `*.shop.example`, `shop.example/api`, `*`.
    pub hosts: Vec<String>,
    /// Ports of the host whose connections go to it as they are.
    pub tcp: Vec<SocketAddr>,
    /// Names in TLS greetings whose connections go to it, undeciphered.
    pub sni: Vec<String>,
    /// Ports of the host whose sockets it is given when somebody comes (LISTEN_FDS): no proxy stands in the way.
    pub sockets: Vec<SocketAddr>,
    /// A command line in place of the package's.
    pub command: Vec<String>,
    /// Environment on top of the package's.
    pub environment: BTreeMap<String, String>,
    /// As `[network]` of a definition.
    pub network: NetworkTable,
    /// As `[limits]` of a definition.
    pub limits: Limits,
    /// As `[isolation]` of a definition.
    pub isolation: Isolation,
    /// How it comes and goes, on top of what its package says.
    pub activation: ActivationTable,
    /// Who is told what is asked of the service and says how many instances there should be.
    pub policy: Option<PolicyTable>,
    /// Its share where not all can have what they want: 1 to 10000. Default: 100.
    pub weight: Option<u32>,
    /// The package gets what it asks for, even of the host.
    pub as_packaged: bool,
    /// Its instances are started also where that breaks promises made to others.
    pub overcommit: bool,
}

/// Who says how many instances there should be.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "policy is a script (\"scale.luau\") or a program with its arguments ([\"/usr/bin/how-many\"])"
)]
pub enum PolicyTable {
    /// A script: FILE or FILE#FUNCTION.
    Script(String),
    /// A program with its arguments.
    Program(Vec<String>),
}

impl File {
    /// Understands the text; `file` names it in errors.
    ///
    /// # Errors
    /// With the line of the mistake.
    pub fn parse(text: &str, file: &str) -> Result<Self> {
        toml::from_str(text).map_err(|cause: toml::de::Error| {
            let line = cause.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let message = cause.message().lines().collect::<Vec<_>>().join(", ");
            let at = line.map_or_else(String::new, |line| format!("line {line}: "));
            Error::user(format!("{file}: {at}{message}")).hint("tsubo gateway --help shows an example")
        })
    }
}

/// A time as it is written, or the usual one.
pub(crate) fn time(text: Option<&str>, usual: Duration) -> Result<Duration> {
    let Some(text) = text else { return Ok(usual) };
    spec::hooks::milliseconds(text).map(Duration::from_millis)
}
