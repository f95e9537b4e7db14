//! Package files: OCI image archives with one image of one layer.
//!
//! The portable spec travels as JSON in a label of the image's config, because labels survive every
//! registry and tool. The report is a blob of its own that no manifest refers to: other tools
//! ignore it, and it is gone after a trip through a registry.

mod output;
mod write;

use std::path::Path;

use spec::portable::{self, Portable};
use spec::report::Report;
use spec::{Digest, Error, Result, ResultExt};

use crate::blobs::{Blobs, blob_name, check};
use crate::input::{self, Window};
use crate::oci::{self, Descriptor, Index, LABEL_REPORT, LABEL_SIZE, LABEL_SPEC, Manifest};
use crate::{limits, stream};

pub use write::{Effort, Extra, Source, Written, write, write_with};

/// What a package file says about itself, every digest verified.
#[derive(Debug, Clone)]
pub struct Info {
    /// How to run it.
    pub portable: Portable,
    /// What is in it and what was cut; lost in a trip through a registry.
    pub report: Option<Report>,
    /// Digest of the manifest: the digest of the image.
    pub manifest: Digest,
    /// Size of the package file.
    pub packed_bytes: u64,
    /// The architecture that it was made on, as OCI spells it (`amd64`).
    pub architecture: String,
    /// Its layers; there is exactly one.
    pub layers: Vec<Layer>,
}

/// The packed tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Digest of the compressed tar.
    pub digest: Digest,
    /// Its size.
    pub packed_bytes: u64,
    /// Size of the tar.
    pub tar_bytes: u64,
}

/// A package that was opened: all but its layer is verified.
pub(crate) struct Package {
    pub(crate) manifest: Digest,
    pub(crate) portable: Portable,
    pub(crate) config: oci::Image,
    pub(crate) layer: Descriptor,
    /// Size of the layer's tar, as the config declares it.
    pub(crate) declared: Option<u64>,
    blobs: Blobs,
}

/// Reads what is in a package and verifies all its digests.
pub fn read_info(package: &Path) -> Result<Info> {
    let reading = || format!("reading {}", package.display());
    let file = input::open(package)?;
    let packed_bytes = file.metadata().doing(reading)?.len();
    let opened = Package::open(file).doing(reading)?;
    let report = opened.report().doing(reading)?;
    let ((), sums) = opened.stream(&|_| {}, |_| Ok(())).doing(reading)?;
    let layer = Layer { digest: opened.layer.digest, packed_bytes: opened.layer.size, tar_bytes: sums.bytes };
    Ok(Info {
        portable: opened.portable,
        report,
        manifest: opened.manifest,
        packed_bytes,
        architecture: opened.config.architecture,
        layers: vec![layer],
    })
}

impl Package {
    /// Reads and verifies all but the layer.
    pub(crate) fn open(file: std::fs::File) -> Result<Self> {
        let blobs = Blobs::archive(file).map_err(|error| error.hint(HINT))?;
        blobs.check_layout().map_err(|error| error.hint(HINT))?;
        let index: Index = blobs.document("index.json")?;
        index.check()?;
        let [entry] = index.manifests.as_slice() else {
            let count = index.manifests.len();
            return Err(Error::user(format!("a package holds one image, but this archive has {count}")));
        };
        if entry.media_type != oci::MANIFEST {
            return Err(Error::user(format!(
                "the package's index refers to a {:?}, not to an image",
                entry.media_type
            )));
        }
        let manifest: Manifest =
            input::json(&blobs.small(entry, limits::JSON, "the manifest")?, "the manifest")?;
        manifest.check()?;
        let [layer] = manifest.layers.as_slice() else {
            let count = manifest.layers.len();
            return Err(
                Error::user(format!("a package has one layer, but this image has {count}")).hint(HINT)
            );
        };
        let config: oci::Image =
            input::json(&blobs.small(&manifest.config, limits::JSON, "the config")?, "the config")?;
        if config.rootfs.diff_ids.len() != 1 {
            return Err(Error::user("the config does not describe the one layer of the package"));
        }
        let (portable, declared) = labels(&config)?;
        Ok(Self { manifest: entry.digest, portable, layer: layer.clone(), config, declared, blobs })
    }

    /// The report, verified; None if it was lost on the way.
    fn report(&self) -> Result<Option<Report>> {
        let Some(digest) = label(&self.config, LABEL_REPORT) else { return Ok(None) };
        let digest: Digest = digest.parse()?;
        let Some(blob) = self.blobs.find(&blob_name(&digest))? else { return Ok(None) };
        let (packed, unpacked) = limits::REPORT;
        let bytes = input::bounded(blob, packed, "the report")?;
        check(&digest, &input::digest(&bytes), "the report")?;
        let (json, _) = stream::unpacked(bytes.as_slice(), unpacked, &|_| {}, |pieces| {
            input::bounded(pieces, unpacked, "the report")
        })?;
        let invalid = |cause| Error::user("the report is not valid").because(cause);
        serde_json::from_slice(&json).map(Some).map_err(invalid)
    }

    /// Lets `work` read the layer's tar, then verifies what was read.
    pub(crate) fn stream<T>(
        &self,
        progress: &dyn Fn(u64),
        work: impl FnOnce(&mut stream::Pieces<'_>) -> Result<T>,
    ) -> Result<(T, stream::Sums)> {
        let blob: Window = self.blobs.blob(&self.layer)?;
        let (result, sums) = stream::unpacked(blob, self.limit()?, progress, work)?;
        check(&self.layer.digest, &sums.packed, "the layer")?;
        check(&self.config.rootfs.diff_ids[0], &sums.unpacked, "the unpacked layer")?;
        if self.declared.is_some_and(|declared| declared != sums.bytes) {
            return Err(Error::user("the layer does not have the size that the package declares"));
        }
        Ok((result, sums))
    }

    /// How many bytes the layer may unpack to.
    pub(crate) fn limit(&self) -> Result<u64> {
        let allowed = limits::unpacked(self.layer.size, limits::PACKAGE);
        match self.declared {
            Some(declared) if declared > allowed => Err(Error::user(format!(
                "the package declares {declared} bytes of content, more than the {allowed} that are allowed for it"
            ))),
            declared => Ok(declared.unwrap_or(allowed)),
        }
    }
}

const HINT: &str = "a package is made by `tsubo pack`; any other image or tar can be taken with `tsubo dev NAME --from FILE`";

fn label<'a>(config: &'a oci::Image, name: &str) -> Option<&'a str> {
    Some(config.config.as_ref()?.labels.as_ref()?.get(name)?.as_str())
}

/// The portable spec and the declared size.
fn labels(config: &oci::Image) -> Result<(Portable, Option<u64>)> {
    let missing = || {
        Error::user(format!("this is an image, but not a package: it has no label {LABEL_SPEC}")).hint(HINT)
    };
    let text = label(config, LABEL_SPEC).ok_or_else(missing)?;
    // The version comes first: a newer format may not parse at all.
    let value: serde_json::Value = input::json(text.as_bytes(), "the package's spec")?;
    let version = value.get("version").and_then(serde_json::Value::as_u64);
    if version.is_some_and(|version| version > u64::from(portable::VERSION)) {
        return Err(
            Error::unsupported("the package was made by a newer version of tsubo").hint("update tsubo here")
        );
    }
    let portable: Portable = input::json(text.as_bytes(), "the package's spec")?;
    portable.check()?;
    let invalid = || Error::user("the package declares an invalid size");
    let size =
        label(config, LABEL_SIZE).map(|text| text.parse::<u64>().map_err(|_| invalid())).transpose()?;
    Ok((portable, size))
}
