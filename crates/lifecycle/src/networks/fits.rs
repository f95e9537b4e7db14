//! What only the host can do, as it sees every packet: publish ports, and say who may talk to whom. Where a
//! container hangs on a segment with others, it does not.

use spec::container::Spec;
use spec::network::{Attachment, Networking};
use spec::{Error, Result};

use super::{Networks, foreign, pasta};

impl Networks {
    /// Refuses what none of a container's networks can give it, before anything is done.
    ///
    /// # Errors
    /// Unsupported, with what can; a network that is not there.
    pub(crate) fn fits(&self, spec: &Spec) -> Result<()> {
        let Some(networking) = spec.network.as_deref() else { return Ok(()) };
        let Some(what) = wanted(networking) else { return Ok(()) };
        let mut kinds = Vec::new();
        for attachment in &networking.attachments {
            match attachment {
                Attachment::Network { network, .. } => {
                    let network = self.must_have(network)?;
                    if network.kind.is_routed() {
                        return Ok(());
                    }
                    kinds.push(format!("{} is of kind {}", network.name, network.kind.word()));
                }
                Attachment::Interface { host, .. } => {
                    kinds.push(format!("{host} is an interface of the host"))
                }
                Attachment::Cni { .. } | Attachment::Netavark { .. } | Attachment::User { .. } => {}
            }
        }
        if kinds.is_empty() || pasta::is_for(networking) {
            return Ok(());
        }
        Err(Error::unsupported(format!("{what}: no network of the container lets the host do that ({})", kinds.join(", ")))
            .hint("on networks of kind nat and isolated every packet passes the host; put it on one of these first: --network tsubo --network OTHER"))
    }
}

fn wanted(networking: &Networking) -> Option<&'static str> {
    match networking {
        networking if !networking.published.is_empty() && !foreign::publish(networking) => {
            Some("published ports")
        }
        networking if !networking.allow.is_empty() => Some("permissions"),
        networking if networking.closed => Some("closed to the outside"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Home;
    use spec::Id;
    use spec::container::{Process, Root};
    use spec::network::Kind;

    #[test]
    fn a_segment_publishes_nothing_and_closes_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let networks = Networks::of(&Home::at(dir.path(), &dir.path().join("run")));
        let lan = super::super::Wanted {
            kind: Kind::Macvlan { parent: "eth0".into(), mode: None },
            ..super::super::Wanted::named("lan".parse().expect("name"))
        };
        networks.create(&super::super::Wanted { subnets: subnets(), ..lan }).expect("a network");
        let process = Process::new(vec!["true".into()]);
        let name = "web".parse().expect("name");
        let mut spec = Spec::new(Id::from_bytes([1; 6]), name, Root::Tree { path: "/t".into() }, process);
        let attachment: Attachment = serde_json::from_value(serde_json::json!({"network":
            {"network": "lan", "interface": "eth0", "addresses": [], "mac": "02:74:00:00:00:01"}}))
        .expect("an attachment");
        let with =
            |closed| Networking { attachments: vec![attachment.clone()], closed, ..Networking::default() };
        spec.network = Some(Box::new(with(true)));
        let error = networks.fits(&spec).expect_err("closed");
        assert!(error.to_string().contains("lan is of kind macvlan"), "{error}");
        spec.network = Some(Box::new(with(false)));
        networks.fits(&spec).expect("asks for nothing");
    }

    fn subnets() -> Vec<super::super::WantedSubnet> {
        vec![super::super::WantedSubnet {
            net: "192.0.2.0/24".parse().expect("a net"),
            gateway: None,
            range: None,
        }]
    }
}
