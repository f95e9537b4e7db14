//! The figures of the last day, in bounded space: one file for each container and one for the host,
//! written by one [`Sampler`], read by whoever wants to know.
//!
//! Counts are kept as they are counted, never as rates: where nothing changes nothing is written, and
//! what lies between two samples is still known, also when nobody was there to take more.

mod buckets;
mod mark;
mod ring;
mod sample;
mod sampler;

use std::path::{Path, PathBuf};

use spec::Result;

use crate::figures::load::Load;
use crate::record::now;
use crate::{Container, Home, Status};

pub use buckets::{Bucket, buckets};
pub use mark::Mark;
pub use sample::{Figure, Sample};
pub use sampler::{Sampler, Work};

/// The time between two samples, in milliseconds.
pub const STEP: u64 = 5_000;

/// How far back it goes, in milliseconds.
pub const DAY: u64 = 24 * 60 * 60 * 1000;

/// A sampler that has not said anything for so long, in milliseconds, does not run.
const SILENT: u64 = 3 * STEP;

/// What is known of the last day.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The oldest first.
    pub samples: Vec<Sample>,
    /// What has happened, the oldest first.
    pub marks: Vec<Mark>,
    /// When the sampler was last at work, in milliseconds since 1970.
    pub watched: Option<u64>,
}

impl History {
    /// Of a container.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn of(home: &Home, container: &Container) -> Result<Self> {
        let watched = ring::last(&file_of_host(home))?.map(|last| last.time);
        let (mut samples, marks) = ring::read(&file_in(container.dir()))?;
        let runs = match container.status()? {
            Status::Running(running) => Some(running.started),
            _ => None,
        };
        if let (Some(last), Some(watched)) = (samples.last(), watched) {
            // It was seen, and hardly anything about it had changed: or it would have been written.
            if last.time < watched && last.get(Figure::Started) == runs && runs.is_some() {
                let last = last.at(watched);
                samples.push(last);
            }
        }
        Ok(Self { samples, marks, watched })
    }

    /// Of the host.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn of_host(home: &Home) -> Result<Self> {
        let (samples, marks) = ring::read(&file_of_host(home))?;
        Ok(Self { watched: samples.last().map(|last| last.time), samples, marks })
    }

    /// Whether a sampler is at work.
    pub fn is_watched(&self) -> bool {
        self.watched.is_some_and(|watched| now().saturating_sub(watched) <= SILENT)
    }
}

/// The load averages that a sampler has computed of the container in `dir`, if one is at work.
pub(crate) fn load(home: &Path, dir: &Path, started: u64) -> Option<Load> {
    let host = ring::last(&home.join(HOST)).ok()??;
    let last = ring::last(&file_in(dir)).ok()??;
    if now().saturating_sub(host.time) > SILENT || last.get(Figure::Started) != Some(started) {
        return None;
    }
    let thousandths = [Figure::Load1, Figure::Load5, Figure::Load15].map(|figure| last.get(figure));
    let [Some(one), Some(five), Some(fifteen)] = thousandths else { return None };
    let mut load = Load::known([one, five, fifteen].map(|load| load as f64 / 1000.0));
    // What nobody wrote since was idle.
    load.add(0, host.time.saturating_sub(last.time) as f64 / 1000.0);
    Some(load)
}

/// In the state directory.
const HOST: &str = "host.history";

fn file_of_host(home: &Home) -> PathBuf {
    home.lib().join(HOST)
}

fn file_in(dir: &Path) -> PathBuf {
    dir.join("history")
}
