//! The service that the demo shows: nginx from the distribution, or what this host has.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::http;
use crate::house;
use crate::shell::Result;

/// A service and how to talk to it.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    command: Vec<String>,
    port: u16,
    exercise: String,
    /// What happens in the development container before it is tested.
    preparation: Vec<Vec<String>>,
    /// Something about this host that the reader should know.
    pub(crate) note: Option<String>,
}

impl Service {
    /// nginx as Debian configures it; on another port where the host's port 80 is taken, because a
    /// container has the host's network for now.
    pub(crate) fn nginx() -> Self {
        let port = if is_free(80) { 80 } else { some_free_port() };
        let mut service = Self::web("nginx", &["nginx", "-g", "daemon off;"], port);
        if port != 80 {
            service.note =
                Some(format!("port 80 of this host is taken: nginx listens on {port} in its container"));
            let edit = format!(r"s/\(listen .*\)\b80\b/\1{port}/");
            service.preparation.push(words(&["sed", "-i", &edit, "/etc/nginx/sites-available/default"]));
        }
        service
    }

    /// The first of a few services that this host already has.
    pub(crate) fn of_this_host() -> Option<Self> {
        let has = |path: &str| Path::new(path).exists();
        let port = some_free_port();
        let number = port.to_string();
        if has("/usr/sbin/nginx") && has("/etc/nginx/sites-available/default") {
            return Some(Self::nginx());
        }
        if has("/usr/bin/redis-server") && has("/usr/bin/redis-cli") {
            let mut redis = Self::web("redis", &["redis-server", "--port", &number], port);
            redis.exercise = format!("redis-cli -p {port} set stone grey");
            return Some(redis);
        }
        let python = ["/usr/bin/python3", "-m", "http.server", &number];
        has(python[0]).then(|| Self::web("python3 -m http.server", &python, port))
    }

    fn web(name: &'static str, command: &[&str], port: u16) -> Self {
        let script = house::top().join("examples/web/exercise.sh");
        Self {
            name,
            command: words(command),
            port,
            exercise: format!("{} {port}", script.display()),
            preparation: Vec::new(),
            note: None,
        }
    }

    /// The commands that prepare the development container.
    pub(crate) fn prepare(&self) -> &[Vec<String>] {
        &self.preparation
    }

    /// The service's command line.
    pub(crate) fn words(&self) -> Vec<&str> {
        self.command.iter().map(String::as_str).collect()
    }

    /// `test web --ready … --exercise … -- COMMAND`
    pub(crate) fn test_words(&self) -> Vec<String> {
        let ready = format!("tcp:{}", self.port);
        let head = words(&["test", "web", "--ready", &ready, "--exercise", &self.exercise, "--"]);
        [head, self.command.clone()].concat()
    }

    /// Asks it what its exercise asks, in few words.
    pub(crate) fn ask(&self) -> Result<String> {
        if self.name == "redis" {
            TcpStream::connect(("127.0.0.1", self.port))?;
            return Ok(format!("127.0.0.1:{} is open", self.port));
        }
        http::get(self.port)
    }

    pub(crate) fn answers_within(&self, limit: Duration) -> Result {
        let name = self.name;
        wait(limit, || TcpStream::connect(("127.0.0.1", self.port)).is_ok())
            .ok_or_else(|| format!("{name} does not answer on port {}", self.port).into())
    }

    pub(crate) fn gone_within(&self, limit: Duration) -> Result {
        let name = self.name;
        wait(limit, || TcpStream::connect(("127.0.0.1", self.port)).is_err())
            .ok_or_else(|| format!("{name} still answers on port {}", self.port).into())
    }
}

fn wait(limit: Duration, true_now: impl Fn() -> bool) -> Option<()> {
    let until = Instant::now() + limit;
    while !true_now() {
        if Instant::now() > until {
            return None;
        }
        thread::sleep(Duration::from_micros(500));
    }
    Some(())
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("0.0.0.0", port)).is_ok()
}

/// A port that was free a moment ago; 8080 if even that cannot be told.
fn some_free_port() -> u16 {
    let any = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr());
    any.map_or(8080, |address| address.port())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}
