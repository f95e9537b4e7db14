//! The verdict: a pure function of what was seen.

use crate::attack::{Attack, Gauge, Judge, Own};
use crate::host::feel::Stretch;
use crate::host::gauges;
use crate::host::killer::Killer;
use crate::speech::{Over, Why};

/// What is said of one attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It was held.
    Held,
    /// Nothing held it.
    NotLimited,
    /// The host was in danger, or would have been.
    HostAtRisk,
    /// It is not known: that is a failure.
    Unknown,
}

impl Verdict {
    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::NotLimited => "not limited",
            Self::HostAtRisk => "host at risk",
            Self::Unknown => "unknown",
        }
    }
}

/// What was seen of one attack.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// How it ended, as it says; None: it never said.
    pub over: Option<Over>,
    /// The limit of the container that the host has read.
    pub limit: Option<u64>,
    /// The attack was to end before the host is in danger, which is before it had proved anything.
    pub clipped: Option<Gauge>,
    /// The line of the host's that was passed, whereupon it was ended.
    pub passed: Option<Gauge>,
    /// If it was ended by SIGKILL: by whom.
    pub killer: Option<Killer>,
    /// By so much the memory grew that is counted to the container.
    pub grown: Option<u64>,
    /// Its memory was full: what it takes more is taken from what it had.
    pub is_full: bool,
    /// Why the host could not make one itself; None: it could, or was not asked.
    pub lacking: Option<String>,
    /// The neighbour's share of the processor time that both got, 0 to 1.
    pub share: Option<f64>,
    /// The neighbour's requests before, and during.
    pub requests: [Stretch; 2],
    /// Its writes.
    pub writes: [Stretch; 2],
    /// The host was not quiet by itself.
    pub is_noisy: bool,
    /// Bytes that the host keeps of what it printed.
    pub kept: Option<u64>,
    /// Whether it was ended in time.
    pub ended: Option<bool>,
    /// So many objects of it outlive it.
    pub left: usize,
    /// Why files of it may outlive it.
    pub files_left: Option<String>,
    /// Why it could not be tried.
    pub failed: Option<String>,
}

impl Evidence {
    /// Whether it could not clean up after itself.
    pub fn was_cut_off(&self) -> bool {
        self.passed.is_some() || self.over.as_ref().is_none_or(|over| over.stop == Why::Killed)
    }
}

/// A neighbour who wants all must get this share. Half is fair; without that, a few in a hundred are left.
const SHARE: f64 = 0.2;
/// A neighbour's latencies may be so many times longer, and so many microseconds more.
const TIMES: u64 = 10;
const MORE: u64 = 50_000;

const BY_LIMIT: &str = "ended by the kernel: its memory was full";

/// The verdict and its reason.
pub fn judge(attack: &Attack, seen: &Evidence) -> (Verdict, String) {
    if let Some(why) = &seen.failed {
        return (Verdict::Unknown, why.clone());
    }
    if let Some(gauge) = seen.passed {
        return beyond(seen, gauge);
    }
    let Some(over) = &seen.over else { return (Verdict::Unknown, "it said nothing".to_owned()) };
    match over.stop {
        Why::Killed if seen.killer != Some(Killer::Limit) => killed(seen),
        Why::Failed => (Verdict::Unknown, over.detail.clone()),
        Why::Refused if attack.judge != Judge::Neighbour => {
            (Verdict::Held, format!("refused: {}", over.detail))
        }
        Why::Nowhere if !matches!(attack.judge, Judge::Spared(_)) => (Verdict::Held, over.detail.clone()),
        Why::Possible => (Verdict::NotLimited, over.detail.clone()),
        _ => by_kind(attack, over, seen),
    }
}

/// A line was passed: by the attack, if it has told of anything that could do that.
fn beyond(seen: &Evidence, gauge: Gauge) -> (Verdict, String) {
    let name = gauges::name(gauge);
    match &seen.over {
        Some(over) if over.got == 0 => (Verdict::Unknown, format!("others took the host's {name} meanwhile")),
        _ => (Verdict::HostAtRisk, format!("stopped when the host had too little left: {name}")),
    }
}

/// Not at a limit of its own, which is all that would have held it.
fn killed(seen: &Evidence) -> (Verdict, String) {
    match seen.killer {
        Some(Killer::Host) => {
            (Verdict::HostAtRisk, "the host itself ran out of memory, and the kernel ended it".to_owned())
        }
        _ => (Verdict::Unknown, "it was killed, and not at a limit: somebody else has ended it".to_owned()),
    }
}

fn by_kind(attack: &Attack, over: &Over, seen: &Evidence) -> (Verdict, String) {
    match attack.judge {
        Judge::Stopped => stopped(over, seen),
        Judge::Counted if attack.bound.own == Own::Tcp && seen.limit.is_none() => {
            (Verdict::NotLimited, format!("it took {}, and has no limit of them", mib(over.got)))
        }
        Judge::Counted => counted(over, seen),
        Judge::Spared(_) => spared(over, seen),
        Judge::Share => share(over, seen),
        Judge::Neighbour => neighbour(seen),
        Judge::Logs => logs(over, seen),
        Judge::Ends => match seen.ended {
            Some(true) => (Verdict::Held, "it was ended in time".to_owned()),
            Some(false) => (Verdict::NotLimited, "it did not end when it was stopped".to_owned()),
            None => (Verdict::Unknown, "it was not stopped".to_owned()),
        },
        Judge::Refused => (Verdict::Unknown, format!("it ended: {}", over.detail)),
    }
}

fn stopped(over: &Over, seen: &Evidence) -> (Verdict, String) {
    match over.stop {
        Why::Limit => (Verdict::Held, over.detail.clone()),
        Why::Killed => (Verdict::Held, BY_LIMIT.to_owned()),
        Why::Time => out_of_time(over, seen),
        _ => endless(seen),
    }
}

/// A large limit takes long to fill. That what was taken is counted to a limit, and that the host has as
/// much as that, says that it holds: the kernel does not count for nothing.
fn out_of_time(over: &Over, seen: &Evidence) -> (Verdict, String) {
    match (seen.limit, seen.grown, seen.clipped) {
        (Some(_), Some(grown), None) if over.got >= 256 << 20 && grown * 10 >= over.got * 9 => {
            (Verdict::Held, "all is counted to its limit, which the time did not suffice to reach".to_owned())
        }
        _ => (Verdict::Unknown, "its time was over before it met a limit".to_owned()),
    }
}

fn endless(seen: &Evidence) -> (Verdict, String) {
    match seen.clipped {
        Some(gauge) if seen.limit.is_some() => (
            Verdict::HostAtRisk,
            format!("its limit is beyond what the host has left: {}", gauges::name(gauge)),
        ),
        Some(gauge) => (Verdict::HostAtRisk, format!("only our bound stopped it: {}", gauges::name(gauge))),
        None => (Verdict::NotLimited, "only our bound stopped it".to_owned()),
    }
}

/// Counted to a limit is held, even if there is none: that is another line of the table.
fn counted(over: &Over, seen: &Evidence) -> (Verdict, String) {
    let grown = seen.grown.unwrap_or(0);
    match over.stop {
        Why::Killed => (Verdict::Held, BY_LIMIT.to_owned()),
        Why::Limit if matches!(over.detail.as_str(), "ENOMEM" | "ENOSPC" | "EDQUOT") => {
            (Verdict::Held, over.detail.clone())
        }
        _ if over.got > 0 && grown * 5 >= over.got * 2 => (Verdict::Held, "counted to its memory".to_owned()),
        _ if seen.is_full => (Verdict::Held, "its memory is full".to_owned()),
        // So little that it does not matter whether it is counted.
        Why::Limit if over.got < 16 << 20 => (Verdict::Held, over.detail.clone()),
        _ if seen.grown.is_none() => (Verdict::NotLimited, "it is counted nowhere".to_owned()),
        _ => (Verdict::NotLimited, format!("of {} only {} is counted to it", mib(over.got), mib(grown))),
    }
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn spared(over: &Over, seen: &Evidence) -> (Verdict, String) {
    if let Some(cause) = &seen.lacking {
        return (Verdict::HostAtRisk, format!("the host itself gets none: {cause}"));
    }
    match over.stop {
        Why::Nowhere => (Verdict::Held, over.detail.clone()),
        _ => stopped(over, seen),
    }
}

fn share(over: &Over, seen: &Evidence) -> (Verdict, String) {
    match seen.share {
        _ if over.stop == Why::Limit && over.got == 0 => (Verdict::Held, over.detail.clone()),
        None => (Verdict::Unknown, "the processor time could not be read".to_owned()),
        Some(share) => {
            let told = format!("a neighbour who wants all gets {:.0} %", share * 100.0);
            (if share >= SHARE { Verdict::Held } else { Verdict::NotLimited }, told)
        }
    }
}

fn neighbour(seen: &Evidence) -> (Verdict, String) {
    let is_slower =
        |[before, during]: [Stretch; 2]| during.p50 > before.p50 * TIMES && during.p50 > before.p50 + MORE;
    match (is_slower(seen.writes) || is_slower(seen.requests), seen.is_noisy) {
        (true, true) => (Verdict::Unknown, "the host was not quiet by itself".to_owned()),
        (true, false) => (Verdict::NotLimited, "the neighbour waits much longer".to_owned()),
        (false, _) if seen.requests[1].count == 0 => {
            (Verdict::Unknown, "the neighbour was not heard".to_owned())
        }
        (false, _) if seen.writes[0].count > 0 && seen.writes[1].count == 0 => {
            (Verdict::Unknown, "no write of the neighbour ended meanwhile".to_owned())
        }
        (false, _) => match &seen.over {
            Some(over) if over.stop == Why::Nowhere => (Verdict::Held, over.detail.clone()),
            _ => (Verdict::Held, "the neighbour hardly notices".to_owned()),
        },
    }
}

/// What was printed and is not kept was thrown away, or held up, as it should be.
fn logs(over: &Over, seen: &Evidence) -> (Verdict, String) {
    match seen.kept {
        None => (Verdict::Unknown, "what the host keeps could not be read".to_owned()),
        Some(kept) if over.got >= 32 << 20 && kept * 4 <= over.got * 3 => {
            (Verdict::Held, format!("{} kept of {}", mib(kept), mib(over.got)))
        }
        Some(kept) if over.got < 48 << 20 => (
            Verdict::Unknown,
            format!("it could print only {}, of which {} is kept", mib(over.got), mib(kept)),
        ),
        Some(kept) => (Verdict::NotLimited, format!("all is kept: {}", mib(kept))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attacks::find;

    fn seen(got: u64, stop: Why, detail: &str) -> Evidence {
        let over = Over { attack: String::new(), got, stop, detail: detail.to_owned() };
        Evidence { over: Some(over), ..Evidence::default() }
    }

    #[track_caller]
    fn verdict(name: &str, evidence: &Evidence) -> Verdict {
        judge(find(name).expect("an attack"), evidence).0
    }

    #[test]
    fn what_was_stopped_is_held_and_what_only_we_stopped_is_not() {
        let killed = |killer| Evidence { killer: Some(killer), ..seen(9, Why::Killed, "") };
        assert_eq!(verdict("pages", &killed(Killer::Limit)), Verdict::Held);
        assert_eq!(verdict("pages", &killed(Killer::Host)), Verdict::HostAtRisk);
        for name in ["pages", "pipes", "inotify", "spin", "sync", "logs", "mount"] {
            assert_eq!(verdict(name, &killed(Killer::Somebody)), Verdict::Unknown, "{name}");
            assert_eq!(verdict(name, &seen(9, Why::Killed, "")), Verdict::Unknown, "{name}");
        }
        assert_eq!(verdict("processes", &seen(9, Why::Limit, "EAGAIN")), Verdict::Held);
        assert_eq!(verdict("pages", &seen(9, Why::Amount, "")), Verdict::NotLimited);
        let clipped = Evidence { clipped: Some(Gauge::Memory), limit: Some(1), ..seen(9, Why::Amount, "") };
        assert_eq!(verdict("pages", &clipped), Verdict::HostAtRisk);
        let passed = Evidence { passed: Some(Gauge::Memory), ..seen(9, Why::Killed, "") };
        assert_eq!(verdict("pages", &passed), Verdict::HostAtRisk);
        let others = Evidence { passed: Some(Gauge::Memory), ..seen(0, Why::Killed, "") };
        assert_eq!(verdict("pages", &others), Verdict::Unknown);
    }

    #[test]
    fn what_could_not_be_tried_is_unknown() {
        assert_eq!(verdict("pages", &Evidence::default()), Verdict::Unknown);
        assert_eq!(verdict("mount", &Evidence::default()), Verdict::Unknown);
        assert_eq!(verdict("pages", &seen(9, Why::Time, "")), Verdict::Unknown);
        assert_eq!(verdict("pages", &seen(9, Why::Failed, "ended with 101")), Verdict::Unknown);
        let failed = Evidence { failed: Some("no container".into()), ..seen(9, Why::Killed, "") };
        assert_eq!(verdict("pages", &failed), Verdict::Unknown);
    }

    #[test]
    fn a_limit_that_takes_too_long_to_reach_is_held_if_all_is_counted_to_it() {
        let gib = 1 << 30;
        let part = Evidence { limit: Some(8 * gib), grown: Some(gib), ..seen(gib, Why::Time, "") };
        assert_eq!(verdict("pages", &part), Verdict::Held);
        assert_eq!(verdict("pages", &Evidence { grown: Some(gib / 2), ..part.clone() }), Verdict::Unknown);
        assert_eq!(verdict("pages", &Evidence { limit: None, ..part }), Verdict::Unknown);
    }

    #[test]
    fn kinds_of_memory_are_held_where_they_are_counted() {
        let mib = 1 << 20;
        let counted = Evidence { grown: Some(40 * mib), ..seen(48 * mib, Why::Amount, "") };
        assert_eq!(verdict("pipes", &counted), Verdict::Held);
        assert_eq!(verdict("pipes", &Evidence { grown: Some(mib), ..counted.clone() }), Verdict::NotLimited);
        assert_eq!(verdict("tcp-buffers", &counted), Verdict::NotLimited);
        assert_eq!(verdict("tcp-buffers", &Evidence { limit: Some(mib), ..counted }), Verdict::Held);
    }

    #[test]
    fn what_the_host_lacks_is_a_risk_though_it_was_stopped() {
        let lacking = Evidence { lacking: Some("EMFILE".into()), ..seen(128, Why::Limit, "EMFILE") };
        assert_eq!(verdict("inotify", &lacking), Verdict::HostAtRisk);
        assert_eq!(verdict("inotify", &Evidence { lacking: None, ..lacking }), Verdict::Held);
    }

    #[test]
    fn neighbours_and_noise() {
        let stretch = |p50| Stretch { count: 100, p50, p99: p50 };
        let slow = Evidence { requests: [stretch(100), stretch(900_000)], ..seen(9, Why::Time, "") };
        assert_eq!(verdict("sync", &slow), Verdict::NotLimited);
        assert_eq!(verdict("sync", &Evidence { is_noisy: true, ..slow.clone() }), Verdict::Unknown);
        let quiet = Evidence { requests: [stretch(100), stretch(2000)], ..slow };
        assert_eq!(verdict("sync", &quiet), Verdict::Held);
        let share = |share| Evidence { share: Some(share), ..seen(9, Why::Time, "") };
        assert_eq!(
            (verdict("spin", &share(0.5)), verdict("spin", &share(0.05))),
            (Verdict::Held, Verdict::NotLimited)
        );
    }

    #[test]
    fn logs_are_held_if_not_all_is_kept() {
        let mib = 1 << 20;
        let kept = |kept| Evidence { kept: Some(kept), ..seen(64 * mib, Why::Amount, "") };
        assert_eq!(
            (verdict("logs", &kept(24 * mib)), verdict("logs", &kept(64 * mib))),
            (Verdict::Held, Verdict::NotLimited)
        );
        // A busy host, where it could not print so much.
        let printed = |got, kept| Evidence { kept: Some(kept), ..seen(got, Why::Time, "") };
        assert_eq!(verdict("logs", &printed(34 * mib, 24 * mib)), Verdict::Held);
        assert_eq!(verdict("logs", &printed(34 * mib, 34 * mib)), Verdict::Unknown);
        assert_eq!(verdict("logs", &printed(20 * mib, mib)), Verdict::Unknown);
        assert_eq!(verdict("logs", &seen(64 * mib, Why::Amount, "")), Verdict::Unknown);
    }
}
