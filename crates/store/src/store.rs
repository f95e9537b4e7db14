//! The store of one state directory: `objects/`, `images/`, `tmp/`.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use spec::{Digest, Error, ErrorKind, Result, ResultExt};

use crate::damaged::Damaged;
use crate::image::{self, Image, Record};
use crate::objects::Objects;
use crate::package::Package;
use crate::staging::{self, Staging};
use crate::{input, install, verify};

/// Installed images and what they are made of. Any number of processes may use one store at once.
pub struct Store {
    images: PathBuf,
    tmp: PathBuf,
    objects: Objects,
}

/// How to install.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Install {
    /// Everything is on disk before the image becomes visible, so that it survives a power cut.
    pub sync: bool,
}

/// What removing an image gave back: the files that no other image shares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// An image that is as it was installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Paths that were compared: content, owner, mode, times, xattrs.
    pub paths: u64,
}

impl Store {
    /// Opens the store in `dir`, made if it is missing, for its owner alone: set-uid files of
    /// images must be out of reach of the host's users. Collects what killed processes left.
    pub fn open(dir: &Path) -> Result<Self> {
        let opening = || format!("opening the store {}", dir.display());
        let [objects, images, tmp] = ["objects", "images", "tmp"].map(|name| dir.join(name));
        if !dir.is_dir() {
            std::fs::create_dir_all(dir).doing(opening)?;
        }
        for dir in [dir, &objects, &images, &tmp] {
            private(dir).doing(opening)?;
        }
        let objects = Objects::open(&objects).doing(opening)?;
        staging::collect(&tmp, &objects).doing(opening)?;
        Ok(Self { images, tmp, objects })
    }

    /// Installs a package: verified, complete, or not at all. One that is installed already only
    /// becomes what its name means. `progress` is told the packed bytes that are done, and all.
    pub fn install(&self, package: &Path, options: Install, progress: &dyn Fn(u64, u64)) -> Result<Image> {
        let installing = || format!("installing {}", package.display());
        let opened = Package::open(input::open(package)?).doing(installing)?;
        if let Some(image) = self.installed(&opened.manifest)? {
            self.sync(options)?;
            return Ok(image);
        }
        let staging = Staging::new(&self.tmp).doing(installing)?;
        let result = self.unpack(&opened, &staging, options, progress);
        if result.is_err() || staging.path.join("image").exists() {
            // An error above is the one to report; what cannot be removed now is collected later.
            let _ = staging.discard(&self.objects);
        }
        result.doing(installing)
    }

    /// All images, by name, the one that the name means first. Damaged ones are not among them.
    pub fn images(&self) -> Result<Vec<Image>> {
        let mut images: Vec<Image> = self.read()?.into_iter().filter_map(Result::ok).collect();
        images.sort_by(|a, b| a.name.cmp(&b.name).then(b.stamp.cmp(&a.stamp)).then(a.digest.cmp(&b.digest)));
        Ok(images)
    }

    /// The images whose record cannot be read, by digest.
    pub fn damaged(&self) -> Result<Vec<Damaged>> {
        let mut damaged: Vec<Damaged> = self.read()?.into_iter().filter_map(Result::err).collect();
        damaged.sort_by_key(|damaged| damaged.digest);
        Ok(damaged)
    }

    /// What lies in `images/`, as far as it can be read.
    fn read(&self) -> Result<Vec<std::result::Result<Image, Damaged>>> {
        let listing = || format!("listing {}", self.images.display());
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.images).doing(listing)? {
            let dir = entry.doing(listing)?.path();
            match Image::read(dir.clone()) {
                Ok(Some(image)) => all.push(Ok(image)),
                Ok(None) => all.extend(Damaged::new(&dir, Damaged::without_record(&dir)).map(Err)),
                Err(error) => all.extend(Damaged::new(&dir, error).map(Err)),
            }
        }
        Ok(all)
    }

    /// The image of a name (the one installed last, if several have it), or of a digest or its
    /// first six or more digits.
    pub fn image(&self, name_or_digest: &str) -> Result<Image> {
        if let Some(image) = self.named(name_or_digest)? {
            return Ok(image);
        }
        let images = self.images()?;
        let digits = name_or_digest.strip_prefix("sha256:").unwrap_or(name_or_digest);
        let found = |image: &&Image| digits.len() >= 6 && image.digest.hex().starts_with(digits);
        let found: Vec<_> = images.iter().filter(found).collect();
        match found.as_slice() {
            [image] => Ok((*image).clone()),
            [] => Err(Error::not_found(format!("there is no image {name_or_digest:?}"))
                .hint("`tsubo images` lists them; `tsubo install FILE` adds one")),
            _ => Err(Error::conflict(format!("{} images start with {name_or_digest:?}", found.len()))
                .hint("write more digits of the digest")),
        }
    }

    /// The image that a name means. On the way of every start: of a hundred images only those are
    /// understood that mention the name.
    fn named(&self, name: &str) -> Result<Option<Image>> {
        let listing = || format!("listing {}", self.images.display());
        let mut newest: Option<Image> = None;
        for entry in std::fs::read_dir(&self.images).doing(listing)? {
            let found = Image::read_mentioning(entry.doing(listing)?.path(), name);
            // What is damaged has no name; `tsubo images` tells of it.
            let Ok(Some(image)) = found else { continue };
            let newer = newest.as_ref().is_none_or(|newest| image.stamp > newest.stamp);
            if newer && image.name.as_str() == name {
                newest = Some(image);
            }
        }
        Ok(newest)
    }

    /// The damaged image of a digest or its first six or more digits.
    pub fn damaged_image(&self, digest: &str) -> Result<Option<Damaged>> {
        let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
        let mut damaged = self.damaged()?;
        damaged.retain(|damaged| digits.len() >= 6 && damaged.digest.hex().starts_with(digits));
        match damaged.len() {
            0 | 1 => Ok(damaged.pop()),
            several => Err(Error::conflict(format!("{several} damaged images start with {digest:?}"))
                .hint("write more digits of the digest")),
        }
    }

    /// Removes an image and every object that no other image uses.
    pub fn remove(&self, image: &Image) -> Result<Freed> {
        self.remove_digest(&image.digest, image.name.as_str())
    }

    /// Removes a damaged image likewise.
    pub fn remove_damaged(&self, damaged: &Damaged) -> Result<Freed> {
        self.remove_digest(&damaged.digest, &damaged.digest.short())
    }

    fn remove_digest(&self, digest: &Digest, called: &str) -> Result<Freed> {
        let removing = || format!("removing the image {called}");
        let staging = Staging::new(&self.tmp).doing(removing)?;
        match std::fs::rename(self.directory(digest), staging.path.join("image")) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                return Err(Error::not_found(format!("the image {called} is not installed")));
            }
            renamed => renamed.doing(removing)?,
        }
        let (files, bytes) = staging.discard(&self.objects).doing(removing)?;
        Ok(Freed { files, bytes })
    }

    /// Compares every file of an image with what was installed.
    pub fn verify(&self, image: &Image) -> Result<Verified> {
        let path = self.directory(&image.digest).join("seals");
        let seals = std::fs::read_to_string(&path).doing(|| format!("reading {}", path.display()))?;
        let (damaged, paths) = verify::compare(&image.tree, &seals)?;
        if damaged.is_empty() {
            return Ok(Verified { paths });
        }
        let shown: Vec<_> = damaged.iter().take(10).map(ToString::to_string).collect();
        let more = if damaged.len() > shown.len() { ", …" } else { "" };
        let (count, shown) = (damaged.len(), shown.join(", "));
        Err(Error::internal(format!("the image {} is damaged at {count} paths: {shown}{more}", image.name))
            .hint("remove it with `tsubo rmi` and install the package again"))
    }

    /// The image of this digest, if it is installed; it now is what its name means.
    fn installed(&self, digest: &Digest) -> Result<Option<Image>> {
        let image = match Image::read(self.directory(digest)) {
            // A damaged record is as good as none: what is installed takes its place.
            Err(error) if error.kind() == ErrorKind::Internal => None,
            read => read?,
        };
        let Some(mut image) = image else { return Ok(None) };
        match image.renew() {
            // Removed by another process since it was read.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            renewed => renewed.map(|()| Some(image)),
        }
    }

    fn directory(&self, digest: &Digest) -> PathBuf {
        self.images.join(digest.hex())
    }

    fn unpack(
        &self,
        package: &Package,
        staging: &Staging,
        options: Install,
        progress: &dyn Fn(u64, u64),
    ) -> Result<Image> {
        self.check_space(package)?;
        let image = staging.path.join("image");
        let root = image.join("root");
        std::fs::create_dir_all(&root).doing(|| format!("making {}", root.display()))?;
        let total = package.layer.size;
        let (unpacked, _) = package.stream(&|done| progress(done, total), |pieces| {
            install::unpack(pieces, &root, &self.objects, &staging.fd)
        })?;
        let seals = install::seals_text(&unpacked.seals);
        std::fs::write(image.join("seals"), seals).doing(|| "writing the seals of the image")?;
        let (digest, portable) = (package.manifest, package.portable.clone());
        let (bytes, files) = (unpacked.bytes, unpacked.files);
        let record = Record { version: image::VERSION, digest, portable, bytes, files };
        let stamp = record.write(&image)?;
        self.sync(options)?;
        self.publish(&image, record, stamp, options)
    }

    /// Makes the image visible. Another process may have been faster with the same one, and a third
    /// may be just removing it: then this one goes in its place.
    fn publish(&self, staged: &Path, record: Record, stamp: SystemTime, options: Install) -> Result<Image> {
        let dir = self.directory(&record.digest);
        loop {
            match rustix::fs::rename(staged, &dir) {
                Ok(()) => break,
                Err(Errno::EXIST | Errno::NOTEMPTY) => {}
                Err(cause) => return Err(Error::io(format!("making {}", dir.display()), cause.into())),
            }
            if let Some(image) = self.installed(&record.digest)? {
                return Ok(image);
            }
            match mend(staged, &dir) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                mended => {
                    mended.doing(|| format!("replacing the damaged image in {}", dir.display()))?;
                    self.sync(options)?;
                    let removed =
                        || Error::conflict("another process removed this image while it was installed");
                    return self.installed(&record.digest)?.ok_or_else(removed);
                }
            }
        }
        if options.sync {
            let synced = directory(&self.images).and_then(|fd| Ok(rustix::fs::fsync(fd)?));
            synced.doing(|| "writing to disk")?;
        }
        Ok(record.into_image(dir, stamp))
    }

    /// Refuses early what cannot fit, before the disk is full for everybody else too.
    fn check_space(&self, package: &Package) -> Result<()> {
        package.limit()?; // what is out of all bounds is the package's fault, not the disk's
        let space =
            rustix::fs::statvfs(&self.tmp).map_err(io::Error::from).doing(|| "asking for free space")?;
        let free = space.f_bavail.saturating_mul(space.f_frsize);
        match package.declared {
            Some(declared) if declared > free => {
                let full = io::Error::from_raw_os_error(Errno::NOSPC.raw_os_error());
                Err(Error::io(
                    format!("{declared} bytes are needed, {free} are free in {}", self.tmp.display()),
                    full,
                ))
            }
            _ => Ok(()),
        }
    }

    fn sync(&self, options: Install) -> Result<()> {
        if !options.sync {
            return Ok(());
        }
        directory(&self.tmp).and_then(|fd| Ok(rustix::fs::syncfs(fd)?)).doing(|| "writing to disk")
    }
}

/// Puts what is `staged` in place of the damaged image in `dir`. A tree that is whole stays where it
/// is: containers may be running on it.
fn mend(staged: &Path, dir: &Path) -> Result<()> {
    let seals = std::fs::read_to_string(staged.join("seals")).doing(|| "reading the seals")?;
    let whole = verify::compare(&dir.join("root"), &seals).is_ok_and(|(damaged, _)| damaged.is_empty());
    if whole {
        let replace = |name| std::fs::rename(staged.join(name), dir.join(name));
        return ["seals", image::RECORD].into_iter().try_for_each(replace).doing(|| "replacing its record");
    }
    let exchange = RenameFlags::EXCHANGE;
    let exchanged = rustix::fs::renameat_with(rustix::fs::CWD, staged, rustix::fs::CWD, dir, exchange);
    exchanged.map_err(io::Error::from).doing(|| "exchanging it")
}

/// Makes a directory that nobody but its owner may enter.
fn private(dir: &Path) -> io::Result<()> {
    // Mostly it is; to look is cheaper than to try.
    if std::fs::metadata(dir).is_ok_and(|meta| meta.is_dir() && meta.mode() & 0o7777 == 0o700) {
        return Ok(());
    }
    match rustix::fs::mkdir(dir, Mode::RWXU) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Ok(rustix::fs::chmod(dir, Mode::RWXU)?),
        Err(cause) => Err(cause.into()),
    }
}

fn directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}
