//! What pasta is told, and what its answers mean.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use spec::network::{Protocol, Publish};
use spec::{Error, ErrorKind};

use super::RESOLVER;

/// All versions since that of Debian 12 (March 2023) understand this, so that none need be asked which it is.
const ALWAYS: [&str; 14] = [
    "--quiet",
    "--config-net",
    // Services on the host's loopback are nobody else's: neither by the gateway's address...
    "--no-map-gw",
    // ... nor by the container's own loopback.
    "--tcp-ns",
    "none",
    "--udp-ns",
    "none",
    "--netns-only",
    "--netns",
    "/proc/self/fd/0",
    // What it is given has no directory that could be watched; it is ended.
    "--no-netns-quit",
    "--mtu",
    "65520",
    "--dns-forward",
];

/// Its arguments, but for the file with its number.
pub(super) fn pasta(interface: &str, published: &[Publish]) -> Vec<String> {
    let mut words: Vec<String> = ALWAYS.map(str::to_owned).to_vec();
    words.push(RESOLVER.to_string());
    words.extend(["--ns-ifname".to_owned(), interface.to_owned()]);
    for (protocol, option) in [(Protocol::Tcp, "--tcp-ports"), (Protocol::Udp, "--udp-ports")] {
        let mut ports: Vec<String> =
            published.iter().filter(|publish| publish.protocol == protocol).map(port).collect();
        if ports.is_empty() {
            // Otherwise it publishes whatever listens.
            ports.push("none".to_owned());
        }
        words.extend(ports.into_iter().flat_map(|port| [option.to_owned(), port]));
    }
    words
}

fn port(publish: &Publish) -> String {
    let ports = format!("{}:{}", publish.host, publish.container);
    publish.address.map(|address| format!("{address}/{ports}")).unwrap_or(ports)
}

/// What it complains of when it does not begin.
pub(super) fn refused(said: &str, published: &[Publish]) -> Error {
    // Without a system log it tells that of every line.
    let lines = said.lines().filter(|line| !line.contains("to syslog") && !line.trim().is_empty());
    let said = lines.collect::<Vec<_>>().join("; ");
    let cause = Error::failed(format!("pasta says: {said}"));
    if said.contains("Failed to bind") || said.contains("Address already in use") {
        let which = published.iter().find(|publish| said.contains(&format!("'{}'", port_option(publish))));
        return taken(which).because(cause);
    }
    if is_routeless(&said) {
        return Error::unsupported("this host has no route to anywhere that pasta could use")
            .because(cause)
            .hint("slirp4netns does without one, if it is installed; or --network none");
    }
    if said.contains("tun") {
        return Error::unsupported("pasta gets no interface").because(cause).hint(
            "users need the device /dev/net/tun: modprobe tun, and let its mode be 0666 as udev makes it",
        );
    }
    if said.contains("unrecognized option") || said.contains("Usage:") {
        return Error::unsupported("this pasta is too old").because(cause).hint(
            "it must be of March 2023 or later (package passt); or remove it, and install slirp4netns",
        );
    }
    Error::failed("pasta does not begin").because(cause)
}

fn port_option(publish: &Publish) -> String {
    let option = match publish.protocol {
        Protocol::Tcp => "-t",
        Protocol::Udp => "-u",
    };
    format!("{option} {}", port(publish))
}

fn is_routeless(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    ["external interface not usable", "no external routable interface", "pick external interface"]
        .iter()
        .any(|words| said.contains(words))
}

/// Whether it was refused because the host is connected to nothing.
pub(super) fn is_without_route(error: &Error) -> bool {
    error.kind() == ErrorKind::Unsupported && is_routeless(&error.chain())
}

/// Somebody else has the port.
pub(super) fn taken(publish: Option<&Publish>) -> Error {
    let which = match publish {
        None => "a port of the host that is to be published".to_owned(),
        Some(publish) => {
            let at = publish.address.map(|address| format!(" at {address}")).unwrap_or_default();
            format!("port {}/{} of the host{at}", publish.host, publish.protocol.word())
        }
    };
    Error::conflict(format!("{which} is taken"))
        .hint("ss -lntup tells by whom; take another: -p HOST:CONTAINER, or let any be chosen: -p CONTAINER")
}

/// Whether these arguments of a process (each ends with NUL) name one of the files.
pub(super) fn name(arguments: &[u8], files: &[&Path]) -> bool {
    let mut words = arguments.split(|byte| *byte == 0);
    words.any(|word| files.iter().any(|file| *word == *file.as_os_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(words: &[&str]) -> Vec<Publish> {
        words.iter().flat_map(|word| Publish::parse(word).expect(word)).collect()
    }

    #[test]
    fn nothing_is_published_that_was_not_asked_for() {
        let words = pasta("eth0", &[]).join(" ");
        for closed in
            ["--tcp-ports none", "--udp-ports none", "--tcp-ns none", "--udp-ns none", "--no-map-gw"]
        {
            assert!(words.contains(closed), "{closed}: {words}");
        }
        let all = published(&["8080:80", "127.0.0.1:81:80", "[::1]:53:53/udp"]);
        let words = pasta("net7", &all).join(" ");
        for part in [
            "--tcp-ports 8080:80",
            "--tcp-ports 127.0.0.1/81:80",
            "--udp-ports ::1/53:53",
            "--ns-ifname net7",
        ] {
            assert!(words.contains(part), "{part}: {words}");
        }
        assert!(!words.contains("ports none"), "{words}");
    }

    #[test]
    fn complaints_become_clear_words() {
        let all = published(&["8080:80", "127.0.0.1:9999:80"]);
        for (said, kind, part) in [
            ("Failed to bind any port for '-t 127.0.0.1/9999:80', exiting", ErrorKind::Conflict, "9999/tcp"),
            (
                "No external routable interface for IPv4\nExternal interface not usable",
                ErrorKind::Unsupported,
                "route",
            ),
            ("Failed to open tun socket in namespace", ErrorKind::Unsupported, "/dev/net/tun"),
            ("pasta: unrecognized option '--dns-forward'\nUsage: pasta", ErrorKind::Unsupported, "too old"),
            ("Failed to send 9 bytes to syslog\nsomething else", ErrorKind::Failed, "says: something else"),
        ] {
            let error = refused(said, &all);
            let told = format!("{} {}", error.chain(), error.hints().join(" "));
            assert!(error.kind() == kind && told.contains(part) && !told.contains("syslog"), "{told}");
        }
        assert!(is_without_route(&refused("External interface not usable", &all)));
    }

    #[test]
    fn a_process_is_known_by_a_whole_argument() {
        let file = Path::new("/run/a/pasta.pid");
        assert!(name(b"pasta\0--pid\0/run/a/pasta.pid\0", &[file]));
        assert!(!name(b"vi\0/run/a/pasta.pid.old\0", &[file]) && !name(b"", &[file]));
    }
}
