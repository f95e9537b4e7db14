//! The JSON documents of an OCI image, as far as we read and write them.
//!
//! Not the `oci-spec` crate's types: those keep labels in hash maps, so that the same image would
//! be written differently each time, and they take no document that deviates in what we ignore.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use spec::portable::Portable;
use spec::{Digest, Error, Result};

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker's own names for an index and a manifest, which layouts may hold too.
pub(crate) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The label that holds the portable spec, as JSON.
pub(crate) const LABEL_SPEC: &str = "io.tsuboniwa.spec";
/// The label that holds the digest of the report.
pub(crate) const LABEL_REPORT: &str = "io.tsuboniwa.report";
/// The label that holds the size of the unpacked layer.
pub(crate) const LABEL_SIZE: &str = "io.tsuboniwa.size";

/// The annotation that names an image within a layout.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Platform {
    pub(crate) architecture: String,
    pub(crate) os: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Layout {
    pub(crate) image_layout_version: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    pub(crate) manifests: Vec<Descriptor>,
    /// Present only in a document that wants to be two things at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) layers: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    /// Present only in a document that wants to be two things at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) manifests: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Image {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<String>,
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) config: Option<Config>,
    pub(crate) rootfs: RootFs,
}

/// How the image wants to be run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// `uid:gid`, or names that its own files explain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `80/tcp` and the like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
    /// `NAME=value`, each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<String>>,
    /// What comes before `cmd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Directories that outlive a container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volumes: Option<BTreeMap<String, serde_json::Value>>,
    /// Where the command starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Free text by key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// The signal that stops it, by name or number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RootFs {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) diff_ids: Vec<Digest>,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        let (platform, annotations) = (None, BTreeMap::new());
        Self { media_type: media_type.to_owned(), digest, size, platform, annotations }
    }

    pub(crate) fn is_index(&self) -> bool {
        self.media_type == INDEX || self.media_type == DOCKER_INDEX
    }
}

impl Manifest {
    /// Refuses a document that could be read as something else too (CVE-2021-41190).
    pub(crate) fn check(&self) -> Result<()> {
        let foreign =
            self.media_type.as_deref().is_some_and(|kind| kind != MANIFEST && kind != DOCKER_MANIFEST);
        if self.manifests.is_some() || foreign {
            return Err(Error::user("the image manifest is ambiguous: it also claims to be something else"));
        }
        match self.schema_version {
            2 => Ok(()),
            other => Err(Error::user(format!("the image manifest has version {other}, not 2"))),
        }
    }
}

impl Index {
    /// As [`Manifest::check`].
    pub(crate) fn check(&self) -> Result<()> {
        let foreign = self.media_type.as_deref().is_some_and(|kind| kind != INDEX && kind != DOCKER_INDEX);
        if self.layers.is_some() || foreign {
            return Err(Error::user("the image index is ambiguous: it also claims to be something else"));
        }
        Ok(())
    }
}

impl Config {
    /// What other container engines need to know of `portable` to run the same service.
    pub(crate) fn of(portable: &Portable, labels: BTreeMap<String, String>) -> Self {
        let keys = |keys: Vec<String>| -> Option<BTreeMap<String, serde_json::Value>> {
            let object = || serde_json::Value::Object(serde_json::Map::new());
            (!keys.is_empty()).then(|| keys.into_iter().map(|key| (key, object())).collect())
        };
        let ports = portable.ports.iter().map(|port| format!("{}/{}", port.port, port.protocol));
        Self {
            user: Some(format!("{}:{}", portable.user.uid, portable.user.gid)),
            exposed_ports: keys(ports.collect()),
            env: Some(portable.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            entrypoint: None,
            cmd: Some(portable.command.clone()),
            volumes: keys(portable.volumes.iter().map(ToString::to_string).collect()),
            working_dir: Some(portable.cwd.to_string()),
            labels: Some(labels),
            stop_signal: Some(signal(portable.stop_signal)),
        }
    }
}

/// Names are what every engine understands; the numbers are those of most Linux architectures.
fn signal(number: i32) -> String {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
    ];
    let name = usize::try_from(number - 1).ok().and_then(|index| NAMES.get(index));
    name.map_or_else(|| number.to_string(), |name| format!("SIG{name}"))
}

/// This host's architecture, as Go spells it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_their_names() {
        assert_eq!(
            (signal(15), signal(3), signal(28)),
            ("SIGTERM".into(), "SIGQUIT".into(), "SIGWINCH".into())
        );
        assert_eq!((signal(34), signal(0), signal(-1)), ("34".into(), "0".into(), "-1".into()));
    }
}
