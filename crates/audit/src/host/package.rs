//! An audited package is installed under a name of the audit's own, for as long as it is audited: what its
//! name means to others stays as it is, and whatever ends the audit, the next one knows whose it is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde_json::Value;
use spec::{Error, Result, ResultExt};

use super::root::{archived, digest};

/// The name.
pub const OWN: &str = "tsubo-audit-package";

/// The label that holds what a package says of itself.
const LABEL: &str = "io.tsuboniwa.spec";
/// Documents of a package are smaller.
const DOCUMENT: u64 = 32 << 20;

/// Writes the package `file` again, into `to`: everything as it is, but for its name.
///
/// # Errors
/// It is not a package.
pub fn rename(file: &Path, to: &Path, name: &str) -> Result<()> {
    let shown = file.display();
    let mut old = Archive::open(file).doing(|| format!("reading {shown}"))?;
    let new = renamed(&mut old, name).map_err(|error| {
        Error::user(format!("{shown} is not a package")).because(error).hint("tsubo build makes one")
    })?;
    old.write(&new, to).doing(|| format!("writing {}", to.display()))
}

/// What takes the place of what: the new documents, by the names of the old.
fn renamed(old: &mut Archive, name: &str) -> Result<Vec<(String, Document)>> {
    let mut index = old.document("index.json")?;
    let entry = at(&mut index, "/manifests/0")?;
    let mut manifest = old.blob(entry)?;
    let mut config = old.blob(at(&mut manifest.value, "/config")?)?;
    let labels = at(&mut config.value, "/config/Labels")?;
    let spec = labels[LABEL].as_str().ok_or_else(|| Error::user(format!("it has no label {LABEL}")))?;
    let mut spec: Value = serde_json::from_str(spec).map_err(invalid)?;
    spec["name"] = name.into();
    labels[LABEL] = spec.to_string().into();
    describe(at(&mut manifest.value, "/config")?, &config.value);
    describe(at(&mut index, "/manifests/0")?, &manifest.value);
    let index = Document { name: "index.json".to_owned(), value: index };
    let entry = |old: Document| (old.name.clone(), Document { name: blob_name(&old.value), ..old });
    Ok(vec![entry(config), entry(manifest), (index.name.clone(), index)])
}

/// A document of the archive.
struct Document {
    name: String,
    value: Value,
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn blob_name(value: &Value) -> String {
    format!("blobs/sha256/{}", &digest(&bytes(value))[7..])
}

/// Makes a descriptor that of `value`.
fn describe(descriptor: &mut Value, value: &Value) {
    descriptor["digest"] = digest(&bytes(value)).into();
    descriptor["size"] = bytes(value).len().into();
}

fn at<'a>(value: &'a mut Value, path: &str) -> Result<&'a mut Value> {
    value.pointer_mut(path).ok_or_else(|| Error::user(format!("it has no {path}")))
}

fn invalid(cause: serde_json::Error) -> Error {
    Error::user("a document of it is not JSON").because(cause)
}

/// An archive, and where its members are.
struct Archive {
    file: File,
    members: BTreeMap<String, (u64, u64)>,
}

impl Archive {
    fn open(path: &Path) -> std::io::Result<Self> {
        let mut file = File::open(path)?;
        let mut members = BTreeMap::new();
        let mut tar = tar::Archive::new(BufReader::new(&mut file));
        for entry in tar.entries_with_seek()? {
            let entry = entry?;
            if entry.header().entry_type().is_file() {
                let name = entry.path()?.to_string_lossy().into_owned();
                members.insert(name, (entry.raw_file_position(), entry.size()));
            }
        }
        Ok(Self { file, members })
    }

    fn member(&mut self, name: &str) -> std::io::Result<std::io::Take<&mut File>> {
        let (start, size) = self.members.get(name).copied().ok_or(std::io::ErrorKind::NotFound)?;
        self.file.seek(SeekFrom::Start(start))?;
        Ok((&mut self.file).take(size))
    }

    fn read(&mut self, name: &str) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        let read = self.member(name).and_then(|member| member.take(DOCUMENT).read_to_end(&mut all));
        read.doing(|| format!("reading {name}")).map(|_| all)
    }

    fn document(&mut self, name: &str) -> Result<Value> {
        serde_json::from_slice(&self.read(name)?).map_err(invalid)
    }

    /// What a descriptor describes: verified, as what is made of it is not compared with it any more.
    fn blob(&mut self, descriptor: &Value) -> Result<Document> {
        let said = descriptor["digest"].as_str().unwrap_or_default();
        let name = format!("blobs/{}", said.replace(':', "/"));
        let content = self.read(&name)?;
        if digest(&content) != said {
            return Err(Error::user(format!("{name} is not what it should be")));
        }
        Ok(Document { name, value: serde_json::from_slice(&content).map_err(invalid)? })
    }

    fn write(&mut self, new: &[(String, Document)], to: &Path) -> std::io::Result<()> {
        let mut tar = tar::Builder::new(BufWriter::new(File::create(to)?));
        let names: Vec<String> = self.members.keys().cloned().collect();
        for name in names.iter().filter(|name| !new.iter().any(|(old, _)| old == *name)) {
            let member = self.member(name)?;
            archived(&mut tar, name, member.limit(), member)?;
        }
        for (_, document) in new {
            let bytes = bytes(&document.value);
            archived(&mut tar, &document.name, bytes.len() as u64, bytes.as_slice())?;
        }
        tar.into_inner()?.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::root;

    #[test]
    fn a_package_gets_another_name_and_stays_what_it_is() {
        let dir = tempfile::tempdir().expect("tempdir");
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        std::fs::write(&two, "an attacker").expect("write");
        root::write(&two, false, &one).expect("a package");
        rename(&one, &two, OWN).expect("renamed");
        let [mut one, mut two] = [one, two].map(|path| Archive::open(&path).expect("an archive"));
        let described = |archive: &mut Archive| {
            let index = archive.document("index.json").expect("an index");
            let manifest = archive.blob(&index["manifests"][0]).expect("a manifest").value;
            let config = archive.blob(&manifest["config"]).expect("a config").value;
            let spec: Value =
                serde_json::from_str(config["config"]["Labels"][LABEL].as_str().expect("a label"))
                    .expect("JSON");
            (manifest["layers"].clone(), spec["name"].clone(), spec["writable"].clone())
        };
        let (before, after) = (described(&mut one), described(&mut two));
        assert_eq!((&before.0, &before.2), (&after.0, &after.2));
        assert_eq!(after.1, OWN);
        assert_eq!(one.members.len(), two.members.len());
        let layer = format!("blobs/{}", before.0[0]["digest"].as_str().expect("a digest").replace(':', "/"));
        assert_eq!(one.read(&layer).expect("a layer"), two.read(&layer).expect("a layer"));
    }

    #[test]
    fn what_is_no_package_is_told_so() {
        let dir = tempfile::tempdir().expect("tempdir");
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        for content in [&b"no archive at all"[..], &[0; 1024]] {
            std::fs::write(&one, content).expect("write");
            assert!(rename(&one, &two, OWN).is_err());
        }
    }
}
