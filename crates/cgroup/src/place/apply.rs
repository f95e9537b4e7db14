//! Saying resources to the kernel: all or nothing.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use spec::resources::{DeviceRule, Resources};
use spec::{Error, Result};
use sys::bpf_device::Program;

use super::Placed;
use crate::devices;
use crate::layout::Version;
use crate::resources::{Now, Write, undo, writes};

/// A write that knows its file.
struct Order {
    path: PathBuf,
    file: String,
    value: String,
}

/// What was there before a write.
struct Before {
    path: PathBuf,
    value: String,
}

impl Placed {
    /// Nothing is written before every file was found; if the kernel refuses a value, those before
    /// it are taken back.
    pub(super) fn apply(&self, now: &Now, resources: &Resources) -> Result<()> {
        let writes = writes(&self.controllers(), now, resources)?;
        let mut orders: Vec<Order> = Vec::with_capacity(writes.len());
        for write in &writes {
            orders.push(self.order(write, orders.last())?);
        }
        let program = self.program(resources)?;
        let (mut before, mut open) = (Vec::new(), None);
        let done = orders.iter().try_for_each(|order| order.carry_out(&mut before, &mut open));
        let done = done.and_then(|()| program.map_or(Ok(()), |program| self.attach(&program)));
        if done.is_err() {
            self.take_back(before, now);
        }
        done
    }

    fn order(&self, write: &Write, last: Option<&Order>) -> Result<Order> {
        let directory = self.directory(write.version, write.controller).ok_or_else(|| {
            Error::unsupported(format!("{}: the container has no group of {}", write.file, write.controller))
                .hint("it is made when the container is created with such a limit")
        })?;
        // Rules for devices all go to one file.
        if let Some(last) = last.filter(|last| last.file == write.file && last.path.starts_with(directory)) {
            return Ok(Order {
                path: last.path.clone(),
                file: write.file.clone(),
                value: write.value.clone(),
            });
        }
        let given = (write.file.clone(), write.value.clone());
        let choices = [Some(given), write.instead.clone()];
        let find = || choices.iter().flatten().find(|(file, _)| directory.join(file).exists()).cloned();
        let found = find().or_else(|| {
            settle(write, directory);
            find()
        });
        let (file, value) = found.ok_or_else(|| {
            Error::unsupported(format!("this kernel has no {}", write.file))
                .hint(format!("it would be in {}; leave that limit out", directory.display()))
        })?;
        Ok(Order { path: directory.join(&file), file, value })
    }

    /// Version 2 has no files for devices.
    fn program(&self, resources: &Resources) -> Result<Option<Program>> {
        let Some(rules) = &resources.devices else { return Ok(None) };
        if self.directory(Version::One, "devices").is_some() {
            return Ok(None);
        }
        if self.directory(Version::Two, "").is_none() {
            return Err(Error::unsupported("devices cannot be limited: there is no group to do it by")
                .hint("it takes version 2 of control groups, or the hierarchy \"devices\" of version 1"));
        }
        load(rules).map(Some)
    }

    /// The new program first: while both are there, both must agree.
    fn attach(&self, program: &Program) -> Result<()> {
        let Some(directory) = self.directory(Version::Two, "") else { return Ok(()) };
        let failed = |error: io::Error| {
            Error::io(format!("setting the device rules of {}", directory.display()), error)
        };
        let group = fs::File::open(directory).map_err(failed)?;
        let group = std::os::fd::AsFd::as_fd(&group);
        let old = Program::attached(group).map_err(failed)?;
        program.attach(group).map_err(failed)?;
        let detached = old.iter().try_for_each(|old| old.detach(group));
        if detached.is_err() {
            let _ = program.detach(group);
        }
        detached.map_err(failed)
    }

    /// What cannot be taken back stays: there is nobody to tell but who hears of the failure
    /// already.
    fn take_back(&self, before: Vec<Before>, now: &Now) {
        for Before { path, value } in before.into_iter().rev() {
            let _ = write(&path, &value);
        }
        let (Some(directory), devices::List::Only(rules)) =
            (self.directory(Version::One, "devices"), &now.devices)
        else {
            return;
        };
        let mut changed = Now::default();
        changed.read(Version::One, directory);
        for write_back in devices::writes(&changed.devices, rules).unwrap_or_default() {
            let _ = write(&directory.join(&write_back.file), &write_back.value);
        }
    }
}

/// A file that is written to, open until another one is.
type Open<'a> = Option<(&'a Path, fs::File)>;

impl Order {
    fn carry_out<'a>(&'a self, before: &mut Vec<Before>, open: &mut Open<'a>) -> Result<()> {
        // Those are for writing only; what they come to is read elsewhere.
        let readable = !self.file.starts_with("devices.");
        let old = readable.then(|| fs::read_to_string(&self.path).ok()).flatten();
        self.write(open).map_err(|error| self.explain(error))?;
        let value = old.and_then(|old| undo(&self.file, &self.value, &old));
        before.extend(value.map(|value| Before { path: self.path.clone(), value }));
        Ok(())
    }

    fn write<'a>(&'a self, open: &mut Open<'a>) -> io::Result<()> {
        let mut file = match open.take().filter(|(path, _)| *path == self.path) {
            Some((_, file)) => file,
            None => fs::File::options().write(true).open(&self.path)?,
        };
        put(&mut file, &self.value)?;
        *open = Some((&self.path, file));
        Ok(())
    }

    fn explain(&self, error: io::Error) -> Error {
        let hint = hint(&self.file, &error);
        let what = format!("writing {:?} to {}", self.value, self.path.display());
        let error = Error::io(what, error);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// What the kernel's one word mostly means.
fn hint(file: &str, error: &io::Error) -> Option<&'static str> {
    let busy = error.kind() == io::ErrorKind::ResourceBusy;
    match file {
        "memory.limit_in_bytes" | "memory.memsw.limit_in_bytes" if busy => {
            Some("more than that is in use and cannot be reclaimed")
        }
        "cpu.rt_runtime_us" | "cpu.rt_period_us" => {
            Some("the groups above must have a real-time budget that is as large (cpu.rt_runtime_us)")
        }
        "cpu.cfs_quota_us" | "cpu.cfs_period_us" => Some("no group may have more than the one above it"),
        "cpu.shares" | "cpu.weight" => Some("an idle group has no share: cpu.idle = 0 first"),
        "cpuset.cpus" | "cpuset.mems" => {
            Some("the host and the group above must have those, and they must be online")
        }
        "devices.allow" => Some("the group above must allow it too"),
        "blkio.weight" | "io.weight" | "io.bfq.weight" | "blkio.bfq.weight" => {
            Some("the device's scheduler must be BFQ, or io.cost be on (/sys/block/*/queue/scheduler)")
        }
        "rdma.max" => Some("the host must have that RDMA device (ls /sys/class/infiniband)"),
        "misc.max" => Some("the host must have that resource (misc.capacity of the root group)"),
        file if file.starts_with("blkio.throttle.") || file == "io.max" => {
            Some("it must be the number of a whole disk of this host (lsblk)")
        }
        _ => None,
    }
}

/// Version 2 says that a controller has been passed on before its files are there, while somebody
/// else is just passing it on. To say it once more does nothing but wait for that.
fn settle(write: &Write, directory: &Path) {
    if let (Version::Two, Some(above)) = (write.version, directory.parent()) {
        let _ = fs::write(above.join("cgroup.subtree_control"), format!("+{}", write.controller));
    }
}

fn load(rules: &[DeviceRule]) -> Result<Program> {
    let doing = "loading the program that checks devices";
    Program::load(&devices::program(rules)).map_err(|error| {
        Error::io(doing, error).hint(
            "it takes CAP_BPF and CAP_NET_ADMIN (or root of the host) and a kernel with CONFIG_CGROUP_BPF",
        )
    })
}

fn write(path: &Path, value: &str) -> io::Result<()> {
    put(&mut fs::File::options().write(true).open(path)?, value)
}

/// One system call: the kernel takes a value whole. Nothing at all would not even arrive.
fn put(file: &mut fs::File, value: &str) -> io::Result<()> {
    file.write_all(if value.is_empty() { b"\n" } else { value.as_bytes() })
}
