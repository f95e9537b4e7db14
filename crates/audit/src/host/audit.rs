//! The way of an audit: a container for each attack, one for all questions; quiet stretches between.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use spec::{Error, ErrorKind, Result};

use super::canary;
use super::disks::{self, Disk};
use super::feel::{self, Neighbour, Stretch};
use super::gauges::Gauges;
use super::groups::Groups;
use super::judge::{Evidence, Verdict, judge};
use super::killer::Witness;
use super::report::Row;
use super::runtime::{PREFIX, Runtime, Target};
use super::session::Session;
use super::watcher::Watcher;
use crate::attack::{Attack, Gauge, Judge, Own};
use crate::neighbour::now;
use crate::speech::{Line, Over, Why};

/// How an audit is made.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The attacks, in their order.
    pub attacks: Vec<&'static Attack>,
    /// Less time for each.
    pub quick: bool,
}

/// What all attacks of an audit share.
#[derive(Debug)]
pub struct Audit<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) target: &'a Target,
    plan: &'a Plan,
    pub(super) gauges: &'a Gauges,
    /// What the host has, all the time.
    pub watcher: &'a Watcher,
    /// Who feels it.
    pub neighbour: Neighbour,
    asked: &'a AtomicBool,
    /// On the host's loopback, for questions about it.
    listener: TcpListener,
    socket: String,
    _abstract: UnixListener,
    count: u32,
    /// Of the host.
    disks: Vec<Disk>,
    pub(super) limits: Option<[Option<u64>; 3]>,
    /// Whether any control group is the container's own.
    pub(super) is_counted: bool,
    /// Of those of the host: what the container can write to.
    pub(super) writes_to: Vec<Disk>,
}

/// The least of a stretch that says something about the host's quiet; and of one in a hurry.
const QUIET: Duration = Duration::from_millis(400);
const SHORT: Duration = Duration::from_millis(120);

/// Of a container without a control group of its own.
const UNCOUNTED: &str = "no control group is this container's own, so no limit of memory, processes or processor time can \
    hold: an ordinary user needs one that was delegated to him (docs/limits.md)";

impl<'a> Audit<'a> {
    /// Gets ready.
    pub fn new(
        runtime: &'a Runtime,
        target: &'a Target,
        plan: &'a Plan,
        gauges: &'a Gauges,
        watcher: &'a Watcher,
        neighbour: Neighbour,
        asked: &'a AtomicBool,
    ) -> Result<Self> {
        let listening = |cause| Error::io("listening on loopback", cause);
        let listener = TcpListener::bind("127.0.0.1:0").map_err(listening)?;
        let socket = format!("{PREFIX}-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(socket.as_bytes()).map_err(listening)?;
        let _abstract = UnixListener::bind_addr(&address).map_err(listening)?;
        Ok(Self {
            runtime,
            target,
            plan,
            gauges,
            watcher,
            neighbour,
            asked,
            listener,
            socket,
            _abstract,
            count: 0,
            disks: disks::of_host(),
            limits: None,
            is_counted: true,
            writes_to: Vec::new(),
        })
    }

    /// Whether such a container runs at all; its limits are read meanwhile.
    ///
    /// # Errors
    /// What its runtime says.
    pub fn try_out(&mut self) -> Result<()> {
        self.limit(Own::Memory).map(drop)
    }

    /// What is to be known of all lines of the table together.
    pub fn notes(&self) -> Vec<&'static str> {
        if self.is_counted { Vec::new() } else { vec![UNCOUNTED] }
    }

    /// Makes all attacks; `tell` hears of each before it begins.
    pub fn run(&mut self, mut tell: impl FnMut(&str)) -> Result<Vec<Row>> {
        let (questions, attacks): (Vec<&'static Attack>, Vec<&'static Attack>) =
            self.plan.attacks.iter().copied().partition(|attack| attack.judge == Judge::Refused);
        let mut rows = BTreeMap::new();
        self.rest(self.quiet_time())?;
        for attack in attacks {
            tell(attack.name);
            rows.insert(attack.name, self.attack_twice(attack)?);
        }
        if !questions.is_empty() {
            tell("questions");
            rows.extend(self.ask(&questions)?.into_iter().map(|row| (row.attack.name, row)));
        }
        Ok(self.plan.attacks.iter().filter_map(|attack| rows.remove(attack.name)).collect())
    }

    /// What is not known is tried once more: the host may have been busy with something else.
    fn attack_twice(&mut self, attack: &'static Attack) -> Result<Row> {
        let row = self.attack(attack)?;
        let is_noise =
            matches!(attack.judge, Judge::Neighbour | Judge::Share) && row.verdict != Verdict::Held;
        if row.verdict != Verdict::Unknown && !is_noise {
            return Ok(row);
        }
        self.rest(self.quiet_time())?;
        self.attack(attack)
    }

    /// Waits, unless somebody asked to end.
    fn rest(&self, time: Duration) -> Result<()> {
        std::thread::sleep(time);
        if self.asked.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Interrupted, "interrupted"));
        }
        Ok(())
    }

    fn quiet_time(&self) -> Duration {
        if self.plan.quick { SHORT } else { QUIET }
    }

    fn seconds(&self, attack: &Attack) -> f32 {
        let bound = attack.bound;
        match self.plan.quick {
            // Nothing short of all of them says anything.
            true if matches!(bound.gauge, Some(Gauge::Files | Gauge::Inodes)) => bound.seconds,
            // What meets a limit, or is done, ends by that: nothing is lost by more time.
            true if matches!(attack.judge, Judge::Spared(_) | Judge::Logs) => bound.seconds.min(4.0),
            // Begin and end are not sharp: they must not weigh.
            true if attack.judge == Judge::Share => bound.seconds * 0.8,
            true => (bound.seconds * 0.3).clamp(0.3, 1.5),
            false => bound.seconds,
        }
    }

    pub(super) fn name(&mut self) -> String {
        self.count += 1;
        format!("{PREFIX}-{}-{}", std::process::id(), self.count)
    }

    pub(super) fn words(&self, orders: &[String]) -> Vec<String> {
        let port = self.listener.local_addr().map_or(0, |address| address.port());
        let facts = [
            ("--pid", std::process::id().to_string()),
            ("--port", port.to_string()),
            ("--socket", self.socket.clone()),
        ];
        let disks = self.disks.iter().map(|disk| ("--disk", format!("{}:{}", disk.device, disk.bytes)));
        let facts = facts.into_iter().chain(disks).flat_map(|(key, value)| [key.to_owned(), value]);
        facts.chain(orders.iter().cloned()).collect()
    }

    /// How far it may go, which limit of the container that is beyond, and whether the host has so much.
    fn amount(&mut self, attack: &Attack) -> Result<(u64, Option<u64>, Option<Gauge>)> {
        let limit = match attack.bound.own {
            Own::Unread => None,
            own => self.limit(own)?,
        };
        let wanted = match limit {
            Some(limit) => limit.saturating_add(limit / 20).saturating_add(64),
            None => attack.bound.proof,
        };
        let gauge = attack.bound.gauge.filter(|gauge| is_measured(attack, *gauge));
        let room = gauge.and_then(|gauge| Some((gauge, self.room(gauge)?)));
        Ok(match room {
            // That a limit is beyond what the host has left is known without taking it.
            Some((gauge, room)) if room < wanted => (attack.bound.proof.min(room), limit, Some(gauge)),
            _ => (wanted, limit, None),
        })
    }

    fn attack(&mut self, attack: &'static Attack) -> Result<Row> {
        let quiet_from = now().saturating_sub(self.quiet_time().as_micros() as u64);
        let (start, mut seen) = (now(), Evidence::default());
        if let Err(error) = self.attempt(attack, &mut seen) {
            if error.kind() == ErrorKind::Interrupted {
                return Err(error);
            }
            seen.failed = Some(error.chain());
        }
        let end = now();
        self.rest(self.quiet_time() / 2)?;
        seen.requests[0] = self.quiet(quiet_from, start, false);
        seen.writes[0] = self.quiet(quiet_from, start, true);
        let after = self.neighbour.stretch(end, now(), false);
        seen.is_noisy = after.p50 > seen.requests[0].p50 * 3 + 2000;
        if attack.leaves_files() && seen.was_cut_off() {
            seen.files_left = self.sweep();
        }
        let (verdict, mut reason) = judge(attack, &seen);
        if seen.left > 0 {
            reason.push_str(&format!("; {} System V objects of it stay behind", seen.left));
        }
        if let Some(why) = &seen.files_left {
            reason.push_str(&format!("; files of it may stay behind: {why}"));
        }
        Ok(Row { attack, verdict, reason, seen, time: (start, end) })
    }

    fn quiet(&self, from: u64, to: u64, is_write: bool) -> Stretch {
        self.neighbour.stretch(from, to, is_write)
    }

    /// From start to end of one container; what is seen goes into `seen` as it is seen.
    fn attempt(&mut self, attack: &'static Attack, seen: &mut Evidence) -> Result<()> {
        let (amount, limit, clipped) = self.amount(attack)?;
        (seen.limit, seen.clipped) = (limit, clipped);
        let seconds = self.seconds(attack);
        let name = self.name();
        let words = self.words(&[format!("{}={amount}:{seconds}", attack.name)]);
        let mut session = Session::start(self.runtime, &name, self.target, &words)?;
        let groups = Groups::of(session.pid);
        let (memory, cpu) = (groups.memory(), groups.cpu());
        let mut witness = Witness::new(&groups);
        let attacker = session
            .pidfd()
            .ok_or_else(|| Error::internal(format!("the attacker of {name} cannot be held on to")))?;
        self.watcher.arm(attacker, self.writes_to.clone());
        let wants = attack.judge == Judge::Share;
        if wants {
            self.neighbour.wants_all();
        }
        let from = now();
        session.go();
        let time = Duration::from_secs_f32(seconds + 20.0);
        seen.over = self.follow(&mut session, attack, time, &mut witness)?;
        let to = now();
        if wants {
            let used = self.neighbour.got();
            seen.share = feel::share(used, cpu.zip(groups.cpu()), to - from);
        }
        seen.requests[1] = self.neighbour.stretch(from, to, false);
        seen.writes[1] = self.neighbour.stretch(from, to, true);
        seen.grown = memory.zip(groups.memory()).map(|(before, after)| after.saturating_sub(before));
        let full = |(now, limit): (u64, u64)| now >= limit / 5 * 4;
        seen.is_full = groups.memory_peak().zip(groups.memory_limit()).is_some_and(full);
        let is_killed = seen.over.as_ref().is_some_and(|over| over.stop == Why::Killed);
        seen.killer = is_killed.then(|| witness.tell());
        self.look(attack, &name, &mut session, seen);
        seen.passed = self.watcher.disarm();
        let ended = session.end();
        seen.ended = seen.ended.or(Some(ended));
        seen.left = swept();
        Ok(())
    }

    /// What is looked at while the attacker holds what it took.
    fn look(&self, attack: &Attack, name: &str, session: &mut Session, seen: &mut Evidence) {
        match attack.judge {
            Judge::Spared(thing) => seen.lacking = canary::spared(thing).err().map(|cause| cause.to_string()),
            Judge::Logs => {
                // What was printed may still be on its way.
                std::thread::sleep(Duration::from_millis(200));
                seen.kept = self.runtime.log_bytes(name);
            }
            Judge::Ends => {
                let stopped = self.runtime.stop(name).is_ok();
                seen.ended = Some(stopped && session.is_ended_within(Duration::from_secs(5)));
            }
            _ => {}
        }
    }

    /// Listens until the attack is over; None if it never says so.
    fn follow(
        &self,
        session: &mut Session,
        attack: &Attack,
        time: Duration,
        witness: &mut Witness,
    ) -> Result<Option<Over>> {
        let end = Instant::now() + time;
        let mut last = None;
        while Instant::now() < end && !session.is_gone() {
            witness.look();
            match session.line(Duration::from_millis(20)) {
                Some(Line::Over(over)) => return Ok(Some(over)),
                Some(Line::Got { got, .. }) => last = Some(got),
                Some(Line::Ready | Line::Done) | None => {}
            }
            self.rest(Duration::ZERO)?;
            if self.watcher.passed().is_some() {
                break;
            }
        }
        // The whole container was ended, and with it who tells: by the kernel, or by the watcher.
        if self.watcher.passed().is_none() && !session.is_gone() {
            return Ok(None);
        }
        let (stop, detail) = match self.watcher.passed() {
            None if !session.was_killed() => (Why::Failed, "the container ended by itself"),
            _ => (Why::Killed, "the whole container was ended"),
        };
        Ok(Some(Over {
            attack: attack.name.to_owned(),
            got: last.unwrap_or(0),
            stop,
            detail: detail.to_owned(),
        }))
    }

    /// All questions, in one container.
    fn ask(&mut self, questions: &[&'static Attack]) -> Result<Vec<Row>> {
        let orders: Vec<String> =
            questions.iter().map(|one| format!("{}=1:{}", one.name, one.bound.seconds)).collect();
        let name = self.name();
        let start = now();
        let answers = self.answers(&name, &orders, questions.len());
        let end = now();
        let row = |attack: &'static Attack| {
            let mut seen = Evidence::default();
            match &answers {
                Ok(answers) => seen.over = answers.get(attack.name).cloned(),
                Err(error) => seen.failed = Some(error.chain()),
            }
            let (verdict, reason) = judge(attack, &seen);
            Row { attack, verdict, reason, seen, time: (start, end) }
        };
        self.rest(Duration::ZERO)?;
        Ok(questions.iter().map(|attack| row(attack)).collect())
    }

    fn answers(&self, name: &str, orders: &[String], count: usize) -> Result<BTreeMap<String, Over>> {
        let mut session = Session::start(self.runtime, name, self.target, &self.words(orders))?;
        session.go();
        let end = Instant::now() + Duration::from_secs(30);
        let mut answers = BTreeMap::new();
        while answers.len() < count && Instant::now() < end && !session.is_gone() {
            match session.line(Duration::from_millis(50)) {
                Some(Line::Over(over)) => _ = answers.insert(over.attack.clone(), over),
                Some(Line::Done) => break,
                _ => {}
            }
            self.rest(Duration::ZERO)?;
        }
        session.end();
        Ok(answers)
    }
}

/// Whether the gauge counts what the attack does, in the same units.
fn is_measured(attack: &Attack, gauge: Gauge) -> bool {
    let bytes = matches!(gauge, Gauge::Memory | Gauge::Disk | Gauge::Tcp);
    bytes == (attack.unit == crate::attack::Unit::Bytes) && attack.judge != Judge::Neighbour
}

/// Removes what outlives processes, where the container had the host's namespace of it. So many stay.
fn swept() -> usize {
    // Who made them may not have ended quite yet.
    for _ in 0..4 {
        if sys::system_v::sweep() == 0 {
            return 0;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    sys::system_v::sweep()
}
