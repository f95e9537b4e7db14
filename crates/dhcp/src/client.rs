//! What a client says when, and what it makes of what it hears (RFC 2131, section 4.4). It knows no clock: times are
//! those of whoever drives it, since any moment, and must count while the machine sleeps.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::frame::Claim;
use crate::lease::Lease;
use crate::message::{Kind, Message};
use crate::options::code;
use crate::random::Random;

/// What is asked for, what counts more first.
const ASKED: [u8; 10] = [
    code::MASK,
    code::ROUTES,
    code::ROUTER,
    code::SERVERS,
    code::DOMAIN,
    code::SEARCH,
    code::MTU,
    code::LEASE,
    code::RENEW,
    code::REBIND,
];
/// The first pause; each is twice the one before, up to 64 of it.
const PAUSE: Duration = Duration::from_secs(1);
/// So often an offer is taken up.
const TRIES: u32 = 3;
/// So often the address of before is asked for: a server that does not know it says nothing.
const REBOOTS: u32 = 2;
/// So long somebody who has an address may take to say so.
const PROBE: Duration = Duration::from_millis(200);
/// A lease is not asked for more often than that, unless it is short.
const SELDOM: Duration = Duration::from_secs(60);

/// Who asks.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The interface's MAC address.
    pub mac: [u8; 6],
    /// By what servers know it from others (option 61).
    pub client: Vec<u8>,
    /// What it is called.
    pub hostname: Option<String>,
    /// It does not hear what is sent to an address that it does not have yet.
    pub broadcast: bool,
    /// The longest packet that it takes.
    pub size: u16,
    /// Addresses that others have who are known to be there.
    pub taken: Vec<Ipv4Addr>,
    /// Nets that are elsewhere: a part of one would draw what goes there to here.
    pub elsewhere: Vec<Ipv4Net>,
}

/// Where something is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// To everybody, from nobody.
    Link,
    /// To one server, from the address that it gave.
    Server(Ipv4Addr),
    /// To everybody, from the address that was given.
    Everybody,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this.
    Send(Message, To),
    /// Ask whether anybody has this address already.
    Probe(Ipv4Addr),
    /// The interface has this lease now, and nothing of one before. It ends then, if it does.
    Have(Lease, Option<Duration>),
    /// The interface has this address no longer.
    Lose(Ipv4Net),
}

/// What must be listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ears {
    /// Nothing.
    None,
    /// All that comes over the interface.
    Link,
    /// The same, and it has an address by now.
    Own,
}

/// What is had.
#[derive(Debug, Clone)]
struct Held {
    lease: Lease,
    /// When it was asked for.
    since: Duration,
}

#[derive(Debug)]
enum State {
    /// Nothing yet, or not any more.
    Resting,
    /// Asking for the address of before.
    Rebooting(Ipv4Addr),
    Selecting,
    Requesting(Lease),
    /// It is ours, if nobody has it.
    Probing(Held),
    Bound(Held),
    Renewing(Held),
    Rebinding(Held),
}

/// The client of one interface.
#[derive(Debug)]
pub struct Client {
    identity: Identity,
    state: State,
    random: Random,
    transaction: u32,
    /// The address of before, or one that was just lost.
    wish: Option<Ipv4Addr>,
    /// When the first request of this transaction was sent, and how often it was since.
    asked: Duration,
    tries: u32,
    /// How often it has come to nothing since there was a lease.
    failures: u32,
    began: Duration,
    due: Option<Duration>,
    complaint: Option<String>,
}

impl Client {
    /// One that is about to ask, first for the address of before.
    pub fn new(identity: Identity, before: Option<Ipv4Addr>, seed: u64, now: Duration) -> Self {
        Self {
            identity,
            state: State::Resting,
            random: Random::new(seed),
            transaction: 0,
            wish: before,
            asked: now,
            tries: 0,
            failures: 0,
            began: now,
            due: Some(now),
            complaint: None,
        }
    }

    /// When it is to be asked what is due; None: never, as what it has is for ever.
    pub fn due(&self) -> Option<Duration> {
        self.due
    }

    /// What it listens to now.
    pub fn ears(&self) -> Ears {
        match self.state {
            State::Resting | State::Bound(_) => Ears::None,
            State::Renewing(_) | State::Rebinding(_) => Ears::Own,
            _ => Ears::Link,
        }
    }

    /// What the interface has.
    pub fn lease(&self) -> Option<&Lease> {
        self.held().map(|held| &held.lease)
    }

    /// Why what was offered last could not be taken.
    pub fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    fn held(&self) -> Option<&Held> {
        match &self.state {
            State::Bound(held) | State::Renewing(held) | State::Rebinding(held) => Some(held),
            _ => None,
        }
    }

    /// What is due.
    pub fn tick(&mut self, now: Duration) -> Vec<Action> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        if self.held().is_some_and(|held| held.end().is_some_and(|end| end <= now)) {
            return self.lose(now);
        }
        match std::mem::replace(&mut self.state, State::Resting) {
            State::Resting => match self.wish.filter(|_| self.failures == 0) {
                Some(address) => self.reboot(address, now),
                None => self.discover(now),
            },
            State::Rebooting(address) if self.tries < REBOOTS => self.repeat(State::Rebooting(address), now),
            State::Requesting(offer) if self.tries < TRIES => self.repeat(State::Requesting(offer), now),
            State::Rebooting(_) | State::Requesting(_) => self.discover(now),
            State::Selecting => self.repeat(State::Selecting, now),
            State::Probing(held) => self.bind(held, now),
            State::Bound(held) => {
                self.begin(now);
                self.renew(held, now)
            }
            State::Renewing(held) if now < held.since + held.lease.rebind => self.renew(held, now),
            State::Renewing(held) => {
                self.begin(now);
                self.rebind(held, now)
            }
            State::Rebinding(held) => self.rebind(held, now),
        }
    }

    /// A message that has come.
    pub fn hear(&mut self, now: Duration, message: &Message) -> Vec<Action> {
        let ours = message.reply
            && message.transaction == self.transaction
            && message.mac == self.identity.mac
            && !matches!(self.state, State::Resting | State::Probing(_) | State::Bound(_));
        if !ours || !self.is_by_whom_we_asked(message) {
            return Vec::new();
        }
        match (&self.state, message.kind) {
            (State::Selecting, Kind::Offer) => match self.acceptable(message) {
                Some(offer) => self.request(offer, now),
                None => Vec::new(),
            },
            (State::Selecting, _) => Vec::new(),
            (_, Kind::Ack) => match self.acceptable(message) {
                Some(lease) => self.confirmed(lease, now),
                None => Vec::new(),
            },
            (State::Rebooting(_), Kind::Nak) => self.discover(now),
            (State::Requesting(_), Kind::Nak) => self.fail("it takes its offer back".to_owned(), now),
            (State::Renewing(_) | State::Rebinding(_), Kind::Nak) => self.lose(now),
            _ => Vec::new(),
        }
    }

    /// Somebody says that he has an address.
    pub fn claimed(&mut self, now: Duration, claim: Claim) -> Vec<Action> {
        let State::Probing(held) = &self.state else { return Vec::new() };
        let (address, server) = (held.lease.address.addr(), held.lease.server);
        if claim.address != address || claim.mac == self.identity.mac {
            return Vec::new();
        }
        let decline = self.message(Kind::Decline, now);
        let decline = decline.with(code::WISH, address.octets()).with(code::SERVER, server.octets());
        self.wish = self.wish.filter(|wish| *wish != address);
        let mut actions = vec![Action::Send(decline, To::Link)];
        actions.extend(self.fail(format!("{address} is in use by another machine"), now));
        actions
    }

    /// Another server than the one whose offer was taken, or which gave the lease, has no say.
    fn is_by_whom_we_asked(&self, message: &Message) -> bool {
        let server = message.address(code::SERVER);
        match &self.state {
            State::Requesting(offer) => server == Some(offer.server),
            State::Renewing(held) => server == Some(held.lease.server),
            _ => true,
        }
    }

    fn acceptable(&mut self, message: &Message) -> Option<Lease> {
        let within = |lease: Lease| {
            let own = lease.address.trunc();
            match self.identity.elsewhere.iter().find(|other| **other != own && other.contains(&own)) {
                Some(other) => Err(format!("{own} is a part of {other}, to which another interface leads")),
                None => Ok(lease),
            }
        };
        match Lease::of(message, &self.identity.taken).and_then(within) {
            Ok(lease) => Some(lease),
            Err(why) => {
                let by = message.address(code::SERVER).map_or("a server".to_owned(), |who| who.to_string());
                self.complaint = Some(format!("what {by} offers cannot be taken: {why}"));
                None
            }
        }
    }

    fn confirmed(&mut self, lease: Lease, now: Duration) -> Vec<Action> {
        let known = match &self.state {
            State::Rebooting(address) => Some(*address),
            State::Renewing(held) | State::Rebinding(held) => Some(held.lease.address.addr()),
            _ => None,
        };
        let is_known = known == Some(lease.address.addr());
        match self.state {
            // An answer to something else; and no server moves who has an address: it refuses to let him keep it, or lets
            // it end. Whoever could say so would choose what the container speaks for.
            State::Rebooting(_) | State::Renewing(_) | State::Rebinding(_) if !is_known => Vec::new(),
            State::Requesting(_) => {
                let address = lease.address.addr();
                self.state = State::Probing(Held { lease, since: self.asked });
                self.due = Some(now + PROBE);
                vec![Action::Probe(address)]
            }
            _ => self.bind(Held { lease, since: self.asked }, now),
        }
    }

    fn bind(&mut self, held: Held, now: Duration) -> Vec<Action> {
        self.wish = Some(held.lease.address.addr());
        (self.failures, self.complaint) = (0, None);
        let (lease, end) = (held.lease.clone(), held.end());
        // Not all at once who were given it at once.
        let early = lease.renew / 1024 * self.random.below(64);
        self.due = end.map(|_| (held.since + lease.renew - early).max(now));
        self.state = State::Bound(held);
        vec![Action::Have(lease, end)]
    }

    fn lose(&mut self, now: Duration) -> Vec<Action> {
        let mut actions: Vec<Action> =
            self.lease().map(|lease| Action::Lose(lease.address)).into_iter().collect();
        self.began = now;
        actions.extend(self.discover(now));
        actions
    }

    /// Begins again, after a pause.
    fn fail(&mut self, why: String, now: Duration) -> Vec<Action> {
        self.complaint = Some(why);
        self.due = Some(now + self.pause(self.failures));
        self.failures += 1;
        self.state = State::Resting;
        Vec::new()
    }

    fn begin(&mut self, now: Duration) {
        (self.transaction, self.asked, self.tries) = (self.random.number(), now, 0);
    }

    fn reboot(&mut self, address: Ipv4Addr, now: Duration) -> Vec<Action> {
        self.begin(now);
        self.repeat(State::Rebooting(address), now)
    }

    fn discover(&mut self, now: Duration) -> Vec<Action> {
        self.begin(now);
        self.repeat(State::Selecting, now)
    }

    /// An offer is taken up in the transaction that it was made in.
    fn request(&mut self, offer: Lease, now: Duration) -> Vec<Action> {
        (self.asked, self.tries) = (now, 0);
        self.repeat(State::Requesting(offer), now)
    }

    /// Says what the state has to say, once more.
    fn repeat(&mut self, state: State, now: Duration) -> Vec<Action> {
        let message = match &state {
            State::Rebooting(address) => self.message(Kind::Request, now).with(code::WISH, address.octets()),
            State::Requesting(offer) => self
                .message(Kind::Request, now)
                .with(code::WISH, offer.address.addr().octets())
                .with(code::SERVER, offer.server.octets()),
            _ => match self.wish {
                Some(wish) => self.message(Kind::Discover, now).with(code::WISH, wish.octets()),
                None => self.message(Kind::Discover, now),
            },
        };
        self.state = state;
        self.due = Some(now + self.pause(self.tries));
        self.tries += 1;
        vec![Action::Send(message, To::Link)]
    }

    fn renew(&mut self, held: Held, now: Duration) -> Vec<Action> {
        let until = held.since + held.lease.rebind;
        let to = To::Server(held.lease.server);
        let actions = self.ask_for_more(&held, until, to, now);
        self.state = State::Renewing(held);
        actions
    }

    fn rebind(&mut self, held: Held, now: Duration) -> Vec<Action> {
        let until = held.end().unwrap_or(Duration::MAX);
        let actions = self.ask_for_more(&held, until, To::Everybody, now);
        self.state = State::Rebinding(held);
        actions
    }

    /// Again after half of the time that is left.
    fn ask_for_more(&mut self, held: &Held, until: Duration, to: To, now: Duration) -> Vec<Action> {
        let left = until.saturating_sub(now);
        let least = held.lease.time.map_or(SELDOM, |time| (time / 32).clamp(PAUSE, SELDOM));
        self.due = Some(now + (left / 2).max(least).min(left));
        let mut message = self.message(Kind::Request, now);
        (message.own, message.broadcast) = (held.lease.address.addr(), false);
        vec![Action::Send(message, to)]
    }

    fn message(&self, kind: Kind, now: Duration) -> Message {
        let identity = &self.identity;
        let mut message =
            Message::new(kind, self.transaction, identity.mac).with(code::CLIENT, identity.client.clone());
        message.seconds = (now.saturating_sub(self.began).as_secs()).min(u16::MAX.into()) as u16;
        message.broadcast = identity.broadcast;
        if kind == Kind::Decline {
            return message;
        }
        if let Some(hostname) = &identity.hostname {
            message = message.with(code::HOSTNAME, hostname.as_bytes());
        }
        message.with(code::SIZE, identity.size.to_be_bytes()).with(code::ASKED, ASKED)
    }

    /// Twice as long each time, and never twice the same.
    fn pause(&mut self, tries: u32) -> Duration {
        let whole = PAUSE * (1 << tries.min(6));
        whole * 3 / 4 + whole / 2 / 1024 * self.random.below(1024)
    }
}

impl Held {
    /// None: never.
    fn end(&self) -> Option<Duration> {
        self.lease.time.map(|time| self.since + time)
    }
}

#[cfg(test)]
mod tests;
