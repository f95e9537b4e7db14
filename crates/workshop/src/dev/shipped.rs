//! What dpkg knows of configuration files and directories: which are as they were shipped.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use md5::{Digest, Md5};

/// Configuration files with the MD5 they were shipped with, and the directories of packages.
#[derive(Debug, Default)]
pub struct Shipped {
    digests: HashMap<PathBuf, String>,
    directories: HashSet<PathBuf>,
}

impl Shipped {
    /// Reads dpkg's database below `root`; empty where there is none.
    pub fn read(root: &Path) -> Self {
        let status = std::fs::read(root.join("var/lib/dpkg/status")).unwrap_or_default();
        let mut shipped = Self { digests: parse_conffiles(&status), directories: HashSet::new() };
        for entry in std::fs::read_dir(root.join("var/lib/dpkg/info")).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|ext| ext == "list") {
                let list = std::fs::read_to_string(entry.path()).unwrap_or_default();
                // Only the trees in which anything can be hidden are worth remembering.
                let judged = |line: &&str| {
                    ["/etc/", "/var/", "/opt/", "/srv/", "/usr/local/"]
                        .iter()
                        .any(|top| line.starts_with(top))
                };
                shipped.directories.extend(list.lines().filter(judged).map(PathBuf::from));
            }
        }
        shipped
    }

    /// Whether `path` (on the host) is a configuration file with the content it was shipped with.
    pub fn is_unmodified(&self, path: &Path) -> bool {
        let Some(shipped) = self.digests.get(path) else { return false };
        std::fs::read(path).is_ok_and(|content| hex::encode(Md5::digest(&content)) == *shipped)
    }

    /// Whether a package brings `path`.
    pub fn brings(&self, path: &Path) -> bool {
        self.directories.contains(path)
    }
}

/// The `Conffiles:` fields of dpkg's status file: lines ` /path md5 [obsolete]`.
fn parse_conffiles(status: &[u8]) -> HashMap<PathBuf, String> {
    let mut digests = HashMap::new();
    let mut inside = false;
    for line in String::from_utf8_lossy(status).lines() {
        if !line.starts_with(' ') {
            inside = line.starts_with("Conffiles:");
        } else if inside {
            let mut words = line.split_whitespace();
            if let (Some(path), Some(digest)) = (words.next(), words.next()) {
                digests.insert(PathBuf::from(path), digest.to_owned());
            }
        }
    }
    digests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conffiles_are_read_from_their_field_only() {
        let status = b"Package: redis-server\nConffiles:\n /etc/redis/redis.conf 0123\n /etc/x 45 obsolete\nDescription: x\n /etc/no 99\n";
        let digests = parse_conffiles(status);
        assert_eq!(digests.len(), 2);
        assert_eq!(digests[Path::new("/etc/redis/redis.conf")], "0123");
    }
}
