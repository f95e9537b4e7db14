//! Where systemd is the host's manager of groups, a container is a scope of its own in a slice: the
//! path `slice:prefix:name` of engines that are told to go by systemd.

mod bus;
pub mod house;
mod properties;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use spec::resources::Resources;
use spec::{Error, Result, ResultExt};

use crate::path::GroupPath;
use crate::place::{Hierarchies, Placed};

/// Where systemd answers root without a bus of messages between.
const SOCKET: &str = "/run/systemd/private";

/// How long it may take to make a scope.
const PATIENCE: Duration = Duration::from_secs(20);

/// A unit of systemd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    slice: String,
    name: String,
}

impl Unit {
    /// `slice:prefix:name`: the scope `prefix-name.scope` in that slice. A slice that is not named
    /// is `system.slice`; nothing at all is a scope named after the container.
    ///
    /// # Errors
    /// Another form, and names that no unit has. (The first text is runc's: engines look for it.)
    pub fn parse(path: Option<&str>, id: &str) -> Result<Self> {
        let default = format!(":tsubo:{id}");
        let path = path.filter(|path| !path.is_empty()).unwrap_or(&default);
        let parts: Vec<&str> = path.split(':').collect();
        let [slice, prefix, name] = parts[..] else {
            return Err(Error::user(format!(
                "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {path:?} instead"
            )));
        };
        let slice = if slice.is_empty() { "system.slice" } else { slice };
        slice_path(slice)?;
        if name.is_empty() {
            return Err(Error::user(format!("the cgroupsPath {path:?} names no unit")));
        }
        let name = match (name.ends_with(".slice"), prefix) {
            (true, _) => {
                slice_path(name)?;
                name.to_owned()
            }
            (false, "") => format!("{name}.scope"),
            (false, prefix) => format!("{prefix}-{name}.scope"),
        };
        check_name(&name)?;
        Ok(Self { slice: slice.to_owned(), name })
    }

    /// Its name, with its kind.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The slice it is in.
    pub fn slice(&self) -> &str {
        &self.slice
    }

    /// Where its group is: `a-b.slice` is in `a.slice`.
    ///
    /// # Errors
    /// Never for a unit that was read.
    pub fn path(&self) -> Result<GroupPath> {
        let directory = slice_path(&self.slice)?;
        let path = match self.name.ends_with(".slice") {
            true => slice_path(&self.name)?,
            false => directory.join(&self.name),
        };
        Ok(GroupPath::computed(&path))
    }

    /// Has systemd make the scope with this process in it, and says the resources, to systemd in
    /// its words and to the kernel in all.
    ///
    /// # Errors
    /// Unsupported without systemd; what it refuses.
    pub fn start(&self, pid: u32, resources: &Resources) -> Result<Placed> {
        available()?;
        let path = self.path()?;
        // Whatever can be refused without it is.
        Hierarchies::read()?.check(resources)?;
        let mut bus =
            bus::Bus::connect(Path::new(SOCKET)).doing(|| format!("calling systemd at {SOCKET}"))?;
        let properties = properties::of(self, pid, resources);
        let starting = || format!("having systemd start {}", self.name);
        // What an earlier one of that name has left; mostly there is none.
        let _ = bus.call("ResetFailedUnit", |body| body.text(&self.name));
        bus.call("StartTransientUnit", |body| {
            body.text(&self.name);
            body.text("fail");
            body.properties(&properties);
            body.nothing();
        })
        .doing(starting)?;
        let placed = self.wait(pid, &path).and_then(|placed| placed.update(resources).map(|()| placed));
        if placed.is_err() {
            let _ = self.stop();
        }
        placed.doing(starting)
    }

    /// Says other resources of a running unit to systemd, which would undo at its next reload what
    /// only the kernel was told.
    ///
    /// # Errors
    /// What it refuses.
    pub fn update(&self, resources: &Resources) -> Result<()> {
        let properties = properties::limits(resources);
        if properties.is_empty() {
            return Ok(());
        }
        available()?;
        let mut bus =
            bus::Bus::connect(Path::new(SOCKET)).doing(|| format!("calling systemd at {SOCKET}"))?;
        bus.call("SetUnitProperties", |body| {
            body.text(&self.name);
            // As long as it runs.
            body.flag(true);
            body.properties(&properties);
        })
        .doing(|| format!("telling systemd the limits of {}", self.name))
    }

    /// Has systemd end the unit. One that is gone is no error.
    ///
    /// # Errors
    /// What systemd refuses.
    pub fn stop(&self) -> Result<()> {
        available()?;
        let mut bus =
            bus::Bus::connect(Path::new(SOCKET)).doing(|| format!("calling systemd at {SOCKET}"))?;
        let stopped = bus.call("StopUnit", |body| {
            body.text(&self.name);
            body.text("replace");
        });
        match stopped {
            Err(error) if error.to_string().contains("NoSuchUnit") => Ok(()),
            done => done.doing(|| format!("having systemd stop {}", self.name)),
        }
    }

    /// Until the kernel says that the process is there.
    fn wait(&self, pid: u32, path: &GroupPath) -> Result<Placed> {
        let deadline = Instant::now() + PATIENCE;
        let file = format!("/proc/{pid}/cgroup");
        let end = format!("/{}", self.name);
        loop {
            let groups = std::fs::read_to_string(&file).doing(|| format!("reading {file}"))?;
            if groups.lines().any(|line| line.starts_with("0::") && line.ends_with(&end)) {
                return Placed::find(path);
            }
            if Instant::now() > deadline {
                return Err(Error::internal(format!("systemd has not moved process {pid}")));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Whether systemd can be asked, and if not, why.
///
/// # Errors
/// Unsupported.
pub fn available() -> Result<()> {
    let no = |why: &str| {
        Err(Error::unsupported(format!("groups cannot be had from systemd: {why}"))
            .hint("leave --systemd-cgroup out, or set the engine's cgroup driver (manager) to cgroupfs"))
    };
    if !Path::new("/run/systemd/system").is_dir() {
        return no("it is not this host's process 1 (there is no /run/systemd/system)");
    }
    if !Path::new(SOCKET).exists() {
        return no(&format!("it does not listen at {SOCKET}"));
    }
    if crate::Layout::detect()?.name() != "v2" {
        return no("on version 1 and hybrid hosts it manages only a part of the controllers");
    }
    Ok(())
}

/// `a-b.slice` → `a.slice/a-b.slice`; `-.slice` is the root.
fn slice_path(slice: &str) -> Result<PathBuf> {
    let wrong =
        || Error::user(format!("{slice:?} is no slice")).hint("for example machine.slice or tenant-a.slice");
    let name = slice.strip_suffix(".slice").ok_or_else(wrong)?;
    check_name(slice)?;
    if name == "-" {
        return Ok(PathBuf::new());
    }
    let mut path = PathBuf::new();
    let mut so_far = String::new();
    for part in name.split('-') {
        if part.is_empty() {
            return Err(wrong());
        }
        so_far = if so_far.is_empty() { part.to_owned() } else { format!("{so_far}-{part}") };
        path.push(format!("{so_far}.slice"));
    }
    Ok(path)
}

fn check_name(name: &str) -> Result<()> {
    let fine = |letter: char| letter.is_ascii_alphanumeric() || ":-_.\\@".contains(letter);
    if name.len() < 256 && name.chars().all(fine) && !name.starts_with('.') {
        return Ok(());
    }
    Err(Error::user(format!("{name:?} is no name of a unit of systemd")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(path: &str) -> (String, String) {
        let unit = Unit::parse(Some(path), "x").expect("a unit");
        let path = unit.path().expect("a path");
        (unit.name.clone(), path.below().to_str().expect("text").to_owned())
    }

    #[test]
    fn slices_and_scopes() {
        let table = [
            ("machine.slice:libpod:ab12", "libpod-ab12.scope", "machine.slice/libpod-ab12.scope"),
            (":docker:x", "docker-x.scope", "system.slice/docker-x.scope"),
            ("a-b-c.slice::x", "x.scope", "a.slice/a-b.slice/a-b-c.slice/x.scope"),
            ("-.slice:p:x", "p-x.scope", "p-x.scope"),
            ("a.slice::a-b.slice", "a-b.slice", "a.slice/a-b.slice"),
            ("", "tsubo-x.scope", "system.slice/tsubo-x.scope"),
        ];
        for (path, name, group) in table {
            assert_eq!(unit(path), (name.to_owned(), group.to_owned()), "{path}");
        }
    }

    #[test]
    fn what_is_no_unit() {
        let bad = [
            "/a/b",
            "a:b",
            "a:b:c:d",
            "a:b:c",
            "-a.slice:b:c",
            "a--b.slice:b:c",
            "a/b.slice:b:c",
            "a.slice:b:c/d",
            "a.slice:b:",
            "a.slice:../b:c",
        ];
        for path in bad {
            assert!(Unit::parse(Some(path), "x").is_err(), "{path}");
        }
        let told = Unit::parse(Some("/a/b"), "x").expect_err("no unit").chain();
        assert!(told.contains("expected cgroupsPath to be of format \"slice:prefix:name\""), "{told}");
    }

    #[test]
    fn without_systemd_it_is_refused() {
        if available().is_ok() {
            println!("SKIPPED: systemd is here");
            return;
        }
        let unit = Unit::parse(None, "x").expect("a unit");
        let error = unit.start(std::process::id(), &Resources::default()).expect_err("no systemd");
        assert_eq!(error.kind(), spec::ErrorKind::Unsupported);
        assert!(error.hints()[0].contains("cgroupfs"));
    }
}
