//! The flags about what a container may use of its host: the words of `[limits]`, and Docker's where
//! people know those.

use spec::limits::{Count, Cpus, GroupName, Limits, Size, set};
use spec::resources::{Limit, blkio_to_io_weight};
use spec::{Error, Result};

/// Flags of `run`, `create` and `update`.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitFlags {
    /// Memory, at most, as in 256m or 2g; max for no limit [default: half of the host's]
    #[arg(short, long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory: Option<Size>,

    /// Memory and swap together, at most, as Docker counts; max for no limit [default: no swap]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory_swap: Option<Size>,

    /// Memory that is left to it as long as others have some to spare
    #[arg(long, value_name = "SIZE")]
    pub memory_reservation: Option<Size>,

    /// Processors' worth of time, at most, as in 0.5; max for no limit
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub cpus: Option<Cpus>,

    /// Its share of processor time when all want it, 1 to 10000 [default: 100]
    #[arg(long, value_name = "N")]
    pub cpu_weight: Option<u64>,

    /// The same in Docker's unit, 2 to 262144 [default: 1024]
    #[arg(long, value_name = "N", conflicts_with = "cpu_weight")]
    pub cpu_shares: Option<u64>,

    /// The processors it runs on, as in 0-3,8
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,

    /// The memory nodes it uses, likewise
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,

    /// Processes and threads, at most; max for no limit [default: 2048, or an eighth of the host's]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub pids_limit: Option<Count>,

    /// Its share of the disks when all want them, 10 to 1000 [default: 500]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(10..=1000))]
    pub blkio_weight: Option<u64>,

    /// Bytes read a second from the disk of a path, at most, as in /:10m
    #[arg(long, value_name = "PATH:SIZE", value_parser = rate::<Size>)]
    pub device_read_bps: Vec<(String, Size)>,

    /// Bytes written a second, likewise
    #[arg(long, value_name = "PATH:SIZE", value_parser = rate::<Size>)]
    pub device_write_bps: Vec<(String, Size)>,

    /// Reads a second, likewise
    #[arg(long, value_name = "PATH:N", value_parser = rate::<Count>)]
    pub device_read_iops: Vec<(String, Count)>,

    /// Writes a second, likewise
    #[arg(long, value_name = "PATH:N", value_parser = rate::<Count>)]
    pub device_write_iops: Vec<(String, Count)>,

    /// Any other word of [limits], as in memory_high=200M or cpu_burst=0.5
    #[arg(long = "limit", value_name = "KEY=VALUE", value_parser = set)]
    pub others: Vec<Limits>,

    /// Leave limits out that this host cannot enforce, instead of refusing them
    #[arg(long)]
    pub best_effort: bool,
}

impl LimitFlags {
    /// One layer of limits.
    ///
    /// # Errors
    /// Flags that mean nothing together.
    pub fn layer(&self) -> Result<Limits> {
        let layer = self.others.iter().cloned().fold(Limits::default(), Limits::merged);
        let flags = Limits {
            memory: self.memory.map(or_none),
            memory_low: self.memory_reservation,
            cpus: self.cpus,
            cpu_weight: self.cpu_weight,
            cpu_shares: self.cpu_shares,
            cpuset: self.cpuset_cpus.clone(),
            memory_nodes: self.cpuset_mems.clone(),
            pids: self.pids_limit.map(as_docker),
            io_weight: self.blkio_weight.map(blkio_to_io_weight),
            io_read: self.device_read_bps.iter().cloned().collect(),
            io_write: self.device_write_bps.iter().cloned().collect(),
            io_reads: self.device_read_iops.iter().cloned().collect(),
            io_writes: self.device_write_iops.iter().cloned().collect(),
            best_effort: self.best_effort.then_some(true),
            ..Limits::default()
        };
        let mut layer = flags.merged(layer);
        if let Some(sum) = self.memory_swap {
            layer.swap = Some(swap(sum, layer.memory)?);
        }
        Ok(layer)
    }
}

/// To Docker 0 is no limit.
fn or_none(size: Size) -> Size {
    if size.0 == Limit::At(0) { Size(Limit::Max) } else { size }
}

/// Likewise.
fn as_docker(count: Count) -> Count {
    if count.0 == Limit::At(0) { Count(Limit::Max) } else { count }
}

/// What of the sum is swap.
fn swap(sum: Size, memory: Option<Size>) -> Result<Size> {
    let (Limit::At(sum), memory) = (sum.0, memory.map(|memory| memory.0)) else {
        return Ok(Size(Limit::Max));
    };
    match memory {
        Some(Limit::At(memory)) if memory <= sum => Ok(Size(Limit::At(sum - memory))),
        _ => Err(Error::user(
            "--memory-swap is memory and swap together, so it takes --memory, and is not less",
        )
        .hint("--limit swap=SIZE says how much swap alone")),
    }
}

/// `PATH:RATE`.
fn rate<T: std::str::FromStr<Err = Error>>(text: &str) -> Result<(String, T)> {
    let (path, rate) = text.rsplit_once(':').ok_or_else(|| {
        Error::user(format!("{text:?} is no rate of a disk")).hint("as in /:10m or /dev/sda:100")
    })?;
    Ok((path.to_owned(), rate.parse()?))
}

/// The group of containers that it shares limits with; a flag of the verbs that make one.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct GroupFlag {
    /// The group of containers that it shares limits with, as in tenant-a or tenant-a/web
    #[arg(long, value_name = "NAME")]
    pub group: Option<GroupName>,
}

/// Whether promises to others count; a flag of the verbs that start one, or change one that runs.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct OvercommitFlag {
    /// Start it also where that breaks what other containers were promised (tsubo capacity)
    #[arg(long)]
    pub overcommit: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(words: &[&str]) -> Result<Limits> {
        use clap::Parser;
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            flags: LimitFlags,
        }
        let words = std::iter::once("x").chain(words.iter().copied());
        Line::try_parse_from(words).map_err(|error| Error::user(error.to_string()))?.flags.layer()
    }

    #[test]
    fn dockers_words_and_ours() {
        let layer =
            limits(&["-m", "256m", "--memory-swap", "300m", "--cpus", "0.5", "--limit", "cpu_burst=0.1"]);
        let layer = layer.expect("limits");
        assert_eq!(layer.swap.expect("swap").to_string(), "44M");
        assert_eq!(layer.said(), ["cpus", "cpu_burst", "memory", "swap"]);
        let layer = limits(&["--device-read-bps", "/dev/sda:1m", "--pids-limit", "-1"]).expect("limits");
        assert_eq!(layer.io_read["/dev/sda"].to_string(), "1M");
        assert_eq!(layer.pids.expect("pids").0, Limit::Max);
        assert!(limits(&[]).expect("nothing").is_empty());
    }

    #[test]
    fn nonsense_is_refused() {
        for words in [
            &["--memory", "much"][..],
            &["--memory-swap", "1m"],
            &["--memory", "2m", "--memory-swap", "1m"],
            &["--cpus", "0"],
            &["--cpu-weight", "1", "--cpu-shares", "2"],
            &["--device-read-bps", "1m"],
            &["--limit", "memry=1m"],
        ] {
            assert!(limits(words).is_err(), "{words:?}");
        }
    }
}
