//! The replay: the exercises again, on the cut image, in a production container.

use std::collections::BTreeSet;
use std::path::Path;

use lifecycle::RunOptions;
use observe::{Opens, Settings, Watch};
use spec::container::Spec;
use spec::observation::{PathUse, Use};
use spec::{Error, Result, RootPath};
use store::{Image, Install, Store};

use crate::dev::Development;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::service::readiness;
use crate::trial::drive::Drive;
use crate::trial::setup::Setup;

/// How a replay went.
#[derive(Debug)]
pub struct Verdict {
    /// Why it failed, if it did.
    pub failure: Option<Error>,
    /// Paths that were asked for and not there.
    pub missing: BTreeSet<RootPath>,
}

/// Installs `package` into a scratch store and runs every setup on it, one after the other, until
/// one fails.
///
/// # Errors
/// When the replay itself cannot be done, as opposed to the service failing in it.
pub fn run(
    development: &Development,
    package: &Path,
    scratch: &Path,
    setups: &[Setup],
    interrupt: &Interrupt,
    progress: &dyn Progress,
) -> Result<Verdict> {
    let store = Store::open(&scratch.join("store"))?;
    let image = store.install(package, Install { sync: false }, &|_, _| {})?;
    let mut verdict = Verdict { failure: None, missing: BTreeSet::new() };
    for setup in setups {
        progress.stage("replaying on the cut image");
        readiness::check_free(setup.ready.as_ref())?;
        let (outcome, missing) = one(development, &image, setup, interrupt, progress)?;
        verdict.missing.extend(missing);
        if let Err(failure) = outcome {
            verdict.failure = Some(failure);
            break;
        }
    }
    store.remove(&image)?;
    Ok(verdict)
}

fn one(
    development: &Development,
    image: &Image,
    setup: &Setup,
    interrupt: &Interrupt,
    progress: &dyn Progress,
) -> Result<(Result<()>, BTreeSet<RootPath>)> {
    let spec = spec_for(development, image, setup)?;
    // Everything is asked through the listener: only it sees what is not there.
    let settings = Settings { opens: Opens::Listener };
    let instruments = || Watch::listen(&image.tree);
    let log = development.dir.join("replay.log");
    let drive =
        Drive { spec: &spec, setup, settings, instruments: &instruments, log: &log, interrupt, progress };
    let outcome = drive.run()?;
    let missing = |(path, used): (RootPath, PathUse)| used.how.contains(&Use::Missing).then_some(path);
    // A service that never started was never watched.
    let missing = outcome.seen.map(|seen| seen.paths.into_iter().filter_map(missing).collect());
    Ok((outcome.held.map(drop), missing.unwrap_or_default()))
}

fn spec_for(development: &Development, image: &Image, setup: &Setup) -> Result<Spec> {
    let mut portable = image.portable.clone();
    portable.command.clone_from(&setup.command);
    portable.env.clone_from(&setup.env);
    portable.cwd.clone_from(&setup.cwd);
    portable.user.clone_from(&setup.user);
    // Nothing may outlive a replay: what would be a volume is fresh.
    portable.writable.append(&mut portable.volumes);
    lifecycle::resolve(&portable, &image.tree, &RunOptions::named(development.record.name.clone()))
}
