//! One container that takes addresses of one network: the files that stand for them are made for one alone.

use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use spec::network::{Mac, Network, Subnet};
use spec::{Error, Name, Result, ResultExt};

use super::by_hand::with_length;
use super::lease::{LEASES, Lease, MACS, NO_MAC, holder, write, written};
use super::store::Networks;
use super::subnets::{is_host, nth, offset};
use crate::home::new_id;

/// So many addresses are looked at for a free one.
const MOST: u128 = 1 << 20;

/// How long its maker may have been at it, if it is tried again.
const TRIES: usize = 3;

/// One container that takes what it needs of one network. What it has taken stays when this goes.
pub(super) struct Claim<'a> {
    networks: &'a Networks,
    name: &'a Name,
    lease: &'a Lease,
    dir: PathBuf,
    /// Its lease, which takes a place by a further name.
    file: PathBuf,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // It is found, and removed, where this fails.
        let _ = fs::remove_file(&self.file);
    }
}

impl<'a> Claim<'a> {
    pub(super) fn new(networks: &'a Networks, network: &'a Network, lease: &'a Lease) -> Result<Self> {
        let (name, dir) = (&network.name, networks.run_dir(&network.name));
        let file = match written(&dir, lease) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                networks.rebuild(name)?;
                written(&dir, lease)
            }
            written => written,
        };
        let file = file.doing(|| format!("taking an address of network {name}"))?;
        Ok(Self { networks, name, lease, dir, file })
    }

    /// Takes something, if nobody has it.
    fn take(&self, kind: &str, what: &str) -> Result<bool> {
        let place = self.dir.join(kind).join(what);
        let doing = || format!("taking {what} of network {}", self.name);
        for _ in 0..TRIES {
            match fs::hard_link(&self.file, &place) {
                Ok(()) => return Ok(true),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
                // The network is being removed, or its files were.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.networks.rebuild(self.name)?;
                    write(&self.file, self.lease).doing(doing)?;
                }
                Err(error) => return Err(error).doing(doing),
            }
        }
        Err(Error::conflict(format!("network {} is being removed", self.name)))
    }

    /// Takes this very thing. What one's own record says is one's own already.
    pub(super) fn must_take(&self, kind: &str, what: &str) -> Result<()> {
        for last in [false, true] {
            if self.take(kind, what)? {
                return Ok(());
            }
            let holder = holder(&self.dir.join(kind).join(what));
            match holder {
                Some(lease) if lease.id == self.lease.id => return Ok(()),
                Some(lease) if last => {
                    return Err(Error::conflict(format!(
                        "{what} is container {}'s on network {} already",
                        lease.name, self.name
                    ))
                    .hint("choose another, or none: a free one is found"));
                }
                // It may be nobody's any more.
                Some(_) => drop(self.networks.reclaim(self.name)?),
                None => {}
            }
        }
        Err(Error::conflict(format!("{what} of network {} has just been taken", self.name)))
    }

    /// A free address, beginning behind the last that was given: what was somebody's a moment ago may still
    /// be meant by others.
    pub(super) fn any(&self, subnet: &Subnet, own: &[IpNet], network: &Network) -> Result<IpNet> {
        for last in [false, true] {
            if let Some(address) = self.next(subnet, own, network)? {
                return Ok(with_length(address, subnet.net.prefix_len()));
            }
            if last || self.networks.reclaim(self.name)?.is_empty() {
                break;
            }
        }
        let given = subnet.range.unwrap_or(subnet.net);
        Err(Error::conflict(format!("network {} has no free address left in {given}", self.name)).hint(format!(
            "remove containers that nobody needs (tsubo network inspect {} lists them), or make a larger network: tsubo network create --subnet 10.9.0.0/16 NAME",
            self.name
        )))
    }

    fn next(&self, subnet: &Subnet, own: &[IpNet], network: &Network) -> Result<Option<IpAddr>> {
        let from = subnet.range.unwrap_or(subnet.net);
        let bits = u32::from(from.max_prefix_len() - from.prefix_len());
        let count = 1_u128.checked_shl(bits).unwrap_or(u128::MAX).min(MOST);
        // The same number in both kinds is easier on people.
        let twin = own.first().and_then(|four| {
            let four = four.addr();
            let of = network.subnets.iter().find(|subnet| subnet.net.contains(&four))?;
            Some(nth(subnet.net, offset(of.net, four))).filter(|_| subnet.range.is_none())
        });
        let cursor = self.dir.join(if from.addr().is_ipv4() { "last4" } else { "last6" });
        let last = fs::read_to_string(&cursor).ok().and_then(|text| text.trim().parse().ok());
        let start = last.filter(|last| from.contains(last)).map_or(0, |last| offset(from, last) + 1);
        let others = (0..count).map(|step| nth(from, (start + step) % count));
        let usable = |address: &IpAddr| is_host(subnet.net, *address) && *address != subnet.gateway;
        for address in twin.into_iter().chain(others).filter(usable) {
            if self.take(LEASES, &address.to_string())? {
                // If it is lost the search takes longer.
                let _ = fs::write(&cursor, address.to_string());
                return Ok(Some(address));
            }
        }
        Ok(None)
    }

    /// The MAC address: that which was asked for, or one that nobody has.
    pub(super) fn mac(&self, asked: Mac, addresses: &[IpNet]) -> Result<Mac> {
        if asked != NO_MAC {
            return self.must_take(MACS, &asked.to_string()).map(|()| asked);
        }
        let first = addresses.first().map(|address| Mac::of(address.addr()));
        let mut mac = first.map_or_else(random_mac, Ok)?;
        while !self.take(MACS, &mac.to_string())? {
            mac = random_mac()?;
        }
        Ok(mac)
    }

    /// Names are stronger than aliases: one that is another's would never be asked for.
    pub(super) fn must_be_nobodys_name(&self, aliases: &[String]) -> Result<()> {
        if aliases.is_empty() {
            return Ok(());
        }
        let own = self.lease.name.as_str();
        let others = super::inspect::names_in(&self.dir);
        let taken =
            |alias: &&String| others.iter().any(|name| name != own && name.eq_ignore_ascii_case(alias));
        match aliases.iter().find(taken) {
            None => Ok(()),
            Some(alias) => Err(Error::conflict(format!(
                "{alias} is a container's name on network {} already",
                self.name
            ))
            .hint("choose another alias")),
        }
    }

    /// Two, and nobody else.
    pub(super) fn must_be_two(&self) -> Result<()> {
        self.networks.reclaim(self.name)?;
        let others = super::inspect::names_in(&self.dir);
        let own = self.lease.name.to_string();
        match others.iter().filter(|name| **name != own).count() {
            0 | 1 => Ok(()),
            _ => {
                Err(Error::conflict(format!("network {} is a pair, of {}", self.name, others.join(" and ")))
                    .hint("more than two need a network of another kind: tsubo network create NAME"))
            }
        }
    }
}

/// Locally administered, one receiver; others than those that come of addresses.
fn random_mac() -> Result<Mac> {
    let [a, b, c, d, ..] = new_id()?.bytes();
    Ok(Mac([0x06, 0x74, a, b, c, d]))
}
