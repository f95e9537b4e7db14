//! What running containers are promised of their host, so that no start breaks it: a small file in
//! the run directory, with a slot of fixed size for each container. To ask a thousand containers
//! what they use would take longer than to start one; to read a thousand slots takes microseconds.
//!
//! A container that is promised nothing has no slot, and its start never looks here. A slot goes when
//! its container ends; those that were left (a keeper that was killed, a reboot) are looked for only
//! when somebody would be refused because of them.

mod admission;
mod bounds;
mod capacity;
#[cfg(test)]
mod measure;
mod slot;

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use spec::{Error, Id, Promise, Result, ResultExt};

use crate::Home;

pub use admission::Room;
pub(crate) use admission::{Asking, admit, foresee, settle};
use bounds::Shortage;
pub use bounds::{Bounds, Kind};
pub use capacity::{Capacity, Each, Row};
pub use slot::Entry;
use slot::SLOT;

/// In the run directory.
const FILE: &str = "promises";

/// How long somebody may write one slot.
const PATIENCE: Duration = Duration::from_secs(2);

/// The promises of a state directory.
#[derive(Debug, Clone)]
pub struct Ledger {
    path: PathBuf,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It is written.
    Promised,
    /// It would be more than there is; nothing is written.
    Short(Shortage),
    /// Something in the file was not written by us; nothing is written.
    Damaged,
}

/// What the ledger says to one who asks.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    /// To others.
    promised: Promise,
    /// So many.
    others: usize,
    /// To himself, so far.
    before: Promise,
    /// The number of his slot.
    place: usize,
}

impl Ledger {
    /// That of `home`.
    pub fn of(home: &Home) -> Self {
        Self { path: home.run().join(FILE) }
    }

    /// That of the container with this run directory.
    pub(crate) fn beside(run: &Path) -> Self {
        Self { path: run.ancestors().nth(2).unwrap_or(run).join(FILE) }
    }

    /// All promises, also of those that have gone without a word.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>> {
        let Some(open) = self.open(false)? else { return Ok(Vec::new()) };
        let bytes = open.read().doing(|| self.doing())?;
        Ok(slots(&bytes).filter_map(|slot| slot::entry(slot).ok()?).collect())
    }

    /// Writes a promise down, in place of the container's own one before, unless it would be more
    /// than `bounds` have.
    fn promise(&self, entry: &Entry, bounds: Option<&Bounds>) -> Result<Answer> {
        let Some(open) = self.open(true)? else { return Ok(Answer::Promised) };
        open.promise(entry, bounds).doing(|| self.doing())
    }

    /// What would be said to a promise; nothing is written.
    fn ask(&self, id: Id, promise: Promise, bounds: &Bounds) -> Result<Answer> {
        let Some(open) = self.open(false)? else { return Ok(bounds.answer(promise, &Sum::default())) };
        let sum = open.sum(id).doing(|| self.doing())?;
        Ok(sum.map_or(Answer::Damaged, |sum| bounds.answer(promise, &sum)))
    }

    /// Forgets a container; gone already is as good.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn release(&self, id: Id) -> Result<()> {
        self.forget(&|entry| entry.id == id)
    }

    /// Forgets those containers.
    fn forget(&self, gone: &dyn Fn(&Entry) -> bool) -> Result<()> {
        let Some(open) = self.open(false)? else { return Ok(()) };
        open.forget(gone).doing(|| self.doing())
    }

    /// Writes it anew: these are all that are promised anything.
    fn replace(&self, all: &[Entry]) -> Result<()> {
        let Some(open) = self.open(true)? else { return Ok(()) };
        let bytes: Vec<u8> = all.iter().flat_map(Entry::bytes).collect();
        open.0.set_len(0).and_then(|()| open.0.write_all_at(&bytes, 0)).doing(|| self.doing())
    }

    fn doing(&self) -> String {
        format!("keeping {}", self.path.display())
    }

    /// The file, to ourselves; None if there is none and none is to be made.
    fn open(&self, make: bool) -> Result<Option<Open>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(make).truncate(false).mode(0o600);
        let file = match options.open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound && !make => return Ok(None),
            file => file.doing(|| self.doing())?,
        };
        let end = Instant::now() + PATIENCE;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Open(file))),
                Err(Errno::WOULDBLOCK) if Instant::now() < end => {
                    std::thread::sleep(Duration::from_micros(50));
                }
                Err(Errno::WOULDBLOCK) => return Err(self.busy()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(std::io::Error::from(errno)).doing(|| self.doing()),
            }
        }
    }

    fn busy(&self) -> Error {
        let by = crate::lock::holder(&self.path).map_or_else(String::new, |pid| format!(" by process {pid}"));
        Error::conflict(format!("{} is held{by}", self.path.display()))
            .hint("nobody holds it for longer than a moment: is that process stopped?")
    }
}

/// The file, which nobody else reads or writes meanwhile.
struct Open(File);

impl Open {
    fn read(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.0.metadata()?.len() as usize];
        let mut read = 0;
        while read < bytes.len() {
            match self.0.read_at(&mut bytes[read..], read as u64)? {
                0 => break,
                more => read += more,
            }
        }
        bytes.truncate(read);
        Ok(bytes)
    }

    fn write(&self, number: usize, slot: &[u8; SLOT]) -> std::io::Result<()> {
        self.0.write_all_at(slot, (number * SLOT) as u64)
    }

    fn promise(&self, entry: &Entry, bounds: Option<&Bounds>) -> std::io::Result<Answer> {
        let Some(sum) = self.sum(entry.id)? else { return Ok(Answer::Damaged) };
        let answer = bounds.map_or(Answer::Promised, |bounds| bounds.answer(entry.promise, &sum));
        if answer == Answer::Promised {
            self.write(sum.place, &entry.bytes())?;
        }
        Ok(answer)
    }

    /// All but one's own; None where the file is damaged.
    fn sum(&self, id: Id) -> std::io::Result<Option<Sum>> {
        let bytes = self.read()?;
        let (mut sum, mut own, mut free) = (Sum::default(), None, None);
        for (number, slot) in slots(&bytes).enumerate() {
            match slot::entry(slot) {
                Ok(Some(entry)) if entry.id == id => {
                    own = Some(number);
                    sum.before = entry.promise;
                }
                Ok(Some(other)) => {
                    sum.promised = sum.promised.plus(other.promise);
                    sum.others += 1;
                }
                Ok(None) => free = free.or(Some(number)),
                Err(_) => return Ok(None),
            }
        }
        sum.place = own.or(free).unwrap_or(bytes.len() / SLOT);
        Ok(Some(sum))
    }

    fn forget(&self, gone: &dyn Fn(&Entry) -> bool) -> std::io::Result<()> {
        let bytes = self.read()?;
        let mut end = 0;
        for (number, slot) in slots(&bytes).enumerate() {
            match slot::entry(slot) {
                Ok(None) => {}
                Ok(Some(entry)) if gone(&entry) => self.write(number, &[0; SLOT])?,
                // What is damaged is found by whoever is refused.
                Ok(Some(_)) | Err(_) => end = number + 1,
            }
        }
        // What is free at the end is given back.
        if end * SLOT < bytes.len() { self.0.set_len((end * SLOT) as u64) } else { Ok(()) }
    }
}

/// The end of a slot that was never finished is nobody's.
fn slots(bytes: &[u8]) -> impl Iterator<Item = &[u8; SLOT]> {
    bytes.chunks_exact(SLOT).filter_map(<[u8]>::first_chunk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pinned::Pinned;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("dir"))
        }

        fn ledger(&self) -> Ledger {
            Ledger { path: self.0.path().join(FILE) }
        }

        fn size(&self) -> u64 {
            self.0.path().join(FILE).metadata().expect("the file").len()
        }
    }

    fn entry(number: u8, memory: u64) -> Entry {
        let keeper = Pinned { pid: 1, start: 0 };
        Entry {
            id: Id::from_bytes([number; 6]),
            promise: Promise { memory, ..Promise::default() },
            keeper,
            boot: 7,
        }
    }

    fn bounds(memory: u64) -> Bounds {
        Bounds { memory, tasks: 100, disk: 0 }
    }

    #[test]
    fn no_more_is_promised_than_there_is() {
        let place = Place::new();
        let ledger = place.ledger();
        assert_eq!(ledger.entries().expect("none").len(), 0);
        let bounds = bounds(100);
        let ask = |number, memory| ledger.promise(&entry(number, memory), Some(&bounds)).expect("an answer");
        assert_eq!(ask(1, 60), Answer::Promised);
        let Answer::Short(short) = ask(2, 50) else { panic!("it was promised") };
        assert_eq!((short.promised, short.missing, short.others), (60, 10, 1));
        assert_eq!(ask(2, 40), Answer::Promised);
        // One's own is not in one's own way, and who wants less is never refused.
        assert_eq!(ask(2, 30), Answer::Promised);
        assert_eq!(ledger.promise(&entry(3, 500), None).expect("forced"), Answer::Promised);
        assert_eq!(ask(2, 20), Answer::Promised);
        assert!(matches!(ask(2, 21), Answer::Short(_)));
        assert!(matches!(ask(4, 1), Answer::Short(_)));
        // Who wants nothing of what is short is let in.
        let tasks = Entry { promise: Promise { tasks: 5, ..Promise::default() }, ..entry(5, 0) };
        assert_eq!(ledger.promise(&tasks, Some(&bounds)).expect("an answer"), Answer::Promised);
    }

    #[test]
    fn slots_are_used_again_and_given_back() {
        let place = Place::new();
        let ledger = place.ledger();
        for number in 1..=5 {
            ledger.promise(&entry(number, 1), None).expect("written");
        }
        assert_eq!(place.size(), 5 * SLOT as u64);
        ledger.release(entry(2, 0).id).expect("released");
        ledger.release(entry(9, 0).id).expect("never there");
        ledger.promise(&entry(6, 1), None).expect("written");
        assert_eq!(place.size(), 5 * SLOT as u64);
        ledger.forget(&|entry| entry.id >= Id::from_bytes([3; 6])).expect("forgotten");
        assert_eq!(place.size(), SLOT as u64);
        assert_eq!(ledger.entries().expect("one"), [entry(1, 1)]);
        ledger.release(entry(1, 0).id).expect("released");
        assert_eq!(place.size(), 0);
    }

    #[test]
    fn damage_is_told_from_promises() {
        let place = Place::new();
        let ledger = place.ledger();
        ledger.promise(&entry(1, 60), None).expect("written");
        let file = OpenOptions::new().write(true).open(&ledger.path).expect("the file");
        file.write_all_at(&[9], 20).expect("damage");
        let answer = ledger.promise(&entry(2, 1), Some(&bounds(100))).expect("an answer");
        assert_eq!(answer, Answer::Damaged);
        ledger.replace(&[entry(1, 60)]).expect("made anew");
        // Half a slot at the end is none.
        file.write_all_at(&[9; 20], SLOT as u64).expect("half a slot");
        let answer = ledger.promise(&entry(2, 1), Some(&bounds(100))).expect("an answer");
        assert_eq!(answer, Answer::Promised);
        assert_eq!(ledger.entries().expect("two").len(), 2);
    }

    #[test]
    fn many_at_once_never_get_more_than_there_is() {
        let place = Place::new();
        let ledger = place.ledger();
        let bounds = bounds(100);
        let ask = |number: u8| {
            let (ledger, bounds) = (&ledger, &bounds);
            move || ledger.promise(&entry(number, 10), Some(bounds)).expect("an answer") == Answer::Promised
        };
        let got = std::thread::scope(|scope| {
            let all: Vec<_> = (1..=24).map(|number| scope.spawn(ask(number))).collect();
            all.into_iter().filter_map(|one| one.join().ok()).filter(|got| *got).count()
        });
        assert_eq!((got, ledger.entries().expect("ten").len()), (10, 10));
    }
}
