//! The page that a browser shows while an instance starts, and who is shown it.
//!
//! It asks again by itself (`Refresh`), brings no script and fetches nothing. The answer is a 503, so that nobody takes
//! it for the page that was asked for: not a cache, not a search engine.

use hyper::Method;
use hyper::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RANGE,
    REFRESH, RETRY_AFTER, UPGRADE, X_CONTENT_TYPE_OPTIONS,
};

/// What it says.
pub const BODY: &str = include_str!("page/page.html");

/// Nothing is loaded or run; the style is the one in the page, known by its digest.
const POLICY: &str = "default-src 'none'; style-src 'sha256-kReBXHNf10mfKMbvhYwRaOIxxplmrUWAb0zlE/ofFYg='; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// Whether who asks is a person's browser that goes to a page: programs, scripts of pages, images and downloads wait for the
/// answer, since no other would do.
pub fn is_for(method: &Method, headers: &HeaderMap) -> bool {
    let navigates = headers.get(FETCH_MODE).is_none_or(|mode| mode == "navigate");
    let other = [UPGRADE, RANGE, REQUESTED_WITH].iter().any(|name| headers.contains_key(name));
    method == Method::GET && navigates && !other && headers.get_all(ACCEPT).iter().any(takes_html)
}

/// Whether pages are named, and not to be left out.
fn takes_html(accept: &HeaderValue) -> bool {
    accept.to_str().unwrap_or_default().split(',').any(|part| {
        let mut words = part.split(';').map(str::trim);
        let page = words.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
        let weight = words.find_map(|word| word.strip_prefix("q=").or_else(|| word.strip_prefix("Q=")));
        page && weight.is_none_or(|weight| weight.trim().parse::<f32>().is_ok_and(|weight| weight > 0.0))
    })
}

/// The head of the answer: it is asked again after so many seconds. Another page than ours may do what it likes.
pub fn head(headers: &mut HeaderMap, seconds: u64, is_ours: bool) {
    let seconds = seconds.max(1);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    headers.insert(REFRESH, HeaderValue::from(seconds));
    if is_ours {
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn asks(method: &Method, said: &[(&'static str, &'static str)]) -> bool {
        let pairs =
            said.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        is_for(method, &pairs.collect())
    }

    #[test]
    fn a_browser_that_goes_to_a_page_is_shown_it() {
        let firefox = ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
        let navigates = ("sec-fetch-mode", "navigate");
        assert!(asks(&Method::GET, &[firefox, navigates]));
        assert!(asks(&Method::GET, &[firefox]), "an old one");
        assert!(asks(&Method::GET, &[("accept", "*/*;q=0.1, Text/HTML; charset=utf-8; q=0.5")]));
    }

    #[test]
    fn nobody_else_is() {
        let html = ("accept", "text/html");
        assert!(!asks(&Method::POST, &[html]));
        assert!(!asks(&Method::HEAD, &[html]));
        for said in [
            vec![],
            vec![("accept", "*/*")],
            vec![("accept", "application/json")],
            vec![("accept", "text/html;q=0")],
            vec![("accept", "text/html;q=no")],
            vec![html, ("sec-fetch-mode", "cors")],
            vec![html, ("sec-fetch-mode", "no-cors")],
            vec![html, ("sec-fetch-mode", "websocket")],
            vec![html, ("upgrade", "websocket")],
            vec![html, ("x-requested-with", "XMLHttpRequest")],
            vec![html, ("range", "bytes=0-")],
        ] {
            assert!(!asks(&Method::GET, &said), "{said:?}");
        }
    }

    #[test]
    fn it_is_small_and_fetches_nothing() {
        assert!(BODY.len() < 2048);
        for word in ["src=", "href=", "url(", "<script", "http:", "https:", "@import", " style="] {
            assert!(!BODY.contains(word), "{word}");
        }
    }

    #[test]
    fn the_policy_lets_its_style_be() {
        let (_, rest) = BODY.split_once("<style>").expect("a style");
        let (style, _) = rest.split_once("</style>").expect("its end");
        let digest = base64(&Sha256::digest(style));
        assert!(POLICY.contains(&format!("'sha256-{digest}'")), "sha256-{digest}");
    }

    #[test]
    fn who_gets_it_comes_again() {
        let mut headers = HeaderMap::new();
        head(&mut headers, 0, true);
        assert_eq!(
            (&headers[RETRY_AFTER], &headers[REFRESH]),
            (&HeaderValue::from(1), &HeaderValue::from(1))
        );
        assert!(headers.contains_key(CONTENT_SECURITY_POLICY));
        let mut headers = HeaderMap::new();
        head(&mut headers, 3, false);
        assert!(!headers.contains_key(CONTENT_SECURITY_POLICY) && headers[CACHE_CONTROL] == "no-store");
    }

    fn base64(bytes: &[u8]) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let four = |three: &[u8]| {
            let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(*three.get(at).unwrap_or(&0)));
            let letter = |at: usize| LETTERS[(bits >> (18 - 6 * at)) as usize & 63] as char;
            (0..4).map(move |at| if at <= three.len() { letter(at) } else { '=' }).collect::<String>()
        };
        bytes.chunks(3).map(four).collect()
    }
}
