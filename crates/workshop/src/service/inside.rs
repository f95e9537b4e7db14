//! Exercises inside the container, watched like the service itself: what their programs use is
//! needed again in the replay.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use observe::{Settings, Watch};
use runtime::{Child, Options, Stdio, Target};
use spec::container::Spec;
use spec::{Error, Result, ResultExt};

use super::Service;
use super::exercise::failed;
use super::output::Output;
use crate::dev::enter;
use crate::interrupt::Interrupt;
use crate::trial::setup::Setup;

/// How long the last process of an exercise may take to be gone after it. What an exercise leaves
/// running on purpose (a daemon that the next one talks to) is part of the container from then on:
/// it is watched, and its calls are answered, until the container ends. To end it with the exercise
/// instead could not be done soundly: a daemon leaves its session, its group and its parent.
pub const MOMENT: Duration = Duration::from_millis(100);

/// An exercise inside.
pub struct Inside<'a> {
    /// The shell command.
    pub command: &'a str,
    /// The container's spec.
    pub spec: &'a Spec,
    /// How the service was started.
    pub setup: &'a Setup,
    /// How it is watched.
    pub settings: &'a Settings,
}

impl Inside<'_> {
    /// Runs the command beside the service and waits for its end.
    ///
    /// # Errors
    /// Failed, with the exercise's and the service's last lines.
    pub fn run(&self, service: &mut Service, watch: &mut Watch, interrupt: &Interrupt) -> Result<()> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|errno| Error::io("making a pipe", errno.into()))?;
        // Its last lines, which errors tell, are kept in memory.
        let output = Output::collect(read, Path::new("/dev/null"), None)?;
        let mut child = self.start(service, watch, write)?;
        let end = Instant::now() + Duration::from_secs(self.setup.exercise_timeout);
        let how = loop {
            interrupt.check()?;
            match child.try_wait()? {
                Some(0) => return Ok(()),
                Some(code) => break format!("failed with code {code} inside the container"),
                None if Instant::now() > end => {
                    break format!("did not end within {} s", self.setup.exercise_timeout);
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        drop(child);
        Err(failed(self.command, &how, &output.last(12).join("\n"), service))
    }

    fn start(&self, service: &Service, watch: &mut Watch, write: OwnedFd) -> Result<Child> {
        let argv = ["/bin/sh", "-c", self.command].map(str::to_owned).to_vec();
        let mut process =
            enter::process(argv, &self.setup.env, self.setup.cwd.clone(), self.setup.user.clone());
        // Under the same policy as the service: the replay is about both.
        process.no_new_privs = self.spec.process.no_new_privs;
        process.capabilities = self.spec.process.capabilities;
        process.seccomp.clone_from(&self.spec.process.seccomp);
        let error = write.try_clone().doing(|| "duplicating a descriptor")?;
        let null = std::fs::File::open("/dev/null").doing(|| "opening /dev/null")?;
        let filter = observe::filter(self.settings);
        let mut options = Options::new(Stdio { stdin: null.into(), stdout: write, stderr: error });
        options.listen = Some(&filter);
        options.die_with_parent = true;
        service.admit(&mut options)?;
        let plan = spec::plan::join(self.spec, &process, &spec::plan::joinable(self.spec));
        let mut child = runtime::join(&plan, options, Target { pidfd: service.pidfd(), devpts: None })?;
        let listener =
            child.listener().ok_or_else(|| Error::internal("the exercise did not hand over its listener"))?;
        watch.start(listener, child.pid())?;
        child.release()?;
        Ok(child)
    }
}
