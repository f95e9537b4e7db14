//! An interface whose address comes and goes while a container runs.

use std::net::IpAddr;

use ipnet::IpNet;
use rustix::io::Errno;
use spec::network::Mac;
use spec::{Error, Result};

use crate::address::{self, Way};
use crate::link;
use crate::message::Batch;
use crate::socket::Socket;

/// An interface in the network namespace in which it was looked for.
pub struct Leased {
    socket: Socket,
    name: String,
    index: u32,
    mac: Mac,
    mtu: u32,
}

/// What it has for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its address.
    pub address: IpNet,
    /// After so many seconds the kernel itself takes it away; None: never.
    pub seconds: Option<u32>,
    /// To which nets packets go over it, and by whom.
    pub routes: Vec<(IpNet, Option<IpAddr>)>,
    /// Bytes of a packet, if that is said.
    pub mtu: Option<u32>,
}

impl Leased {
    /// That of this name, where the calling thread is.
    ///
    /// # Errors
    /// Not found; unsupported for one without a MAC address.
    pub fn find(name: &str) -> Result<Self> {
        let socket = Socket::route()?;
        let found = link::find(&socket, name)?;
        let found = found.ok_or_else(|| Error::not_found(format!("there is no interface {name}")))?;
        let mac = link::mac(&socket, name)?;
        let mac = mac.ok_or_else(|| Error::unsupported(format!("{name} has no MAC address")))?;
        Ok(Self { socket, name: name.to_owned(), index: found.index, mac, mtu: found.mtu })
    }

    /// Its number.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Its MAC address.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Bytes of a packet, as it was found.
    pub fn mtu(&self) -> u32 {
        self.mtu
    }

    /// Gives it a setting in the place of another. Routes that the kernel does not take are left out.
    ///
    /// # Errors
    /// When it does not take the address.
    pub fn set(&self, before: Option<&Setting>, now: &Setting) -> Result<()> {
        if let Some(before) = before {
            self.take_back(before, now)?;
        }
        let mut batch = Batch::default();
        let given = address::give(&mut batch, self.index, now.address, true);
        if let Some(seconds) = now.seconds {
            address::for_a_time(&mut batch, seconds);
        }
        for (to, via) in &now.routes {
            address::route(&mut batch, self.index, &Way { to: *to, via: *via, source: None }, true);
        }
        if let Some(mtu) = now.mtu {
            link::set_mtu(&mut batch, self.index, mtu);
        }
        let failures = self.socket.run(&mut batch)?;
        match failures.iter().find(|failure| failure.message == given) {
            Some(failure) => {
                let what = format!("giving {} the address {}", self.name, now.address);
                Err(Error::io(what, failure.errno.into()))
            }
            None => Ok(()),
        }
    }

    /// What was set and is not to be any more. The address goes first: another one of the same subnet would go with it.
    fn take_back(&self, before: &Setting, now: &Setting) -> Result<()> {
        let mut batch = Batch::default();
        for (to, _) in before.routes.iter().filter(|(to, _)| !now.routes.iter().any(|(still, _)| still == to))
        {
            address::remove_route(&mut batch, self.index, *to);
        }
        if before.address != now.address {
            address::take(&mut batch, self.index, before.address);
        }
        // What is not there any more is as good.
        self.socket.run(&mut batch).map(drop)
    }

    /// Takes an address away; the kernel takes the routes of who has none.
    ///
    /// # Errors
    /// When that fails, unless it is away already.
    pub fn unset(&self, setting: &Setting) -> Result<()> {
        let mut batch = Batch::default();
        let taken = address::take(&mut batch, self.index, setting.address);
        for (to, _) in &setting.routes {
            address::remove_route(&mut batch, self.index, *to);
        }
        let failures = self.socket.run(&mut batch)?;
        let gone = [Errno::ADDRNOTAVAIL, Errno::NODEV];
        match failures.iter().find(|failure| failure.message == taken && !gone.contains(&failure.errno)) {
            Some(failure) => {
                let what = format!("taking the address {} from {}", setting.address, self.name);
                Err(Error::io(what, failure.errno.into()))
            }
            None => Ok(()),
        }
    }
}
