//! Holding all processes of a group, and what the kernel tells of their memory.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use spec::{Error, Result, ResultExt};

use crate::group::Group;
use crate::layout::Version;

/// How long the kernel may take to hold every process.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long is waited before the first look, which mostly finds it done, and between later ones.
const FIRST_GLANCE: Duration = Duration::from_micros(50);
const LAST_GLANCE: Duration = Duration::from_millis(1);

/// The file of a hierarchy that holds and lets go.
struct Switch {
    file: PathBuf,
    held: &'static str,
    free: &'static str,
    /// Where it tells that every process is held, and in which words.
    told: (PathBuf, &'static str),
}

impl Group {
    /// Holds every process until [`thaw`](Self::thaw).
    ///
    /// # Errors
    /// Unsupported without a hierarchy that can.
    pub fn freeze(&self) -> Result<()> {
        let switch = self.switches().into_iter().find(|switch| switch.file.exists()).ok_or_else(|| {
            Error::unsupported("this host cannot hold the processes of a container")
                .hint("it takes control groups: version 2, or the freezer of version 1")
        })?;
        write(&switch.file, switch.held)?;
        let deadline = Instant::now() + PATIENCE;
        let mut glance = FIRST_GLANCE;
        while !switch.is_done() {
            if Instant::now() > deadline {
                write(&switch.file, switch.free)?;
                return Err(Error::internal("the kernel does not hold every process of the container"));
            }
            std::thread::sleep(glance);
            glance = (glance * 2).min(LAST_GLANCE);
        }
        Ok(())
    }

    /// Lets them go on; no error if they do.
    pub fn thaw(&self) -> Result<()> {
        let held = self.switches().into_iter().filter(Switch::is_on);
        held.map(|switch| write(&switch.file, switch.free)).fold(Ok(()), Result::and)
    }

    /// Whether they are held.
    pub fn is_frozen(&self) -> bool {
        self.switches().iter().any(Switch::is_on)
    }

    /// How many processes the kernel has killed for lack of memory.
    pub fn oom_kills(&self) -> u64 {
        let files = self
            .directories
            .iter()
            .flat_map(|(_, dir)| ["memory.events", "memory.oom_control"].map(|name| dir.join(name)));
        let texts = files.filter_map(|file| fs::read_to_string(file).ok());
        let counts = texts.filter_map(|text| {
            text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
        });
        counts.max().unwrap_or(0)
    }

    /// Version 2 first: what it holds can still be killed.
    fn switches(&self) -> Vec<Switch> {
        let mut switches: Vec<(Version, Switch)> = self
            .directories
            .iter()
            .map(|(version, dir)| {
                let switch = match version {
                    Version::Two => Switch {
                        file: dir.join("cgroup.freeze"),
                        held: "1",
                        free: "0",
                        told: (dir.join("cgroup.events"), "frozen 1"),
                    },
                    Version::One => Switch {
                        file: dir.join("freezer.state"),
                        held: "FROZEN",
                        free: "THAWED",
                        told: (dir.join("freezer.state"), "FROZEN"),
                    },
                };
                (*version, switch)
            })
            .collect();
        switches.sort_by_key(|(version, _)| *version == Version::One);
        switches.into_iter().map(|(_, switch)| switch).collect()
    }
}

impl Switch {
    fn is_on(&self) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|text| text.trim() != self.free)
    }

    fn is_done(&self) -> bool {
        let (file, words) = &self.told;
        fs::read_to_string(file).is_ok_and(|text| text.lines().any(|line| line.trim() == *words))
    }
}

fn write(file: &std::path::Path, word: &str) -> Result<()> {
    fs::write(file, word).doing(|| format!("writing {word} to {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_held_does_nothing() {
        let id = spec::Id::from_bytes(rand());
        let Ok(Some(group)) = Group::create(id) else {
            eprintln!("SKIPPED: no control groups can be made here");
            return;
        };
        let script = "while :; do :; done";
        let mut child = std::process::Command::new("sh").args(["-c", script]).spawn().expect("sh");
        for entry in group.entry().expect("entry").tasks {
            rustix::io::write(&entry, child.id().to_string().as_bytes()).expect("enter");
        }
        enter_v2(&group, child.id());
        let worked = || cpu_time(child.id());
        let frozen = group.freeze();
        let before = worked();
        std::thread::sleep(Duration::from_millis(200));
        let after = worked();
        let told = group.is_frozen();
        let thawed = group.thaw();
        let free = group.is_frozen();
        let deadline = Instant::now() + PATIENCE;
        while worked() == after && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let again = worked();
        child.kill().and_then(|()| child.wait()).expect("the end");
        group.remove().expect("remove");
        frozen.and(thawed).expect("both");
        assert!(told && !free);
        assert_eq!(before, after);
        assert!(again > after);
    }

    fn rand() -> [u8; 6] {
        let mut bytes = [0; 6];
        rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty()).expect("bytes");
        bytes
    }

    fn enter_v2(group: &Group, pid: u32) {
        for (_, dir) in group.directories.iter().filter(|(version, _)| *version == Version::Two) {
            fs::write(dir.join("cgroup.procs"), pid.to_string()).expect("enter");
        }
    }

    fn cpu_time(pid: u32) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("schedstat");
        stat.split(' ').next().and_then(|word| word.parse().ok()).expect("a number")
    }
}
