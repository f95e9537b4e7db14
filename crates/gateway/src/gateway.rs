//! All of a gateway: what its configuration says, brought about, also when it says something else.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lifecycle::Home;
use spec::{Result, ResultExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::door::lent;
use crate::door::listen::{self, Behind};
use crate::door::{Front, Table};
use crate::hands;
use crate::holder::Held;
use crate::house::House;
use crate::service::Service;

/// Between two looks whether anybody waits.
const BREATH: Duration = Duration::from_millis(20);

/// How long connections without a request may take to close.
const GOODBYE: Duration = Duration::from_millis(500);

/// How long instances may take to end.
const STOP: Duration = Duration::from_secs(15);

/// A gateway that serves.
pub(crate) struct Gateway {
    pub(crate) house: Rc<House>,
    pub(crate) front: Rc<Front>,
    held: RefCell<Held>,
    doors: RefCell<HashMap<SocketAddr, Door>>,
    adopted: Cell<bool>,
}

/// A listening socket, and who accepts what comes over it.
struct Door {
    socket: Rc<OwnedFd>,
    behind: Behind,
    accepts: JoinHandle<()>,
}

impl Door {
    /// Nobody is let in here any more.
    fn end(&self, at: SocketAddr) {
        self.accepts.abort();
        if let Behind::Lent(service) = &self.behind {
            service.take_back(at);
        }
    }
}

impl Gateway {
    pub(crate) fn new(home: Home, held: Held) -> Rc<Self> {
        let house = House::new(home);
        let front = Front::new(Rc::clone(&house));
        Rc::new(Self {
            house,
            front,
            held: RefCell::new(held),
            doors: RefCell::default(),
            adopted: Cell::new(false),
        })
    }

    /// Does what a configuration says, all of it or nothing; what of it holds already is left as it is.
    ///
    /// # Errors
    /// An address that cannot be listened at, a certificate that cannot be read.
    pub(crate) async fn apply(self: &Rc<Self>, config: Config) -> Result<()> {
        let certificates = self.front.tls.prepare(&config)?;
        let log = self.front.log.prepare(config.access_log.as_deref())?;
        let services = self.services_of(&config);
        let wanted = wanted(&config, &services);
        let fresh = self.open(wanted.keys().copied())?;
        self.front.tls.take(certificates)?;
        // From here on nothing can fail.
        *self.front.clients.borrow_mut() = config.clients.clone();
        self.front.log.take(config.access_log.as_deref(), log);
        self.house.most.set(config.instances);
        self.house.places.set(config.prepared);
        let changed = self.take_services(&config, &services);
        let table = Table { hosts: config.hosts, sni: config.sni, services };
        *self.front.table.borrow_mut() = Rc::new(table);
        self.settle(&changed).await;
        if !self.adopted.replace(true) {
            // Before anything is started: what runs need not be.
            self.adopt().await;
        }
        changed.iter().for_each(|service| service.adjust());
        self.prepare(changed);
        self.take_doors(wanted, fresh);
        Ok(())
    }

    /// The services of a configuration: those of a name that is known are the same.
    fn services_of(&self, config: &Config) -> Vec<Rc<Service>> {
        let known = self.house.services.borrow();
        let service = |told: &crate::config::ServiceConfig| {
            let same = known.iter().find(|one| one.told.borrow().name == told.name);
            same.cloned().unwrap_or_else(|| Service::new(told.clone(), Rc::downgrade(&self.house)))
        };
        config.services.iter().map(service).collect()
    }

    /// From now on these are the services; those of which something else is said than before are returned.
    fn take_services(&self, config: &Config, services: &[Rc<Service>]) -> Vec<Rc<Service>> {
        let mut known = self.house.services.borrow_mut();
        for one in known.iter().filter(|one| !services.iter().any(|other| Rc::ptr_eq(one, other))) {
            one.leave();
        }
        let mut changed = Vec::new();
        for (service, told) in services.iter().zip(&config.services) {
            let is_new = !known.iter().any(|one| Rc::ptr_eq(one, service));
            let differs = **service.told.borrow() != *told;
            if differs {
                service.history.borrow_mut().advice.forget();
                *service.told.borrow_mut() = Rc::new(told.clone());
            }
            if is_new {
                known.push(Rc::clone(service));
            }
            // Whichever comes first: one that was leaving comes back.
            let returns = service.gone.replace(false);
            if is_new || differs || returns {
                changed.push(Rc::clone(service));
            }
        }
        changed
    }

    /// Finds out what the packages of these services say.
    pub(crate) async fn settle(&self, services: &[Rc<Service>]) {
        let told: Vec<_> = services.iter().map(|one| (**one.told.borrow()).clone()).collect();
        let home = self.house.home.clone();
        let settled = self.house.hand(false, move || Ok(hands::settle_all(&home, &told))).await;
        for (service, settled) in services.iter().zip(settled.unwrap_or_default()) {
            match settled {
                Ok(settings) if service.settings().is_none_or(|now| *now != settings) => {
                    service.settle(settings)
                }
                Ok(_) => service.is_well(),
                Err(error) => service.is_broken(&error),
            }
        }
    }

    /// Makes containers beforehand, one after the other.
    fn prepare(&self, services: Vec<Rc<Service>>) {
        let house = Rc::clone(&self.house);
        tokio::task::spawn_local(async move {
            for service in services {
                // Who waits for a start comes first.
                while house.someone_waits() {
                    tokio::time::sleep(BREATH).await;
                }
                service.park().await;
            }
        });
    }

    /// Listens at those addresses at which nobody does yet. Nobody is told: where one of them cannot be had, all
    /// is as it was.
    fn open(&self, wanted: impl Iterator<Item = SocketAddr>) -> Result<HashMap<SocketAddr, Rc<OwnedFd>>> {
        let (doors, held) = (self.doors.borrow(), self.held.borrow());
        let fresh = wanted.filter(|at| !doors.contains_key(at));
        let open =
            |at| held.copy(at).unwrap_or_else(|| listen::listen(at)).map(|socket| (at, Rc::new(socket)));
        fresh.map(open).collect()
    }

    fn take_doors(&self, wanted: HashMap<SocketAddr, Behind>, mut fresh: HashMap<SocketAddr, Rc<OwnedFd>>) {
        let (mut doors, mut held) = (self.doors.borrow_mut(), self.held.borrow_mut());
        doors.retain(|at, door| {
            let stays = wanted.contains_key(at);
            if !stays {
                door.end(*at);
                held.forget(*at);
            }
            stays
        });
        for (at, behind) in wanted {
            let socket = match doors.remove(&at) {
                Some(door) if door.behind == behind => {
                    doors.insert(at, door);
                    continue;
                }
                Some(door) => {
                    door.end(at);
                    door.socket
                }
                None => match fresh.remove(&at) {
                    Some(socket) => socket,
                    None => continue,
                },
            };
            match self.begin(at, &socket, &behind) {
                Ok(accepts) => {
                    eprintln!("listening on {}://{at}", behind.word());
                    held.keep(at, &socket);
                    doors.insert(at, Door { socket, behind, accepts });
                }
                Err(error) => {
                    eprintln!("nobody is let in at {at}: {}", error.chain());
                    // The next configuration that wants it listens there anew.
                    held.forget(at);
                }
            }
        }
    }

    /// Has somebody accept what comes over a socket.
    fn begin(&self, at: SocketAddr, socket: &Rc<OwnedFd>, behind: &Behind) -> Result<JoinHandle<()>> {
        let front = Rc::clone(&self.front);
        if let Behind::Lent(service) = behind {
            lent::waiting(socket)?;
            service.lend(at, socket)?;
            return Ok(tokio::task::spawn_local(lent::lend(Rc::clone(service), Rc::clone(socket))));
        }
        let doing = || "waiting for clients";
        let listener = std::net::TcpListener::from(socket.try_clone().doing(doing)?);
        listener.set_nonblocking(true).doing(doing)?;
        let listener = TcpListener::from_std(listener).doing(doing)?;
        Ok(tokio::task::spawn_local(listen::accept(front, listener, behind.clone())))
    }

    /// All is as the configuration says.
    pub(crate) fn is_ready(&self) {
        self.held.borrow_mut().is_ready();
    }

    /// Lets what is under way come to its end, for so long; instances stay as they are.
    pub(crate) async fn finish(&self, time: Duration) {
        self.end_those_with_sockets().await;
        self.house.leaves.set(true);
        self.front.leave();
        self.held.borrow_mut().unlock();
        let end = Instant::now() + time;
        while self.house.is_busy() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Those that say nothing close in order, too.
        let end = end.min(Instant::now() + GOODBYE);
        while self.front.open.get() > 0 && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Who has a socket of ours keeps it from whoever comes after us.
    async fn end_those_with_sockets(&self) {
        let services = self.house.services.borrow().clone();
        let lends = |one: &&Rc<Service>| !one.told.borrow().sockets.is_empty();
        let lending: Vec<_> = services.iter().filter(lends).collect();
        lending.iter().for_each(|one| one.instances().iter().for_each(|instance| one.end(instance)));
        let end = Instant::now() + STOP;
        while lending.iter().any(|one| !one.instances().is_empty()) && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends all instances.
    pub(crate) async fn stop(&self) {
        let services = self.house.services.borrow().clone();
        services.iter().for_each(|service| service.leave());
        let instances = || services.iter().flat_map(|one| one.instances().into_iter().map(move |i| (one, i)));
        instances().for_each(|(service, one)| service.end(&one));
        let end = Instant::now() + STOP;
        while instances().next().is_some() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Nobody new comes in.
    pub(crate) fn close(&self) {
        self.doors.borrow_mut().drain().for_each(|(_, door)| door.accepts.abort());
    }

    /// Takes over the instances that run already; those of services that are not known any more go.
    async fn adopt(&self) {
        let home = self.house.home.clone();
        let found = match self.house.hand(false, move || hands::survey(&home)).await {
            Ok(found) => found,
            Err(error) => return eprintln!("looking for instances that run already: {}", error.chain()),
        };
        for one in found {
            let services = self.house.services.borrow().clone();
            let owner = services.iter().find(|service| service.told.borrow().name.as_str() == one.owner.name);
            match owner {
                Some(service) => service.adopt(one),
                None => self.remove(&one.owner.name, one.number),
            }
        }
    }

    fn remove(&self, service: &str, number: u32) {
        let (house, name) = (Rc::clone(&self.house), hands::name_of(service, number));
        tokio::task::spawn_local(async move {
            let home = house.home.clone();
            let removed = house.hand(false, move || hands::remove(&home, &name?, true)).await;
            if let Err(error) = removed {
                eprintln!("removing an instance of a service that is gone: {}", error.chain());
            }
        });
    }
}

/// Which addresses are listened at, and for what.
fn wanted(config: &Config, services: &[Rc<Service>]) -> HashMap<SocketAddr, Behind> {
    let mut wanted = HashMap::new();
    wanted.extend(config.http.iter().map(|at| (*at, Behind::Http)));
    wanted.extend(config.https.iter().map(|at| (*at, Behind::Tls)));
    wanted.extend(config.admin.map(|at| (at, Behind::Admin)));
    for (service, told) in services.iter().zip(&config.services) {
        wanted.extend(told.tcp.iter().map(|at| (*at, Behind::Service(Rc::clone(service)))));
        wanted.extend(told.sockets.iter().map(|at| (*at, Behind::Lent(Rc::clone(service)))));
    }
    wanted
}
