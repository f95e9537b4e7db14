//! Any tree comes out of a package as it went in.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};

use crate::support::{SWIFT, Yard, listing, pack, quiet};

#[derive(Debug, Clone)]
enum Node {
    Dir(Vec<(Vec<u8>, Node)>, Look),
    File(Vec<u8>, Look),
    Symlink(Vec<u8>, Look),
    /// One more name for the first file of the tree.
    Link,
    Fifo(Look),
}

#[derive(Debug, Clone)]
struct Look {
    mode: u32,
    owner: (u32, u32),
    time: (i64, i64),
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

fn look() -> impl Strategy<Value = Look> {
    let id = || prop_oneof![Just(0), 0..u32::MAX];
    // What ext4 can hold: 1901 to 2446.
    let time = (-2_000_000_000_i64..15_000_000_000, prop_oneof![Just(0), 0_i64..1_000_000_000]);
    let name = vec(1_u8..=255, 1..20).prop_map(|name| [b"user.", name.as_slice()].concat());
    let xattrs = btree_map(name, vec(any::<u8>(), 0..50), 0..3);
    (0_u32..0o10000, (id(), id()), time, xattrs).prop_map(|(mode, owner, time, xattrs)| Look {
        mode,
        owner,
        time,
        xattrs,
    })
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(b'a'), Just(b'\n'), Just(b'\\'), Just(0xff_u8), (1_u8..=255)];
    let any = vec(byte.prop_filter("a slash", |byte| *byte != b'/'), 1..120);
    any.prop_filter("reserved", |name| name != b"." && name != b".." && !name.starts_with(b".wh."))
}

fn node() -> impl Strategy<Value = Node> {
    let target = vec(1_u8..=255, 1..200);
    let leaf = prop_oneof![
        4 => (vec(any::<u8>(), 0..2000), look()).prop_map(|(content, look)| Node::File(content, look)),
        1 => (target, look()).prop_map(|(target, look)| Node::Symlink(target, look)),
        2 => Just(Node::Link),
        1 => look().prop_map(Node::Fifo),
    ];
    leaf.prop_recursive(4, 40, 8, |inner| {
        (vec((name(), inner), 0..8), look()).prop_map(|(children, look)| Node::Dir(children, look))
    })
}

/// Makes `node` at `path`; `first` is the first file made.
fn make(node: &Node, path: &Path, first: &mut Option<PathBuf>) {
    match node {
        Node::Dir(children, look) => {
            std::fs::create_dir(path).expect("mkdir");
            for (name, child) in children {
                let path = path.join(OsStr::from_bytes(name));
                if path.symlink_metadata().is_err() {
                    make(child, &path, first);
                }
            }
            dress(path, look, false);
        }
        Node::File(content, look) => {
            std::fs::write(path, content).expect("write");
            dress(path, look, false);
            first.get_or_insert_with(|| path.to_owned());
        }
        Node::Symlink(target, look) => {
            std::os::unix::fs::symlink(OsStr::from_bytes(target), path).expect("symlink");
            dress(path, look, true);
        }
        Node::Link => {
            if let Some(first) = first {
                std::fs::hard_link(first, path).expect("link");
            }
        }
        Node::Fifo(look) => {
            rustix::fs::mkfifoat(CWD, path, Mode::RUSR).expect("mkfifo");
            let bare = Look { xattrs: BTreeMap::new(), ..look.clone() };
            dress(path, &bare, false);
        }
    }
}

fn dress(path: &Path, look: &Look, symlink: bool) {
    let follow = AtFlags::SYMLINK_NOFOLLOW;
    let (uid, gid) = (Uid::from_raw(look.owner.0), Gid::from_raw(look.owner.1));
    rustix::fs::chownat(CWD, path, Some(uid), Some(gid), follow).expect("chown");
    if !symlink {
        rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(look.mode), AtFlags::empty()).expect("chmod");
        for (name, value) in &look.xattrs {
            rustix::fs::setxattr(path, name.as_slice(), value, XattrFlags::empty()).expect("setxattr");
        }
    }
    let time = Timespec { tv_sec: look.time.0, tv_nsec: look.time.1 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, follow).expect("utimensat");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back_as_it_was(children in vec((name(), node()), 0..12), root in look()) {
        let yard = Yard::new();
        let base = yard.path("base");
        make(&Node::Dir(children, root), &base, &mut None);
        pack(&base, &yard.path("web.tsubo"));
        let image = yard.store.install(&yard.path("web.tsubo"), SWIFT, &quiet).expect("installed");
        prop_assert_eq!(listing(&base), listing(&image.tree));
        yard.store.verify(&image).expect("intact");
        yard.store.remove(&image).expect("removed");
        prop_assert_eq!(yard.left(), (0, 0, 0));
    }
}
