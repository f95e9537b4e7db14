//! How a service comes and goes by itself: the `[activation]` table of a definition and of a gateway's
//! configuration, and what follows from it.

mod table;

use std::time::Duration;

use crate::ready::Ready;

pub use table::ActivationTable;

/// What instances of a service are spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/2 without TLS, from the first byte: what gRPC services speak.
    H2c,
    /// Bytes.
    Tcp,
}

/// After what time something happens that need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// After this time.
    Time(Duration),
    /// After a time that is learnt from when requests come.
    Learnt,
    /// It does not happen.
    Never,
}

/// Less at rest, more where it is needed and the host has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// What an instance starts with.
    pub least: u64,
    /// What it may be given.
    pub most: u64,
}

/// When a page is shown to a browser in place of making it wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitingPage {
    /// Ours.
    Usual,
    /// The file at this path of the host.
    File(String),
}

/// Every choice about a service's coming and going, with all defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activation {
    /// The port of the container that requests go to.
    pub port: Option<u16>,
    /// What is spoken there.
    pub protocol: Protocol,
    /// So many instances run even when nobody asks.
    pub min: u32,
    /// And so many at most.
    pub max: u32,
    /// So many requests (connections, where only bytes are passed) one instance has at once.
    pub concurrency: u32,
    /// An instance without requests is stopped after this.
    pub idle: After,
    /// And frozen after this, when that is earlier.
    pub freeze: After,
    /// An instance that is older is replaced.
    pub max_age: Option<Duration>,
    /// When an instance is ready; None: when it accepts a connection.
    pub ready: Option<Ready>,
    /// An instance that is not ready within this time has failed.
    pub start_time: Duration,
    /// So many requests wait for an instance at most.
    pub queue: u32,
    /// And so long each.
    pub queue_time: Duration,
    /// The head of an answer must come within this time.
    pub answer_time: Duration,
    /// How long an instance that is to go may finish its requests.
    pub drain_time: Duration,
    /// The path that is asked to tell whether an instance is well; None: nobody asks.
    pub health: Option<String>,
    /// From one such question to the next.
    pub health_interval: Duration,
    /// So long there must be less to do before instances, or what they have, become fewer.
    pub calm: Duration,
    /// Thousandths of a processor.
    pub cpus: Option<Range>,
    /// Bytes of memory.
    pub memory: Option<Range>,
    /// An instance that has more than this percentage of its memory limit is replaced.
    pub leak: Option<u8>,
    /// What a browser sees while an instance starts.
    pub waiting_page: Option<WaitingPage>,
    /// Never two instances at once, not even for the moment of a replacement: they share files that one
    /// of them alone may write.
    pub exclusive: bool,
}

impl Default for Activation {
    fn default() -> Self {
        Self {
            port: None,
            protocol: Protocol::Http,
            min: 0,
            max: 1,
            concurrency: 64,
            idle: After::Time(Duration::from_secs(300)),
            freeze: After::Time(Duration::from_secs(60)),
            max_age: None,
            ready: None,
            start_time: Duration::from_secs(60),
            queue: 1000,
            queue_time: Duration::from_secs(60),
            answer_time: Duration::from_secs(120),
            drain_time: Duration::from_secs(30),
            health: None,
            health_interval: Duration::from_secs(10),
            calm: Duration::from_secs(30),
            cpus: None,
            memory: None,
            leak: None,
            waiting_page: None,
            exclusive: false,
        }
    }
}
