//! From an observation to a package that has proved itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use spec::activation::ActivationTable;
use spec::hooks::Hooks;
use spec::isolation::Isolation;
use spec::limits::Limits;
use spec::network::NetworkTable;
use spec::observation::{Observation, Used};
use spec::portable::{Policy, Portable};
use spec::report::Report;
use spec::{Digest, Error, ErrorKind, Result, ResultExt, RootPath};
use store::package::{self, Effort, Extra, Source, Written};

use crate::cut::{self, Cut, CutRequest, Level};
use crate::dev::stack::Stack;
use crate::dev::{Development, remove_tree};
use crate::interrupt::Interrupt;
use crate::policy::{self, Outcome, Search};
use crate::progress::Progress;
use crate::replay::{Replay, Verdict};
use crate::trial::read_observation;
use crate::trial::setup::{self, Setup};

/// Said when a package gives up a protection.
const GAINED: &str =
    "a program gained privilege by exec (set-uid or file capabilities): no_new_privs stays off";

/// Said when a replay that nobody asked for would have told.
const UNTRIED: &str = "without a replay the package keeps every capability that the tests may have used";

/// How often `--repair` tries again.
const REPAIR_ROUNDS: usize = 8;

/// What to pack and how.
#[derive(Debug)]
pub struct Request {
    /// The package file to write.
    pub out: PathBuf,
    /// How much is kept beyond what was seen.
    pub level: Level,
    /// Globs of paths to keep in any case.
    pub keep: Vec<String>,
    /// Globs of paths to cut in any case.
    pub drop: Vec<String>,
    /// Run the exercises again on the cut image before saying yes.
    pub replay: bool,
    /// Add what the replay missed, and try again.
    pub repair: bool,
    /// Take ten times the time for a file that is a tenth smaller.
    pub small: bool,
    /// How its containers are to be isolated, as far as that was said.
    pub isolation: Isolation,
    /// What the definition says of its limits.
    pub limits: Limits,
    /// What the definition says of its network.
    pub network: NetworkTable,
    /// How its containers come and go behind a gateway.
    pub activation: ActivationTable,
    /// What is done when something happens to its containers.
    pub hooks: Hooks,
}

/// A package that was made.
#[derive(Debug)]
pub struct Packed {
    /// What is in it.
    pub report: Report,
    /// Its configuration.
    pub portable: Portable,
    /// The file.
    pub written: Written,
    /// How long cutting and writing took, without the replay.
    pub took: Duration,
    /// How long the replay took, if there was one.
    pub replayed: Option<Duration>,
    /// How many replays it took.
    pub replays: usize,
    /// Paths that the replay missed and that were added.
    pub repaired: BTreeSet<RootPath>,
    /// System calls that only the replay made and that were added.
    pub added_calls: BTreeSet<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Directories with data that is lost at each start unless they are declared as volumes.
    pub undeclared: Vec<(RootPath, u64)>,
}

/// Packs what was observed of `development`, mounted at `stack`.
///
/// # Errors
/// Nothing observed; files changed since; the replay fails. No file is left at `out` then.
pub fn pack(
    development: &Development,
    stack: &Stack,
    request: &Request,
    interrupt: &Interrupt,
    progress: &dyn Progress,
) -> Result<Packed> {
    let name = &development.record.name;
    let setups = setup::read(&development.dir)?;
    let untested = || {
        Error::not_found(format!("{name} has not been tested yet: nothing is known of what it uses")).hint(
            format!("watch it first: tsubo test {name} --ready tcp:80 --exercise ./exercise.sh -- COMMAND"),
        )
    };
    let last = setups.last().ok_or_else(untested)?;
    let observation =
        read_observation(&development.observation_file()).map_err(|error| match error.kind() {
            ErrorKind::NotFound => untested(),
            _ => error.hint("start over with tsubo test --fresh"),
        })?;
    let scratch = development.dir.join("pack");
    remove_tree(&scratch)?;
    std::fs::create_dir(&scratch).doing(|| format!("making {}", scratch.display()))?;
    let packing = Packing {
        development,
        stack,
        request,
        setups: &setups,
        last,
        observation: &observation,
        scratch: &scratch,
    };
    let packed = packing.run(interrupt, progress);
    let removed = remove_tree(&scratch);
    let packed = packed?;
    removed?;
    Ok(packed)
}

struct Packing<'a> {
    development: &'a Development,
    stack: &'a Stack,
    request: &'a Request,
    setups: &'a [Setup],
    last: &'a Setup,
    observation: &'a Observation,
    scratch: &'a Path,
}

/// Where a package is made, and who is told.
struct Job<'a> {
    file: &'a Path,
    interrupt: &'a Interrupt,
    progress: &'a dyn Progress,
}

/// A package on its way.
struct Made {
    cut: Cut,
    portable: Portable,
    written: Written,
    took: Duration,
    replayed: Option<Duration>,
    replays: usize,
    added_calls: BTreeSet<String>,
}

impl Packing<'_> {
    fn run(&self, interrupt: &Interrupt, progress: &dyn Progress) -> Result<Packed> {
        let file = self.scratch.join("package.tsubo");
        let mut repaired = BTreeSet::new();
        for round in 0.. {
            let clock = Instant::now();
            let job = Job { file: &file, interrupt, progress };
            let mut made = self.make(&job, &repaired)?;
            made.took = clock.elapsed();
            if self.request.replay
                && let Some(verdict) = self.prove(&job, &mut made)?
            {
                let missed = self.missed(&verdict.missing, &made.cut);
                let more = missed.difference(&repaired).count() > 0;
                if self.request.repair && more && round < REPAIR_ROUNDS {
                    progress.note(&format!("the replay missed {} paths; adding them", missed.len()));
                    repaired.extend(missed);
                    continue;
                }
                let untold = || Error::internal("a replay failed without telling why");
                return Err(explain(verdict.failure.unwrap_or_else(untold), &missed, self.request));
            }
            interrupt.check()?;
            move_to(&file, &self.request.out)?;
            return Ok(self.packed(made, repaired));
        }
        Err(Error::internal("the rounds of repair never end"))
    }

    /// Chooses what to keep and writes the package with the policy that the tests have shown.
    fn make(&self, job: &Job<'_>, repaired: &BTreeSet<RootPath>) -> Result<Made> {
        job.progress.stage("choosing what to keep");
        let mut cut = cut::cut(&CutRequest {
            base: &self.stack.root,
            observation: self.observation,
            command: &self.last.command,
            env: &self.last.env,
            cwd: &self.last.cwd,
            level: self.request.level,
            keep: &self.request.keep,
            drop: &self.request.drop,
            repaired,
        })?;
        job.interrupt.check()?;
        let mut portable = self.portable(&cut);
        let observed = policy::observed(self.observation);
        cut.report.observation = Some(self.observation_digest()?);
        cut.report.capabilities = policy::untried(&observed, self.observation);
        cut.report.curve = self.observation.fullest().map(|run| run.curve.clone()).unwrap_or_default();
        portable.policy = Some(observed);
        // One that is replayed will be written again as it is to be.
        let effort = if self.request.small && !self.request.replay { Effort::Small } else { Effort::Quick };
        let written = self.write(job, &cut, &portable, effort)?;
        let (took, added_calls) = (Duration::ZERO, BTreeSet::new());
        Ok(Made { cut, portable, written, took, replayed: None, replays: 0, added_calls })
    }

    /// Replays the package; if it passes, the package gets the policy under which it did. Returns
    /// the verdict if it fails.
    fn prove(&self, job: &Job<'_>, made: &mut Made) -> Result<Option<Verdict>> {
        let clock = Instant::now();
        let observed = made.portable.policy.clone().unwrap_or_default();
        let settled = match self.replayed(job, &observed)? {
            Outcome::Passed(settled) => *settled,
            Outcome::Failed(verdict) => return Ok(Some(*verdict)),
        };
        made.replayed = Some(clock.elapsed());
        (made.replays, made.added_calls) = (settled.replays, settled.added);
        let clock = Instant::now();
        let effort = if self.request.small { Effort::Small } else { Effort::Quick };
        let same = settled.policy == observed && settled.judged == made.cut.report.capabilities;
        if !same || effort == Effort::Small {
            made.cut.report.capabilities = settled.judged;
            made.portable.policy = Some(settled.policy);
            made.written = self.write(job, &made.cut, &made.portable, effort)?;
        }
        made.took += clock.elapsed();
        Ok(None)
    }

    /// Looks for the smallest policy under which the replay passes.
    fn replayed(&self, job: &Job<'_>, observed: &Policy) -> Result<Outcome> {
        let replay = Replay::install(
            self.development,
            job.file,
            self.scratch,
            self.setups,
            job.interrupt,
            job.progress,
        )?;
        let search = Search {
            replay: &|policy, patience| replay.run(policy, patience),
            observation: self.observation,
            repair: self.request.repair,
            progress: job.progress,
        };
        let outcome = search.run(observed.clone());
        let removed = replay.remove();
        let outcome = outcome?;
        removed?;
        Ok(outcome)
    }

    fn write(&self, job: &Job<'_>, cut: &Cut, portable: &Portable, effort: Effort) -> Result<Written> {
        job.progress.stage("writing the package");
        let extra = |directory: bool| {
            if directory { Extra::Dir { mode: 0o755 } } else { Extra::File { mode: 0o644 } }
        };
        let empty =
            cut.mount_points.iter().map(|(path, directory)| (path.clone(), extra(*directory))).collect();
        let source = Source { base: &self.stack.root, paths: &cut.paths, empty };
        let progress = |done, total| job.progress.amount(done, total);
        let written = package::write_with(effort, job.file, &source, portable, &cut.report, &progress)?;
        job.interrupt.check()?;
        Ok(written)
    }

    /// Names the observation that the package was cut by.
    fn observation_digest(&self) -> Result<Digest> {
        let file = self.development.observation_file();
        let content = std::fs::read(&file).doing(|| format!("reading {}", file.display()))?;
        Ok(Digest::from_bytes(Sha256::digest(&content).into()))
    }

    /// The configuration of the package: what was said in the tests and what was seen in them.
    fn portable(&self, cut: &Cut) -> Portable {
        let mut portable = Portable::new(self.development.record.name.clone(), self.last.command.clone());
        portable.env.clone_from(&self.last.env);
        portable.cwd.clone_from(&self.last.cwd);
        portable.user.clone_from(&self.last.user);
        portable.stop_signal = self.last.stop_signal;
        portable.ready.clone_from(&self.last.ready);
        portable.volumes = self.setups.iter().flat_map(|setup| setup.volumes.iter().cloned()).collect();
        let declared = |path: &&RootPath| !portable.volumes.iter().any(|volume| path.is_within(volume));
        portable.writable = cut.writable.iter().filter(declared).cloned().collect();
        portable.writable_root = cut.writable_root;
        portable.gain_privilege = self.observation.gained_privilege;
        portable.host_files.clone_from(&cut.host_files);
        portable.ports.clone_from(&self.observation.ports);
        portable.isolation.clone_from(&self.request.isolation);
        portable.limits.clone_from(&self.request.limits);
        portable.network.clone_from(&self.request.network);
        portable.activation.clone_from(&self.request.activation);
        portable.hooks.clone_from(&self.request.hooks);
        let used = self.observation.used();
        portable.forecast = Limits::forecast(&used.peak);
        portable.used = (used != Used::default()).then_some(used);
        portable
    }

    /// Of what the replay asked for in vain, what the base has and the cut has not.
    fn missed(&self, asked: &BTreeSet<RootPath>, cut: &Cut) -> BTreeSet<RootPath> {
        let Ok(root) =
            rustix::fs::open(&self.stack.root, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty())
        else {
            return BTreeSet::new();
        };
        let there = |path: &&RootPath| crate::trial::stamps::stamp(&root, path).is_some();
        asked.iter().filter(|path| !cut.paths.contains(path)).filter(there).cloned().collect()
    }

    fn packed(&self, made: Made, repaired: BTreeSet<RootPath>) -> Packed {
        let Made { cut, portable, written, took, replayed, replays, added_calls } = made;
        let declared =
            |(path, _): &(RootPath, u64)| !portable.volumes.iter().any(|volume| path.is_within(volume));
        let skipped = written.skipped.iter();
        let untried = replayed.is_none() && !cut.report.capabilities.is_empty();
        let warnings = cut
            .warnings
            .into_iter()
            .chain(skipped.map(|path| format!("{path} is a device or a socket; it was left out")))
            .chain(self.observation.warnings.iter().cloned())
            .chain(portable.gain_privilege.then(|| GAINED.to_owned()))
            .chain(untried.then(|| UNTRIED.to_owned()))
            .collect();
        let undeclared = cut.volumes_to_declare.into_iter().filter(declared).collect();
        Packed {
            undeclared,
            warnings,
            report: cut.report,
            portable,
            written,
            took,
            replayed,
            replays,
            repaired,
            added_calls,
        }
    }
}

/// The replay's failure with the cut paths that it asked for, and the ways out.
fn explain(failure: Error, missed: &BTreeSet<RootPath>, request: &Request) -> Error {
    if failure.kind() == ErrorKind::Interrupted {
        return failure;
    }
    // Whatever failed in it, even a command that is not there: what failed is the replay.
    let what = "the replay on the cut image failed; no package was written";
    let hints = failure.hints().to_vec();
    let error = hints.into_iter().fold(Error::failed(what).because(failure), Error::hint);
    if missed.is_empty() {
        return error.hint("no cut path was asked for: the service may depend on something that it changed itself (declare a volume), or on the time or the network");
    }
    let shown: Vec<String> = missed.iter().take(20).map(ToString::to_string).collect();
    let more =
        if missed.len() > 20 { format!("\n  … and {} more", missed.len() - 20) } else { String::new() };
    let error = error.hint(format!("cut paths that were asked for:\n  {}{more}", shown.join("\n  ")));
    if request.repair {
        error.hint("--repair did not help; keep them with --keep")
    } else {
        error.hint("add them with --repair, or with --keep GLOB; or test what needs them")
    }
}

/// Moves the finished package to where the user wants it, also across file systems.
fn move_to(file: &Path, out: &Path) -> Result<()> {
    if std::fs::rename(file, out).is_ok() {
        return Ok(());
    }
    let name = out.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let temporary = out.with_file_name(format!(".{name}.{}", std::process::id()));
    let copied = std::fs::copy(file, &temporary)
        .and_then(|_| std::fs::File::open(&temporary)?.sync_all())
        .and_then(|()| std::fs::rename(&temporary, out));
    if copied.is_err() {
        // The copy failed already; that is the error to tell.
        let _ = std::fs::remove_file(&temporary);
    }
    copied.doing(|| format!("writing {}", out.display()))
}
