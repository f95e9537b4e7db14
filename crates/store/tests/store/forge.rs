//! Archives whose every part can be forged. The tests of the `tsubo` command use this file too, so
//! it knows nothing of its neighbours.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use spec::portable::Portable;

/// A tar, made of raw headers.
#[derive(Clone, Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

impl Tar {
    /// An entry with everything in its plain header.
    pub(crate) fn entry(mut self, flag: u8, name: &str, link: &str, data: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::new(flag));
        header.set_mode(if flag == b'5' { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(data.len() as u64);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.data(data)
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.entry(b'0', name, "", data)
    }

    pub(crate) fn dir(self, name: &str) -> Self {
        self.entry(b'5', name, "", b"")
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(b'2', name, target, b"")
    }

    pub(crate) fn hardlink(self, name: &str, target: &str) -> Self {
        self.entry(b'1', name, target, b"")
    }

    /// A PAX header for the next entry.
    pub(crate) fn pax(self, key: &str, value: &[u8]) -> Self {
        let rest = key.len() + value.len() + 3;
        let length =
            (1..).find(|digits| (rest + digits).to_string().len() == *digits).expect("a length") + rest;
        let record = [length.to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat();
        self.entry(b'x', "PaxHeader", "", &record)
    }

    /// The last header again, changed by `change`.
    pub(crate) fn header(mut self, change: impl FnOnce(&mut tar::Header)) -> Self {
        let start = self.0.len() - 512;
        let mut header = tar::Header::from_byte_slice(&self.0[start..]).clone();
        change(&mut header);
        header.set_cksum();
        self.0[start..].copy_from_slice(header.as_bytes());
        self
    }

    fn data(mut self, data: &[u8]) -> Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A package (or any image archive) whose every part can be forged.
pub(crate) struct Forge {
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) labels: Value,
    pub(crate) diff_ids: Vec<String>,
    /// Changes to the manifest and the index before they are written.
    pub(crate) manifest: Box<dyn Fn(&mut Value)>,
    pub(crate) index: Box<dyn Fn(&mut Value)>,
    /// Members beside the image's own.
    pub(crate) extra: Vec<(String, Vec<u8>)>,
}

impl Forge {
    /// A package with this tar as its layer.
    pub(crate) fn package(tar: &[u8]) -> Self {
        let mut forge = Self::image(&[tar.to_vec()]);
        let name = "web".parse().expect("a name");
        let portable = Portable::new(name, vec!["/bin/web".to_owned()]);
        let spec = serde_json::to_string(&portable).expect("json");
        forge.labels = json!({"io.tsuboniwa.spec": spec, "io.tsuboniwa.size": tar.len().to_string()});
        forge
    }

    /// An image with these tars as its layers.
    pub(crate) fn image(tars: &[Vec<u8>]) -> Self {
        let layers = tars.iter().map(|tar| zstd::encode_all(tar.as_slice(), 1).expect("zstd")).collect();
        let diff_ids = tars.iter().map(|tar| sha256(tar)).collect();
        let (manifest, index) = (Box::new(|_: &mut Value| {}), Box::new(|_: &mut Value| {}));
        Self { layers, labels: json!({}), diff_ids, manifest, index, extra: Vec::new() }
    }

    /// The names and contents of all its files.
    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let blob = |bytes: &[u8]| (format!("blobs/sha256/{}", &sha256(bytes)[7..]), bytes.to_vec());
        let describe = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": sha256(bytes), "size": bytes.len()});
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Labels": self.labels, "Env": ["A=b"]},
            "rootfs": {"type": "layers", "diff_ids": self.diff_ids},
        });
        let config = config.to_string().into_bytes();
        let layer = |layer: &Vec<u8>| describe("application/vnd.oci.image.layer.v1.tar+zstd", layer);
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": describe("application/vnd.oci.image.config.v1+json", &config),
            "layers": self.layers.iter().map(layer).collect::<Vec<_>>(),
        });
        (self.manifest)(&mut manifest);
        let manifest = manifest.to_string().into_bytes();
        let entry = describe("application/vnd.oci.image.manifest.v1+json", &manifest);
        let mut index = json!({"schemaVersion": 2, "manifests": [entry]});
        (self.index)(&mut index);
        let mut files = vec![("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())];
        files.extend(self.layers.iter().map(|layer| blob(layer)));
        files.extend([blob(&config), blob(&manifest)]);
        files.push(("index.json".to_owned(), index.to_string().into_bytes()));
        files.extend(self.extra.iter().cloned());
        files
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let add = |tar: Tar, (name, bytes): (String, Vec<u8>)| tar.file(&name, &bytes);
        self.files().into_iter().fold(Tar::default(), add).end()
    }
}
