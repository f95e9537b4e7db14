//! Networks of containers in a few words, for people.

use spec::network::Attachment;

/// One interface, on one line.
pub fn attachment(attachment: &Attachment) -> String {
    match attachment {
        Attachment::Network { network, interface, addresses, dhcp, aliases, .. } => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let given = match (addresses.is_empty(), dhcp) {
                (false, _) => addresses.join(" "),
                (true, true) => "addresses by DHCP".to_owned(),
                (true, false) => "a free address".to_owned(),
            };
            let known =
                if aliases.is_empty() { String::new() } else { format!(", known as {}", aliases.join(" ")) };
            format!("{interface} on network {network}: {given}{known}")
        }
        Attachment::Interface { host, interface, .. } => format!("{interface}: the host's {host}, moved in"),
        Attachment::Cni { name, interface } => format!("{interface}: as the CNI configuration {name} says"),
        Attachment::User { interface } => format!("{interface}: carried by pasta"),
    }
}
