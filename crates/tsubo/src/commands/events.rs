//! `tsubo events`: what happens to containers, as it happens.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use lifecycle::Containers;
use lifecycle::events::{Event, What};
use serde_json::Value;
use spec::{Error, Result};

use super::{Place, life_flags};
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo events                                    from now on, until Ctrl-C
  tsubo events --since 1h --until 0s              the last hour
  tsubo events --filter container=web --filter event=die --filter event=oom
  tsubo events --format json | jq 'select(.code != 0)'

Events: create start die stop kill pause unpause rename exec oom health_status restart update
destroy. Filters of one key are alternatives; those of different keys must all hold. The newest
thousands are kept until the machine is restarted.
";

/// Show what happens to containers, as it happens.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Begin with those since then: a time ago as in 10m, or a moment (RFC 3339, or seconds since 1970)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub since: Option<u64>,

    /// End with those until then
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub until: Option<u64>,

    /// Only those of which this holds: event=…, container=NAME|ID, image=…
    #[arg(long, value_name = "KEY=VALUE", value_parser = filter)]
    pub filter: Vec<(String, String)>,

    #[command(flatten)]
    pub format: ui::FormatArg,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let containers = Containers::of(&place.home()?);
    let watch = containers.watch()?;
    let mut events = containers.events();
    let since = args.since.unwrap_or_else(now);
    loop {
        while let Some(event) = events.next_event()? {
            if args.until.is_some_and(|until| event.time > until) {
                return Ok(0);
            }
            let wanted = event.time >= since && passes(&event, &args.filter);
            if wanted && show(&event, args.format.is_json()).is_err() {
                // Nobody reads any more.
                return Ok(0);
            }
        }
        let left = args.until.map(|until| Duration::from_micros(until.saturating_sub(now())));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(0);
        }
        watch.wait(left);
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros() as u64)
}

fn show(event: &Event, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match json {
        true => writeln!(out, "{}", serde_json::to_string(event)?)?,
        false => writeln!(out, "{}", ui::error::printable(&ui::table::one_line(&line(event))))?,
    }
    out.flush()
}

fn line(event: &Event) -> String {
    let time =
        Timestamp::from_microsecond(event.time as i64).map(|time| format!("{time:.3}")).unwrap_or_default();
    let about = match &event.what {
        What::Die { code } => format!(" (exit code {code})"),
        What::Kill { signal } => format!(" (signal {signal})"),
        What::Rename { from } => format!(" (was {from})"),
        What::Exec { command } => format!(" ({})", command.join(" ")),
        What::HealthStatus { status } => format!(" ({status})"),
        What::Restart { times: Some(times) } => format!(" (number {times} of its policy)"),
        _ => String::new(),
    };
    format!("{time} {:<13} {} {} {}{about}", kind(&event.what), event.id, event.name, event.image)
}

/// The word of an event, as it is written.
fn kind(what: &What) -> String {
    let value = serde_json::to_value(what).unwrap_or_default();
    value.get("event").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn passes(event: &Event, filters: &[(String, String)]) -> bool {
    ["event", "container", "image"].iter().all(|key| {
        let mut values = filters.iter().filter(|(own, _)| own == key).map(|(_, value)| value).peekable();
        values.peek().is_none() || values.any(|value| holds(event, key, value))
    })
}

fn holds(event: &Event, key: &str, value: &str) -> bool {
    match key {
        "event" => kind(&event.what) == value,
        "container" => event.name.as_str() == value || event.id.to_string().starts_with(value),
        _ => event.image == value || event.image.split('@').next() == Some(value),
    }
}

fn filter(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((key @ ("event" | "container" | "image"), value)) if !value.is_empty() => {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err(Error::user(format!("{text:?} is no filter"))
            .hint("use event=die, container=web (or the beginning of an id), image=web")),
    }
}

/// Microseconds since 1970.
fn moment(text: &str) -> Result<u64> {
    let bad = || {
        Error::user(format!("{text:?} is no moment"))
            .hint("use a time ago as in 10m, RFC 3339 as in 2026-01-31T12:00:00Z, or seconds since 1970")
    };
    if let Ok(time) = text.parse::<Timestamp>() {
        return u64::try_from(time.as_microsecond()).map_err(|_| bad());
    }
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=1e11).contains(&seconds) => Ok((seconds * 1e6) as u64),
        Ok(_) => Err(bad()),
        Err(_) => life_flags::millis(text).map(|ago| now().saturating_sub(ago * 1000)).map_err(|_| bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(what: What) -> Event {
        let id = "0123456789ab".parse().expect("id");
        Event {
            time: 1_500_000_000_000_000,
            what,
            id,
            name: "web".parse().expect("name"),
            image: "app@abc".into(),
        }
    }

    #[test]
    fn filters_of_one_key_are_alternatives() {
        let filters = |list: &[&str]| list.iter().map(|text| filter(text).expect(text)).collect::<Vec<_>>();
        let die = event(What::Die { code: 3 });
        for good in [
            &[][..],
            &["event=die"],
            &["event=oom", "event=die", "container=web"],
            &["container=0123", "image=app"],
        ] {
            assert!(passes(&die, &filters(good)), "{good:?}");
        }
        for bad in [&["event=start"][..], &["event=die", "container=we"], &["image=ap"]] {
            assert!(!passes(&die, &filters(bad)), "{bad:?}");
        }
        assert!(filter("name=x").is_err() && filter("event=").is_err());
        assert_eq!(kind(&What::HealthStatus { status: spec::life::Wellness::Healthy }), "health_status");
    }

    #[test]
    fn moments_are_understood() {
        assert_eq!(moment("2017-07-14T02:40:00Z").expect("RFC 3339"), 1_500_000_000_000_000);
        assert_eq!(moment("1500000000").expect("seconds"), 1_500_000_000_000_000);
        assert!(moment("10m").expect("ago") <= now() - 600_000_000);
        for bad in ["", "yesterday", "-5", "1e300"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
        assert!(line(&event(What::Die { code: 3 })).starts_with("2017-07-14T02:40:00.000Z die"));
    }
}
