//! What the demo shows while it works: a bar of stages, the command, the time it took.

use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::shell::{self, Result};
use crate::{house, table};

/// The stages of a story that is told in order.
pub(crate) struct Stages {
    count: usize,
    current: usize,
    began: Instant,
}

impl Stages {
    pub(crate) fn of(count: usize) -> Self {
        Self { count, current: 0, began: Instant::now() }
    }

    /// The next stage; `words` are the command that a person would type.
    pub(crate) fn begin(&mut self, title: &str, what: &str, words: &[&str]) {
        self.current += 1;
        self.began = Instant::now();
        let done = table::bar(self.current as f64 / self.count as f64, 2 * self.count);
        let head = format!("{title:<5}");
        println!("\n{} {} {what}", table::paint("32", &done), table::paint("1", &head));
        println!("  {}", table::paint("36", &format!("$ tsubo {}", typed(words))));
    }

    /// Something to know, indented below the stage.
    pub(crate) fn say(&self, text: &str) {
        for line in text.lines() {
            println!("  {line}");
        }
    }

    pub(crate) fn end(&self, outcome: &str) {
        println!("  {} {outcome} ({:.1} s)", table::paint("32", "✓"), self.began.elapsed().as_secs_f64());
    }

    /// Runs a command while a line shows that time passes; its output only if it fails.
    pub(crate) fn run(&self, command: &mut Command) -> Result {
        let ticker = Ticker::start();
        let outcome = shell::read(command);
        drop(ticker);
        outcome.map(drop)
    }

    /// As `run`, for what may fail: then the reason is said in one line.
    pub(crate) fn attempt(&self, command: &mut Command) -> bool {
        match self.run(command.stdin(Stdio::null())) {
            Ok(()) => true,
            Err(error) => {
                let text = error.to_string();
                self.say(&format!(
                    "that failed: {}",
                    text.trim_end().lines().next_back().unwrap_or_default()
                ));
                false
            }
        }
    }
}

/// The command as it would be typed beside the files that it names.
fn typed(words: &[&str]) -> String {
    let here = format!("{}/examples/web", house::top().display());
    let words: Vec<String> = words.iter().map(|w| w.replace(&here, ".")).collect();
    let words = words.iter().map(|w| if w.starts_with('/') { w.rsplit('/').next().unwrap_or(w) } else { w });
    let quote = |w: &str| if w.contains([' ', ';', '*']) { format!("'{w}'") } else { w.to_owned() };
    words.map(quote).collect::<Vec<_>>().join(" ")
}

/// Counts the seconds on a terminal; elsewhere silent.
struct Ticker {
    done: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Ticker {
    fn start() -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let mut ticker = Self { done: Arc::clone(&done), thread: None };
        if std::io::stdout().is_terminal() {
            ticker.thread = Some(thread::spawn(move || tick(&done)));
        }
        ticker
    }
}

fn tick(done: &AtomicBool) {
    let began = Instant::now();
    for frame in "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏".chars().cycle() {
        if done.load(Ordering::Relaxed) {
            break;
        }
        print!("\r  {frame} {:.0} s", began.elapsed().as_secs_f64());
        let _ = std::io::stdout().flush();
        thread::sleep(Duration::from_millis(80));
    }
    print!("\r\x1b[K");
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
