//! Where state is kept, opened when a verb needs it.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use lifecycle::{Home, Rootless};
use spec::{Error, Result};
use store::Store;
use workshop::dev::Developments;

/// The state directory that the command line chose.
#[derive(Debug)]
pub struct Place {
    root: Option<PathBuf>,
    own: Option<Rootless>,
    opened: OnceCell<Home>,
}

impl Place {
    /// From `--root`, or an ordinary user's own.
    pub fn new(root: Option<PathBuf>, own: Option<Rootless>) -> Self {
        Self { root, own, opened: OnceCell::new() }
    }

    /// What `--root` said, for a program that is executed in our place.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// Opens it; makes it where it is missing.
    pub fn home(&self) -> Result<Home> {
        match self.opened.get() {
            Some(home) => Ok(home.clone()),
            None => self.open().map(|home| self.opened.get_or_init(|| home).clone()),
        }
    }

    fn open(&self) -> Result<Home> {
        let root = match &self.root {
            Some(root) => {
                std::fs::create_dir_all(root).map_err(|cause| {
                    Error::io(format!("making the state directory {}", root.display()), cause)
                })?;
                let absolute = std::fs::canonicalize(root)
                    .map_err(|cause| Error::io(format!("opening {}", root.display()), cause))?;
                Some(absolute)
            }
            None => None,
        };
        Home::open(root.as_deref(), self.own.as_ref())
    }

    /// Its development containers.
    pub fn developments(&self) -> Result<Developments> {
        Ok(Developments::of(self.home()?.lib()))
    }

    /// Its images.
    pub fn store(&self) -> Result<Store> {
        Store::open(&self.home()?.lib().join("store"))
    }
}
