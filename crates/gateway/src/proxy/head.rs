//! What of a head goes on, and what concerns two neighbours only (RFC 9110, 7.6.1).

use std::net::IpAddr;

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::http::uri::{Authority, Scheme};
use hyper::{Method, Request, Uri, Version};

/// Of neighbours, whatever `Connection` says.
const BETWEEN_NEIGHBOURS: [HeaderName; 5] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
    HeaderName::from_static("proxy-authorization"),
    HeaderName::from_static("http2-settings"),
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const PROXY: HeaderName = HeaderName::from_static("proxy");

/// What we say of a client.
const OURS: [HeaderName; 5] = [FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, FORWARDED, REAL_IP];

/// Why a head is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It does not say for whom it is, or says it twice.
    Host,
    /// It says in two ways where it ends: what comes behind it could be taken for another request.
    Length,
    /// It is coded in a way that is for who is next to us, and that we do not know.
    Coding,
    /// Its body is none.
    Body,
    /// It asks for a tunnel to elsewhere.
    Connect,
}

/// The name that a request is for.
pub(super) fn host<B>(request: &Request<B>) -> Result<HeaderValue, Fault> {
    let mut said = request.headers().get_all(HOST).iter();
    let named = match (said.next(), said.next()) {
        (_, Some(_)) => return Err(Fault::Host),
        (named, None) => named,
    };
    // What stands in the first line holds (RFC 9112, 3.2.2).
    let authority = request.uri().authority().map(|name| HeaderValue::from_str(name.as_str()));
    match (authority, named) {
        (Some(name), _) => name.map_err(|_| Fault::Host),
        (None, Some(name)) if name.as_bytes().iter().all(is_of_a_name) => Ok(name.clone()),
        (None, None) if request.version() <= Version::HTTP_10 => Ok(HeaderValue::from_static("")),
        _ => Err(Fault::Host),
    }
}

/// What a name and a port consist of (RFC 3986, 3.2.2 and 3.2.3).
fn is_of_a_name(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte)
}

/// Whether it can be understood in one way only.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), Fault> {
    let headers = request.headers();
    if headers.contains_key(CONTENT_LENGTH) && headers.contains_key(TRANSFER_ENCODING) {
        return Err(Fault::Length);
    }
    if headers.get_all(CONTENT_LENGTH).iter().count() > 1
        || headers.get_all(TRANSFER_ENCODING).iter().count() > 1
    {
        return Err(Fault::Length);
    }
    if !headers.get(TRANSFER_ENCODING).is_none_or(is_chunked) {
        return Err(Fault::Coding);
    }
    if request.method() == Method::CONNECT { Err(Fault::Connect) } else { Ok(()) }
}

/// The one coding between neighbours that everybody knows; others are taken off by nobody behind us.
fn is_chunked(coding: &HeaderValue) -> bool {
    coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")
}

/// Whether it can be understood in one way only how long an answer is, and how it is coded. What hyper takes for its
/// end, who reads its head may take for the middle (RFC 9112, 6.1 and 6.3).
pub(super) fn is_clear(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => is_chunked(coding) && !headers.contains_key(CONTENT_LENGTH),
        (Some(_), Some(_)) => false,
    }
}

/// What it asks this connection to become, if that is anything that we pass on. `h2c` is not: what is
/// said in it afterwards nobody here would see.
pub(super) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let wanted = headers.get(UPGRADE)?;
    let asks = headers.get_all(CONNECTION).iter().any(|value| has_word(value, "upgrade"));
    let fine = !has_word(wanted, "h2c") && !has_word(wanted, "h2");
    (asks && fine).then(|| wanted.clone())
}

/// Takes out what concerns two neighbours only.
pub(super) fn strip(headers: &mut HeaderMap, keeps_te: bool) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|word| word.trim().parse().ok())
            // What says for whom and how long a message is cannot be named away.
            .filter(|name| ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name))
            .collect();
        named.into_iter().for_each(|name| drop(headers.remove(name)));
        headers.remove(CONNECTION);
    }
    for name in BETWEEN_NEIGHBOURS {
        headers.remove(name);
    }
    headers.remove(UPGRADE);
    headers.remove(TRANSFER_ENCODING);
    let trailers = keeps_te && headers.get(TE).is_some_and(|value| has_word(value, "trailers"));
    headers.remove(TE);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Cookies come in one field in version 1, and in any number of them in version 2 (RFC 9113, 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    let (Some(first), Some(_)) = (cookies.next(), cookies.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for cookie in headers.get_all(COOKIE).iter().skip(1) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(COOKIE, joined);
    }
}

/// Takes out what many services would read as one of the fields that we write, or as a setting of their own: with CGI
/// and its heirs `-` and `_` are the same, and `Proxy` becomes HTTP_PROXY.
fn unmask(headers: &mut HeaderMap) {
    headers.remove(PROXY);
    let is_mask = |name: &&HeaderName| {
        name.as_str().contains('_')
            && OURS.iter().any(|ours| ours.as_str() == name.as_str().replace('_', "-"))
    };
    let masks: Vec<_> = headers.keys().filter(is_mask).cloned().collect();
    masks.into_iter().for_each(|name| drop(headers.remove(name)));
}

/// Says to the service whose request it is. What the client says of that itself nobody knows to be true.
pub(super) fn introduce(parts: &mut Parts, client: IpAddr, secure: bool, host: HeaderValue) {
    let headers = &mut parts.headers;
    unmask(headers);
    headers.remove(FORWARDED);
    headers.remove(EXPECT);
    if let Ok(client) = HeaderValue::from_str(&client.to_canonical().to_string()) {
        headers.insert(REAL_IP, client.clone());
        headers.insert(FORWARDED_FOR, client);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(if secure { "https" } else { "http" }));
    headers.insert(FORWARDED_HOST, host.clone());
    headers.insert(HOST, host);
}

/// The first line as a service expects it: without the name.
pub(super) fn origin_form(uri: &Uri) -> Uri {
    match uri.path_and_query() {
        Some(path) => Uri::from(path.clone()),
        None => Uri::from_static("/"),
    }
}

/// The same in version 2: for whom a request is stands there, and nowhere else (RFC 9113, 8.3.1).
pub(super) fn absolute_form(parts: &mut Parts) {
    let host = parts.headers.remove(HOST);
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let mut whole = hyper::http::uri::Parts::default();
    whole.scheme = Some(Scheme::HTTP);
    whole.authority = Some(authority.unwrap_or_else(|| Authority::from_static("localhost")));
    whole.path_and_query = origin_form(&parts.uri).into_parts().path_and_query;
    parts.uri = Uri::from_parts(whole).unwrap_or_default();
    parts.version = Version::HTTP_2;
}

fn has_word(value: &HeaderValue, word: &str) -> bool {
    let words = value.to_str().unwrap_or_default().split(',');
    words.into_iter().any(|said| said.trim().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(head: &[(&str, &str)]) -> Request<()> {
        let made = head.iter().fold(Request::builder(), |made, (name, value)| made.header(*name, *value));
        made.body(()).expect("a head")
    }

    fn parts(head: &[(&str, &str)]) -> Parts {
        request(head).into_parts().0
    }

    #[test]
    fn what_can_be_understood_in_two_ways_is_refused() {
        let both = request(&[("content-length", "1"), ("transfer-encoding", "chunked")]);
        assert_eq!(check(&both), Err(Fault::Length));
        assert_eq!(check(&request(&[("content-length", "1"), ("content-length", "2")])), Err(Fault::Length));
        assert_eq!(host(&request(&[("host", "a"), ("host", "b")])), Err(Fault::Host));
        assert_eq!(host(&request(&[])), Err(Fault::Host));
        for odd in ["a b", "a/b", "a@b", "a\\b", "<a>"] {
            assert_eq!(host(&request(&[("host", odd)])), Err(Fault::Host), "{odd}");
        }
        for fine in ["", "a-b_c.test:80", "[::1]:80", "xn--bcher-kva.test"] {
            assert!(host(&request(&[("host", fine)])).is_ok(), "{fine}");
        }
    }

    #[test]
    fn codings_that_nobody_takes_off_go_no_further() {
        for (coding, fine) in
            [("chunked", true), (" Chunked", true), ("gzip, chunked", false), ("xchunked", false)]
        {
            let said = request(&[("transfer-encoding", coding)]);
            assert_eq!(check(&said).is_ok(), fine, "{coding}");
            assert_eq!(is_clear(said.headers()), fine, "{coding}");
        }
        let both = request(&[("content-length", "3"), ("transfer-encoding", "chunked")]);
        assert!(!is_clear(both.headers()) && is_clear(request(&[("content-length", "3")]).headers()));
    }

    #[test]
    fn what_is_between_neighbours_stays_there() {
        let mut parts = parts(&[
            ("connection", "close, x-private, host"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("host", "a"),
            ("x-public", "1"),
        ]);
        strip(&mut parts.headers, true);
        let left: Vec<_> = parts.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["host", "x-public"]);
    }

    #[test]
    fn an_upgrade_is_one_that_we_can_see_the_end_of() {
        let asked = |to| upgrade(&parts(&[("connection", "Upgrade"), ("upgrade", to)]).headers);
        assert!(asked("websocket").is_some() && asked("h2c").is_none() && asked("websocket, H2C").is_none());
        assert!(upgrade(&parts(&[("upgrade", "websocket")]).headers).is_none());
    }

    #[test]
    fn in_version_two_the_name_is_in_the_target() {
        let mut parts = parts(&[("host", "a.test:80")]);
        parts.uri = Uri::from_static("/x?y");
        absolute_form(&mut parts);
        assert_eq!((parts.uri.to_string().as_str(), parts.headers.len()), ("http://a.test:80/x?y", 0));
        absolute_form(&mut parts);
        assert_eq!(parts.uri, "http://localhost/x?y");
    }

    #[test]
    fn cookies_are_one_field() {
        let mut parts = parts(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")]);
        join_cookies(&mut parts.headers);
        let all: Vec<_> = parts.headers.get_all(COOKIE).iter().collect();
        assert_eq!(all, ["a=1; b=2; c=3"]);
    }

    #[test]
    fn what_reads_as_ours_is_taken_out() {
        let masks =
            [("x_forwarded_for", "10.0.0.1"), ("x-forwarded_proto", "https"), ("x_real_ip", "10.0.0.1")];
        let mut parts = parts(&[&masks[..], &[("proxy", "http://evil"), ("x_other", "1")]].concat());
        unmask(&mut parts.headers);
        let left: Vec<_> = parts.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x_other"]);
    }

    #[test]
    fn a_client_cannot_say_who_it_is() {
        let mut parts = parts(&[("x-forwarded-for", "10.0.0.1"), ("forwarded", "for=10.0.0.1")]);
        introduce(&mut parts, IpAddr::from([192, 0, 2, 1]), true, HeaderValue::from_static("a"));
        assert_eq!(parts.headers[FORWARDED_FOR], "192.0.2.1");
        assert_eq!(parts.headers[FORWARDED_PROTO], "https");
        assert!(!parts.headers.contains_key(FORWARDED));
    }
}
