//! The files of an image: members of an archive, or files in a directory.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use serde::de::DeserializeOwned;
use spec::{Digest, Error, Result, ResultExt, RootPath};

use crate::input::{self, Window, bad};
use crate::oci::{Descriptor, Layout};
use crate::tarball::{Reader, What};
use crate::{limits, meta};

/// Where the files of an image are.
pub(crate) enum Blobs {
    Archive(HashMap<RootPath, Member>),
    Directory(OwnedFd),
}

/// A member of an archive.
pub(crate) enum Member {
    File(Window),
    /// Older `docker save` archives link equal layers to each other.
    Link(RootPath),
}

impl Blobs {
    /// Reads the table of contents of an archive, without its data.
    pub(crate) fn archive(file: File) -> Result<Self> {
        let window = Window::whole(file).doing(|| "reading the archive")?;
        let mut reader = Reader::lenient(window.clone()).at_most(limits::MEMBERS);
        let mut members = HashMap::new();
        while let Some(entry) = reader.next()? {
            let member = match entry.what {
                What::File { size } => {
                    let part = window.part(reader.position(), size);
                    let truncated =
                        || Error::user(format!("the archive is truncated within {}", shown(&entry.path)));
                    Member::File(part.ok_or_else(truncated)?)
                }
                What::Symlink { target } => match entry.path.link_target(&target) {
                    Some(target) => Member::Link(target),
                    None => continue,
                },
                What::Hardlink { target } => Member::Link(target),
                What::Directory => continue,
                What::Fifo | What::Device => {
                    return Err(Error::user(format!("{} in the archive is not a file", shown(&entry.path))));
                }
            };
            if members.insert(entry.path.clone(), member).is_some() {
                return Err(Error::user(format!("{} is in the archive twice", shown(&entry.path))));
            }
        }
        if reader.ended() {
            Ok(Self::Archive(members))
        } else {
            Err(Error::user("the archive is truncated: it has no end mark"))
        }
    }

    /// The directory of an OCI layout.
    pub(crate) fn directory(path: &Path) -> Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from);
        Ok(Self::Directory(fd.doing(|| format!("opening {}", path.display()))?))
    }

    /// The file `name`; None if there is none.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Window>> {
        let path = RootPath::strict(name.as_bytes());
        let path =
            path.ok_or_else(|| Error::user(format!("the image refers to {name:?}, outside of itself")))?;
        match self {
            Self::Archive(members) => Ok(match members.get(&path) {
                Some(Member::File(window)) => Some(window.clone()),
                Some(Member::Link(target)) => match members.get(target) {
                    Some(Member::File(window)) => Some(window.clone()),
                    _ => None,
                },
                None => None,
            }),
            Self::Directory(fd) => in_directory(fd, &path),
        }
    }

    /// The file `name`, which must exist.
    pub(crate) fn get(&self, name: &str) -> Result<Window> {
        self.find(name)?.ok_or_else(|| Error::user(format!("the image has no {name}")))
    }

    /// The file `name` as JSON.
    pub(crate) fn document<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        input::json(&input::bounded(self.get(name)?, limits::JSON, name)?, name)
    }

    /// The blob that `descriptor` describes, its content not yet checked.
    pub(crate) fn blob(&self, descriptor: &Descriptor) -> Result<Window> {
        let window = self.get(&blob_name(&descriptor.digest))?;
        match window.len() == descriptor.size {
            true => Ok(window),
            false => Err(Error::user(format!(
                "the blob {} has {} bytes, but should have {}",
                descriptor.digest,
                window.len(),
                descriptor.size
            ))),
        }
    }

    /// The checked content of a small blob.
    pub(crate) fn small(&self, descriptor: &Descriptor, limit: u64, what: &str) -> Result<Vec<u8>> {
        let bytes = input::bounded(self.blob(descriptor)?, limit, what)?;
        check(&descriptor.digest, &input::digest(&bytes), what)?;
        Ok(bytes)
    }

    /// Checks that this is an OCI layout of a version that we know.
    pub(crate) fn check_layout(&self) -> Result<()> {
        let layout: Layout = self.document("oci-layout")?;
        match layout.image_layout_version.starts_with("1.") {
            true => Ok(()),
            false => Err(Error::user(format!(
                "unknown version {:?} of the image layout",
                layout.image_layout_version
            ))),
        }
    }
}

/// Compares digests; `what` names the thing.
pub(crate) fn check(wanted: &Digest, found: &Digest, what: &str) -> Result<()> {
    if wanted == found {
        return Ok(());
    }
    Err(Error::user(format!(
        "{what} is damaged or was changed: its digest is {found}, but should be {wanted}"
    )))
}

/// Where a layout keeps a blob. A digest is parsed strictly, so its text is safe as a path.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn in_directory(fd: &OwnedFd, path: &RootPath) -> Result<Option<Window>> {
    match meta::open(fd, path, OFlags::NONBLOCK | OFlags::NOCTTY) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(Error::io(format!("opening {path} of the image"), cause)),
        Ok(fd) => {
            let file = File::from(fd);
            let meta = file.metadata().doing(|| format!("reading {path} of the image"))?;
            if !meta.is_file() {
                return Err(Error::user(format!("{path} of the image is not a regular file")));
            }
            Window::whole(file).map(Some).map_err(|cause| bad(format!("reading {path} of the image"), cause))
        }
    }
}

/// Members are relative; their RootPath shows a slash too many.
fn shown(path: &RootPath) -> String {
    path.to_string()[1..].to_owned()
}
