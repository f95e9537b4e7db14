//! Real first messages, cut in every way, and what is none.

use std::sync::Arc;

use proptest::prelude::*;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;
use crate::tls::provider;

/// What a client sends first.
fn hello(name: &'static str) -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let config =
        config.expect("versions").with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let name = ServerName::try_from(name).expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("bytes");
    bytes
}

/// The same message in records of so many bytes each.
fn in_records(hello: &[u8], each: usize) -> Vec<u8> {
    let record = |part: &[u8]| [&hello[..3], &(part.len() as u16).to_be_bytes(), part].concat();
    hello[5..].chunks(each).flat_map(record).collect()
}

fn complete(name: &str) -> Greeting {
    Greeting::Complete { name: Some(name.to_owned()) }
}

#[test]
fn the_name_is_known_when_all_of_it_has_come() {
    let bytes = hello("Shop.Example");
    for end in 0..bytes.len() {
        assert_eq!(greeting(&bytes[..end]), Greeting::More, "{end}");
    }
    assert_eq!(greeting(&bytes), complete("shop.example"));
    assert_eq!(greeting(&[bytes, vec![0; 40_000]].concat()), complete("shop.example"));
}

#[test]
fn who_asks_for_an_address_names_nobody() {
    assert_eq!(greeting(&hello("192.0.2.1")), Greeting::Complete { name: None });
}

#[test]
fn pieces_of_any_size_make_the_same() {
    let bytes = hello("shop.example");
    for records in [1, 2, 7, 50, 4000] {
        let bytes = in_records(&bytes, records);
        for pieces in [1, 3, 100, 5000] {
            let mut reader = Reader::default();
            let said: Vec<_> = bytes.chunks(pieces).map(|piece| reader.push(piece)).collect();
            assert_eq!(said.last(), Some(&complete("shop.example")), "{records} {pieces}");
            assert_eq!(reader.push(b"more"), complete("shop.example"));
        }
    }
}

#[test]
fn what_is_none_is_known_to_be_none() {
    let mut alert = hello("shop.example");
    alert[0] = 0x15;
    let mut other = hello("shop.example");
    other[5] = 2;
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), b"SSH-2.0-x\r\n".to_vec(), vec![0; 64], alert, other] {
        assert_eq!(greeting(&bytes), Greeting::None, "{bytes:?}");
    }
}

#[test]
fn one_without_end_is_given_up() {
    // A message that says it has 16 MB, in records of ten bytes.
    let mut endless = vec![1, 0xff, 0xff, 0xff];
    endless.resize(100_000, 0);
    let bytes = in_records(&[&hello("shop.example")[..5], &endless].concat(), 10);
    let mut reader = Reader::default();
    let mut taken = 0;
    for piece in bytes.chunks(100) {
        taken += piece.len();
        if reader.push(piece) == Greeting::None {
            break;
        }
    }
    assert!(taken <= LONGEST + 100, "{taken}");
}

proptest! {
    #[test]
    fn garbage_is_never_a_name(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let named = matches!(greeting(&bytes), Greeting::Complete { .. });
        prop_assert!(!named);
    }

    #[test]
    fn a_changed_byte_harms_nobody(at in 0..200_usize, byte in any::<u8>()) {
        let mut bytes = hello("shop.example");
        bytes[at] = byte;
        greeting(&bytes);
    }
}
