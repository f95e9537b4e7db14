//! What holds for a service once its package is known.

use std::sync::Arc;

use spec::activation::{Activation, ActivationTable, Protocol, Range, WaitingPage};
use spec::limits::{Cpus, Limits, Size};
use spec::observation::Port;
use spec::ready::Ready;
use spec::resources::Limit;
use spec::{Error, Result, ResultExt};
use store::Image;

use crate::config::ServiceConfig;
use crate::sign;

/// So many instances a package may ask for, at most.
const MOST_OF_PACKAGE: u32 = 100;

/// Everything that the gateway goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The choices.
    pub activation: Arc<Activation>,
    /// The port that requests go to; 0 where its sockets are handed over and nothing else is asked of it.
    pub port: u16,
    /// Tells what instances are made from.
    pub version: String,
    /// The image's.
    pub digest: String,
    /// What a browser sees while an instance starts, where that is not ours.
    pub page: Option<String>,
}

impl Settings {
    /// What a configuration and a package say together.
    ///
    /// # Errors
    /// When that makes no sense, or it is not known where the service listens.
    pub fn of(told: &ServiceConfig, image: &Image) -> Result<Self> {
        let table = of_package(&image.portable.activation, told).merged((*told.activation).clone());
        let mut activation = table.resolve()?;
        let asked = |ready: &Ready| !is_only_lent(told) || !matches!(ready, Ready::Tcp(_) | Ready::Http(_));
        activation.ready = activation.ready.or_else(|| image.portable.ready.clone().filter(asked));
        sign::check(activation.ready.as_ref())?;
        if !image.portable.volumes.is_empty() && table.exclusive.is_none() {
            if activation.max > 1 {
                return Err(Error::user(format!(
                    "its package has volumes, which instances do not share, and max is {}",
                    activation.max
                ))
                .hint(
                    "leave out max; or say exclusive = false where each instance may have volumes of its own",
                ));
            }
            activation.exclusive = true;
        }
        // Bytes may be passed to whatever speaks something else.
        if !told.tcp.is_empty() && !told.named && table.protocol.is_none() {
            activation.protocol = Protocol::Tcp;
        }
        let port = activation.port.or_else(|| match is_only_lent(told) {
            true => port_that_is_asked(activation.ready.as_ref()),
            false => port_of(activation.ready.as_ref(), image),
        });
        let port = match port {
            None if !told.sockets.is_empty() => 0,
            None => {
                return Err(Error::user(format!("it is not known on which port {} listens", image.name))
                    .hint("say activation.port = 80, or test it once: tsubo test shows its ports"));
            }
            Some(port) => port,
        };
        let digest = image.digest.hex();
        let version = format!("{}-{:016x}", &digest[..16], fingerprint(&made_of(told)));
        let page = match &activation.waiting_page {
            Some(WaitingPage::File(path)) => Some(read_page(path)?),
            _ => None,
        };
        Ok(Self { activation: Arc::new(activation), port, version, digest, page })
    }

    /// The limits that an instance begins with.
    pub fn limits(&self, told: &ServiceConfig) -> Limits {
        (*told.limits).clone().merged(self.least().unwrap_or_default())
    }

    /// What of that it may be given more of under load; None where there is none.
    pub fn least(&self) -> Option<Limits> {
        let Activation { cpus, memory, .. } = &*self.activation;
        let limits = Limits {
            cpus: cpus.map(|Range { least, .. }| Cpus(Limit::At(least))),
            memory: memory.map(|Range { least, .. }| Size(Limit::At(least))),
            ..Limits::default()
        };
        (limits != Limits::default()).then_some(limits)
    }
}

/// A longer one is none.
const LONGEST_PAGE: u64 = 1 << 20;

fn read_page(path: &str) -> Result<String> {
    let doing = || format!("reading the waiting page {path}");
    let meta = std::fs::metadata(path).doing(doing)?;
    if !meta.is_file() || meta.len() > LONGEST_PAGE {
        return Err(Error::user(format!("the waiting page {path} is no file of at most 1 MiB"))
            .hint("waiting_page = true shows ours"));
    }
    std::fs::read_to_string(path).doing(doing)
}

/// What of a package's own word counts: how it comes and goes is for it to say, what of this host it has is
/// for the host's owner.
fn of_package(table: &ActivationTable, told: &ServiceConfig) -> ActivationTable {
    ActivationTable {
        // Nobody who asks for nothing runs for ever.
        min: None,
        max: table.max.map(|max| max.min(MOST_OF_PACKAGE)),
        cpus: table.cpus.filter(|_| told.limits.cpus.is_none()),
        memory: table.memory.filter(|_| told.limits.memory.is_none()),
        ..table.clone()
    }
}

/// It serves the sockets that it is lent, and listens on none of its own as it did in its tests.
fn is_only_lent(told: &ServiceConfig) -> bool {
    !told.sockets.is_empty() && !told.named && told.tcp.is_empty() && !told.passed
}

fn port_that_is_asked(ready: Option<&Ready>) -> Option<u16> {
    match ready {
        Some(Ready::Tcp(port)) => Some(*port),
        Some(Ready::Http(url)) => Some(url.port),
        _ => None,
    }
}

/// Where it is asked whether it is ready, or else where its tests saw it listen: on an address that others
/// reach, rather.
fn port_of(ready: Option<&Ready>, image: &Image) -> Option<u16> {
    let seen = || {
        let tcp = image.portable.ports.iter().filter(|port| port.protocol == "tcp");
        tcp.min_by_key(|Port { local, port, .. }| (*local, *port)).map(|port| port.port)
    };
    port_that_is_asked(ready).or_else(seen)
}

/// What of a configuration a container is made from: another word there, and it is made anew.
fn made_of(told: &ServiceConfig) -> String {
    let ServiceConfig { command, environment, network, limits, isolation, activation, as_packaged, .. } =
        told;
    let ranges = (&activation.cpus, &activation.memory);
    format!("{:?}", (command, environment, network, limits, isolation, ranges, as_packaged))
}

/// FNV-1a: tells two texts apart, and stays what it is from one version of the program to the next.
fn fingerprint(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn together(package: &str, owner: &str) -> Activation {
        let package: ActivationTable = toml::from_str(package).expect(package);
        let text = format!("[service.web]\npackage = \"web\"\n{owner}");
        let config = Config::parse(&text, Path::new("/gateway.toml")).expect(owner);
        let told = &config.services[0];
        of_package(&package, told).merged((*told.activation).clone()).resolve().expect("resolved")
    }

    #[test]
    fn a_package_takes_no_more_than_the_owner_gives() {
        let package =
            "memory = [\"64M\", \"512G\"]\ncpus = [\"0.5\", \"64\"]\nmin = 3\nmax = 5000\nqueue = 7";
        let made = together(package, "[service.web.limits]\nmemory = \"100M\"");
        assert_eq!((made.memory, made.min, made.max, made.queue), (None, 0, 100, 7));
        assert_eq!(made.cpus, Some(Range { least: 500, most: 64_000 }), "of which the owner says nothing");
    }

    #[test]
    fn the_owner_may_say_all_of_it() {
        let owner = "[service.web.limits]\nmemory = \"100M\"\n[service.web.activation]\n\
                     memory = [\"64M\", \"1G\"]\nmin = 3\nmax = 5000";
        let made = together("max = 2", owner);
        assert_eq!((made.min, made.max), (3, 5000));
        assert_eq!(made.memory, Some(Range { least: 64 << 20, most: 1 << 30 }));
    }
}
