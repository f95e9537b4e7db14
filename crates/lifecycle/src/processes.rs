//! The processes of a running container, as the host sees them.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::record::Running;

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number on the host.
    pub pid: i32,
    /// That of its parent.
    pub parent: i32,
    /// Its number in the container; None where that is not known.
    pub inside: Option<i32>,
    /// The user that it runs as, as the host counts.
    pub uid: u32,
    /// As in /proc/PID/stat: R, S, D, Z, T, …
    pub state: char,
    /// Memory in use, in bytes.
    pub memory: u64,
    /// Processor time used, in milliseconds.
    pub cpu: u64,
    /// Milliseconds since it started.
    pub age: u64,
    /// Its command line, or its name where it has none.
    pub command: String,
}

impl Running {
    /// The host's numbers of all its processes.
    pub fn processes(&self) -> Vec<i32> {
        match &self.group {
            Some(group) => group.processes(),
            None => self.in_its_namespace(),
        }
    }

    /// All its processes, by number. One that ends meanwhile is left out.
    pub fn top(&self) -> Vec<Process> {
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let uptime = uptime.split(' ').next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
        self.processes().into_iter().filter_map(|pid| look_at(pid, uptime)).collect()
    }

    /// Without control groups: whoever is in the pid namespace of its first process.
    fn in_its_namespace(&self) -> Vec<i32> {
        let namespace = |pid: i32| fs::metadata(format!("/proc/{pid}/ns/pid")).ok().map(|meta| meta.ino());
        let Some(own) = namespace(self.first.pid) else { return self.below_its_keeper() };
        if namespace(std::process::id() as i32) == Some(own) {
            return vec![self.first.pid];
        }
        everybody().filter(|pid| namespace(*pid) == Some(own)).collect()
    }

    /// An ordinary user may not look at the namespaces of who is not himself inside: then whoever
    /// descends from its keeper and is as deep in pid namespaces as its first process.
    fn below_its_keeper(&self) -> Vec<i32> {
        let line = |pid: i32, key: &str| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            status.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned)
        };
        let depth = |pid: i32| line(pid, "NSpid:").map(|numbers| numbers.split_whitespace().count());
        let parent = |pid: &i32| line(*pid, "PPid:")?.trim().parse().ok().filter(|parent| *parent != 0);
        let Some(own) = depth(self.first.pid) else { return Vec::new() };
        if depth(self.keeper.pid) == Some(own) {
            return vec![self.first.pid];
        }
        let descends = |pid: i32| std::iter::successors(Some(pid), parent).any(|pid| pid == self.keeper.pid);
        everybody().filter(|pid| depth(*pid) >= Some(own) && descends(*pid)).collect()
    }
}

/// The numbers of all processes.
fn everybody() -> impl Iterator<Item = i32> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    numbers.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Clock ticks in a second, as /proc counts on every architecture that we know.
const TICKS: u64 = 100;

fn look_at(pid: i32, uptime: f64) -> Option<Process> {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).ok();
    let stat = read("stat")?;
    // The name, in parentheses, may hold anything.
    let (open, close) = (stat.iter().position(|b| *b == b'(')?, stat.iter().rposition(|b| *b == b')')?);
    let name = String::from_utf8_lossy(stat.get(open + 1..close)?).into_owned();
    let rest = String::from_utf8_lossy(stat.get(close + 2..)?).into_owned();
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let status = String::from_utf8_lossy(&read("status")?).into_owned();
    let line = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let started = number(19)? * 1000 / TICKS;
    Some(Process {
        pid,
        parent: number(1)? as i32,
        inside: line("NSpid:").and_then(|list| list.split_whitespace().last()?.parse().ok()),
        uid: line("Uid:")?.split_whitespace().next()?.parse().ok()?,
        state: fields.first()?.chars().next()?,
        memory: line("VmRSS:").and_then(|size| size.split(' ').next()?.parse::<u64>().ok()).unwrap_or(0)
            * 1024,
        cpu: (number(11)? + number(12)?) * 1000 / TICKS,
        age: ((uptime * 1000.0) as u64).saturating_sub(started),
        command: command_line(&read("cmdline")?).unwrap_or_else(|| format!("[{name}]")),
    })
}

fn command_line(bytes: &[u8]) -> Option<String> {
    let words: Vec<_> = bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    Some(words.join(" ").trim_end().to_owned()).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_a_process() {
        let own = std::process::id() as i32;
        let uptime = fs::read_to_string("/proc/uptime").expect("uptime");
        let uptime = uptime.split(' ').next().and_then(|word| word.parse().ok()).expect("a number");
        let process = look_at(own, uptime).expect("we are there");
        assert_eq!((process.pid, process.inside.is_some()), (own, true));
        assert!(process.memory > 0 && process.age < 3_600_000 && process.command.contains("lifecycle"));
    }
}
