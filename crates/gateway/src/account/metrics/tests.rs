//! What is exposed, read again as a scraper would.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn some() -> Counters {
    let mut counters = Counters::default();
    counters.request(200, Duration::from_millis(3), false);
    counters.request(204, Duration::from_millis(40), false);
    counters.request(503, Duration::from_millis(700), true);
    counters.request(999, Duration::from_secs(900), false);
    (counters.starts, counters.sent, counters.refused.late) = (2, 12_345, 1);
    counters
}

fn exposed(name: &str) -> String {
    let (counters, never) = (some(), Counters::default());
    let base = Service {
        name,
        counters: &counters,
        instances: &[("ready", 1), ("frozen", 0)],
        waiting: 4,
        in_flight: 2,
    };
    let idle = Service {
        name: "never-called",
        counters: &never,
        instances: &[("ready", 0)],
        waiting: 0,
        in_flight: 0,
    };
    exposition(&Gateway { version: "1.2.3", connections: 7, lines_lost: 0 }, &[base, idle])
}

#[test]
fn counts_are_told_with_their_labels() {
    let text = exposed("web");
    for line in [
        "tsubo_gateway_info{version=\"1.2.3\"} 1",
        "tsubo_gateway_services 2",
        "tsubo_gateway_connections 7",
        "tsubo_gateway_instances{service=\"web\",stage=\"ready\"} 1",
        "tsubo_gateway_requests_total{service=\"web\",class=\"2xx\"} 2",
        "tsubo_gateway_requests_total{service=\"web\",class=\"other\"} 1",
        "tsubo_gateway_refused_total{service=\"web\",reason=\"late\"} 1",
        "tsubo_gateway_sent_bytes_total{service=\"web\"} 12345",
        "tsubo_gateway_request_seconds_bucket{service=\"web\",start=\"warm\",le=\"0.0032\"} 1",
        "tsubo_gateway_request_seconds_bucket{service=\"web\",start=\"warm\",le=\"+Inf\"} 3",
        "tsubo_gateway_request_seconds_sum{service=\"web\",start=\"cold\"} 0.7",
        "tsubo_gateway_request_seconds_count{service=\"web\",start=\"cold\"} 1",
    ] {
        assert!(text.lines().any(|told| told == line), "{line}\n{text}");
    }
    assert!(!text.contains("never-called"));
    assert_eq!(some().cold_share(), Some(0.25));
}

#[test]
fn families_stand_together_under_their_type() {
    let text = exposed("web");
    let (mut seen, mut current) = (BTreeSet::new(), String::new());
    for line in text.lines().filter(|line| !line.starts_with("# HELP")) {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            current = family.split(' ').next().expect("a name").to_owned();
            assert!(seen.insert(current.clone()), "{current} is told twice");
            continue;
        }
        let name = line.split(['{', ' ']).next().expect("a name");
        let suffix = name.strip_prefix(&current).expect(line);
        assert!(["", "_bucket", "_sum", "_count"].contains(&suffix), "{line}");
        let value = line.rsplit(' ').next().expect("a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn buckets_only_grow_and_end_with_all() {
    let text = exposed("web");
    let mut of: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for line in text.lines().filter(|line| line.contains("_bucket{")) {
        let (series, rest) = line.split_once(",le=").expect("an end");
        let count = rest.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a count");
        of.entry(series).or_default().push(count);
    }
    assert_eq!(of.len(), 2);
    for counts in of.values() {
        assert!(counts.is_sorted() && counts.len() == 23, "{counts:?}");
    }
}

#[test]
fn no_name_forges_a_line() {
    let text = exposed("a\"} 1\ntsubo_gateway_forged 1\n\\");
    assert!(!text.lines().any(|line| line.starts_with("tsubo_gateway_forged")));
    assert!(text.contains("service=\"a\\\"} 1\\ntsubo_gateway_forged 1\\n\\\\\""));
}
