//! Finding the one image in a layout or archive.

use serde::Deserialize;
use spec::{Digest, Error, Result};

use crate::blobs::Blobs;
use crate::input::{self, Window};
use crate::limits;
use crate::oci::{self, Config, Descriptor, Index, Manifest};

/// An image, ready to be unpacked.
pub(super) struct Image {
    pub(super) layers: Vec<Layer>,
    pub(super) config: Option<Config>,
}

/// A layer and what its digests must be.
pub(super) struct Layer {
    pub(super) window: Window,
    pub(super) packed: Option<Digest>,
    pub(super) unpacked: Digest,
}

/// One entry of the `manifest.json` of `docker save`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    layers: Vec<String>,
}

/// Reads the image in `blobs`, which must hold exactly one for this architecture.
pub(super) fn read(blobs: &Blobs) -> Result<Image> {
    if blobs.find("index.json")?.is_some() {
        blobs.check_layout()?;
        return oci(blobs);
    }
    if blobs.find("manifest.json")?.is_some() {
        return docker(blobs);
    }
    Err(Error::user("it holds neither an OCI image (index.json) nor one of docker save (manifest.json)"))
}

fn oci(blobs: &Blobs) -> Result<Image> {
    let index: Index = blobs.document("index.json")?;
    let mut found = Vec::new();
    collect(blobs, &index, 0, &mut found)?;
    let descriptor = choose(found)?;
    let manifest: Manifest =
        input::json(&blobs.small(&descriptor, limits::JSON, "the manifest")?, "the manifest")?;
    manifest.check()?;
    let config: oci::Image =
        input::json(&blobs.small(&manifest.config, limits::JSON, "the config")?, "the config")?;
    check_count(manifest.layers.len(), config.rootfs.diff_ids.len())?;
    let layer = |(descriptor, diff_id): (&Descriptor, &Digest)| {
        Ok(Layer { window: blobs.blob(descriptor)?, packed: Some(descriptor.digest), unpacked: *diff_id })
    };
    let layers = manifest.layers.iter().zip(&config.rootfs.diff_ids).map(layer).collect::<Result<_>>()?;
    Ok(Image { layers, config: config.config })
}

fn docker(blobs: &Blobs) -> Result<Image> {
    let saved: Vec<Saved> = blobs.document("manifest.json")?;
    let [saved] = saved.as_slice() else {
        return Err(Error::user(format!("the archive holds {} images, not one", saved.len()))
            .hint("docker save IMAGE"));
    };
    let config: oci::Image = blobs.document(&saved.config)?;
    check_count(saved.layers.len(), config.rootfs.diff_ids.len())?;
    let layer = |(name, diff_id): (&String, &Digest)| {
        Ok(Layer { window: blobs.get(name)?, packed: None, unpacked: *diff_id })
    };
    let layers = saved.layers.iter().zip(&config.rootfs.diff_ids).map(layer).collect::<Result<_>>()?;
    Ok(Image { layers, config: config.config })
}

fn check_count(layers: usize, diff_ids: usize) -> Result<()> {
    if layers > limits::LAYERS {
        return Err(Error::user(format!("the image has {layers} layers, more than {}", limits::LAYERS)));
    }
    if layers != diff_ids {
        return Err(Error::user(format!(
            "the image has {layers} layers, but its config describes {diff_ids}"
        )));
    }
    Ok(())
}

/// Collects the manifests of an index and of those within it.
fn collect(blobs: &Blobs, index: &Index, depth: usize, found: &mut Vec<Descriptor>) -> Result<()> {
    let (deepest, most) = limits::NESTING;
    index.check()?;
    if depth >= deepest {
        return Err(Error::user(format!("image indexes are nested more than {deepest} deep")));
    }
    for descriptor in &index.manifests {
        if found.len() >= most {
            return Err(Error::user(format!("the image index holds more than {most} manifests")));
        }
        if descriptor.is_index() {
            let inner = blobs.small(descriptor, limits::JSON, "an image index")?;
            collect(blobs, &input::json(&inner, "an image index")?, depth + 1, found)?;
            // Each index counts too, so that many empty ones are bounded as well.
        }
        found.push(descriptor.clone());
    }
    Ok(())
}

/// The only image, or the only one for this architecture.
fn choose(found: Vec<Descriptor>) -> Result<Descriptor> {
    let is_image = |descriptor: &Descriptor| {
        let attestation = descriptor.platform.as_ref().is_some_and(|platform| platform.os == "unknown");
        !descriptor.is_index() && !attestation
    };
    let images: Vec<_> = found.into_iter().filter(is_image).collect();
    let count = images.len();
    let ours = |descriptor: &Descriptor| {
        let platform = descriptor.platform.as_ref();
        platform.is_none_or(|platform| platform.os == "linux" && platform.architecture == oci::architecture())
    };
    let mut ours: Vec<_> = images.into_iter().filter(|image| count == 1 || ours(image)).collect();
    match (ours.pop(), ours.len()) {
        (Some(image), 0) => Ok(image),
        (Some(_), _) => Err(Error::user(format!("it holds {count} images, not one"))
            .hint("copy the one that is meant with `skopeo copy` into a layout of its own")),
        (None, _) => {
            Err(Error::user(format!("none of its {count} images is for linux on {}", oci::architecture())))
        }
    }
}
