//! What is noted of requests: figures of each service, and lines of an access log.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use spec::Result;

use crate::account::line::{Entry, Format};
use crate::account::log::AccessLog;

/// So often lines are written.
const OFTEN: Duration = Duration::from_millis(200);

/// The access log, if there is one.
#[derive(Default)]
pub(crate) struct Log(RefCell<Option<(PathBuf, AccessLog)>>);

impl Log {
    /// The log of that file, opened if it is another one than before.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub(crate) fn prepare(&self, path: Option<&Path>) -> Result<Option<AccessLog>> {
        let same = self.0.borrow().as_ref().map(|(path, _)| path.clone()).as_deref() == path;
        path.filter(|_| !same).map(|path| AccessLog::open(path, format_of(path), None)).transpose()
    }

    /// From now on lines go there.
    pub(crate) fn take(&self, path: Option<&Path>, fresh: Option<AccessLog>) {
        match (path, fresh) {
            (Some(path), Some(fresh)) => *self.0.borrow_mut() = Some((path.to_owned(), fresh)),
            (Some(_same), None) => {}
            (None, _) => *self.0.borrow_mut() = None,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.borrow().is_some()
    }

    pub(crate) fn note(&self, entry: &Entry<'_>) {
        if let Some((_, log)) = &mut *self.0.borrow_mut() {
            log.note(entry);
        }
    }

    /// Begins the file of that name anew.
    pub(crate) fn reopen(&self) {
        if let Some((_, log)) = &mut *self.0.borrow_mut()
            && let Err(error) = log.reopen()
        {
            eprintln!("the access log stays as it is: {}", error.chain());
        }
    }

    pub(crate) fn flush(&self) {
        if let Some((_, log)) = &mut *self.0.borrow_mut() {
            log.flush();
        }
    }

    /// Lines that could not be written.
    pub(crate) fn lost(&self) -> u64 {
        self.0.borrow().as_ref().map_or(0, |(_, log)| log.lost())
    }
}

/// The ending tells how lines are written.
fn format_of(path: &Path) -> Format {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("json" | "jsonl") => Format::Json,
        _ => Format::Combined,
    }
}

/// Writes what was noted, for ever.
pub(crate) async fn write(front: Rc<crate::door::Front>) {
    loop {
        tokio::time::sleep(OFTEN).await;
        front.log.flush();
    }
}
