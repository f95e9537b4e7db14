//! Clients that shake hands with us, over certificates made for the occasion.

use std::path::{Path, PathBuf};
use std::{fs, io};

use rcgen::{CertifiedKey, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, ServerConnection, SignatureScheme};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::certificates::Certificates;
use super::client_hello::Greeting;
use super::rewound::Rewound;
use super::*;
use crate::config::CertificateFiles;

/// A directory of pairs.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    /// Writes a new pair for these names over whatever is there; its certificate.
    fn write(&self, file: &str, names: &[&str]) -> CertificateDer<'static> {
        let CertifiedKey { cert, key_pair } = made(names);
        self.put(file, &cert.pem(), &key_pair.serialize_pem());
        cert.der().clone()
    }

    fn put(&self, file: &str, cert: &str, key: &str) {
        let CertificateFiles { cert: cert_file, key: key_file } = self.files(file);
        replace(&cert_file, cert);
        replace(&key_file, key);
    }

    fn files(&self, file: &str) -> CertificateFiles {
        let path = |end| self.0.path().join(format!("{file}.{end}"));
        CertificateFiles { cert: path("pem"), key: path("key") }
    }
}

/// As careful programs do it: the file of this name is another one afterwards.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("written");
    fs::rename(new, path).expect("renamed");
}

fn made(names: &[&str]) -> CertifiedKey {
    let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    rcgen::generate_simple_self_signed(names).expect("a certificate")
}

/// Trusts whoever has the key of the certificate that it shows, and understands these signatures.
#[derive(Debug)]
struct Trusting(Vec<SignatureScheme>);

fn known() -> WebPkiSupportedAlgorithms {
    provider().signature_verification_algorithms
}

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &known())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &known())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

/// Moves bytes between the two until both have said what they have to say.
fn shake_hands(
    config: &Arc<ServerConfig>,
    name: &str,
    protocols: &[&[u8]],
    schemes: Vec<SignatureScheme>,
) -> Result<ClientConnection, rustls::Error> {
    let client = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let client = client.dangerous().with_custom_certificate_verifier(Arc::new(Trusting(schemes)));
    let mut client = client.with_no_client_auth();
    client.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(Arc::clone(config))?;
    while client.is_handshaking() || server.is_handshaking() {
        pass(|to| client.write_tls(to), |from| server.read_tls(from));
        server.process_new_packets()?;
        pass(|to| server.write_tls(to), |from| client.read_tls(from));
        client.process_new_packets()?;
    }
    Ok(client)
}

fn pass(
    write: impl FnOnce(&mut dyn io::Write) -> io::Result<usize>,
    read: impl FnOnce(&mut dyn io::Read) -> io::Result<usize>,
) {
    let mut bytes = Vec::new();
    write(&mut bytes).expect("to memory");
    read(&mut bytes.as_slice()).expect("from memory");
}

/// Whose certificate is shown to who asks for this name.
fn shown(config: &Arc<ServerConfig>, name: &str) -> CertificateDer<'static> {
    let client = shake_hands(config, name, &[], known().supported_schemes()).expect("a handshake");
    client.peer_certificates().expect("certificates")[0].clone()
}

fn loaded(files: &[CertificateFiles]) -> (Certificates, Arc<ServerConfig>) {
    let certificates = Certificates::load(files).expect("certificates");
    let config = server_config(certificates.resolver()).expect("a configuration");
    (certificates, config)
}

#[test]
fn each_name_has_its_certificate() {
    let place = Place::new();
    let first = place.write("first", &["first.example"]);
    let shop = place.write("shop", &["shop.example", "WWW.shop.example"]);
    let all = place.write("all", &["*.shop.example"]);
    let (_, config) = loaded(&["first", "shop", "all"].map(|file| place.files(file)));
    for (name, expected) in [
        ("first.example", &first),
        ("shop.example", &shop),
        ("Www.Shop.Example", &shop),
        ("a.shop.example", &all),
        ("a.b.shop.example", &first),
        ("unknown.example", &first),
        ("192.0.2.1", &first),
    ] {
        assert_eq!(shown(&config, name), *expected, "{name}");
    }
}

#[test]
fn the_second_version_is_spoken_where_the_client_can() {
    let place = Place::new();
    place.write("a", &["a.example"]);
    let (_, config) = loaded(&[place.files("a")]);
    let spoken = |protocols: &[&[u8]]| {
        let client = shake_hands(&config, "a.example", protocols, known().supported_schemes())?;
        Ok::<_, rustls::Error>(client.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(spoken(&[b"http/1.1", b"h2"]), Ok(Some(b"h2".to_vec())));
    assert_eq!(spoken(&[b"http/1.1"]), Ok(Some(b"http/1.1".to_vec())));
    assert_eq!(spoken(&[]), Ok(None));
    assert!(spoken(&[b"smtp"]).is_err());
}

#[test]
fn without_any_certificate_nobody_is_answered() {
    let (_, config) = loaded(&[]);
    assert!(shake_hands(&config, "a.example", &[], known().supported_schemes()).is_err());
}

#[test]
fn old_clients_are_shown_what_they_understand() {
    let place = Place::new();
    let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
    let params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).expect("names");
    let cert = params.self_signed(&pair).expect("a certificate");
    place.put("new", &cert.pem(), &pair.serialize_pem());
    let old = place.write("old", &["a.example"]);
    let (_, config) = loaded(&["new", "old"].map(|file| place.files(file)));
    assert_eq!(shown(&config, "a.example"), *cert.der());
    let schemes = vec![SignatureScheme::ECDSA_NISTP256_SHA256];
    let client = shake_hands(&config, "a.example", &[], schemes).expect("a handshake");
    assert_eq!(client.peer_certificates().expect("certificates"), [old]);
}

#[test]
fn a_chain_is_shown_as_a_whole() {
    let place = Place::new();
    let CertifiedKey { cert, key_pair } = made(&["a.example"]);
    let authority = made(&["authority.example"]).cert;
    let chain = format!("# a remark\n{}{}", cert.pem(), authority.pem());
    // All of it may be in one file.
    let all = chain + &key_pair.serialize_pem();
    place.put("a", &all, &all);
    let (_, config) = loaded(&[place.files("a")]);
    let client = shake_hands(&config, "a.example", &[], known().supported_schemes()).expect("a handshake");
    assert_eq!(
        client.peer_certificates().expect("certificates"),
        [cert.der().clone(), authority.der().clone()]
    );
}

#[test]
fn keys_may_be_of_the_older_forms() {
    let place = Place::new();
    for (cert, key) in [
        (include_str!("tests/ec.pem"), include_str!("tests/ec.key")),
        (include_str!("tests/rsa.pem"), include_str!("tests/rsa.key")),
    ] {
        place.put("old", cert, key);
        let (_, config) = loaded(&[place.files("old")]);
        shown(&config, "old.example");
    }
}

#[test]
fn files_that_cannot_be_used_are_named_with_the_way_out() {
    let place = Place::new();
    let (one, other) = (made(&["a.example"]), made(&["a.example"]));
    let (cert, key) = (one.cert.pem(), one.key_pair.serialize_pem());
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    for (cert, key, said) in [
        (cert.as_str(), other.key_pair.serialize_pem().as_str(), "cannot be used"),
        (&cert, &encrypted, "no key in"),
        (&cert, &key[..key.len() / 2], "reading the key"),
        (&cert[..cert.len() / 2], &key, "reading the certificate"),
        (&cert, "", "no key in"),
        ("", &key, "no certificate in"),
        (&key, &key, "no certificate in"),
    ] {
        place.put("a", cert, key);
        let error = Certificates::load(&[place.files("a")]).expect_err(said);
        assert!(error.chain().contains(said) && error.chain().contains("a."), "{}", error.chain());
        assert!(!error.hints().is_empty(), "{said}");
    }
    let error = Certificates::load(&[place.files("missing")]).expect_err("no such file");
    assert_eq!(error.kind(), spec::ErrorKind::NotFound);
}

#[test]
fn a_new_file_takes_the_place_of_the_old_one() {
    let place = Place::new();
    place.write("a", &["a.example"]);
    place.write("b", &["b.example"]);
    let (mut certificates, config) = loaded(&["a", "b"].map(|file| place.files(file)));
    assert!(certificates.refresh().is_empty());
    let new = place.write("b", &["b.example", "c.example"]);
    let told: Vec<PathBuf> = certificates.refresh().into_iter().map(|told| told.expect("fine")).collect();
    assert_eq!(told, [place.files("b").cert]);
    assert_eq!((shown(&config, "b.example"), shown(&config, "c.example")), (new.clone(), new));
    assert!(certificates.refresh().is_empty());
}

#[test]
fn a_broken_file_leaves_the_old_one_and_is_told_of_once() {
    let place = Place::new();
    let old = place.write("a", &["a.example"]);
    let (mut certificates, config) = loaded(&[place.files("a")]);
    replace(&place.files("a").cert, "half of it");
    assert!(certificates.refresh().is_empty(), "whoever writes it may not have finished");
    let told = certificates.refresh();
    assert!(matches!(told.as_slice(), [Err(_)]));
    assert!(certificates.refresh().is_empty());
    assert_eq!(shown(&config, "a.example"), old);
    fs::remove_file(place.files("a").key).expect("removed");
    certificates.refresh();
    assert!(matches!(certificates.refresh().as_slice(), [Err(_)]));
    assert_eq!(shown(&config, "a.example"), old);
    let new = place.write("a", &["a.example"]);
    assert!(matches!(certificates.refresh().as_slice(), [Ok(_)]));
    assert_eq!(shown(&config, "a.example"), new);
}

#[test]
fn a_pair_that_is_written_one_after_the_other_is_not_complained_of() {
    let place = Place::new();
    place.write("a", &["a.example"]);
    let (mut certificates, config) = loaded(&[place.files("a")]);
    let CertifiedKey { cert, key_pair } = made(&["a.example"]);
    replace(&place.files("a").cert, &cert.pem());
    assert!(certificates.refresh().is_empty());
    replace(&place.files("a").key, &key_pair.serialize_pem());
    assert!(matches!(certificates.refresh().as_slice(), [Ok(_)]));
    assert_eq!(shown(&config, "a.example"), *cert.der());
}

#[test]
fn others_take_their_place_without_a_new_configuration_of_tls() {
    let place = Place::new();
    place.write("a", &["a.example"]);
    let (mut certificates, config) = loaded(&[place.files("a")]);
    let new = place.write("b", &["a.example"]);
    certificates.adopt(Certificates::load(&[place.files("b")]).expect("fine"));
    assert_eq!(shown(&config, "a.example"), new);
    let newer = place.write("b", &["a.example"]);
    assert!(matches!(certificates.refresh().as_slice(), [Ok(_)]));
    assert_eq!(shown(&config, "a.example"), newer);
}

/// A client that shakes hands and says something; what it is answered.
async fn client_asks(stream: tokio::io::DuplexStream) -> io::Result<String> {
    let trusting = Arc::new(Trusting(known().supported_schemes()));
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let config = config.expect("versions").dangerous().with_custom_certificate_verifier(trusting);
    let name = ServerName::try_from("a.example").expect("a name");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config.with_no_client_auth()));
    let mut stream = connector.connect(name, stream).await?;
    stream.write_all(b"hello").await?;
    stream.shutdown().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn who_was_read_to_be_looked_at_is_served_all_the_same() {
    let place = Place::new();
    place.write("a", &["a.example"]);
    let (_, config) = loaded(&[place.files("a")]);
    // A few bytes at a time: nothing depends on how they come.
    let (ours, theirs) = tokio::io::duplex(50);
    let serve = async {
        let (stream, greeting) = Rewound::greeted(ours).await?;
        assert_eq!(greeting, Greeting::Complete { name: Some("a.example".to_owned()) });
        let mut stream = tokio_rustls::TlsAcceptor::from(config).accept(stream).await?;
        let mut asked = String::new();
        stream.read_to_string(&mut asked).await?;
        stream.write_all(asked.to_uppercase().as_bytes()).await?;
        stream.shutdown().await
    };
    let (served, answer) = tokio::join!(serve, client_asks(theirs));
    served.expect("served");
    assert_eq!(answer.expect("an answer"), "HELLO");
}

#[tokio::test]
async fn what_is_passed_on_is_what_was_sent() {
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    theirs.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
    theirs.shutdown().await.expect("closed");
    let (mut stream, greeting) = Rewound::greeted(ours).await.expect("read");
    assert_eq!(greeting, Greeting::None);
    let mut all = String::new();
    stream.read_to_string(&mut all).await.expect("the same");
    assert_eq!(all, "GET / HTTP/1.1\r\n\r\n");
    let (ours, theirs) = tokio::io::duplex(64);
    drop(theirs);
    let error = Rewound::greeted(ours).await.map(|_| ()).expect_err("nobody there");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}
