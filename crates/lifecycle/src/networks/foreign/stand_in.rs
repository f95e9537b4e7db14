//! A network namespace in the place of one that is gone: with interfaces of the same names and addresses, so that those who
//! ask it what they have to take back find it there.

use std::os::fd::BorrowedFd;

use runtime::EarlyNetwork;
use spec::Id;
use spec::network::{Link, Mac, Side, Step, Wiring, link_name};

use super::super::Given;
use super::super::wire::with_host;

/// No container has so many interfaces.
const FIRST: usize = 0xf0;

/// Such a namespace, and the other ends of its interfaces; all is gone with it.
pub(super) struct StandIn {
    network: EarlyNetwork,
    hosts: Vec<String>,
}

impl StandIn {
    /// One with interfaces of these shapes; None where there is nothing to stand in for, or the kernel makes none.
    /// Every other try is without addresses: who has taken back a part already may not be able to do it again.
    pub(super) fn make(id: Id, shapes: impl Iterator<Item = Given>, tries: u32) -> Option<Self> {
        let mut shapes: Vec<Given> = shapes.collect();
        if tries % 2 == 1 {
            shapes.iter_mut().for_each(|shape| shape.addresses.clear());
        }
        if shapes.is_empty() {
            return None;
        }
        let mut stand_in = Self { network: EarlyNetwork::make().ok()?, hosts: Vec::new() };
        for (index, shape) in shapes.iter().enumerate() {
            // Without it they find less, and take back less.
            let _ = stand_in.add(link_name(id, FIRST + index), shape);
        }
        Some(stand_in)
    }

    fn add(&mut self, host: String, shape: &Given) -> spec::Result<()> {
        let wiring = Wiring::Veth { host: host.clone(), mac: mac(0), zone: 0, bridge: None };
        let link = Step::Link(Link { wiring, inside: shape.interface.clone(), mac: mac(1), mtu: None });
        let addresses = shape.addresses.iter().map(|address| Step::Address {
            side: Side::Inside,
            interface: shape.interface.clone(),
            address: *address,
            segment: false,
        });
        let plan = std::iter::once(link).chain(addresses).collect();
        let Some(inside) = self.network.made() else { return Ok(()) };
        with_host(|kernel| kernel.attach(&plan, inside)).map(|()| self.hosts.push(host))
    }

    /// The namespace.
    pub(super) fn namespace(&self) -> Option<BorrowedFd<'_>> {
        self.network.made()
    }
}

/// Of no account: nobody is at the other end.
fn mac(last: u8) -> Mac {
    Mac([0x02, 0x74, 0xff, 0xff, 0xff, last])
}

impl Drop for StandIn {
    fn drop(&mut self) {
        for host in &self.hosts {
            // Mostly whoever took it back has removed it, or else it goes with the namespace.
            let _ = with_host(|kernel| kernel.remove_link(host));
        }
    }
}
