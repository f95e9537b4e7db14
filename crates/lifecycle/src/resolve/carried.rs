//! The network of an ordinary user's container, whose packets another process carries (pasta).

use spec::network::{Attachment, Choice, DEFAULT, NetworkTable, Networking, Wish};
use spec::{Error, ErrorKind, Result};

use super::Resolving;
use super::network::Decided;
use super::reason::Reasons;
use crate::networks::pasta;

const OTHERWISE: &str = "--network none|host, or with sudo --network NAME";

/// Who else sees its packets decides about them.
const ROOTS: &str =
    "the packet filter is the host's root's: run it with sudo, or give it no network at all: --network none";

impl Resolving<'_> {
    /// Links to the host are its root's to make: the usual network is another thing for everybody else.
    pub(super) fn for_users(&self, decided: &mut Decided, table: &NetworkTable, reasons: &mut Reasons) {
        let usual = match &decided.choice {
            Choice::Attached(wishes) => matches!(wishes.as_slice(), [wish] if is_usual(wish)),
            Choice::User => table.networks.is_empty(),
            _ => false,
        };
        if self.facts.rootless && usual {
            decided.choice = Choice::User;
            let why =
                format!("without root the network {DEFAULT} is pasta: its packets are carried as your own");
            reasons.add("network.kind", "pasta", why, OTHERWISE);
            reasons.notable();
        }
    }

    /// The interface of one that is carried. What of the rest cannot be had so a flag is refused, and a package
    /// is not given; but no door stays open that somebody wanted closed.
    pub(super) fn carried(
        &self,
        networking: &mut Networking,
        table: &NetworkTable,
        reasons: &mut Reasons,
    ) -> Result<()> {
        if !self.facts.rootless {
            return Err(Error::unsupported(
                "pasta carries the packets of ordinary users, and this is root's",
            )
            .hint(format!("--network {DEFAULT} is root's own, and faster")));
        }
        pasta::must_be_there()?;
        if networking.closed {
            return Err(
                Error::unsupported("without root nothing keeps a container from the outside").hint(ROOTS)
            );
        }
        let flags = &self.options.network;
        if let Some(what) = beyond(flags) {
            return Err(Error::unsupported(format!("{what} cannot be had without root")).hint(ROOTS));
        }
        if let Some(what) = beyond(table) {
            reasons.add("network.rules", format!("left out: {what}"), "it takes root", OTHERWISE);
            reasons.notable();
        }
        self.ports_are_free(networking)?;
        networking.attachments = vec![Attachment::User { interface: "eth0".to_owned() }];
        networking.allow.clear();
        networking.rate = Default::default();
        Ok(())
    }

    /// The low ones are not a user's.
    fn ports_are_free(&self, networking: &Networking) -> Result<()> {
        let first = self.facts.first_free_port;
        match networking.published.iter().find(|publish| (1..first).contains(&publish.host)) {
            None => Ok(()),
            Some(low) => Err(Error::new(ErrorKind::Denied, format!("port {} of the host takes root", low.host))
                .hint(format!(
                    "publish a higher one: -p {}:{}; or run it with sudo, or ask for sysctl net.ipv4.ip_unprivileged_port_start={}",
                    u32::from(low.host) + 8000,
                    low.container,
                    low.host
                ))),
        }
    }
}

fn is_usual(wish: &Wish) -> bool {
    let network = wish.network.clone().filter(|network| network.as_str() == DEFAULT);
    network.is_some() && *wish == Wish { network, ..Wish::default() }
}

/// What only a packet filter can do.
fn beyond(table: &NetworkTable) -> Option<&'static str> {
    NetworkTable { publish: Vec::new(), closed: None, aliases: Vec::new(), ..table.clone() }.needs_own()
}
