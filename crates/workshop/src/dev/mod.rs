//! Development containers: full, writable environments over some base.

pub mod base;
pub mod curtain;
pub mod enter;
pub mod host_layers;
pub mod overlay;
pub mod record;
pub mod shipped;
pub mod stack;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use spec::{Error, Name, Result, ResultExt, RootPath};

use self::base::Base;
use self::curtain::Veil;
use self::record::{Lock, Record};
use self::stack::Stack;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::service::leftover;

/// All development containers of a state directory.
#[derive(Debug, Clone)]
pub struct Developments {
    home: PathBuf,
}

/// One development container, locked for this command.
#[derive(Debug)]
pub struct Development {
    /// What is known of it.
    pub record: Record,
    /// Its directory in the state directory.
    pub dir: PathBuf,
    home: PathBuf,
    _lock: Lock,
}

impl Developments {
    /// Those of the state directory `home`.
    pub fn of(home: &Path) -> Self {
        Self { home: home.to_owned() }
    }

    fn dir(&self) -> PathBuf {
        self.home.join("dev")
    }

    /// The records of all of them, by name.
    ///
    /// # Errors
    /// When the state directory cannot be read.
    pub fn list(&self) -> Result<Vec<Record>> {
        let Ok(entries) = std::fs::read_dir(self.dir()) else { return Ok(Vec::new()) };
        let dirs = entries.flatten().filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
        let mut records: Vec<Record> = dirs.filter_map(|entry| Record::read(&entry.path()).ok()).collect();
        records.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(records)
    }

    /// Where the container of this name is or would be.
    pub fn path(&self, name: &Name) -> PathBuf {
        self.dir().join(name)
    }

    /// Whether there is one of this name.
    pub fn exists(&self, name: &Name) -> bool {
        self.path(name).join("dev.json").exists()
    }

    /// Opens the container of this name.
    ///
    /// # Errors
    /// Not found, or in use.
    pub fn open(&self, name: &Name) -> Result<Development> {
        let dir = self.path(name);
        if !self.exists(name) {
            return Err(Error::not_found(format!("there is no development container {name}"))
                .hint(format!("make it with: tsubo dev {name}"))
                .hint("list what there is with: tsubo ps -a"));
        }
        let lock = Lock::take(&self.home.join("locks"), name)?;
        let record = Record::read(&dir)?;
        leftover::collect(&dir)?;
        Ok(Development { record, dir, home: self.home.clone(), _lock: lock })
    }

    /// Makes a new one. All or nothing: what is half made has a name that starts with a dot, and
    /// is removed on failure and by the next attempt.
    ///
    /// # Errors
    /// Conflict if it exists; as of the base.
    pub fn create(
        &self,
        name: &Name,
        base: &Base,
        see: Vec<RootPath>,
        interrupt: &Interrupt,
        progress: &dyn Progress,
    ) -> Result<Development> {
        base.check()?;
        let lock = Lock::take(&self.home.join("locks"), name)?;
        let (dir, half) = (self.path(name), self.dir().join(format!(".{name}")));
        if self.exists(name) {
            return Err(Error::conflict(format!("development container {name} exists already"))
                .hint("--from makes a new container; leave it out, or remove the old one first"));
        }
        remove_tree(&half)?;
        stack::make_dir(&half)?;
        let made = base.prepare(&half, interrupt, progress).and_then(|layers| {
            let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
            let moved = |mut layer: record::Layer| {
                if let Ok(inside) = layer.lower.strip_prefix(&half) {
                    layer.lower = dir.join(inside);
                }
                layer
            };
            let layers = layers.into_iter().map(moved).collect();
            let record =
                Record { version: 1, name: name.clone(), base: base.to_string(), created, layers, see };
            record.write(&half)?;
            std::fs::rename(&half, &dir).doing(|| format!("renaming {}", half.display()))?;
            Ok(record)
        });
        if made.is_err() {
            // The first error is the one to tell; a leftover is removed by the next attempt.
            let _ = remove_tree(&half);
        }
        Ok(Development { record: made?, dir, home: self.home.clone(), _lock: lock })
    }

    /// Removes what killed commands have left: half-made and half-removed containers, the files
    /// of trials and packings. What is in use is left alone.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn collect(&self) -> Result<Vec<String>> {
        let mut removed = Vec::new();
        for entry in std::fs::read_dir(self.dir()).into_iter().flatten().flatten() {
            let text = entry.file_name().to_string_lossy().into_owned();
            let Ok(name) = text.trim_start_matches('.').parse::<Name>() else { continue };
            let Ok(_lock) = Lock::take(&self.home.join("locks"), &name) else { continue };
            leftover::collect(&entry.path())?;
            let half = text.starts_with('.').then(|| entry.path());
            let scratch = ["test", "pack"].map(|part| entry.path().join(part));
            for path in half.into_iter().chain(scratch).filter(|path| path.exists()) {
                remove_tree(&path)?;
                removed.push(path.display().to_string());
            }
        }
        Ok(removed)
    }

    /// Removes a development container with everything that was built in it.
    ///
    /// # Errors
    /// Not found, or in use.
    pub fn remove(&self, name: &Name) -> Result<()> {
        let development = self.open(name)?;
        let half = self.dir().join(format!(".{name}"));
        remove_tree(&half)?;
        // Renamed first: a removal that is killed half way leaves nothing that looks whole.
        std::fs::rename(&development.dir, &half).doing(|| format!("removing {name}"))?;
        remove_tree(&half)
    }
}

impl Development {
    /// Mounts its file system. The caller is in a private mount namespace.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn mount(&self) -> Result<Stack> {
        stack::mount_development(&self.dir, &self.record.layers, &self.veils()?)
    }

    /// What its base's files are hidden behind.
    ///
    /// # Errors
    /// When the host cannot be looked through.
    pub fn veils(&self) -> Result<Vec<(RootPath, Veil)>> {
        if !self.record.is_over_host() {
            return Ok(curtain::for_foreign_base(&self.record.layers[0].lower));
        }
        let own = RootPath::strict(std::os::unix::ffi::OsStrExt::as_bytes(self.home.as_os_str()));
        curtain::veils(&self.record.see, own.as_slice())
    }

    /// The file with what tests have seen so far.
    pub fn observation_file(&self) -> PathBuf {
        self.dir.join("observation.json")
    }
}

/// Removes a tree that may be absent; its directories need not be writable.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).doing(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}
