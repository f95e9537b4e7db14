//! One request as one line of a log.
//!
//! Much of it was chosen by whoever asked: nothing of that may end a line, pretend to be another field or mean
//! something to a terminal. So a line is printable ASCII, whatever came.

use std::fmt::{self, Display};
use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use hyper::Version;
use jiff::Timestamp;
use serde::Serialize;

/// More of one field is cut off: who asks pays nothing for our disk.
const LONGEST: usize = 2048;

/// How a line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// The "combined" format of Apache and nginx, and `name=value` behind it for what that has no place for.
    #[default]
    Combined,
    /// An object of JSON.
    Json,
}

/// What a line says.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// When the request came.
    pub time: SystemTime,
    /// Who asked.
    pub client: IpAddr,
    /// The method.
    pub method: &'a str,
    /// The path with its query.
    pub target: &'a str,
    /// The version of HTTP; None for a connection that was passed on as it is.
    pub version: Option<Version>,
    /// The name that was asked for.
    pub host: Option<&'a [u8]>,
    /// Where the client came from, says the client.
    pub referer: Option<&'a [u8]>,
    /// What it is, says the client.
    pub agent: Option<&'a [u8]>,
    /// The status of the answer; 0 where there was none.
    pub status: u16,
    /// Bytes of the answer's body.
    pub sent: u64,
    /// Whether all of it was sent.
    pub whole: bool,
    /// Whose request it was.
    pub service: Option<&'a str>,
    /// The number of the instance that answered.
    pub instance: Option<u32>,
    /// Whether one had to be started for it.
    pub cold: bool,
    /// How long it waited for an instance.
    pub waited: Duration,
    /// How long the instance took for the head of its answer.
    pub upstream: Option<Duration>,
    /// How long all of it took.
    pub took: Duration,
    /// How often it was sent once more.
    pub retries: u32,
}

impl Entry<'_> {
    /// Writes the line, with its end.
    pub fn write(&self, format: Format, line: &mut Vec<u8>) {
        match format {
            Format::Combined => self.write_combined(line),
            Format::Json => self.write_json(line),
        }
        line.push(b'\n');
    }

    fn write_combined(&self, line: &mut Vec<u8>) {
        let time = self.timestamp().strftime("%d/%b/%Y:%H:%M:%S +0000");
        put(line, format_args!("{} - - [{time}] \"", self.client.to_canonical()));
        escape(self.method.as_bytes(), line);
        line.push(b' ');
        escape(self.target.as_bytes(), line);
        put(line, format_args!(" {}\" {} {} \"", self.version_word(), self.status, self.sent));
        escape(self.referer.unwrap_or(b"-"), line);
        line.extend_from_slice(b"\" \"");
        escape(self.agent.unwrap_or(b"-"), line);
        line.extend_from_slice(b"\" host=\"");
        escape(self.host.unwrap_or(b"-"), line);
        line.extend_from_slice(b"\" service=\"");
        escape(self.service.unwrap_or("-").as_bytes(), line);
        let (instance, upstream) = (OrDash(self.instance), OrDash(self.upstream.map(Milliseconds)));
        let (wait, took) = (Milliseconds(self.waited), Milliseconds(self.took));
        put(line, format_args!("\" instance={instance} start={} wait_ms={wait}", self.start()));
        put(line, format_args!(" upstream_ms={upstream} ms={took} retries={}", self.retries));
        line.extend_from_slice(if self.whole { b"" } else { b" cut" });
    }

    fn write_json(&self, line: &mut Vec<u8>) {
        let text = |said: &[u8]| String::from_utf8_lossy(cut(said)).into_owned();
        let made = Json {
            time: self.timestamp().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
            client: self.client.to_canonical(),
            method: text(self.method.as_bytes()),
            target: text(self.target.as_bytes()),
            version: self.version_word(),
            host: self.host.map(text),
            referer: self.referer.map(text),
            agent: self.agent.map(text),
            status: self.status,
            sent: self.sent,
            whole: self.whole,
            service: self.service,
            instance: self.instance,
            start: self.start(),
            wait_ms: rounded(self.waited),
            upstream_ms: self.upstream.map(rounded),
            ms: rounded(self.took),
            retries: self.retries,
        };
        // Numbers and strings: nothing that JSON has no words for.
        let made = serde_json::to_string(&made).unwrap_or_default();
        let mut rest = made.as_str();
        let is_other = |letter| !matches!(letter, ' '..='~');
        while let Some(at) = rest.find(is_other) {
            let (plain, others) = rest.split_at(at);
            line.extend_from_slice(plain.as_bytes());
            rest = others.trim_start_matches(is_other);
            // It stands in a string, where else; there every letter may be written so.
            for unit in others[..others.len() - rest.len()].encode_utf16() {
                put(line, format_args!("\\u{unit:04x}"));
            }
        }
        line.extend_from_slice(rest.as_bytes());
    }

    /// To the millisecond: what a log may say of when somebody came.
    fn timestamp(&self) -> Timestamp {
        Timestamp::try_from(self.time).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn start(&self) -> &'static str {
        match (self.instance, self.cold) {
            (None, _) => "none",
            (_, true) => "cold",
            (_, false) => "warm",
        }
    }

    fn version_word(&self) -> &'static str {
        match self.version {
            Some(Version::HTTP_09) => "HTTP/0.9",
            Some(Version::HTTP_10) => "HTTP/1.0",
            Some(Version::HTTP_11) => "HTTP/1.1",
            Some(Version::HTTP_2) => "HTTP/2.0",
            Some(Version::HTTP_3) => "HTTP/3.0",
            Some(_) => "HTTP",
            None => "TCP",
        }
    }
}

#[derive(Serialize)]
struct Json<'a> {
    time: String,
    client: IpAddr,
    method: String,
    target: String,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    status: u16,
    sent: u64,
    whole: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<u32>,
    start: &'static str,
    wait_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_ms: Option<f64>,
    ms: f64,
    retries: u32,
}

/// With three places behind the point.
struct Milliseconds(Duration);

impl Display for Milliseconds {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(to, "{}.{:03}", micros / 1000, micros % 1000)
    }
}

/// What may not be known.
struct OrDash<T>(Option<T>);

impl<T: Display> Display for OrDash<T> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(known) => known.fmt(to),
            None => to.write_str("-"),
        }
    }
}

fn rounded(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

fn cut(said: &[u8]) -> &[u8] {
    &said[..said.len().min(LONGEST)]
}

/// To write to memory does not fail.
fn put(line: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    let _ = line.write_fmt(text);
}

/// As nginx does it: whatever is not printable ASCII, a quote or a backslash is `\x` and two digits.
fn escape(said: &[u8], line: &mut Vec<u8>) {
    let mut rest = cut(said);
    while let Some(at) = rest.iter().position(|byte| !is_plain(*byte)) {
        line.extend_from_slice(&rest[..at]);
        put(line, format_args!("\\x{:02X}", rest[at]));
        rest = &rest[at + 1..];
    }
    line.extend_from_slice(rest);
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests;
