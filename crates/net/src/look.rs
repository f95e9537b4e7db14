//! What is odd about a network, in words: what somebody removed, and what else looks at its packets.

use std::net::IpAddr;
use std::process::Command;

use spec::Result;
use spec::network::{Kind, Network};

use crate::entry::spoken_for;
use crate::filter::{self, TABLE};
use crate::host::Host;
use crate::message::{Batch, attribute, be_word, text};
use crate::table::{BRIDGED, ROUTED, Table};
use crate::uapi::filter::*;
use crate::uapi::netlink::DUMP;
use crate::{address, forward};

impl Host {
    /// What is missing or odd; empty if all is well.
    pub fn look(&self, network: &Network) -> Result<Vec<String>> {
        let mut said = Vec::new();
        match &network.kind {
            Kind::Nat | Kind::Isolated => {
                self.look_at_gateway(network, &mut said)?;
                self.look_at_table(network, &mut said)?;
                said.extend(self.firewalls()?);
            }
            Kind::Bridge { .. } | Kind::Pair => {
                self.look_at_device(&network.device(), &mut said)?;
                self.is_whole(&BRIDGED, &mut said)?;
            }
            Kind::Macvlan { parent, .. } | Kind::Ipvlan { parent, .. } => {
                self.look_at_device(parent, &mut said)?;
            }
        }
        if let Kind::Bridge { uplink: Some(uplink) } = &network.kind {
            self.look_at_port(network, uplink, &mut said)?;
        }
        Ok(said)
    }

    fn look_at_device(&self, device: &str, said: &mut Vec<String>) -> Result<Option<u32>> {
        let found = self.link(device)?;
        match &found {
            None => said
                .push(format!("there is no interface {device}; the next start makes it, where it is ours")),
            Some(found) if !found.up => said.push(format!("the interface {device} is down")),
            Some(_) => {}
        }
        Ok(found.map(|found| found.index))
    }

    fn look_at_port(&self, network: &Network, uplink: &str, said: &mut Vec<String>) -> Result<()> {
        let bridge = self.link(&network.device())?.map(|found| found.index);
        match self.link(uplink)? {
            None => said.push(format!("there is no interface {uplink} on this host")),
            Some(found) if Some(found.bridge) != bridge => {
                said.push(format!("{uplink} is no port of {}", network.device()));
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn look_at_gateway(&self, network: &Network, said: &mut Vec<String>) -> Result<()> {
        let device = network.device();
        let Some(index) = self.look_at_device(&device, said)? else { return Ok(()) };
        let there = address::all(&self.route, index)?;
        for subnet in &network.subnets {
            if subnet.gateway.is_ipv6() && !forward::has_v6("all") {
                said.push(format!("IPv6 is off on this host: nobody has an address of {}", subnet.net));
            } else if !there.contains(&subnet.gateway) {
                said.push(format!("{device} has not the gateway's address {}", subnet.gateway));
            } else if !forward::is_on(subnet.gateway.is_ipv6()) {
                said.push(format!("this host forwards no packets of {}", protocol(subnet.gateway)));
            }
        }
        Ok(())
    }

    fn look_at_table(&self, network: &Network, said: &mut Vec<String>) -> Result<()> {
        if !self.is_whole(&ROUTED, said)? {
            return Ok(());
        }
        for subnet in network.subnets.iter().filter(|_| network.kind == Kind::Nat) {
            if filter::get(&self.filter, &spoken_for(subnet.net)[0])?.is_none() {
                said.push(format!("the host does not speak for {} outside", subnet.net));
            }
        }
        Ok(())
    }

    fn is_whole(&self, table: &Table, said: &mut Vec<String>) -> Result<bool> {
        let missing = table.missing(&self.filter)?;
        if !missing.is_empty() {
            said.push(format!(
                "the packet filter's table {} is not whole (chains {}): the next start mends it",
                table.name(),
                missing.join(", ")
            ));
        }
        Ok(missing.is_empty())
    }

    /// Whether the host's own packet filter looks at what comes to the host.
    ///
    /// # Errors
    /// Whatever the kernel refuses.
    pub fn filters_input(&self) -> Result<bool> {
        let old = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"].iter().any(|file| {
            std::fs::read_to_string(file).is_ok_and(|all| all.lines().any(|table| table == "filter"))
        });
        let mut batch = Batch::default();
        batch.message(GETCHAIN, DUMP, &[NFPROTO_UNSPEC, 0, 0, 0]);
        let mut found = old;
        self.filter.ask(&mut batch, |answer| {
            let family = answer.body.first().copied().unwrap_or_default();
            let chain = answer.body.get(4..).unwrap_or_default();
            found |= answer.kind == NEWCHAIN && filters_input(family, chain);
        })?;
        Ok(found)
    }

    /// What of the host's own packet filter may drop packets of containers. It is obeyed, never gone around.
    pub fn firewalls(&self) -> Result<Vec<String>> {
        let mut batch = Batch::default();
        batch.message(GETCHAIN, DUMP, &[NFPROTO_UNSPEC, 0, 0, 0]);
        let mut said = Vec::new();
        self.filter.ask(&mut batch, |answer| {
            let family = answer.body.first().copied().unwrap_or_default();
            let body = answer.body.get(4..).unwrap_or_default();
            if answer.kind == NEWCHAIN {
                said.extend(remark(family, body));
            }
        })?;
        said.extend(old_firewall());
        Ok(said)
    }
}

/// Whether the host filters what comes to itself by this chain.
fn filters_input(family: u8, chain: &[u8]) -> bool {
    let number = |kind| attribute(chain, kind).map(be_word);
    let hook = attribute(chain, NFTA_CHAIN_HOOK).and_then(|hook| attribute(hook, NFTA_HOOK_HOOKNUM));
    let ours = family == NFPROTO_INET
        && attribute(chain, NFTA_CHAIN_TABLE).map(text).is_some_and(|table| table == TABLE);
    let filters =
        number(NFTA_CHAIN_POLICY) == Some(NF_DROP) || number(NFTA_CHAIN_USE).is_some_and(|use_| use_ > 0);
    [NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6].contains(&family)
        && !ours
        && filters
        && hook.map(be_word) == Some(NF_INET_LOCAL_IN)
}

/// What a chain of somebody else means for containers.
fn remark(family: u8, chain: &[u8]) -> Option<String> {
    let family = match family {
        NFPROTO_INET => "inet",
        NFPROTO_IPV4 => "ip",
        NFPROTO_IPV6 => "ip6",
        _ => return None,
    };
    let table = attribute(chain, NFTA_CHAIN_TABLE).map(text)?;
    let name = attribute(chain, NFTA_CHAIN_NAME).map(text)?;
    let number = |kind| attribute(chain, kind).map(be_word);
    let hook = be_word(attribute(attribute(chain, NFTA_CHAIN_HOOK)?, NFTA_HOOK_HOOKNUM)?);
    let drops = number(NFTA_CHAIN_POLICY) == Some(NF_DROP);
    let rules = number(NFTA_CHAIN_USE).unwrap_or_default();
    if family == "inet" && table == TABLE {
        return None;
    }
    match hook {
        NF_INET_FORWARD if drops => Some(format!(
            "the host's firewall drops what is forwarded unless a rule lets it through (chain {name} of table \
             {family} {table}): let through meta iifgroup >= 0x75000000 and meta oifgroup >= 0x75000000"
        )),
        NF_INET_LOCAL_IN if drops || rules > 0 => Some(format!(
            "the host's firewall looks at what comes to the host (chain {name} of table {family} {table}): names \
             are answered only if it lets port 53 of meta iifgroup >= 0x75000000 through; published ports obey it \
             from the next start of their container on"
        )),
        _ => None,
    }
}

/// The same of iptables in its old form, which netlink does not list.
fn old_firewall() -> Option<String> {
    let tables = std::fs::read_to_string("/proc/net/ip_tables_names").ok()?;
    if !tables.lines().any(|table| table == "filter") {
        return None;
    }
    let chains = Command::new("iptables-legacy").args(["-S"]).output().ok()?;
    let chains = String::from_utf8_lossy(&chains.stdout).into_owned();
    chains.lines().any(|line| line == "-P FORWARD DROP").then(|| {
        "the host's firewall drops what is forwarded unless a rule lets it through (iptables-legacy, chain \
         FORWARD): let through -m devgroup --src-group 0x75000000/0xff000000 and the same --dst-group"
            .to_owned()
    })
}

fn protocol(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}
