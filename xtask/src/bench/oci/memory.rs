//! The most memory that a command's largest process had at once, as time(1) tells it.

use std::fs;
use std::process::{Command, Stdio};

use super::{CRUN, Peer};
use crate::bench::row;
use crate::bench::samples::Samples;
use crate::shell::{self, Result};

const TIMES: u32 = 5;

/// Kilobytes: of `run`, and of each step.
pub(super) struct Peaks(Vec<(String, Vec<f64>)>);

impl Peaks {
    /// Of `run`.
    pub(super) fn of(&self, name: &str) -> f64 {
        self.0.iter().find(|one| one.0 == name).and_then(|one| one.1.first()).copied().unwrap_or(f64::NAN)
    }
}

pub(super) fn measure(peers: &[Peer]) -> Result<Peaks> {
    let mut all = Vec::new();
    for peer in peers {
        let commands: Vec<&Vec<String>> = std::iter::once(&peer.run).chain(&peer.steps).collect();
        let mut peaks = vec![Samples::default(); commands.len()];
        for number in 0..TIMES {
            for (command, samples) in commands.iter().zip(&mut peaks) {
                samples.extend([peak(peer, command, number)?]);
            }
        }
        all.push((peer.name.clone(), peaks.iter().map(Samples::median).collect()));
    }
    Ok(Peaks(all))
}

fn peak(peer: &Peer, command: &[String], number: u32) -> Result<f64> {
    let time = ["time", "--quiet", "--format", "%M", "--"].map(str::to_owned);
    let command = command.iter().map(|word| word.replace("{}", &number.to_string()));
    let words: Vec<String> = peer.wrapper.iter().cloned().chain(time).chain(command).collect();
    let (program, args) = words.split_first().ok_or("nothing to measure")?;
    // A file, not a pipe: what create leaves running would keep that open.
    let file = std::env::temp_dir().join(format!("tsubo-bench-memory-{}", std::process::id()));
    let told = fs::File::create(&file)?;
    let mut measured = Command::new(program);
    measured.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(told);
    let done = measured.status();
    let said = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    if !done?.success() {
        return Err(format!("{}: {said}", shell::show(&measured)).into());
    }
    Ok(said.lines().last().ok_or("time says nothing")?.trim().parse()?)
}

pub(super) fn tabulate(peaks: &Peaks) -> Vec<Vec<String>> {
    let crun = peaks.of(CRUN);
    let mut rows = vec![row(["peak memory, kB", "run", "to crun", "create", "start", "exec", "delete"])];
    for (name, peaks) in &peaks.0 {
        let run = peaks.first().copied().unwrap_or(f64::NAN);
        let mut cells = vec![name.clone(), format!("{run:.0}"), format!("{:.2}", run / crun)];
        cells.extend(peaks.iter().skip(1).map(|peak| format!("{peak:.0}")));
        cells.resize(7, String::new());
        rows.push(cells);
    }
    rows
}
