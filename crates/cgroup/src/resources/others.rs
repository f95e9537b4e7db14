//! Tasks, huge pages, RDMA, misc, marks on packets, and files by their name.

use std::collections::BTreeMap;

use spec::resources::{HugePages, Limit, Network, Rdma, Resources};
use spec::{Error, Result};

use super::{Plan, missing, only};
use crate::layout::Version;

impl Plan<'_> {
    pub(super) fn others(&mut self, resources: &Resources) -> Result<()> {
        if let Some(tasks) = resources.pids {
            let version = self.version("pids", "pids", "tasks")?;
            self.put(version, "pids", "pids.max", tasks);
        }
        for (size, pages) in &resources.hugepages {
            self.huge_pages(size, pages)?;
        }
        for (device, limits) in &resources.rdma {
            self.rdma(device, limits)?;
        }
        for (name, limit) in &resources.misc {
            let version = self.version("misc", "misc", name)?;
            self.put(version, "misc", "misc.max", format_args!("{name} {limit}"));
        }
        self.network(&resources.network)
    }

    fn huge_pages(&mut self, size: &str, pages: &HugePages) -> Result<()> {
        let version = self.version("hugetlb", "hugetlb", "huge pages")?;
        let (end, value): (&str, fn(Limit) -> String) = match version {
            Version::One => ("limit_in_bytes", Limit::signed),
            Version::Two => ("max", |limit| limit.to_string()),
        };
        let used = format!("hugetlb.{size}.{end}");
        if let Some(limit) = pages.max {
            self.put(version, "hugetlb", &used, value(limit));
        }
        if let Some(limit) = pages.reserved {
            // Before Linux 5.7 only those in use were counted.
            let reserved = format!("hugetlb.{size}.rsvd.{end}");
            self.put_or(version, "hugetlb", (&reserved, value(limit)), Some((&used, value(limit))));
        }
        Ok(())
    }

    fn rdma(&mut self, device: &str, limits: &Rdma) -> Result<()> {
        let version = self.version("rdma", "rdma", "RDMA")?;
        let keys = [("hca_handle", limits.handles), ("hca_object", limits.objects)];
        let words = keys.iter().filter_map(|(key, limit)| Some(format!(" {key}={}", (*limit)?)));
        let words: String = words.collect();
        if !words.is_empty() {
            self.put(version, "rdma", "rdma.max", format_args!("{device}{words}"));
        }
        Ok(())
    }

    fn network(&mut self, network: &Network) -> Result<()> {
        const WAY: &str = "version 2 marks no packets: nftables matches by the group (socket cgroupv2)";
        let has = |name: &str, wanted: &str| match (self.has.one.contains(name), &self.has.two) {
            (true, _) => Ok(()),
            (false, None) => Err(missing(name, wanted)),
            (false, Some(_)) => {
                Err(only("1", wanted, WAY).hint(format!("the controller {name:?} is not mounted")))
            }
        };
        if network.class.is_some() {
            has("net_cls", "a class of packets")?;
        }
        if !network.priorities.is_empty() {
            has("net_prio", "a priority of packets")?;
        }
        if let Some(class) = network.class {
            self.put(Version::One, "net_cls", "net_cls.classid", class);
        }
        for (interface, priority) in &network.priorities {
            self.put(Version::One, "net_prio", "net_prio.ifpriomap", format_args!("{interface} {priority}"));
        }
        Ok(())
    }

    pub(super) fn unified(&mut self, files: &BTreeMap<String, String>) -> Result<()> {
        let Some(two) = (match &self.has.two {
            _ if files.is_empty() => return Ok(()),
            two => two.clone(),
        }) else {
            return Err(only(
                "2",
                "a file by its name (unified)",
                "say it in the words that all versions know",
            ));
        };
        for (file, value) in files {
            let controller = controller_of(file);
            if !COMMON.contains(&controller) && !two.contains(controller) {
                return Err(missing(controller, file));
            }
            let known = NAMES.iter().find(|name| **name == controller);
            let known = known.ok_or_else(|| Error::user(format!("{file} belongs to no controller")))?;
            for line in value.lines().filter(|line| !line.is_empty()) {
                self.put(Version::Two, known, file, line);
            }
        }
        Ok(())
    }
}

/// Files that every group of version 2 has.
const COMMON: [&str; 1] = ["cgroup"];

const NAMES: [&str; 10] =
    ["cgroup", "cpu", "cpuset", "io", "memory", "pids", "hugetlb", "rdma", "misc", "dmem"];

/// `memory.high` is memory's.
pub(super) fn controller_of(file: &str) -> &str {
    file.split('.').next().unwrap_or(file)
}
