//! What is counted of each service, as Prometheus reads it (text format 0.0.4).

use std::fmt::Write;
use std::time::Duration;

use super::histogram::Histogram;

/// The type of what [`exposition`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is counted of one service.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// Answers by the first digit of their status; others stand at 0.
    pub answers: [u64; 6],
    /// How long requests took that an instance was there for.
    pub warm: Histogram,
    /// And those for which one had to be started.
    pub cold: Histogram,
    /// Requests that had to wait for an instance.
    pub queued: u64,
    /// Requests that got none, by why.
    pub refused: Refused,
    /// Times that a request was sent once more, to another instance.
    pub retries: u64,
    /// Instances that were started.
    pub starts: u64,
    /// And frozen ones that went on.
    pub thaws: u64,
    /// Instances that did not become ready, or died though nobody asked them to.
    pub failures: u64,
    /// Bytes of requests.
    pub received: u64,
    /// Bytes of answers.
    pub sent: u64,
}

/// Requests that got no instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refused {
    /// Too many waited already.
    pub full: u64,
    /// They waited for too long.
    pub late: u64,
    /// It does not start at the moment.
    pub failing: u64,
    /// It cannot be started at all.
    pub broken: u64,
}

impl Counters {
    /// A request is over that no instance had.
    pub fn refused(&mut self, status: u16) {
        let class = usize::from(status / 100);
        self.answers[if class < self.answers.len() { class } else { 0 }] += 1;
    }

    /// A request is over.
    pub fn request(&mut self, status: u16, took: Duration, is_cold: bool) {
        self.refused(status);
        if is_cold { self.cold.record(took) } else { self.warm.record(took) }
    }

    /// The share of requests (0 to 1) for which an instance had to be started.
    pub fn cold_share(&self) -> Option<f64> {
        let all = self.warm.count() + self.cold.count();
        (all > 0).then(|| self.cold.count() as f64 / all as f64)
    }
}

/// One service at this moment.
#[derive(Debug, Clone, Copy)]
pub struct Service<'a> {
    /// Its name.
    pub name: &'a str,
    /// What was counted.
    pub counters: &'a Counters,
    /// How many of its instances stand where.
    pub instances: &'a [(&'a str, u64)],
    /// Requests that wait for an instance.
    pub waiting: u64,
    /// Requests that instances have.
    pub in_flight: u64,
}

/// The gateway itself at this moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gateway<'a> {
    /// Its version.
    pub version: &'a str,
    /// Open connections of clients.
    pub connections: u64,
    /// Lines of the access log that could not be written.
    pub lines_lost: u64,
}

/// Everything. Of a service that nobody ever called nothing is told: there may be thousands.
pub fn exposition(gateway: &Gateway<'_>, services: &[Service<'_>]) -> String {
    let mut text = Text(String::new());
    of_gateway(&mut text, gateway, services.len());
    let used: Vec<_> = services.iter().filter(|service| is_used(service)).collect();
    of_now(&mut text, &used);
    of_requests(&mut text, &used);
    for (name, what, value) in COUNTS {
        text.family(name, "counter", what);
        used.iter().for_each(|one| text.sample(name, &[("service", one.name)], value(one.counters)));
    }
    of_times(&mut text, &used);
    text.0
}

/// Counters that need no further label.
type Count = (&'static str, &'static str, fn(&Counters) -> u64);

const COUNTS: [Count; 7] = [
    ("queued_total", "Requests that had to wait for an instance.", |all| all.queued),
    ("retries_total", "Times that a request was sent once more, to another instance.", |all| all.retries),
    ("starts_total", "Instances that were started.", |all| all.starts),
    ("thaws_total", "Frozen instances that went on.", |all| all.thaws),
    ("failures_total", "Instances that did not become ready or died.", |all| all.failures),
    ("received_bytes_total", "Bytes of requests.", |all| all.received),
    ("sent_bytes_total", "Bytes of answers.", |all| all.sent),
];

fn is_used(service: &Service<'_>) -> bool {
    let Counters { answers, starts, refused, failures, .. } = service.counters;
    let Refused { full, late, failing, broken } = refused;
    let counted =
        answers.iter().chain([starts, full, late, failing, broken, failures]).any(|count| *count > 0);
    counted
        || service.waiting + service.in_flight > 0
        || service.instances.iter().any(|(_, count)| *count > 0)
}

fn of_gateway(text: &mut Text, gateway: &Gateway<'_>, services: usize) {
    text.family("info", "gauge", "Its version.");
    text.sample("info", &[("version", gateway.version)], 1);
    text.family("services", "gauge", "Services that it knows.");
    text.sample("services", &[], services as u64);
    text.family("connections", "gauge", "Open connections of clients.");
    text.sample("connections", &[], gateway.connections);
    text.family("log_lines_lost_total", "counter", "Lines of the access log that could not be written.");
    text.sample("log_lines_lost_total", &[], gateway.lines_lost);
}

fn of_now(text: &mut Text, used: &[&Service<'_>]) {
    text.family("instances", "gauge", "Instances by where they stand.");
    for one in used {
        for (stage, count) in one.instances {
            text.sample("instances", &[("service", one.name), ("stage", stage)], *count);
        }
    }
    text.family("requests_waiting", "gauge", "Requests that wait for an instance.");
    used.iter().for_each(|one| text.sample("requests_waiting", &[("service", one.name)], one.waiting));
    text.family("requests_in_flight", "gauge", "Requests that instances have.");
    used.iter().for_each(|one| text.sample("requests_in_flight", &[("service", one.name)], one.in_flight));
}

fn of_requests(text: &mut Text, used: &[&Service<'_>]) {
    text.family("requests_total", "counter", "Requests by the class of the answer's status.");
    for one in used {
        for (class, count) in ["other", "1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(one.counters.answers) {
            text.sample("requests_total", &[("service", one.name), ("class", class)], count);
        }
    }
    text.family("refused_total", "counter", "Requests that got no instance.");
    for one in used {
        let Refused { full, late, failing, broken } = one.counters.refused;
        for (reason, count) in [("full", full), ("late", late), ("failing", failing), ("broken", broken)] {
            text.sample("refused_total", &[("service", one.name), ("reason", reason)], count);
        }
    }
}

fn of_times(text: &mut Text, used: &[&Service<'_>]) {
    text.family(
        "request_seconds",
        "histogram",
        "How long requests took, from their head to the end of the answer.",
    );
    for one in used {
        for (start, times) in [("warm", &one.counters.warm), ("cold", &one.counters.cold)] {
            text.histogram("request_seconds", &[("service", one.name), ("start", start)], times);
        }
    }
}

/// What is written, so far.
struct Text(String);

/// To write to a string does not fail.
impl Text {
    fn family(&mut self, name: &str, kind: &str, what: &str) {
        let _ = writeln!(self.0, "# HELP tsubo_gateway_{name} {what}\n# TYPE tsubo_gateway_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let _ = write!(self.0, "tsubo_gateway_{name}");
        for (place, (label, value)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"", if place == 0 { '{' } else { ',' });
            self.escaped(value);
            self.0.push('"');
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn escaped(&mut self, value: &str) {
        for letter in value.chars() {
            match letter {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                _ => self.0.push(letter),
            }
        }
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], times: &Histogram) {
        let bucket = format!("{name}_bucket");
        let mut with_end = |end: &str, count| {
            let labels: Vec<_> = labels.iter().copied().chain([("le", end)]).collect();
            self.sample(&bucket, &labels, count);
        };
        times.cumulative().for_each(|(end, count)| with_end(&end.as_secs_f64().to_string(), count));
        with_end("+Inf", times.count());
        self.sample(&format!("{name}_sum"), labels, times.sum().as_secs_f64());
        self.sample(&format!("{name}_count"), labels, times.count());
    }
}

#[cfg(test)]
mod tests;
