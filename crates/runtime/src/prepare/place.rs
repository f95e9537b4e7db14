//! A mount point, prepared so that the child can find or make it component by component.

use std::ffi::CString;

use spec::{Result, RootPath};

use super::{c_path, c_string};

/// Where something is mounted.
#[derive(Debug)]
pub(crate) struct Place {
    /// Relative to the root.
    pub(crate) path: CString,
    /// The way there from the root, for making what is missing.
    pub(crate) way: Vec<Component>,
    /// No symlink may be on the way (2019-19921: an image whose /proc is a link).
    pub(crate) strict: bool,
}

/// One component on the way.
#[derive(Debug)]
pub(crate) struct Component {
    pub(crate) parent: CString,
    pub(crate) name: CString,
}

impl Place {
    pub(crate) fn new(at: &RootPath, strict: bool) -> Result<Self> {
        let mut up: Vec<RootPath> = std::iter::once(at.clone()).chain(at.ancestors()).collect();
        up.retain(|path| !path.is_root());
        let way = up.iter().rev().map(|path| {
            Ok(Component {
                parent: c_path(path.parent().unwrap_or_else(RootPath::root).relative())?,
                name: c_string(path.name().unwrap_or_default())?,
            })
        });
        Ok(Self { path: c_path(at.relative())?, way: way.collect::<Result<_>>()?, strict })
    }
}
