//! What the audit says at the end: a table for people, JSON for programs.

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::feel::Stretch;
use super::judge::{Evidence, Verdict};
use crate::attack::{Attack, Unit};

/// A line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// The attack.
    pub attack: &'static Attack,
    /// What is said of it.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// All that was seen.
    pub seen: Evidence,
    /// When it began and ended, in microseconds of the monotonic clock.
    pub time: (u64, u64),
}

impl Row {
    /// What it got.
    pub fn got(&self) -> u64 {
        self.seen.over.as_ref().map_or(0, |over| over.got)
    }

    /// The line of the definition that mends it, where it needs mending.
    pub fn mend(&self) -> Option<&'static str> {
        matches!(self.verdict, Verdict::NotLimited | Verdict::HostAtRisk).then_some(self.attack.mend)
    }

    /// What the neighbour's requests took before and during, in milliseconds.
    pub fn lost(&self, of: impl Fn(Stretch) -> u64) -> String {
        let [before, during] = self.seen.requests;
        if before.count < ENOUGH || during.count < ENOUGH {
            return "-".to_owned();
        }
        let milliseconds = |one| of(one) as f64 / 1000.0;
        format!("{:.1} > {:.1} ms", milliseconds(before), milliseconds(during))
    }

    fn value(&self) -> Value {
        let unit = match self.attack.unit {
            Unit::Bytes => "bytes",
            Unit::Things(things) => things,
        };
        let [before, during] = self.seen.requests;
        let [writes_before, writes_during] = self.seen.writes;
        json!({
            "name": self.attack.name, "resource": self.attack.family.word(), "what": self.attack.what,
            "verdict": self.verdict, "reason": self.reason, "limit": self.seen.limit,
            "got": self.got(), "unit": unit,
            "neighbour": { "share": self.seen.share,
                "requests": { "before": before, "during": during },
                "writes": { "before": writes_before, "during": writes_during } },
            "seconds": (self.time.1 - self.time.0) as f64 / 1e6, "mend": self.mend(),
        })
    }
}

/// All of an audit.
#[derive(Debug)]
pub struct Report {
    /// The runtime's name.
    pub runtime: &'static str,
    /// What was audited, for people.
    pub subject: String,
    /// The lines.
    pub rows: Vec<Row>,
    /// What is to be known of all of them.
    pub notes: Vec<&'static str>,
}

impl Report {
    /// Whether every line reads held.
    pub fn is_held(&self) -> bool {
        self.rows.iter().all(|row| row.verdict == Verdict::Held)
    }

    /// So many lines of each verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.verdict == verdict).count()
    }

    /// One sentence.
    pub fn sum(&self) -> String {
        let all = [Verdict::Held, Verdict::NotLimited, Verdict::HostAtRisk, Verdict::Unknown];
        let parts = all.into_iter().map(|verdict| (self.count(verdict), verdict.word()));
        let parts: Vec<String> =
            parts.filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
        format!("{} attacks on {}: {}", self.rows.len(), self.subject, parts.join(", "))
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        json!({
            "runtime": self.runtime, "subject": self.subject, "held": self.is_held(), "notes": self.notes,
            "attacks": self.rows.iter().map(Row::value).collect::<Vec<_>>(),
        })
    }

    /// As a table, and below it what mends.
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(["RESOURCE", "ATTACK", "LIMIT", "GOT", "P50", "P99", "VERDICT", "WHY"]);
        for row in &self.rows {
            table.add_row([
                row.attack.family.word().to_owned(),
                row.attack.name.to_owned(),
                row.seen.limit.map_or_else(|| "-".to_owned(), |limit| amount(row.attack.unit, limit)),
                if row.got() == 0 { "-".to_owned() } else { amount(row.attack.unit, row.got()) },
                row.lost(|one| one.p50),
                row.lost(|one| one.p99),
                row.verdict.word().to_owned(),
                row.reason.clone(),
            ]);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let lines = table.to_string();
        let lines = lines.lines().map(str::trim_end);
        let mends = self.rows.iter().filter_map(|row| Some(format!("{}: {}", row.attack.name, row.mend()?)));
        let mends: Vec<String> = mends.collect();
        let mut text: Vec<String> = lines.map(printable).collect();
        text.extend([String::new(), printable(&self.sum())]);
        text.extend(self.notes.iter().map(|note| format!("Note: {note}.")));
        if !mends.is_empty() {
            text.push("What would mend it:".to_owned());
            text.extend(mends.into_iter().map(|mend| format!("  {mend}")));
        }
        text.join("\n") + "\n"
    }
}

/// What comes out of a container is shown, not obeyed.
fn printable(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { '?' } else { one }).collect()
}

/// An amount for people.
pub fn amount(unit: Unit, amount: u64) -> String {
    match unit {
        Unit::Bytes => humansize::format_size(amount, humansize::BINARY),
        Unit::Things(_) => amount.to_string(),
    }
}

/// Of fewer nothing is said.
const ENOUGH: u64 = 20;
