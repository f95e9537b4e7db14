//! Words for what the kernel knows by numbers: resource limits, scheduling, personality.

use crate::container::{IdRange, IoClass, IoPriority, Scheduler, SchedulerPolicy};
use crate::{Error, Result};

/// The names of resource limits, each at its number of resource.h.
const RLIMITS: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

/// The number of a resource limit; its name may start with `RLIMIT_` and be in any case.
///
/// # Errors
/// A name that is none.
pub fn rlimit_number(name: &str) -> Result<u32> {
    let lower = name.to_ascii_lowercase();
    let short = lower.strip_prefix("rlimit_").unwrap_or(&lower);
    let number = RLIMITS.iter().position(|known| *known == short);
    number.map(|number| number as u32).ok_or_else(|| {
        Error::user(format!("{name:?} is no resource limit")).hint(format!("they are {}", RLIMITS.join(", ")))
    })
}

/// `N`, `SOFT:HARD`, `unlimited`: number, soft, hard.
///
/// # Errors
/// A name or a value that is none.
pub fn rlimit(name: &str, value: &str) -> Result<(u32, u64, u64)> {
    let number = rlimit_number(name)?;
    let one = |text: &str| match text {
        "unlimited" | "-1" => Ok(u64::MAX),
        text => text.parse::<u64>().map_err(|_| {
            Error::user(format!("{value:?} is no limit for {name}"))
                .hint("as in 1024, 1024:4096, or unlimited")
        }),
    };
    let (soft, hard) = value.split_once(':').unwrap_or((value, value));
    Ok((number, one(soft)?, one(hard)?))
}

/// `other`, `batch`, `idle`, `fifo:N`, `rr:N`.
///
/// # Errors
/// Anything else.
pub fn scheduler(text: &str) -> Result<Scheduler> {
    let (word, priority) = text.split_once(':').unwrap_or((text, "0"));
    let policy = match word {
        "other" => SchedulerPolicy::Other,
        "batch" => SchedulerPolicy::Batch,
        "idle" => SchedulerPolicy::Idle,
        "fifo" => SchedulerPolicy::Fifo,
        "rr" => SchedulerPolicy::Rr,
        _ => return Err(no_scheduler(text)),
    };
    let priority = priority.parse().map_err(|_| no_scheduler(text))?;
    Ok(Scheduler { policy, priority, ..Scheduler::default() })
}

fn no_scheduler(text: &str) -> Error {
    Error::user(format!("{text:?} is no scheduler"))
        .hint("they are other, batch, idle, fifo:1 to fifo:99, rr:1 to rr:99")
}

/// `real-time:N`, `best-effort:N`, `idle`.
///
/// # Errors
/// Anything else.
pub fn io_priority(text: &str) -> Result<IoPriority> {
    let (word, level) = text.split_once(':').unwrap_or((text, "4"));
    let bad = || {
        Error::user(format!("{text:?} is no io priority"))
            .hint("they are real-time:0 to 7, best-effort:0 to 7, idle")
    };
    let class = match word {
        "real-time" => IoClass::RealTime,
        "best-effort" => IoClass::BestEffort,
        "idle" => IoClass::Idle,
        _ => return Err(bad()),
    };
    let level = if class == IoClass::Idle { 0 } else { level.parse().map_err(|_| bad())? };
    Ok(IoPriority { class, level })
}

/// `INSIDE:HOST:COUNT`.
///
/// # Errors
/// Anything else.
pub fn id_range(text: &str) -> Result<IdRange> {
    let numbers: Vec<Option<u32>> = text.split(':').map(|part| part.parse().ok()).collect();
    match numbers.as_slice() {
        [Some(inside), Some(host), Some(count)] => {
            Ok(IdRange { inside: *inside, host: *host, count: *count })
        }
        _ => Err(Error::user(format!("{text:?} is no range of ids")).hint("as in 0:100000:65536, or auto")),
    }
}

/// `linux`, `linux32`, or a number.
///
/// # Errors
/// Anything else.
pub fn personality(text: &str) -> Result<u32> {
    match text {
        "linux" => Ok(0),
        "linux32" => Ok(8),
        _ => {
            let number = text
                .strip_prefix("0x")
                .map_or_else(|| text.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok());
            number.ok_or_else(|| {
                Error::user(format!("{text:?} is no personality"))
                    .hint("linux, linux32, or a number as in personality(2)")
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_numbers() {
        assert_eq!(rlimit("nofile", "1024:4096").expect("limit"), (7, 1024, 4096));
        assert_eq!(rlimit("RLIMIT_CORE", "unlimited").expect("limit"), (4, u64::MAX, u64::MAX));
        assert_eq!(scheduler("fifo:3").expect("scheduler").priority, 3);
        assert_eq!(io_priority("idle").expect("priority").class, IoClass::Idle);
        assert_eq!(personality("0x8").expect("persona"), 8);
        assert!(rlimit("files", "1").is_err() && rlimit("nofile", "many").is_err());
        assert!(
            scheduler("fast").is_err()
                && io_priority("best-effort:x").is_err()
                && personality("bsd").is_err()
        );
    }
}
