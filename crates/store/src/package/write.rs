//! Writing a package: the same inputs give the same bytes, on every host.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use sha2::{Digest as _, Sha256};
use spec::portable::Portable;
use spec::report::Report;
use spec::{Digest, Error, Result, ResultExt, RootPath};

use super::output::Output;
use crate::input::digest;
use crate::meta::{self, Inode, Kind, Meta, Time};
use crate::oci::{self, Descriptor, Index, Layout, Manifest};
use crate::tarball::{self, END, Entry, What, padding};

/// What to pack.
pub struct Source<'a> {
    /// The root that it is taken from, on the host.
    pub base: &'a Path,
    /// Exactly what is taken: files, directories, symlinks, and the directories above them.
    pub paths: &'a BTreeSet<RootPath>,
    /// What is made empty where the base has nothing: mount points of the runtime.
    pub empty: BTreeMap<RootPath, Extra>,
}

/// An empty file or directory of root's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// A directory.
    Dir {
        /// Its permissions.
        mode: u32,
    },
    /// A file.
    File {
        /// Its permissions.
        mode: u32,
    },
}

/// How hard to compress. Both give the same bytes whatever the number of processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effort {
    /// Some 40 MB a second on two processors.
    #[default]
    Quick,
    /// A tenth smaller, and ten times slower.
    Small,
}

/// A package that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Size of the package file.
    pub bytes: u64,
    /// Digest of the image.
    pub digest: Digest,
    /// Files and symlinks in it, one with several names counted once.
    pub files: u64,
    /// Bytes of the files in it.
    pub content_bytes: u64,
    /// Device nodes and sockets, which a package never holds.
    pub skipped: Vec<RootPath>,
}

/// Writes a package quickly. `progress` is told the bytes of content that are done, and all.
pub fn write(
    out: &Path,
    source: &Source<'_>,
    portable: &Portable,
    report: &Report,
    progress: &dyn Fn(u64, u64),
) -> Result<Written> {
    write_with(Effort::default(), out, source, portable, report, progress)
}

/// Writes a package. It appears at `out` when it is complete and on disk, or not at all.
pub fn write_with(
    effort: Effort,
    out: &Path,
    source: &Source<'_>,
    portable: &Portable,
    report: &Report,
    progress: &dyn Fn(u64, u64),
) -> Result<Written> {
    let writing = || format!("writing {}", out.display());
    let plan = Plan::new(source)?;
    let mut output = Output::create(out)?;
    output.member("blobs/", b"").doing(writing)?;
    output.member("blobs/sha256/", b"").doing(writing)?;
    let layout = Layout { image_layout_version: "1.0.0".to_owned() };
    output.member("oci-layout", &json(&layout)?).doing(writing)?;
    let (layer, diff_id) = write_layer(&mut output, &plan, effort, progress)?;
    let report = zstd::encode_all(json(report)?.as_slice(), 12).doing(writing)?;
    let labels = BTreeMap::from([
        (oci::LABEL_SPEC.to_owned(), text(portable)?),
        (oci::LABEL_REPORT.to_owned(), digest(&report).to_string()),
        (oci::LABEL_SIZE.to_owned(), plan.tar_bytes.to_string()),
    ]);
    let config = json(&config(portable, labels, diff_id, plan.newest))?;
    let manifest = json(&Manifest {
        schema_version: 2,
        media_type: Some(oci::MANIFEST.to_owned()),
        config: Descriptor::new(oci::CONFIG, digest(&config), config.len() as u64),
        layers: vec![layer],
        manifests: None,
    })?;
    for blob in [&config, &manifest, &report] {
        output.blob(&digest(blob), blob).doing(writing)?;
    }
    output.member("index.json", &json(&index(portable, &manifest))?).doing(writing)?;
    let bytes = output.publish()?;
    let (files, content_bytes) = (plan.files, plan.content_bytes);
    Ok(Written { bytes, digest: digest(&manifest), files, content_bytes, skipped: plan.skipped })
}

fn index(portable: &Portable, manifest: &[u8]) -> Index {
    let mut entry = Descriptor::new(oci::MANIFEST, digest(manifest), manifest.len() as u64);
    entry.annotations.insert(oci::REF_NAME.to_owned(), portable.name.to_string());
    Index { schema_version: 2, media_type: Some(oci::INDEX.to_owned()), manifests: vec![entry], layers: None }
}

fn config(portable: &Portable, labels: BTreeMap<String, String>, diff_id: Digest, newest: i64) -> oci::Image {
    let created = jiff::Timestamp::from_second(newest).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    oci::Image {
        created: Some(created.to_string()),
        architecture: oci::architecture().to_owned(),
        os: "linux".to_owned(),
        config: Some(oci::Config::of(portable, labels)),
        rootfs: oci::RootFs { kind: "layers".to_owned(), diff_ids: vec![diff_id] },
    }
}

fn json(document: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(document).map_err(|cause| Error::internal("writing JSON").because(cause))
}

fn text(document: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(document).map_err(|cause| Error::internal("writing JSON").because(cause))
}

/// The entries of the layer, in order, before any content is read.
struct Plan {
    base: OwnedFd,
    entries: Vec<Entry>,
    files: u64,
    content_bytes: u64,
    tar_bytes: u64,
    newest: i64,
    skipped: Vec<RootPath>,
}

impl Plan {
    fn new(source: &Source<'_>) -> Result<Self> {
        let opening = || format!("opening {}", source.base.display());
        let base = rustix::fs::open(source.base, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let base = base.map_err(io::Error::from).doing(opening)?;
        let (entries, skipped) = (Vec::new(), Vec::new());
        let mut plan = Self { base, entries, files: 0, content_bytes: 0, tar_bytes: 0, newest: 0, skipped };
        let mut seen = HashMap::new();
        let root = std::iter::once(RootPath::root());
        // Sorted, so that parents come before what is in them and the order is always the same.
        let paths: BTreeSet<RootPath> =
            root.chain(source.paths.iter().chain(source.empty.keys()).cloned()).collect();
        for path in paths {
            match source.empty.get(&path) {
                Some(extra) if !source.paths.contains(&path) => plan.push(empty(path, *extra)),
                _ => plan.take(path, &mut seen)?,
            }
        }
        plan.tar_bytes += END.len() as u64;
        Ok(plan)
    }

    /// Adds what the base has at `path`.
    fn take(&mut self, path: RootPath, seen: &mut HashMap<(u64, u64), RootPath>) -> Result<()> {
        let inode = meta::examine(self.base.as_fd(), &path).doing(|| format!("reading {path}"))?;
        if path.name().is_some_and(|name| name.starts_with(b".wh.")) {
            return Err(Error::user(format!(
                "{path} cannot be packed: in an image, names with .wh. mean a deletion"
            ))
            .hint("leave it out with --drop"));
        }
        let Some(what) = what(&inode, &path, seen) else {
            self.skipped.push(path);
            return Ok(());
        };
        // A further name of a file says nothing of its own, like in every tar.
        self.newest = self.newest.max(inode.meta.mtime.secs);
        self.push(Entry { path, what, meta: inode.meta });
        Ok(())
    }

    fn push(&mut self, mut entry: Entry) {
        match entry.what {
            What::File { size } => {
                self.files += 1;
                self.content_bytes += size;
                self.tar_bytes += size + padding(size) as u64;
            }
            What::Symlink { .. } => self.files += 1,
            What::Hardlink { .. } => entry.meta.xattrs.clear(),
            _ => {}
        }
        self.tar_bytes += tarball::header(&entry).len() as u64;
        self.entries.push(entry);
    }
}

fn empty(path: RootPath, extra: Extra) -> Entry {
    let (what, mode) = match extra {
        Extra::Dir { mode } => (What::Directory, mode),
        Extra::File { mode } => (What::File { size: 0 }, mode),
    };
    Entry { path, what, meta: Meta { mode, mtime: Time::default(), ..Meta::default() } }
}

/// How an inode is written; None if it never is.
fn what(inode: &Inode, path: &RootPath, seen: &mut HashMap<(u64, u64), RootPath>) -> Option<What> {
    let linkable = inode.links > 1 && matches!(inode.kind, Kind::File | Kind::Fifo);
    if linkable {
        if let Some(target) = seen.get(&inode.identity) {
            return Some(What::Hardlink { target: target.clone() });
        }
        seen.insert(inode.identity, path.clone());
    }
    Some(match &inode.kind {
        Kind::Directory => What::Directory,
        Kind::File => What::File { size: inode.size },
        Kind::Symlink(target) => What::Symlink { target: target.clone() },
        Kind::Fifo => What::Fifo,
        Kind::Other => return None,
    })
}

/// Writes the layer as a blob; gives its descriptor and the digest of its tar.
fn write_layer(
    output: &mut Output,
    plan: &Plan,
    effort: Effort,
    progress: &dyn Fn(u64, u64),
) -> Result<(Descriptor, Digest)> {
    let packing = || "writing the layer";
    let place = output.start().doing(packing)?;
    let encoder = encoder(Hashed::new(&mut *output), effort, plan.tar_bytes).doing(packing)?;
    let mut tar = Hashed::new(encoder);
    let mut done = 0;
    let mut buffer = vec![0; 256 << 10];
    for entry in &plan.entries {
        tar.write_all(&tarball::header(entry)).doing(packing)?;
        if let What::File { size } = entry.what {
            if size > 0 {
                copy(&plan.base, &entry.path, size, &mut tar, &mut buffer)?;
            }
            done += size;
            progress(done, plan.content_bytes);
        }
    }
    tar.write_all(&END).doing(packing)?;
    let (encoder, diff_id) = tar.finish();
    let (_, packed) = encoder.finish().doing(packing)?.finish();
    let size = output.end(place, &packed).doing(packing)?;
    Ok((Descriptor::new(oci::LAYER, packed, size), diff_id))
}

/// The number of workers changes the time, never the bytes: jobs are cut by size alone.
fn encoder<W: Write>(out: W, effort: Effort, size: u64) -> io::Result<zstd::Encoder<'static, W>> {
    let (level, job) = match effort {
        Effort::Quick => (9, 1 << 20),
        Effort::Small => (19, 4 << 20),
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let mut encoder = zstd::Encoder::new(out, level)?;
    encoder.multithread(workers as u32)?;
    encoder.set_parameter(zstd::zstd_safe::CParameter::JobSize(job))?;
    encoder.window_log(23)?; // what every decoder must be able to hold, by the format's standard
    encoder.set_pledged_src_size(Some(size))?;
    encoder.include_contentsize(true)?;
    Ok(encoder)
}

/// Copies a file that must still be as large as it was planned.
fn copy(base: &OwnedFd, path: &RootPath, size: u64, out: &mut impl Write, buffer: &mut [u8]) -> Result<()> {
    let reading = || format!("reading {path}");
    let mut file = File::from(meta::open(base, path, OFlags::NONBLOCK).doing(reading)?);
    let mut left = size;
    let changed =
        || Error::conflict(format!("{path} changed while it was packed")).hint("stop what writes to it");
    while left > 0 {
        let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = file.read(&mut buffer[..want]).doing(reading)?;
        if count == 0 {
            return Err(changed());
        }
        out.write_all(&buffer[..count]).doing(|| "writing the layer")?;
        left -= count as u64;
    }
    if file.read(&mut buffer[..1]).doing(reading)? > 0 {
        return Err(changed());
    }
    out.write_all(&END[..padding(size)]).doing(|| "writing the layer")
}

/// Hashes what goes through.
struct Hashed<W> {
    inner: W,
    hash: Sha256,
}

impl<W: Write> Hashed<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    fn finish(self) -> (W, Digest) {
        (self.inner, Digest::from_bytes(self.hash.finalize().into()))
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
