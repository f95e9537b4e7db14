//! Readiness conditions: `tcp:80`, `http:http://127.0.0.1/`, `unix:/run/x.sock`, `file:/run/x.pid`,
//! `log:REGEX`, or a number of seconds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result, RootPath};

/// How to tell that a service is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Ready {
    /// A TCP connection to this port of the container is accepted.
    Tcp(u16),
    /// A GET of this URL answers with a status below 500.
    Http(Url),
    /// A connection to this socket inside the container is accepted.
    Unix(RootPath),
    /// This path inside the container exists.
    File(RootPath),
    /// A line of the service's output matches this regular expression.
    Log(String),
    /// This many milliseconds have passed.
    Millis(u64),
}

/// An `http://host[:port]/path` address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// `localhost` or an address, without brackets: names are not looked up (a static program has
    /// no name service), and what is asked is this machine's anyway.
    pub host: String,
    /// Port, 80 if not said.
    pub port: u16,
    /// Path and query, starting with `/`.
    pub path: String,
}

const FORMS: &str =
    "use tcp:PORT, http:URL, unix:PATH, file:PATH, log:REGEX or a number of seconds, as in --ready tcp:80";

impl FromStr for Ready {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: &str| Error::user(format!("invalid readiness condition {text:?}: {why}")).hint(FORMS);
        if text.starts_with("http://") {
            return Ok(Self::Http(
                parse_url(text)
                    .ok_or_else(|| bad("not a URL of this machine, as in http://127.0.0.1:8080/health"))?,
            ));
        }
        if let Ok(seconds) = text.trim_end_matches('s').parse::<f64>() {
            if !(0.0..=86_400.0).contains(&seconds) {
                return Err(bad("seconds must lie between 0 and 86400"));
            }
            return Ok(Self::Millis((seconds * 1000.0) as u64));
        }
        let (kind, rest) = text.split_once(':').ok_or_else(|| bad("unknown form"))?;
        match kind {
            "tcp" => match rest.rsplit(':').next().unwrap_or(rest).parse::<u16>() {
                Ok(port) if port > 0 => Ok(Self::Tcp(port)),
                _ => Err(bad("a port is a number from 1 to 65535")),
            },
            "http" => {
                let full =
                    if rest.starts_with("http://") { rest.to_owned() } else { format!("http://{rest}") };
                Ok(Self::Http(
                    parse_url(&full).ok_or_else(|| {
                        bad("not a URL of this machine, as in http://127.0.0.1:8080/health")
                    })?,
                ))
            }
            "https" => Err(bad("TLS is not spoken here; tcp:443 tells that the port is open")),
            "unix" => Ok(Self::Unix(rest.parse()?)),
            "file" => Ok(Self::File(rest.parse()?)),
            "log" if !rest.is_empty() => Ok(Self::Log(rest.to_owned())),
            "log" => Err(bad("the regular expression is empty")),
            _ => Err(bad("unknown form")),
        }
    }
}

fn parse_url(text: &str) -> Option<Url> {
    let rest = text.strip_prefix("http://")?;
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, 80),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // A bare `http:8080/path` means this machine.
    let (host, port) = match host.parse::<u16>() {
        Ok(number) => ("127.0.0.1", number),
        Err(_) => (host, port),
    };
    let known = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok();
    let plain = known && !path.contains(char::is_whitespace);
    plain.then(|| Url { host: host.to_owned(), port, path: path.to_owned() })
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(port) => write!(f, "tcp:{port}"),
            Self::Http(Url { host, port, path }) if host.contains(':') => {
                write!(f, "http://[{host}]:{port}{path}")
            }
            Self::Http(Url { host, port, path }) => write!(f, "http://{host}:{port}{path}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::File(path) => write!(f, "file:{path}"),
            Self::Log(regex) => write!(f, "log:{regex}"),
            Self::Millis(millis) => write!(f, "{}", *millis as f64 / 1000.0),
        }
    }
}

impl TryFrom<String> for Ready {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Ready> for String {
    fn from(ready: Ready) -> Self {
        ready.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_round_trips() {
        for text in [
            "tcp:80",
            "http://127.0.0.1:8080/x?y",
            "http://[::1]:80/",
            "unix:/run/a.sock",
            "file:/x",
            "log:re.*dy",
            "1.5",
        ] {
            let ready: Ready = text.parse().expect(text);
            assert_eq!(ready.to_string(), text);
        }
        assert_eq!(
            "http:8080/x".parse::<Ready>().expect("short"),
            "http://127.0.0.1:8080/x".parse().expect("long")
        );
        assert_eq!("2s".parse::<Ready>().expect("seconds"), Ready::Millis(2000));
    }

    #[test]
    fn nonsense_is_refused_with_the_forms() {
        for text in [
            "tcp:0",
            "tcp:x",
            "tcp:70000",
            "log:",
            "nope",
            "-1",
            "unix:rel",
            "https://x/",
            "http://",
            "http://example.org/",
        ] {
            let error = text.parse::<Ready>().expect_err(text);
            assert!(!error.hints().is_empty(), "{text}");
        }
    }
}
