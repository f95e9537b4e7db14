//! How long it takes to be let in: `cargo test -p tsubo-lifecycle --lib -- --ignored --nocapture
//! how_long`. Measured, never asserted.

use std::time::Instant;

use spec::{Id, Promise};

use super::{Answer, Bounds, Entry, FILE, Ledger};
use crate::ledger::slot::boot_tag;
use crate::pinned::{Pinned, boot_id};

#[test]
#[ignore = "a measurement"]
fn how_long_it_takes_to_be_let_in() {
    for count in [0_u64, 1, 100, 1000, 10_000] {
        let dir = tempfile::tempdir().expect("dir");
        let ledger = Ledger { path: dir.path().join(FILE) };
        let promise = Promise { memory: 1, tasks: 1, disk: 0, cpu: 1 };
        let entry = |number: u64| {
            let bytes = number.to_le_bytes();
            let id = [bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], 1];
            Entry { id: Id::from_bytes(id), promise, keeper: Pinned { pid: 1, start: 1 }, boot: 1 }
        };
        ledger.replace(&(0..count).map(entry).collect::<Vec<_>>()).expect("filled");
        let (mut let_in, mut let_go, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        let bounds = Bounds::of_host(None);
        for round in 0..300 {
            let new = entry(1 << 32 | round);
            let clock = Instant::now();
            assert_eq!(ledger.promise(&new, Some(&bounds)).expect("an answer"), Answer::Promised);
            let_in.push(clock.elapsed());
            let clock = Instant::now();
            ledger.release(new.id).expect("released");
            let_go.push(clock.elapsed());
            // All that a start does: it asks, then is let in; with the boot, the keeper's own start, and the host's room.
            let clock = Instant::now();
            let boot = boot_tag(&boot_id().expect("a boot"));
            let keeper = Pinned::of(std::process::id() as i32).expect("self");
            let answer = ledger.ask(new.id, promise, &Bounds::of_host(None)).expect("an answer");
            assert_eq!(answer, Answer::Promised);
            let bounds = Bounds::of_host(None);
            ledger.promise(&Entry { boot, keeper, ..new }, Some(&bounds)).expect("an answer");
            whole.push(clock.elapsed());
            ledger.release(new.id).expect("released");
        }
        let median = |times: &mut Vec<_>| {
            times.sort();
            times[times.len() / 2]
        };
        let (let_in, let_go, whole) = (median(&mut let_in), median(&mut let_go), median(&mut whole));
        println!("{count} promises: let in {let_in:?}, let go {let_go:?}; the whole of a start {whole:?}");
    }
}
