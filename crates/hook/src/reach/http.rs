//! `http.get`, `http.post`, `http.request`: with TLS, time limits, JSON; only below declared URLs, also after a
//! redirection.

use std::time::{Duration, Instant};

use script::mlua::{Lua, LuaString, Result, Table, Value};
use script::{refused, value};
use serde_json::json;
use ureq::Agent;
use ureq::http::{Method, Request, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::DefaultConnector;

use super::names::Names;
use super::programs::until;
use super::{Host, not_allowed};

/// The largest body.
const BYTES: u64 = 1 << 20;

/// A request that is given no other time may take so long.
const USUAL: Duration = Duration::from_secs(10);

/// Headers that say where a request goes and where it ends: another host could be meant by them than the URL says.
const OURS: [&str; 8] =
    ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"];

/// Headers that are for whom they were meant only.
const SECRET: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// So many redirections are followed.
const HOPS: usize = 5;

/// What is asked.
struct Asked {
    method: Method,
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    deadline: Instant,
}

pub(super) fn table(lua: &Lua, host: &Host) -> Result<Table> {
    let table = lua.create_table()?;
    for (name, method) in [("get", Method::GET), ("delete", Method::DELETE), ("head", Method::HEAD)] {
        let own = host.clone();
        let ask = move |lua: &Lua, (url, options): (String, Option<Table>)| {
            request(lua, &own, asked(lua, &own, method.clone(), url, None, options)?)
        };
        table.raw_set(name, lua.create_function(ask)?)?;
    }
    for (name, method) in [("post", Method::POST), ("put", Method::PUT), ("patch", Method::PATCH)] {
        let own = host.clone();
        let ask = move |lua: &Lua, (url, body, options): (String, Option<Value>, Option<Table>)| {
            request(lua, &own, asked(lua, &own, method.clone(), url, body, options)?)
        };
        table.raw_set(name, lua.create_function(ask)?)?;
    }
    let own = host.clone();
    let ask = move |lua: &Lua, options: Table| {
        let name: Option<String> = options.get("method")?;
        let name = name.unwrap_or_else(|| "GET".to_owned()).to_ascii_uppercase();
        let method = Method::from_bytes(name.as_bytes())
            .map_err(|_| refused(lua, format!("{name:?} is no method")))?;
        let (url, body): (String, Option<Value>) = (options.get("url")?, options.get("body")?);
        request(lua, &own, asked(lua, &own, method, url, body, Some(options))?)
    };
    table.raw_set("request", lua.create_function(ask)?)?;
    Ok(table)
}

fn asked(
    lua: &Lua,
    host: &Host,
    method: Method,
    url: String,
    body: Option<Value>,
    options: Option<Table>,
) -> Result<Asked> {
    let mut headers = Vec::new();
    let (mut timeout, mut given, mut data) = (None, None, None);
    if let Some(options) = options {
        timeout = options.get::<Option<f64>>("timeout")?;
        given = options.get::<Option<Table>>("headers")?;
        data = options.get::<Option<Value>>("json")?;
    }
    for pair in given.iter().flat_map(|headers| headers.pairs::<String, String>()) {
        let (name, value) = pair?;
        if OURS.iter().any(|own| name.trim().eq_ignore_ascii_case(own)) {
            return Err(refused(
                lua,
                format!(
                    "the header {name:?} is not a script's to set: it follows from what is sent, and to whom"
                ),
            ));
        }
        headers.push((name, value));
    }
    let body = match data.filter(|data| !data.is_nil()).or(body) {
        None | Some(Value::Nil) => Vec::new(),
        Some(Value::String(text)) => text.as_bytes().to_vec(),
        Some(data) => {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
            value::to_json(&data, "the body", true)?.to_string().into_bytes()
        }
    };
    let deadline = until(host, Some(timeout.unwrap_or(USUAL.as_secs_f64())), lua)?;
    Ok(Asked { method, url, headers, body, deadline })
}

/// The URL as it is compared and asked for: nothing in it can mean something else than it seems to.
fn normal(url: &str) -> std::result::Result<String, &'static str> {
    let uri: Uri = url.parse().map_err(|_| "it is no URL")?;
    let scheme = uri.scheme_str().map(str::to_ascii_lowercase).unwrap_or_default();
    let authority = uri.authority().ok_or("it names no host")?.as_str().to_ascii_lowercase();
    if scheme != "http" && scheme != "https" {
        return Err("it begins neither with http:// nor with https://");
    }
    if authority.contains('@') {
        return Err("it names a user");
    }
    let usual = if scheme == "http" { ":80" } else { ":443" };
    let authority = authority.strip_suffix(usual).unwrap_or(&authority);
    let path = uri.path();
    if path.contains('\\') || path.match_indices('%').any(|(at, _)| !is_plain_escape(&path[at + 1..])) {
        return Err("its path has escaped dots, slashes, semicolons, percent or control signs");
    }
    // Some servers take what follows a semicolon for no part of the name.
    if path.split('/').any(|part| matches!(part.split(';').next(), Some(".." | "."))) {
        return Err("its path leads up");
    }
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    Ok(format!("{scheme}://{authority}{}{query}", if path.is_empty() { "/" } else { path }))
}

/// What servers make of a path before or after they look at it, some of them twice.
fn is_plain_escape(rest: &str) -> bool {
    let byte = rest.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    byte.is_some_and(|byte| !byte.is_ascii_control() && !br"./\;%".contains(&byte))
}

fn is_allowed(host: &Host, url: &str) -> bool {
    let begins = |allowed: &String| normal(allowed).is_ok_and(|allowed| url.starts_with(&allowed));
    host.allow().http.iter().any(begins)
}

fn must_be_allowed(lua: &Lua, host: &Host, url: &str) -> Result<String> {
    let normal = normal(url).map_err(|why| refused(lua, format!("{url:?} cannot be asked for: {why}")))?;
    if is_allowed(host, &normal) {
        return Ok(normal);
    }
    let mut end = normal.split_inclusive('/');
    let base: String = end.by_ref().take(3).collect();
    Err(not_allowed(lua, &normal, "http", &base))
}

fn request(lua: &Lua, host: &Host, mut asked: Asked) -> Result<Table> {
    let mut url = must_be_allowed(lua, host, &asked.url)?;
    let is_safe = asked.method == Method::GET || asked.method == Method::HEAD;
    let noted = json!({ "url": url, "bytes": asked.body.len() });
    if !is_safe && !host.changes_to(&format!("http.{}", asked.method.as_str().to_ascii_lowercase()), noted) {
        return answer(lua, 200, &[], b"");
    }
    for _ in 0..=HOPS {
        let mut response = send(lua, host, &asked, &url)?;
        let status = response.status().as_u16();
        let location = response.headers().get("location").and_then(|value| value.to_str().ok());
        if let (301 | 302 | 303 | 307 | 308, Some(location)) = (status, location) {
            let next = must_be_allowed(lua, host, &absolute(&url, location))?;
            if origin(&next) != origin(&url) {
                asked.headers.retain(|(name, _)| !SECRET.iter().any(|own| name.eq_ignore_ascii_case(own)));
            }
            url = next;
            if status == 303 || (status < 303 && asked.method == Method::POST) {
                (asked.method, asked.body) = (Method::GET, Vec::new());
            }
            continue;
        }
        let headers: Vec<(String, String)> = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        let body = response.body_mut().with_config().limit(BYTES).read_to_vec();
        let body = body.map_err(|cause| refused(lua, format!("{url}: {}", words(&cause))))?;
        return answer(lua, status, &headers, &body);
    }
    Err(refused(lua, format!("{}: more than {HOPS} redirections", asked.url)))
}

fn words(cause: &ureq::Error) -> String {
    match cause {
        ureq::Error::BodyExceedsLimit(_) => "the answer is larger than 1 MiB".to_owned(),
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        other => other.to_string(),
    }
}

/// Scheme, host and port of what is normal.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..].find('/').map_or(url, |end| &url[..host + end])
}

/// Whether it begins with a scheme: what comes later may be anything, also another URL.
fn has_scheme(location: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    location.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(is_part)
    })
}

fn absolute(base: &str, location: &str) -> String {
    if has_scheme(location) {
        return location.to_owned();
    }
    let (host, path) = base.split_at(origin(base).len());
    match location.strip_prefix("//") {
        Some(other) => format!("{}://{other}", host.split("://").next().unwrap_or("http")),
        None if location.starts_with('/') => format!("{host}{location}"),
        None => {
            let path = path.split('?').next().unwrap_or(path);
            if location.starts_with('?') {
                return format!("{host}{path}{location}");
            }
            format!("{host}{}{location}", &path[..path.rfind('/').map_or(0, |at| at + 1)])
        }
    }
}

/// Who vouches for servers.
fn vouching(lua: &Lua, host: &Host) -> Result<RootCerts> {
    let Some(path) = &host.allow().ca else { return Ok(RootCerts::WebPki) };
    let wrong = |why: String| refused(lua, format!("hooks.allow.ca: {}: {why}", path.display()));
    let text = std::fs::read(path).map_err(|cause| wrong(cause.to_string()))?;
    let mut all = Vec::new();
    for item in parse_pem(&text) {
        if let PemItem::Certificate(one) = item.map_err(|cause| wrong(cause.to_string()))? {
            all.push(one);
        }
    }
    if all.is_empty() {
        return Err(wrong("there is no certificate in it".to_owned()));
    }
    Ok(RootCerts::new_with_certs(&all))
}

fn send(lua: &Lua, host: &Host, asked: &Asked, url: &str) -> Result<ureq::http::Response<ureq::Body>> {
    let left = asked.deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(refused(lua, format!("{url}: no answer in time")));
    }
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // What our own environment says is nothing that a definition has said.
        .proxy(None)
        .timeout_global(Some(left))
        .user_agent("tsubo-hook")
        .tls_config(TlsConfig::builder().root_certs(vouching(lua, host)?).build())
        .build();
    let mut request = Request::builder().method(asked.method.clone()).uri(url);
    for (name, value) in &asked.headers {
        request = request.header(name, value);
    }
    let wrong = |cause: ureq::http::Error| refused(lua, format!("{url}: {cause}"));
    let agent = Agent::with_parts(config, DefaultConnector::default(), Names);
    let sent = if asked.body.is_empty() {
        agent.run(request.body(()).map_err(wrong)?)
    } else {
        agent.run(request.body(asked.body.as_slice()).map_err(wrong)?)
    };
    sent.map_err(|cause| refused(lua, format!("{url}: {}", words(&cause))))
}

fn answer(lua: &Lua, status: u16, headers: &[(String, String)], body: &[u8]) -> Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("status", status)?;
    table.raw_set("ok", (200..300).contains(&status))?;
    table.raw_set("body", lua.create_string(body)?)?;
    table.raw_set("headers", lua.create_table_from(headers.iter().cloned())?)?;
    let json = |lua: &Lua, own: Table| {
        let body: LuaString = own.raw_get("body")?;
        let json = serde_json::from_slice(&body.as_bytes());
        value::from_json(lua, &json.map_err(|cause| refused(lua, format!("the answer is no JSON: {cause}")))?)
    };
    table.raw_set("json", lua.create_function(json)?)?;
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_mean_what_they_seem_to() {
        assert_eq!(normal("HTTPS://Example.COM:443/A?b#c").expect("plain"), "https://example.com/A?b");
        assert_eq!(normal("http://a").expect("plain"), "http://a/");
        assert_eq!(normal("http://a/b%20c;v=1/%C3%A4..x").expect("plain"), "http://a/b%20c;v=1/%C3%A4..x");
        for bad in [
            "http://a/../b",
            "http://a/%2e%2e/b",
            "http://u@a/",
            "ftp://a/",
            "/x",
            "http://a/b%2Fc",
            "http://a/..;/b",
            "http://a/..;x=y/b",
            "http://a/.;/b",
            "http://a/%252e%252e/b",
            "http://a/%25",
            "http://a/.%2e/b",
            "http://a/%2E%2E;/b",
            "http://a/..%3b/b",
            "http://a/x%5c..%5cb",
            "http://a/%00",
            "http://a/%0a",
            "http://a/%7f",
            "http://a/%",
            "http://a/%zz",
            "http://a/%+1",
            "",
            "http:///x",
            "http://a/\\b",
        ] {
            assert!(normal(bad).is_err(), "{bad}");
        }
        assert_eq!(absolute("http://a/b/c?d", "/x"), "http://a/x");
        assert_eq!(absolute("http://a/b/c?d", "x"), "http://a/b/x");
        assert_eq!(absolute("http://a/b", "https://c/d"), "https://c/d");
        assert_eq!(absolute("http://a/b", "//c/d"), "http://c/d");
        assert_eq!(absolute("http://a/b", "/login?next=https://x"), "http://a/login?next=https://x");
        assert_eq!(absolute("http://a/b/c?d", "?e"), "http://a/b/c?e");
        assert_eq!((origin("http://a:1/b"), origin("http://a")), ("http://a:1", "http://a"));
    }
}
