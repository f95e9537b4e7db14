//! Lines as they should be, and what nobody can make of them.

use proptest::prelude::*;

use super::*;

fn entry() -> Entry<'static> {
    Entry {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_348_366_250),
        client: IpAddr::from([192, 0, 2, 7]),
        method: "GET",
        target: "/a?b=c",
        version: Some(Version::HTTP_11),
        host: Some(b"shop.example"),
        referer: None,
        agent: Some(b"curl/8"),
        status: 200,
        sent: 512,
        whole: true,
        service: Some("shop"),
        instance: Some(2),
        cold: true,
        waited: Duration::from_micros(12_345),
        upstream: Some(Duration::from_micros(1500)),
        took: Duration::from_millis(15),
        retries: 0,
    }
}

fn written(entry: &Entry<'_>, format: Format) -> String {
    let mut line = Vec::new();
    entry.write(format, &mut line);
    String::from_utf8(line).expect("ASCII")
}

#[test]
fn a_line_says_it_all() {
    assert_eq!(
        written(&entry(), Format::Combined),
        "192.0.2.7 - - [22/Nov/2026:11:52:46 +0000] \"GET /a?b=c HTTP/1.1\" 200 512 \"-\" \"curl/8\" \
         host=\"shop.example\" service=\"shop\" instance=2 start=cold wait_ms=12.345 upstream_ms=1.500 ms=15.000 retries=0\n"
    );
    assert_eq!(
        written(&entry(), Format::Json),
        "{\"time\":\"2026-11-22T11:52:46.250Z\",\"client\":\"192.0.2.7\",\"method\":\"GET\",\"target\":\"/a?b=c\",\
         \"version\":\"HTTP/1.1\",\"host\":\"shop.example\",\"agent\":\"curl/8\",\"status\":200,\"sent\":512,\"whole\":true,\
         \"service\":\"shop\",\"instance\":2,\"start\":\"cold\",\"wait_ms\":12.345,\"upstream_ms\":1.5,\"ms\":15.0,\"retries\":0}\n"
    );
}

#[test]
fn what_is_not_known_is_a_dash() {
    let bare = Entry {
        host: None,
        agent: None,
        service: None,
        instance: None,
        upstream: None,
        version: None,
        whole: false,
        cold: false,
        ..entry()
    };
    let line = written(&bare, Format::Combined);
    assert!(
        line.ends_with("instance=- start=none wait_ms=12.345 upstream_ms=- ms=15.000 retries=0 cut\n"),
        "{line}"
    );
    assert!(line.contains("TCP\" 200 512 \"-\" \"-\" host=\"-\" service=\"-\""), "{line}");
}

#[test]
fn a_long_field_is_cut() {
    let long = vec![b'a'; 100_000];
    for format in [Format::Combined, Format::Json] {
        let line = written(&Entry { agent: Some(&long), referer: Some(&long), ..entry() }, format);
        assert!(line.len() < 3 * LONGEST, "{}", line.len());
    }
}

#[test]
fn letters_of_other_tongues_are_told() {
    let line = written(&Entry { agent: Some("庭 😀".as_bytes()), ..entry() }, Format::Json);
    assert!(line.contains("\"agent\":\"\\u5ead \\ud83d\\ude00\""), "{line}");
    let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(read["agent"], "庭 😀");
}

/// The quoted fields of a combined line, read as a log reader does; None where it makes no sense.
fn quoted(line: &str) -> Vec<String> {
    line.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

proptest! {
    #[test]
    fn nobody_forges_a_line(
        target in ".{0,40}",
        agent in proptest::collection::vec(any::<u8>(), 0..60),
        host in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        let one = Entry { target: &target, agent: Some(&agent), host: Some(&host), ..entry() };
        for format in [Format::Combined, Format::Json] {
            let line = written(&one, format);
            let body = line.strip_suffix('\n').expect("an end");
            prop_assert!(body.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
        }
        let fields = quoted(&written(&one, Format::Combined));
        prop_assert_eq!(fields.len(), 5);
        prop_assert_eq!(&fields[4], "shop");
        let read: serde_json::Value = serde_json::from_str(&written(&one, Format::Json)).expect("JSON");
        prop_assert_eq!(read["target"].as_str(), Some(target.as_str()));
        prop_assert_eq!(read["agent"].as_str(), Some(&*String::from_utf8_lossy(&agent)));
        prop_assert_eq!(read["service"].as_str(), Some("shop"));
    }
}
