//! Archives that grow.

use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::json;
use spec::ErrorKind;
use tsubo_store::{import, package};

use crate::support::{Forge, Tar, Yard, quiet};

/// A tar header for a file of `size` zeros, and the zeros, compressed as they are made.
fn bomb(size: u64) -> Vec<u8> {
    let head = Tar::default().file("zeros", b"").header(|header| header.set_size(size)).0;
    let stream = head.as_slice().chain(std::io::repeat(0).take(size.next_multiple_of(512) + 1024));
    zstd::encode_all(stream, 1).expect("zstd")
}

fn package_of(layer: Vec<u8>, declared: Option<u64>) -> Vec<u8> {
    let mut forge = Forge::package(b"");
    forge.layers = vec![layer];
    forge.labels["io.tsuboniwa.size"] = json!(declared.map(|size| size.to_string()));
    if declared.is_none() {
        forge.labels.as_object_mut().expect("an object").remove("io.tsuboniwa.size");
    }
    forge.bytes()
}

#[test]
fn attack_46_a_layer_that_grows_beyond_its_declared_size() {
    let yard = Yard::new();
    let error = yard.install(&package_of(bomb(64 << 20), Some(1 << 20))).expect_err("a bomb");
    assert!(error.chain().contains("more than the 1048576 bytes"), "{error:?}");
    assert_eq!((error.kind(), yard.left()), (ErrorKind::User, (0, 0, 0)));
}

#[test]
fn attack_46_a_layer_that_declares_100_gigabytes() {
    let yard = Yard::new();
    let bytes = package_of(bomb(1 << 20), Some(100 << 30));
    let started = Instant::now();
    let error = yard.install(&bytes).expect_err("a bomb");
    assert!(error.chain().contains("declares 107374182400 bytes"), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!((error.kind(), yard.left()), (ErrorKind::User, (0, 0, 0)));
}

#[test]
fn attack_46_a_layer_that_grows_a_thousandfold_and_says_nothing() {
    let yard = Yard::new();
    let layer = bomb(600 << 20);
    assert!(layer.len() < 100_000, "{}", layer.len());
    let bytes = package_of(layer, None);
    let error = yard.install(&bytes).expect_err("a bomb");
    assert!(error.chain().contains("more than the 268435456 bytes"), "{error:?}");
    assert_eq!((error.kind(), yard.left()), (ErrorKind::User, (0, 0, 0)));
    std::fs::write(yard.path("bomb.tsubo"), &bytes).expect("write");
    package::read_info(&yard.path("bomb.tsubo")).expect_err("looking is as safe as installing");
}

#[test]
fn attack_46_packed_tars_that_grow_are_not_imported() {
    let yard = Yard::new();
    let size = 600 << 20;
    let head = Tar::default().file("zeros", b"").header(|header| header.set_size(size)).0;
    let stream = head.as_slice().chain(std::io::repeat(0).take(size + 1024));
    let mut gzip = Vec::new();
    flate2_read(stream, &mut gzip);
    for (name, bytes) in [("bomb.tar.gz", gzip), ("bomb.tar.zst", bomb(size))] {
        std::fs::write(yard.path(name), bytes).expect("write");
        let error = import::unpack(&yard.path(name), &yard.path("root"), &quiet).expect_err("a bomb");
        assert!(error.chain().contains("unpacks to more than"), "{error:?}");
        assert!(!yard.path("root").exists());
    }
}

fn flate2_read(stream: impl Read, into: &mut Vec<u8>) {
    let mut encoder = flate2::read::GzEncoder::new(stream, flate2::Compression::best());
    encoder.read_to_end(into).expect("gzip");
}

#[test]
fn attack_46_a_window_of_two_gigabytes_is_refused() {
    let yard = Yard::new();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("zstd");
    encoder.window_log(31).expect("a window");
    std::io::Write::write_all(&mut encoder, &Tar::default().file("x", b"x").end()).expect("write");
    let error =
        yard.install(&package_of(encoder.finish().expect("zstd"), None)).expect_err("too much memory");
    assert_eq!((error.kind(), yard.left()), (ErrorKind::User, (0, 0, 0)));
    assert!(error.chain().to_lowercase().contains("memory") || error.chain().contains("indow"), "{error:?}");
}
