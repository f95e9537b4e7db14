//! Progress on stderr: a moving line on a terminal, plain lines elsewhere.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use workshop::progress::Progress;

/// A line of progress that vanishes at the end.
pub struct Bar {
    bar: ProgressBar,
    begun: Instant,
    last: RefCell<String>,
    /// Stages become plain lines where there is no terminal.
    plain: bool,
}

impl Bar {
    /// Starts one.
    pub fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        bar.set_style(spinner());
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, begun: Instant::now(), last: RefCell::new(String::new()), plain: true }
    }

    /// One that is seen on a terminal only.
    pub fn quiet() -> Self {
        let mut bar = Self::new();
        bar.plain = false;
        bar
    }

    /// How long it has been there.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn say(&self, text: &str) {
        if self.bar.is_hidden() {
            eprintln!("{text}");
        } else {
            self.bar.println(text);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn stage(&self, what: &str) {
        let what = super::error::printable(what);
        if self.last.replace(what.clone()) != what && self.plain && self.bar.is_hidden() {
            eprintln!("{what} …");
        }
        self.bar.set_style(spinner());
        self.bar.set_length(0);
        self.bar.set_message(what);
    }

    fn amount(&self, done: u64, total: u64) {
        if total > 0 && self.bar.length() != Some(total) {
            self.bar.set_length(total);
            self.bar.set_style(filling());
        }
        self.bar.set_position(done);
    }

    fn note(&self, text: &str) {
        self.say(&super::error::printable(text));
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner:.green} {msg} {elapsed:.dim}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn filling() -> ProgressStyle {
    ProgressStyle::with_template("{spinner:.green} {msg} {wide_bar:.green/dim} {percent}%")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
