//! By which packet filter netavark makes rules: as podman has it make them, or the two would not find each other's.

use std::fs;
use std::path::{Path, PathBuf};

/// Where podman's configuration is; what comes later goes before what comes first.
const FILES: [&str; 2] = ["/usr/share/containers/containers.conf", "/etc/containers/containers.conf"];

/// More of it, by name.
const PARTS: &str = "/etc/containers/containers.conf.d";

/// The word that podman says to netavark, and people to podman.
pub(super) const VARIABLE: &str = "NETAVARK_FW";

/// What podman's configuration says, if it says anything.
pub(super) fn configured() -> Option<String> {
    let files = FILES.iter().map(PathBuf::from).chain(parts(Path::new(PARTS)));
    files.filter_map(|file| driver(&fs::read_to_string(file).ok()?)).next_back()
}

fn parts(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut parts: Vec<PathBuf> =
        entries.filter(|file| file.extension().is_some_and(|kind| kind == "conf")).collect();
    parts.sort();
    parts
}

/// `firewall_driver` of the table `network`: a word in quotes.
fn driver(text: &str) -> Option<String> {
    let mut table = "";
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            table = name.split(']').next().unwrap_or_default().trim();
        }
        let Some((key, value)) = line.split_once('=').filter(|_| table == "network") else { continue };
        let value = value.trim();
        let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''));
        if let (Some(quote), "firewall_driver") = (quote, key.trim()) {
            return value[1..].split(quote).next().filter(|word| !word.is_empty()).map(str::to_owned);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_podmans_configuration_says() {
        let text = "[engine]\nfirewall_driver = \"no\"\n[network] # ours\n# firewall_driver = \"iptables\"\n\
            default_subnet=\"10.88.0.0/16\"\n firewall_driver = \"nftables\" # new\n[other]\nfirewall_driver = \"no\"\n";
        assert_eq!(driver(text).as_deref(), Some("nftables"));
        assert_eq!(driver("[network]\nfirewall_driver='none'\n").as_deref(), Some("none"));
        for nothing in [
            "",
            "firewall_driver = \"x\"",
            "[network]\nfirewall_driver = \"\"\n",
            "[network]\n#firewall_driver=\"x\"",
        ] {
            assert_eq!(driver(nothing), None, "{nothing}");
        }
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["20.conf", "10.conf", "30.conf.off"] {
            fs::write(dir.path().join(name), "").expect("a file");
        }
        assert_eq!(parts(dir.path()), [dir.path().join("10.conf"), dir.path().join("20.conf")]);
    }
}
