//! The replay: the exercises again, on the cut image, in a production container.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use lifecycle::RunOptions;
use observe::{Asked, CAPABILITY_CHECKS, Opens, SYSTEM_CALLS, Seen, Settings, Watch};
use spec::container::Spec;
use spec::network::NetworkTable;
use spec::observation::{Port, Use};
use spec::portable::Policy;
use spec::seccomp::Choice;
use spec::{Error, Result, RootPath};
use store::{Image, Install, Store};

use crate::dev::Development;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::service::conduct::Conduct;
use crate::service::readiness;
use crate::trial::drive::Drive;
use crate::trial::setup::Setup;

/// How a replay went.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Why it failed, if it did.
    pub failure: Option<Error>,
    /// Paths that were asked for and not there.
    pub missing: BTreeSet<RootPath>,
    /// How the service conducted itself with each setup.
    pub conduct: Vec<Conduct>,
    /// Where it listened with each setup.
    pub ports: Vec<BTreeSet<Port>>,
    /// The system calls that were made; None where that cannot be seen.
    pub calls: Option<BTreeSet<String>>,
    /// The capabilities that were asked for and there; None where that cannot be seen.
    pub granted: Option<Asked>,
    /// How long each setup took.
    pub took: Vec<Duration>,
}

/// A package that is installed in order to be replayed, as often as it takes.
pub struct Replay<'a> {
    development: &'a Development,
    store: Store,
    image: Image,
    setups: &'a [Setup],
    interrupt: &'a Interrupt,
    progress: &'a dyn Progress,
}

impl<'a> Replay<'a> {
    /// Installs `package` into a scratch store.
    ///
    /// # Errors
    /// When it cannot be installed.
    pub fn install(
        development: &'a Development,
        package: &Path,
        scratch: &Path,
        setups: &'a [Setup],
        interrupt: &'a Interrupt,
        progress: &'a dyn Progress,
    ) -> Result<Self> {
        let store = Store::open(&scratch.join("store"))?;
        let image = store.install(package, Install { sync: false }, &|_, _| {})?;
        Ok(Self { development, store, image, setups, interrupt, progress })
    }

    /// Removes what was installed.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(self) -> Result<()> {
        self.store.remove(&self.image).map(drop)
    }

    /// Runs every setup under `policy`, one after the other, until one fails. With `patience`
    /// each of them must be through its stages in that time.
    ///
    /// # Errors
    /// When the replay itself cannot be done, as opposed to the service failing in it.
    pub fn run(&self, policy: Option<&Policy>, patience: Option<&[Duration]>) -> Result<Verdict> {
        let calls = Some(BTreeSet::new());
        let mut verdict = Verdict { calls, granted: Some(Asked::new()), ..Verdict::default() };
        for (number, setup) in self.setups.iter().enumerate() {
            readiness::check_free(setup.ready.as_ref())?;
            let patience = patience.and_then(|all| all.get(number));
            let setup = patience.map_or_else(|| setup.clone(), |limit| impatient(setup, *limit));
            self.one(&setup, policy, &mut verdict)?;
            if verdict.failure.is_some() {
                break;
            }
        }
        Ok(verdict)
    }

    fn one(&self, setup: &Setup, policy: Option<&Policy>, verdict: &mut Verdict) -> Result<()> {
        let clock = Instant::now();
        let mut spec = self.spec_for(setup, policy)?;
        // Held until the service has ended.
        let _users = lifecycle::claim(&mut spec, None)?;
        // Everything is asked through the listener: only it sees what is not there.
        let settings = Settings { opens: Opens::Listener };
        let drive = Drive {
            spec: &spec,
            setup,
            settings,
            instruments: &|| Watch::listen(&self.image.tree),
            log: &self.development.dir.join("replay.log"),
            interrupt: self.interrupt,
            progress: self.progress,
        };
        let outcome = drive.run()?;
        // A service that never started was never watched.
        verdict.note(outcome.seen.ok());
        match outcome.held {
            Ok(held) => {
                verdict.conduct.push(held.conduct);
                verdict.ports.push(held.ports);
            }
            Err(failure) => verdict.failure = Some(failure),
        }
        verdict.took.push(clock.elapsed());
        Ok(())
    }

    fn spec_for(&self, setup: &Setup, policy: Option<&Policy>) -> Result<Spec> {
        let mut portable = self.image.portable.clone();
        portable.command.clone_from(&setup.command);
        portable.env.clone_from(&setup.env);
        portable.cwd.clone_from(&setup.cwd);
        portable.user.clone_from(&setup.user);
        portable.policy = policy.cloned();
        // Its exercises come from this host, whatever network its containers are on.
        portable.network = NetworkTable { networks: vec!["host".to_owned()], ..NetworkTable::default() };
        // Nothing may outlive a replay: what would be a volume is fresh.
        portable.writable.append(&mut portable.volumes);
        let mut options = RunOptions::named(self.development.record.name.clone());
        // Whoever packs it has written what it asks for.
        options.as_packaged = true;
        let mut spec = lifecycle::resolve(&portable, &self.image.tree, &options)?;
        if let Choice::Observed(names) = &mut spec.process.seccomp {
            // Whoever is watched loads the listener's filter after the policy's. That the service
            // itself makes these calls is seen all the same (`policy::refused`).
            names.insert("seccomp".to_owned());
        }
        Ok(spec)
    }
}

impl Verdict {
    fn note(&mut self, seen: Option<Seen>) {
        let seen = seen.unwrap_or_default();
        let sees = |instrument| seen.instruments.contains(instrument);
        self.calls = self.calls.take().filter(|_| sees(SYSTEM_CALLS));
        self.granted = self.granted.take().filter(|_| sees(CAPABILITY_CHECKS));
        self.calls.iter_mut().for_each(|calls| calls.extend(seen.syscalls.iter().cloned()));
        if let Some(granted) = &mut self.granted {
            granted.extend(seen.capabilities.iter().map(|(name, by)| (name.clone(), by.clone())));
        }
        let missing = seen.paths.into_iter().filter(|(_, used)| used.how.contains(&Use::Missing));
        self.missing.extend(missing.map(|(path, _)| path));
    }
}

/// The same setup with less time for each stage.
fn impatient(setup: &Setup, limit: Duration) -> Setup {
    let seconds = limit.as_secs().max(1);
    Setup {
        ready_timeout: setup.ready_timeout.min(seconds),
        exercise_timeout: setup.exercise_timeout.min(seconds),
        ..setup.clone()
    }
}
