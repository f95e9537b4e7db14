//! One certificate with its key, read from files.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys};
use spec::{Error, Result};

use super::provider;
use crate::config::CertificateFiles;

/// A certificate that can be used, and the names that it is for.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) key: Arc<CertifiedKey>,
    /// In small letters; of one that is for all names of a domain, with its asterisk.
    pub(super) names: Vec<String>,
}

impl Pair {
    /// Reads both files.
    pub(super) fn read(files: &CertificateFiles) -> Result<Self> {
        let chain = chain(&files.cert)?;
        let secret =
            PrivateKeyDer::from_pem_file(&files.key).map_err(|cause| unread(&files.key, "key", cause))?;
        let key = CertifiedKey::from_der(chain, secret, &provider()).map_err(|cause| unfit(files, cause))?;
        let names = names(&key).map_err(|cause| unfit(files, cause))?;
        Ok(Self { key: Arc::new(key), names })
    }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let unread = |cause| unread(path, "certificate", cause);
    let chain = CertificateDer::pem_file_iter(path)
        .map_err(unread)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unread)?;
    if chain.is_empty() { Err(unread(pem::Error::NoItemsFound)) } else { Ok(chain) }
}

/// The names of the first of the chain: the others are those who vouch for it.
fn names(key: &CertifiedKey) -> Result<Vec<String>, TlsError> {
    let first = webpki::EndEntityCert::try_from(key.end_entity_cert()?)
        .map_err(|_| TlsError::InvalidCertificate(rustls::CertificateError::BadEncoding))?;
    Ok(first.valid_dns_names().map(str::to_ascii_lowercase).collect())
}

fn unread(path: &Path, what: &str, cause: pem::Error) -> Error {
    let said = format!("reading the {what} {}", path.display());
    match cause {
        pem::Error::Io(cause) => Error::io(said, cause),
        pem::Error::NoItemsFound if what == "key" => Error::user(format!("no key in {}", path.display()))
            .hint("PEM, and not encrypted: openssl pkey -in KEY -out PLAIN"),
        pem::Error::NoItemsFound => Error::user(format!("no certificate in {}", path.display()))
            .hint("PEM, the service's own first, then those that vouch for it"),
        cause => Error::user(said).because(cause).hint("PEM, as certificate authorities give it"),
    }
}

fn unfit(files: &CertificateFiles, cause: TlsError) -> Error {
    let CertificateFiles { cert, key } = files;
    let hint = if matches!(cause, TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)) {
        "they belong to different pairs; and the first certificate must be the service's own, not an authority's"
    } else {
        "keys are RSA, ECDSA or Ed25519; certificates of version 3"
    };
    Error::user(format!("{} and {} cannot be used", cert.display(), key.display())).because(cause).hint(hint)
}

/// What tells that a pair of files is another one than before: a file that was replaced has another number, one
/// that was written another time. None of one that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp([Option<(u64, u64, i64, i64)>; 2]);

impl Stamp {
    pub(super) fn of(files: &CertificateFiles) -> Self {
        Self([&files.cert, &files.key].map(|path| {
            let data = fs::metadata(path).ok()?;
            Some((data.ino(), data.len(), data.mtime(), data.mtime_nsec()))
        }))
    }
}
