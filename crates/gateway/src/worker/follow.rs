//! What changes while we serve: the configuration, the images, and the files of packages.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use spec::Error;
use tokio::signal::unix::Signal;

use super::{Orders, Plan, read};
use crate::gateway::Gateway;

/// From one look at the configuration and the images to the next.
const LOOK: Duration = Duration::from_secs(1);

/// A configuration that was refused is tried again after so many looks: what it lacked may be there by then.
const PATIENCE: u32 = 5;

/// Does what is said, and looks at what may have changed, for ever; one after the other.
pub(super) async fn follow(hang_up: &mut Signal, gateway: &Rc<Gateway>, orders: &Orders) -> Infallible {
    let mut seen = Seen::now(gateway, orders);
    let mut last = seen.packages.clone();
    let (mut refused, mut looks) = (None, 0);
    loop {
        let told = tokio::select! {
            _ = hang_up.recv() => true,
            () = tokio::time::sleep(LOOK) => false,
        };
        gateway.front.tls.refresh();
        let mut now = Seen::now(gateway, orders);
        // Who still writes one is waited for.
        let written = differ(&last, &now.packages) && !told;
        last.clone_from(&now.packages);
        if written {
            now.packages.clone_from(&seen.packages);
        }
        let (config, images) = (now.config != seen.config, now.has_other_images(&seen));
        seen = now;
        looks += 1;
        let again = refused.is_some() && looks % PATIENCE == 0;
        if told || config || images || again {
            let before = if told || config { None } else { refused };
            refused = reload(gateway, orders, told, images, before).await;
        }
    }
}

/// What is no good is told of, and changes nothing; why is returned. It is not told again where `before` says the same.
async fn reload(
    gateway: &Rc<Gateway>,
    orders: &Orders,
    told: bool,
    images: bool,
    before: Option<String>,
) -> Option<String> {
    let serves = !gateway.house.services.borrow().is_empty();
    let applied = match read(orders) {
        // Whoever writes a file anew empties it first: that is no wish to end all services.
        Ok(config) if config.services.is_empty() && serves && !told => {
            Err(Error::user("it names no service now").hint("a SIGHUP ends all services, if that is meant"))
        }
        Ok(config) => gateway.apply(config).await,
        Err(error) => Err(error),
    };
    let refused = applied.err().map(|error| {
        let hints: String = error.hints().iter().map(|hint| format!("; {hint}")).collect();
        format!("{}{hints}", error.chain())
    });
    match (&before, &refused) {
        (before, Some(why)) if before.as_ref() != Some(why) => {
            eprintln!("the configuration stays as it was: {why}");
        }
        (Some(_), None) => eprintln!("the configuration that was refused is applied now"),
        _ => {}
    }
    if told || images {
        let services = gateway.house.services.borrow().clone();
        gateway.settle(&services).await;
        services.iter().for_each(|service| service.adjust());
    }
    refused
}

/// When files were changed last, and how large they are; None for one that is not there.
type Stamps = BTreeMap<String, Option<(SystemTime, u64)>>;

/// How all that we go by was, at one time.
struct Seen {
    config: Option<SystemTime>,
    images: Option<SystemTime>,
    packages: Stamps,
}

impl Seen {
    fn now(gateway: &Gateway, orders: &Orders) -> Self {
        let config = match &orders.plan {
            Plan::File(path) => stamp(path),
            Plan::One { .. } => None,
        };
        let services = gateway.house.services.borrow();
        let packages = services.iter().map(|service| service.told.borrow().package.clone());
        // Others are names of images.
        let files = packages.filter(|package| package.contains('/'));
        Self {
            config: config.map(|(changed, _)| changed),
            images: stamp(&orders.home.lib().join("store/images")).map(|(changed, _)| changed),
            packages: files.map(|file| (file.clone(), stamp(Path::new(&file)))).collect(),
        }
    }

    fn has_other_images(&self, before: &Self) -> bool {
        self.images != before.images || differ(&before.packages, &self.packages)
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

/// Whether a file of both is another one now; what a new service names was looked at with that.
fn differ(before: &Stamps, now: &Stamps) -> bool {
    now.iter().any(|(file, stamp)| before.get(file).is_some_and(|before| before != stamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_replaced_differs_and_one_that_is_new_does_not() {
        let at = |size| Some((SystemTime::UNIX_EPOCH, size));
        let stamps =
            |all: &[(&str, Option<_>)]| all.iter().map(|(file, one)| ((*file).to_owned(), *one)).collect();
        let before: Stamps = stamps(&[("/a.tsubo", at(1)), ("/b.tsubo", None)]);
        assert!(!differ(&before, &before));
        assert!(!differ(&before, &stamps(&[("/a.tsubo", at(1)), ("/c.tsubo", at(7))])));
        assert!(differ(&before, &stamps(&[("/a.tsubo", at(2))])));
        assert!(differ(&before, &stamps(&[("/b.tsubo", at(1))])), "it was not there");
    }
}
