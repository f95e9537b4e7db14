//! Objects are shared between images, never within one.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use spec::ErrorKind;

use crate::support::{Forge, SWIFT, Tar, Yard, listing, quiet};

fn ino(path: &Path) -> u64 {
    path.metadata().expect("stat").ino()
}

fn package(marker: &str) -> Vec<u8> {
    let tar =
        Tar::default().file("a", b"same").file("b", b"same").hardlink("c", "a").file("d", b"").file("e", b"");
    Forge::package(&tar.file("marker", marker.as_bytes()).end()).bytes()
}

#[test]
fn images_share_files_and_names_of_one_image_do_not() {
    let yard = Yard::new();
    let one = yard.install(&package("one")).expect("installed");
    let two = yard.install(&package("two")).expect("installed");
    let of = |image: &tsubo_store::Image, name: &str| ino(&image.tree.join(name));
    assert_eq!(of(&one, "a"), of(&one, "c"), "hard links stay");
    assert_ne!(of(&one, "a"), of(&one, "b"), "equal files stay apart");
    assert_ne!(of(&one, "d"), of(&one, "e"), "empty ones too");
    for name in ["a", "b", "c", "d", "e"] {
        assert_eq!(of(&one, name), of(&two, name), "{name} is shared");
    }
    assert_ne!(of(&one, "marker"), of(&two, "marker"));
    assert_eq!(yard.left(), (6, 2, 0));
    let freed = yard.store.remove(&one).expect("removed");
    assert_eq!((freed.files, freed.bytes), (1, 3));
    yard.store.verify(&two).expect("untouched");
    let freed = yard.store.remove(&two).expect("removed");
    assert_eq!((freed.files, freed.bytes), (5, 11));
    assert_eq!(yard.left(), (0, 0, 0));
    assert_eq!(yard.store.remove(&two).expect_err("gone").kind(), ErrorKind::NotFound);
}

#[test]
fn large_files_are_shared_too() {
    let yard = Yard::new();
    let large = vec![1; 5 << 20];
    let package = |marker: &[u8]| {
        let tar = Tar::default().file("large", &large).file("other", &large).file("marker", marker);
        Forge::package(&tar.end()).bytes()
    };
    let one = yard.install(&package(b"1")).expect("installed");
    let two = yard.install(&package(b"2")).expect("installed");
    assert_eq!(ino(&one.tree.join("large")), ino(&two.tree.join("large")));
    assert_eq!(ino(&one.tree.join("other")), ino(&two.tree.join("other")));
    assert_ne!(ino(&one.tree.join("large")), ino(&one.tree.join("other")));
    assert_eq!(yard.left(), (4, 2, 0));
    assert_eq!(listing(&one.tree).len(), 4);
}

#[test]
fn names_and_digests_find_images() {
    let yard = Yard::new();
    let one = yard.install(&package("one")).expect("installed");
    let two = yard.install(&package("two")).expect("installed");
    let found = |name: &str| yard.store.image(name).expect(name).digest;
    assert_eq!(found("web"), two.digest, "the last one bears the name");
    assert_eq!(found(&one.digest.to_string()), one.digest);
    assert_eq!(found(&one.digest.short()), one.digest);
    assert_eq!(found(&one.digest.hex()[..6]), one.digest);
    let missing = |name: &str| yard.store.image(name).expect_err(name).kind();
    for name in [&one.digest.hex()[..5], "nothing", "", "../objects", "sha256:"] {
        assert_eq!(missing(name), ErrorKind::NotFound, "{name}");
    }
    // Installing it again gives it the name back.
    let again = yard.install(&package("one")).expect("installed");
    assert_eq!((again.digest, again.tree.clone()), (one.digest, one.tree.clone()));
    assert_eq!(found("web"), one.digest);
    assert_eq!(yard.store.images().expect("listed").len(), 2);
    assert_eq!(yard.left().1, 2);
}

#[test]
fn an_object_with_all_its_links_used_is_made_anew() {
    let yard = Yard::new();
    let one = yard.install(&package("one")).expect("installed");
    let links = yard.path("links");
    std::fs::create_dir(&links).expect("mkdir");
    for number in 0..60_000 {
        std::fs::hard_link(one.tree.join("a"), links.join(number.to_string())).expect("link");
    }
    let two = yard.install(&package("two")).expect("installed");
    assert_ne!(ino(&one.tree.join("a")), ino(&two.tree.join("a")));
    let three = yard.install(&package("three")).expect("installed");
    assert_eq!(ino(&two.tree.join("a")), ino(&three.tree.join("a")), "the new one is shared from now on");
    yard.store.verify(&three).expect("intact");
}

#[test]
fn an_object_that_lost_its_content_in_a_power_cut_is_replaced() {
    let yard = Yard::new();
    let one = yard.install(&package("one")).expect("installed");
    // As ext4 leaves a file whose data was never written: right in all but its size.
    std::fs::File::options()
        .write(true)
        .open(one.tree.join("a"))
        .expect("open")
        .set_len(0)
        .expect("truncate");
    let error = yard.store.verify(&one).expect_err("damaged");
    assert!(error.chain().contains("2 paths: /a, /c"), "{error:?}");
    let two = yard.install(&package("two")).expect("installed");
    assert_eq!(std::fs::read(two.tree.join("a")).expect("read"), b"same");
    yard.store.verify(&two).expect("intact");
}

#[test]
fn verify_sees_every_kind_of_change() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 6] = [
        ("/b", |tree| std::fs::write(tree.join("b"), "else").expect("write")),
        ("/d", |tree| drop(std::fs::remove_file(tree.join("d")))),
        ("/new", |tree| std::fs::write(tree.join("new"), "").expect("write")),
        ("/marker", |tree| std::os::unix::fs::chown(tree.join("marker"), Some(5), None).expect("chown")),
        ("/e", |tree| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(tree.join("e"), mode).expect("chmod");
        }),
        ("/", |tree| {
            let value = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(tree, "user.x", b"y", value).expect("setxattr");
        }),
    ];
    for (path, change) in changes {
        let yard = Yard::new();
        yard.install(&package("one")).expect("installed");
        let image = yard.store.image("web").expect("image");
        change(&image.tree);
        let error = yard.store.verify(&image).expect_err(path);
        assert!(error.chain().contains(path), "{path}: {error:?}");
    }
}

#[test]
fn an_overlay_over_an_image_keeps_equal_files_apart() {
    let yard = Yard::new();
    let image = yard.install(&package("one")).expect("installed");
    for index in ["off", "on"] {
        let dirs = ["upper", "work", "merged"].map(|name| yard.path(&format!("{name}-{index}")));
        dirs.iter().for_each(|dir| std::fs::create_dir(dir).expect("mkdir"));
        let [upper, work, merged] = dirs;
        let script = r#"mount -t overlay -o "lowerdir=$1,upperdir=$2,workdir=$3,index=$5" o "$4" || exit 77
            echo changed > "$4/a"; cat "$4/b"; cp "$4/a" "$4/d"; cat "$4/e""#;
        let mut command = std::process::Command::new("unshare");
        command
            .args(["-m", "sh", "-c", script, "sh"])
            .arg(&image.tree)
            .args([upper, work, merged])
            .arg(index);
        let done = command.output().expect("unshare");
        if done.status.code() == Some(77) {
            println!("SKIPPED: no overlay with index={index}: {}", String::from_utf8_lossy(&done.stderr));
            continue;
        }
        assert_eq!(
            (done.stdout.as_slice(), done.stderr.as_slice()),
            (&b"same"[..], &b""[..]),
            "index={index}"
        );
    }
    yard.store.verify(&image).expect("untouched");
    yard.store.install(&yard.path("x.tsubo"), SWIFT, &quiet).expect("again");
}

#[test]
fn a_damaged_record_stands_in_nobodys_way() {
    let yard = Yard::new();
    let whole = yard.install(&package("whole")).expect("installed");
    let broken = yard.install(&package("broken")).expect("installed");
    for content in [Some("{ torn"), None] {
        let record = broken.dir.join("image.json");
        match content {
            Some(content) => std::fs::write(&record, content).expect("damaged"),
            None => std::fs::remove_file(&record).expect("damaged"),
        }
        assert_eq!(yard.store.images().expect("listed"), std::slice::from_ref(&whole));
        assert_eq!(yard.store.image(whole.name.as_str()).expect("found").digest, whole.digest);
        let damaged = yard.store.damaged().expect("listed");
        assert_eq!((damaged.len(), damaged[0].digest, &damaged[0].tree), (1, broken.digest, &broken.tree));
        let inode = ino(&broken.tree);
        let again = yard.install(&package("broken")).expect("installed in its place");
        assert_eq!((again.digest, ino(&again.tree)), (broken.digest, inode), "a whole tree stays");
        assert!(yard.store.damaged().expect("listed").is_empty());
        assert_eq!(yard.left(), (6, 2, 0));
    }
}

#[test]
fn a_damaged_image_is_replaced_or_removed() {
    let yard = Yard::new();
    let broken = yard.install(&package("broken")).expect("installed");
    std::fs::write(broken.dir.join("image.json"), "").expect("damaged");
    std::fs::remove_file(broken.tree.join("d")).expect("damaged");
    let again = yard.install(&package("broken")).expect("installed in its place");
    yard.store.verify(&again).expect("whole again");
    assert_eq!(yard.left(), (5, 1, 0));
    std::fs::write(again.dir.join("image.json"), "").expect("damaged");
    let damaged = yard.store.damaged_image(&again.digest.short()).expect("listed").expect("found");
    let freed = yard.store.remove_damaged(&damaged).expect("removed");
    assert_eq!((freed.files, yard.left()), (5, (0, 0, 0)));
    assert!(yard.store.damaged_image(&again.digest.short()).expect("listed").is_none());
}
