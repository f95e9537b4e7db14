//! Asks for a container's addresses where its interfaces lead, and keeps them as long as it runs.
//!
//! A process of its own, in the container's network namespace, with one thread and no privilege but for that
//! namespace and the packet filter. It ends with the keeper that began it: the other end of its leash is there.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use ::dhcp::{Action, Client, Heard, Identity, Lease, Message, Port, To};
use ipnet::{IpNet, Ipv4Net};
use lifecycle::networks::dhcp::{self, Face, Order, PATIENCE, Report};
use lifecycle::networks::{Given, files};
use net::{Host, Leased, Setting};
use rustix::event::{PollFd, PollFlags};
use rustix::thread::LinkNameSpaceType;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use spec::network::Step;
use spec::protocol::Failure;
use spec::{Error, Result, ResultExt};

/// So many packets are read of one interface before the others have their turn.
const TURN: usize = 32;
/// The kernel takes an address away a little after its time, if we do not.
const SLACK: u32 = 2;
/// What the kernel has not taken is tried again after so long.
const AGAIN: Duration = Duration::from_secs(1);
/// The type of clients that are named by their MAC address, and of those that are not (RFC 2132, section 9.14).
const BY_MAC: u8 = 1;
const BY_NAME: u8 = 0;

/// `words`: the leash's number, and that of the network namespace.
pub(crate) fn executed(words: &[&str]) -> Option<()> {
    sys::signal::unblock_all();
    let [leash, inside] = words else { return None };
    let take = |word: &str| sys::process::inherited(word.parse().ok()?).ok();
    let (leash, inside) = (take(leash)?, take(inside)?);
    let order = dhcp::heard(&leash).ok()?;
    let _ = rustix::thread::set_name(c"tsubo-dhcp");
    match House::enter(order, inside).and_then(|house| house.live(&leash)) {
        Ok(()) => {}
        Err(error) => dhcp::say(&leash, &Report::Failed(Failure::from(&error))).ok()?,
    }
    Some(())
}

/// A container's interfaces.
struct House {
    order: Order,
    /// Where ports are locked to their addresses; None where there are none.
    host: Option<Host>,
    faces: Vec<Asking>,
    timer: OwnedFd,
    /// The container's directory, which may be renamed.
    _dir: File,
    /// Whether its start has been told, and what.
    told: Option<Vec<Given>>,
}

/// One interface, and what it has.
struct Asking {
    face: Face,
    client: Client,
    port: Port,
    link: Leased,
    /// What it was given, and until when.
    wants: Option<(Lease, Option<Duration>)>,
    /// When what it wants is to be made so, if it is not.
    again: Option<Duration>,
    has: Option<Setting>,
    /// What it was given and has.
    lease: Option<Lease>,
    /// Why it has not what it wants: what came first.
    trouble: Option<Error>,
    /// Why it could not ask, the last time.
    mute: Option<Error>,
    /// The number of the host's end, if that is locked to its addresses.
    end: Option<u32>,
}

/// Since some moment, also while the machine sleeps.
fn now() -> Duration {
    let time = rustix::time::clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

impl House {
    fn enter(mut order: Order, inside: OwnedFd) -> Result<Self> {
        let host = order.faces.iter().any(|face| face.port.is_some()).then(Host::open).transpose()?;
        let ends = order.faces.iter().map(|face| end(host.as_ref(), face)).collect::<Result<Vec<_>>>()?;
        let dir = File::open(&order.dir).doing(|| format!("opening {}", order.dir.display()))?;
        order.dir = format!("/proc/self/fd/{}", dir.as_raw_fd()).into();
        rustix::thread::move_into_link_name_space(inside.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(std::io::Error::from)
            .doing(|| "entering the container's network namespace")?;
        drop(inside);
        let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK);
        let timer = timer.map_err(std::io::Error::from).doing(|| "making a timer")?;
        leave_privileges().map_err(std::io::Error::from).doing(|| "giving privileges up")?;
        let before = order.before();
        let made = |(face, end): (&Face, Option<u32>)| {
            Asking::new(&order, face, end, before.get(&face.interface).copied())
        };
        let faces = order.faces.iter().zip(ends).map(made).collect::<Result<_>>()?;
        Ok(Self { order, host, faces, timer, _dir: dir, told: None })
    }

    /// Until the leash is let go. However it ends, nothing is let through any more.
    fn live(mut self, leash: &OwnedFd) -> Result<()> {
        let ended = self.keep(leash);
        self.leave();
        ended
    }

    fn keep(&mut self, leash: &OwnedFd) -> Result<()> {
        let deadline = now() + PATIENCE;
        loop {
            for index in 0..self.faces.len() {
                let actions = self.faces[index].client.tick(now());
                self.act(index, actions);
            }
            if self.faces.iter().any(|asking| asking.again.is_some_and(|again| again <= now())) {
                self.settle();
            }
            if self.told.is_none() {
                self.first(leash, deadline)?;
            }
            if self.wait(leash, deadline)? {
                return Ok(());
            }
            for index in 0..self.faces.len() {
                self.listen(index);
            }
        }
    }

    /// Tells the container's start what it has, when it has all; fails when that takes too long.
    fn first(&mut self, leash: &OwnedFd, deadline: Duration) -> Result<()> {
        let missing = self.faces.iter_mut().find(|asking| asking.lease.is_none());
        let Some(missing) = missing else {
            let given = self.given();
            self.note();
            dhcp::say(leash, &Report::Given(given.clone(), self.search()))?;
            self.told = Some(given);
            return Ok(());
        };
        if now() < deadline {
            return Ok(());
        }
        let on = &missing.face.on;
        let error = match (missing.trouble.take().or(missing.mute.take()), missing.client.complaint()) {
            (Some(trouble), _) => trouble.context(format!("asking for an address on {on}")),
            (None, Some(complaint)) => Error::not_found(format!("no address was given on {on}: {complaint}")),
            (None, None) => Error::not_found(format!(
                "no DHCP server answered on {on} within {} seconds",
                PATIENCE.as_secs()
            )),
        };
        Err(error
            .hint("a server must be on that segment: tcpdump -ni any udp port 67 on the host shows who asks and who answers")
            .hint("or say an address in the place of dhcp: ip=192.168.1.7/24"))
    }

    /// Until something is to be done; whether that is to end.
    fn wait(&self, leash: &OwnedFd, deadline: Duration) -> Result<bool> {
        let due = self.faces.iter().flat_map(|asking| asking.client.due().into_iter().chain(asking.again));
        let due = due.chain(self.told.is_none().then_some(deadline)).min();
        // Zero would be no time at all.
        let at = due.map_or(Duration::ZERO, |due| due.max(Duration::from_nanos(1)));
        let at = Timespec::try_from(at).map_err(|cause| Error::internal("a time").because(cause))?;
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Itimerspec { it_interval: none, it_value: at };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &value)
            .map_err(std::io::Error::from)
            .doing(|| "setting a timer")?;
        let mut polled = vec![PollFd::new(leash, PollFlags::IN), PollFd::new(&self.timer, PollFlags::IN)];
        let sockets = self.faces.iter().flat_map(|asking| asking.port.sockets());
        polled.extend(sockets.map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN)));
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, None))
            .map_err(std::io::Error::from)
            .doing(|| "waiting for servers")?;
        Ok(!polled[0].revents().is_empty())
    }

    fn listen(&mut self, index: usize) {
        for heard in self.faces[index].port.heard(TURN) {
            let client = &mut self.faces[index].client;
            let actions = match heard {
                Heard::Message(message) => client.hear(now(), &message),
                Heard::Claim(claim) => client.claimed(now(), claim),
            };
            self.act(index, actions);
        }
    }

    fn act(&mut self, index: usize, actions: Vec<Action>) {
        for action in actions {
            let asking = &mut self.faces[index];
            match action {
                // It may be possible later: what is to be sent is sent again.
                Action::Send(message, to) => asking.mute = asking.say(&message, to).err(),
                Action::Probe(address) => asking.mute = asking.probe(address).err(),
                Action::Have(lease, until) => {
                    (asking.wants, asking.again) = (Some((lease, until)), Some(now()));
                    self.settle();
                }
                Action::Lose(_) => {
                    asking.lose(self.host.as_ref());
                    self.settle();
                }
            }
        }
        // Who has said his last needs no ears afterwards; what cannot be opened now is opened with what is sent next.
        let _ = self.faces[index].listen();
    }

    /// Has all interfaces have what they want. What one has got may have something to do with what others may have.
    fn settle(&mut self) {
        for index in 0..self.faces.len() {
            let beside = self.beside(index);
            self.faces[index].settle(&beside, self.host.as_ref());
        }
        self.changed();
    }

    /// Where the other interfaces lead by now.
    fn beside(&self, index: usize) -> Vec<Ipv4Net> {
        let others = self.faces.iter().enumerate().filter(|(other, _)| *other != index);
        let leased = others.filter_map(|(_, other)| Some(other.wants.as_ref()?.0.address.trunc()));
        self.faces[index].face.beside.iter().copied().chain(leased).collect()
    }

    /// Others than its start are told what is different now.
    fn changed(&mut self) {
        let Some(told) = &self.told else { return };
        let given = self.given();
        if *told == given {
            return;
        }
        self.note();
        // Who cannot be told now is told the next time; the container has its address all the same.
        let _ = self.order.tell(&given);
        for (path, text) in self.order.files(&given, self.search()) {
            let _ = files::rewrite(&path, &text);
        }
        self.told = Some(given);
    }

    /// For the next time: what was lost meanwhile is still the best guess.
    fn note(&self) {
        let mut note = self.order.before();
        let had = note.clone();
        for asking in &self.faces {
            if let Some(lease) = &asking.lease {
                note.insert(asking.face.interface.clone(), lease.address.addr());
            }
        }
        if note != had {
            let _ = self.order.note(&note);
        }
    }

    fn given(&self) -> Vec<Given> {
        self.faces.iter().map(Asking::given).collect()
    }

    fn search(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for domain in
            self.faces.iter().filter_map(|asking| asking.lease.as_ref()).flat_map(|lease| &lease.search)
        {
            if !all.contains(domain) {
                all.push(domain.clone());
            }
        }
        all
    }

    /// What lets the addresses through goes with us; all else is the keeper's to take back.
    fn leave(&self) {
        let Some(host) = &self.host else { return };
        for asking in &self.faces {
            asking.unlock(host, &asking.addresses());
        }
    }
}

impl Asking {
    fn new(order: &Order, face: &Face, end: Option<u32>, before: Option<Ipv4Addr>) -> Result<Self> {
        let link = Leased::find(&face.interface)?;
        let mac = link.mac().0;
        let client = match face.shared {
            true => [&[BY_NAME][..], format!("tsubo-{}-{}", order.id, face.index).as_bytes()].concat(),
            false => [&[BY_MAC][..], &mac].concat(),
        };
        let identity = Identity {
            mac,
            client,
            hostname: order.hostname.clone(),
            broadcast: face.shared,
            size: u16::try_from(link.mtu()).unwrap_or(u16::MAX).max(576),
            taken: order.taken.clone(),
            elsewhere: if face.leads { Vec::new() } else { face.beside.clone() },
        };
        let mut seed = [0; 8];
        let random = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty());
        random.map_err(std::io::Error::from).doing(|| "asking for a random number")?;
        Ok(Self {
            client: Client::new(identity, before, u64::from_ne_bytes(seed), now()),
            port: Port::new(link.index()),
            face: face.clone(),
            link,
            wants: None,
            again: None,
            has: None,
            lease: None,
            trouble: None,
            mute: None,
            end,
        })
    }

    fn say(&mut self, message: &Message, to: To) -> Result<()> {
        self.listen()?;
        let sent = self.port.send(message, to).map_err(std::io::Error::from);
        sent.doing(|| format!("asking for an address on {}", self.face.interface))
    }

    fn probe(&mut self, address: Ipv4Addr) -> Result<()> {
        self.listen()?;
        let asked = self.port.probe(self.link.mac().0, address).map_err(std::io::Error::from);
        asked.doing(|| format!("asking who has {address}"))
    }

    fn listen(&mut self) -> Result<()> {
        let opened = self.port.listen(self.client.ears()).map_err(std::io::Error::from);
        opened.doing(|| format!("listening on {}", self.face.interface))
    }

    /// Has it have what it wants, if it does not yet, or if others have got something since that makes it something else.
    fn settle(&mut self, beside: &[Ipv4Net], host: Option<&Host>) {
        let Some((lease, until)) = self.wants.clone() else { return };
        let setting = self.setting(&lease, until, beside);
        if self.again.is_none() && self.has.as_ref().is_some_and(|has| has.routes == setting.routes) {
            return;
        }
        match self.have(setting, host) {
            Ok(()) => (self.again, self.trouble, self.lease) = (None, None, Some(lease)),
            Err(error) => {
                self.again = Some(now() + AGAIN);
                self.trouble.get_or_insert(error);
            }
        }
    }

    fn have(&mut self, setting: Setting, host: Option<&Host>) -> Result<()> {
        let before = self.has.as_ref().map(|has| has.address).filter(|before| *before != setting.address);
        if let (Some(host), Some(before)) = (host, before) {
            self.unlock(host, &[before]);
        }
        self.link.set(self.has.as_ref(), &setting)?;
        // Before what may fail: it is to be taken back as well.
        self.has = Some(setting);
        host.map_or(Ok(()), |host| self.lock(host, &self.addresses()))
    }

    /// What the kernel does not take away now it does when its time is over.
    fn lose(&mut self, host: Option<&Host>) {
        (self.wants, self.again, self.lease) = (None, None, None);
        let Some(has) = self.has.take() else { return };
        if let Some(host) = host {
            self.unlock(host, &[has.address]);
        }
        let _ = self.link.unset(&has);
    }

    fn addresses(&self) -> Vec<IpNet> {
        self.has.iter().map(|has| has.address).collect()
    }

    /// Only what is first leads everywhere, and nobody leads where others do. `beside`: where that is.
    fn setting(&self, lease: &Lease, until: Option<Duration>, beside: &[Ipv4Net]) -> Setting {
        let seconds = |until: Duration| {
            let left = until.saturating_sub(now()).as_secs();
            u32::try_from(left).unwrap_or(u32::MAX).saturating_add(SLACK).min(u32::MAX - 1)
        };
        let routes = if self.face.leads { lease.routes.clone() } else { lease.routes_beside(beside) };
        let own = lease.address.trunc();
        Setting {
            address: IpNet::V4(lease.address),
            seconds: until.map(seconds),
            // The subnet's own comes with the address.
            routes: routes
                .into_iter()
                .filter(|(to, via)| *to != own || via.is_some())
                .map(|(to, via)| (IpNet::V4(to), via.map(IpAddr::V4)))
                .collect(),
            mtu: lease.mtu.filter(|_| self.face.any_mtu).map(u32::from),
        }
    }

    fn given(&self) -> Given {
        let lease = self.lease.as_ref();
        Given {
            interface: self.face.interface.clone(),
            addresses: self.addresses(),
            gateway: lease.filter(|_| self.face.leads).and_then(Lease::gateway).map(IpAddr::V4),
            servers: lease
                .map(|lease| lease.servers.iter().copied().map(IpAddr::V4).collect())
                .unwrap_or_default(),
        }
    }

    fn lock(&self, host: &Host, addresses: &[IpNet]) -> Result<()> {
        let steps: Vec<Step> = self.face.locks(addresses).into_iter().map(Step::Element).collect();
        host.renew(&steps)
    }

    /// Another life of the container may have begun: its link has the name of ours, and another number.
    fn unlock(&self, host: &Host, addresses: &[IpNet]) {
        if end(Some(host), &self.face).is_ok_and(|end| end.is_none() || end == self.end) {
            let steps: Vec<Step> = self.face.locks(addresses).into_iter().map(Step::Element).collect();
            let _ = host.detach(&steps);
        }
    }
}

/// The number of the host's end of an interface, if that is locked to its addresses.
fn end(host: Option<&Host>, face: &Face) -> Result<Option<u32>> {
    match (host, &face.port) {
        (Some(host), Some(port)) => Ok(host.link(port)?.map(|link| link.index)),
        _ => Ok(None),
    }
}

/// But for those of the network: files are written as who owns them.
fn leave_privileges() -> rustix::io::Result<()> {
    use sys::capability::{NET_ADMIN, NET_BIND_SERVICE, NET_RAW};
    let kept = 1 << NET_ADMIN | 1 << NET_RAW | 1 << NET_BIND_SERVICE;
    sys::capability::bound(kept)?;
    sys::capability::set(kept)?;
    rustix::thread::set_no_new_privs(true)
}
