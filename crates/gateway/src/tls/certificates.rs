//! Which certificate is for which name, and that a new file takes the place of an old one by itself.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use spec::Result;

use super::pair::{Pair, Stamp};
use crate::config::CertificateFiles;

/// The certificates of a gateway.
#[derive(Debug)]
pub struct Certificates {
    files: Vec<Watched>,
    shown: Arc<Shown>,
}

/// A pair of files, and what was last found in them.
#[derive(Debug)]
struct Watched {
    files: CertificateFiles,
    pair: Pair,
    stamp: Stamp,
    /// They were like this, and no good, a moment ago: whoever writes them may not have finished.
    doubt: Option<Stamp>,
}

impl Certificates {
    /// Reads all of them. The first is for whoever asks for a name that none is for, or for no name.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn load(files: &[CertificateFiles]) -> Result<Self> {
        let files = files.iter().map(Watched::new).collect::<Result<Vec<_>>>()?;
        let shown = Arc::new(Shown(RwLock::new(Arc::new(Table::of(&files)))));
        Ok(Self { files, shown })
    }

    /// Whoever asks this is always told of those that are used at that moment.
    pub fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::clone(&self.shown) as Arc<dyn ResolvesServerCert>
    }

    /// Looks whether files have changed: to be called each second. For each pair that has, the certificate that
    /// is used from now on; or, once, why the old one still is.
    pub fn refresh(&mut self) -> Vec<Result<PathBuf>> {
        let news: Vec<_> = self.files.iter_mut().filter_map(Watched::look).collect();
        if news.iter().any(Result::is_ok) {
            self.show();
        }
        news
    }

    /// Uses these from now on, for all who have the [`resolver`](Self::resolver).
    pub fn adopt(&mut self, others: Self) {
        self.files = others.files;
        self.show();
    }

    fn show(&self) {
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Table::of(&self.files));
    }
}

impl Watched {
    fn new(files: &CertificateFiles) -> Result<Self> {
        // Looked at before they are read: what changes in between is seen as a change afterwards.
        let stamp = Stamp::of(files);
        Ok(Self { files: files.clone(), pair: Pair::read(files)?, stamp, doubt: None })
    }

    fn look(&mut self) -> Option<Result<PathBuf>> {
        let stamp = Stamp::of(&self.files);
        if stamp == self.stamp {
            return None;
        }
        match Pair::read(&self.files) {
            Ok(pair) => {
                (self.pair, self.stamp, self.doubt) = (pair, stamp, None);
                Some(Ok(self.files.cert.clone()))
            }
            Err(error) if self.doubt == Some(stamp) => {
                (self.stamp, self.doubt) = (stamp, None);
                Some(Err(error))
            }
            Err(_) => {
                self.doubt = Some(stamp);
                None
            }
        }
    }
}

/// What is shown to clients. The lock is held for as long as it takes to count one more reference.
#[derive(Debug)]
struct Shown(RwLock<Arc<Table>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let table = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        let keys = table.find(hello.server_name());
        // A name may have one for old clients and one for new ones.
        keys.iter().find(fits).or_else(|| keys.first()).cloned()
    }
}

/// Certificates by name.
#[derive(Debug)]
struct Table {
    named: HashMap<String, Vec<Arc<CertifiedKey>>>,
    first: Vec<Arc<CertifiedKey>>,
}

impl Table {
    fn of(files: &[Watched]) -> Self {
        let mut named: HashMap<String, Vec<_>> = HashMap::new();
        for Pair { key, names } in files.iter().map(|one| &one.pair) {
            for name in names {
                named.entry(name.clone()).or_default().push(Arc::clone(key));
            }
        }
        let first = files.first().map(|one| Arc::clone(&one.pair.key));
        Self { named, first: first.into_iter().collect() }
    }

    /// Those for this name; an asterisk stands for one part of it.
    fn find(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let name = name.unwrap_or_default().to_ascii_lowercase();
        let of_domain =
            || name.split_once('.').and_then(|(_, domain)| self.named.get(&format!("*.{domain}")));
        self.named.get(&name).or_else(of_domain).unwrap_or(&self.first)
    }
}
