//! `./x demo`: the whole story with a real service, by itself, in state directories of its own.

mod closing;
mod http;
mod service;
mod stage;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use closing::Starts;
use service::Service;
use stage::Stages;

use crate::bench::State;
use crate::shell::{self, Result};
use crate::{build, table};

/// Two state directories stand for two machines: one develops, the other only ever sees a package.
struct Demo {
    workshop: State,
    production: State,
    package: String,
    stages: Stages,
}

/// Dev, test, pack, run; what was started is stopped and removed however it ends.
pub(crate) fn run(_args: &[String]) -> Result {
    println!(
        "{}",
        table::paint("1", "Tsuboniwa: watch a service, ship what it used, start that in milliseconds")
    );
    let dist = build::release()?;
    let parent = Path::new("/var/tmp");
    let [workshop, production] = [State::new(&dist, parent)?, State::new(&dist, parent)?];
    let package = workshop.file("web.tsubo").to_string_lossy().into_owned();
    let mut demo = Demo { workshop, production, package, stages: Stages::of(6) };
    let service = demo.develop()?;
    demo.test(&service)?;
    demo.pack()?;
    let starts = demo.start(&service)?;
    demo.look(&service)?;
    demo.stop()?;
    let contents = demo.production.json(&["contents", &demo.package])?;
    println!("\n{}", closing::table(&contents, &starts));
    Ok(())
}

impl Demo {
    /// Installs nginx over this host's own root; where its archive cannot be reached, takes a
    /// service that is here.
    fn develop(&mut self) -> Result<Service> {
        let install = ["dev", "web", "--", "apt-get", "install", "-y", "nginx"];
        self.stages.begin("dev", "a full container over this host's own root", &install);
        // A fresh machine may have no list of packages yet; the container fetches its own.
        let update =
            "apt-get -o Acquire::Retries=0 -o Acquire::http::Timeout=20 update && apt-get install -y nginx";
        let second = ["dev", "web", "--", "sh", "-c", update];
        let nginx =
            [&install[..], &second].iter().any(|words| self.stages.attempt(&mut self.workshop.tsubo(words)));
        let service = if nginx {
            Service::nginx()
        } else {
            let found = Service::of_this_host()
                .ok_or("no archive can be reached, and this host has no service to show")?;
            self.stages.say(&format!(
                "the distribution's archive cannot be reached; showing this host's {}",
                found.name
            ));
            found
        };
        for words in service.prepare() {
            let words = words.iter().map(String::as_str);
            shell::read(
                &mut self.workshop.tsubo(&["dev", "web", "--"].into_iter().chain(words).collect::<Vec<_>>()),
            )?;
        }
        if let Some(note) = &service.note {
            self.stages.say(note);
        }
        self.stages.end("the host itself is untouched");
        Ok(service)
    }

    fn test(&mut self, service: &Service) -> Result {
        let words = service.test_words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.stages.begin("test", "the service runs in a throw-away copy, watched", &words);
        self.stages.run(&mut self.workshop.tsubo(&words))?;
        let seen = self.workshop.json(&["observation", "show", "web"]).unwrap_or_default();
        let paths = seen["paths"].as_object().map_or(0, serde_json::Map::len);
        self.stages.end(&format!("{paths} paths were used"));
        Ok(())
    }

    fn pack(&mut self) -> Result {
        let words = ["pack", "web", "-o", &self.package];
        self.stages.begin("pack", "cut, then the exercise is replayed on what is left", &words);
        self.stages.run(&mut self.workshop.tsubo(&words))?;
        let size = std::fs::metadata(&self.package)?.len();
        self.stages.end(&format!("web.tsubo, {}", table::bytes(size)));
        Ok(())
    }

    /// The same service twice, until its first answer: in the full container, then from the package.
    fn start(&mut self, service: &Service) -> Result<Starts> {
        let words = [&["dev", "web", "--"], &service.words()[..]].concat();
        let full = until_answer(service, &mut self.workshop.tsubo(&words))?;
        service.gone_within(Duration::from_secs(10))?;
        let words = ["run", "-d", "--name", "web", &self.package];
        self.stages.begin("run", "another state directory: as on another machine", &words);
        self.stages.run(&mut self.production.tsubo(&["install", &self.package]))?;
        let began = Instant::now();
        self.stages.run(&mut self.production.tsubo(&["run", "-d", "--name", "web", "web"]))?;
        service.answers_within(Duration::from_secs(10))?;
        let packed = began.elapsed();
        self.stages.end(&format!("first answer after {:.1} ms", packed.as_secs_f64() * 1e3));
        Ok(Starts { full, packed })
    }

    fn look(&mut self, service: &Service) -> Result {
        self.stages.begin("look", "it is asked again, and what runs is listed", &["ps"]);
        let answer = service.ask()?;
        self.stages.say(&answer);
        let listed = self.production.quiet(&["ps"])?;
        self.stages.say(listed.trim_end());
        self.production.quiet(&["logs", "web"])?;
        self.stages.end("it behaves as before");
        Ok(())
    }

    fn stop(&mut self) -> Result {
        self.stages.begin("stop", "asked to stop, removed, nothing left behind", &["stop", "web"]);
        self.stages.run(&mut self.production.tsubo(&["stop", "web"]))?;
        self.stages.run(&mut self.production.tsubo(&["rm", "web"]))?;
        let left = self.production.quiet(&["ps", "-a"])?.contains("web");
        self.stages.end(if left { "web is still listed" } else { "gone" });
        if left { Err("rm left the container behind".into()) } else { Ok(()) }
    }
}

/// Starts the service, measures until it answers, and ends it.
fn until_answer(service: &Service, command: &mut Command) -> Result<Duration> {
    let began = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let answered = service.answers_within(Duration::from_secs(20));
    let taken = began.elapsed();
    shell::read(shell::as_root("kill").arg(child.id().to_string())).map(drop)?;
    child.wait()?;
    answered.map(|()| taken)
}
