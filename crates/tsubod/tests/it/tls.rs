//! TLS: ended here, or passed on.

use std::process::Command;

use crate::support::gateway::{Gateway, service_of, write_config};
use crate::support::{House, have, nginx, port, until};

/// Writes a certificate of our own for `name` as `NAME.cert` and `NAME.key`.
fn certificate(house: &House, file: &str, name: &str) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
    std::fs::write(house.path(&format!("{file}.key")), made.key_pair.serialize_pem()).expect("write");
    std::fs::write(house.path(&format!("{file}.cert")), made.cert.pem()).expect("write");
}

/// What curl says of `https://NAME:PORT/a`, where it trusts only the certificate in `file`.
fn secure(house: &House, file: &str, name: &str, port: u16) -> std::process::Output {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--max-time", "20", "-w", " %{http_version}", "--resolve"]);
    curl.arg(format!("{name}:{port}:127.0.0.1")).arg("--cacert").arg(house.path(&format!("{file}.cert")));
    curl.arg(format!("https://{name}:{port}/a")).output().expect("curl")
}

#[test]
fn tls_is_ended_here_or_passed_on_by_its_name() {
    if !have(&["nginx", "curl"]) {
        return;
    }
    let house = House::new();
    certificate(&house, "front", "front.test");
    certificate(&house, "inside", "inside.test");
    let ssl = "ssl_certificate /etc/cert; ssl_certificate_key /etc/key;";
    nginx::write(&house, &format!("server {{ listen 127.0.0.1:80; listen 127.0.0.1:443 ssl; {ssl} }}"));
    let (plain, secured) = (port(), port());
    // The same package twice: as one that is spoken to, and as one that speaks TLS itself.
    let front = service_of("nginx", "hosts = [\"front.test\"]", "port = 80");
    let inside = service_of("nginx", "sni = [\"inside.test\"]", "port = 443\nprotocol = \"tcp\"");
    let inside = inside.replace("[service.nginx", "[service.inside");
    let top = format!("https = [\"127.0.0.1:{secured}\"]");
    let certificates = "[[certificate]]\ncert = \"front.cert\"\nkey = \"front.key\"\n";
    write_config(&house, plain, &top, &format!("{certificates}{front}{inside}"));
    let gateway = Gateway::start(&house, plain);
    let asked = |file, name| {
        let output = secure(&house, file, name, secured);
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        format!("{out}{error}")
    };
    assert_eq!(asked("front", "front.test"), "page a\n 2");
    assert_eq!(asked("inside", "inside.test"), "page a\n 1.1", "nginx itself has spoken");
    assert_eq!((gateway.stages("nginx").len(), gateway.stages("inside").len()), (1, 1));

    // Other files, and nobody is asked to look at them.
    std::fs::rename(house.path("front.cert"), house.path("old.cert")).expect("rename");
    certificate(&house, "front", "front.test");
    until("the new certificate is used", || asked("front", "front.test") == "page a\n 2");
    assert!(!secure(&house, "old", "front.test", secured).status.success());
    // What is no certificate changes nothing.
    std::fs::write(house.path("front.key"), "nonsense").expect("write");
    until("it was told of", || gateway.log().contains("a certificate stays as it was"));
    assert_eq!(asked("front", "front.test"), "page a\n 2");
}
