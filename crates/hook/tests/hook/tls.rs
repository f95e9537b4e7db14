//! `https`: whom a hook believes.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::{failure, fire, inside};

/// A server with a certificate, which ends with us.
struct Server(Child, u16);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

const MAKE: &str = "set -e
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout ca.key -out ca.pem -subj /CN=own-ca \\
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign
for name in localhost other.example; do
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $name.key -out $name.csr -subj /CN=$name
    printf 'subjectAltName=DNS:%s\\nbasicConstraints=CA:FALSE\\n' $name > $name.ext
    openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile $name.ext -out $name.pem
done
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout x.key -out x.pem -subj /CN=another-ca \\
    -addext basicConstraints=critical,CA:TRUE";

fn serve(folder: &Path, name: &str) -> Server {
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("address").port();
    let child = Command::new("openssl")
        .args(["s_server", "-quiet", "-www", "-accept", &format!("127.0.0.1:{port}")])
        .args(["-cert", &format!("{name}.pem"), "-key", &format!("{name}.key")])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl");
    let server = Server(child, port);
    for _ in 0..500 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return server;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("nobody listens");
}

#[test]
fn a_server_is_believed_whom_the_operator_lets_somebody_vouch_for() {
    let folder = tempfile::tempdir().expect("folder");
    let made = Command::new("sh").args(["-c", MAKE]).current_dir(folder.path()).output();
    let Ok(made) =
        made.map(|made| (made.status.success(), String::from_utf8_lossy(&made.stderr).into_owned()))
    else {
        return println!("SKIPPED: no shell");
    };
    if !made.0 {
        return println!("SKIPPED: openssl makes no certificates here: {}", made.1);
    }
    let (own, other) = (serve(folder.path(), "localhost"), serve(folder.path(), "other.example"));
    let asks = |port: u16, ca: Option<&str>| {
        let url = format!("https://localhost:{port}/");
        let mut firing = inside(&format!("local r = http.get('{url}') log(r.status, #r.body > 0)"));
        firing["allow"] = json!({ "http": [url] });
        if let Some(ca) = ca {
            firing["allow"]["ca"] = json!(folder.path().join(ca));
        }
        firing
    };
    assert_eq!(fire(&asks(own.1, Some("ca.pem")))["log"], json!(["200 true"]));
    for (firing, wanted) in [
        (asks(own.1, None), "certificate"),
        (asks(own.1, Some("x.pem")), "certificate"),
        (asks(other.1, Some("ca.pem")), "certificate"),
        (asks(own.1, Some("none.pem")), "hooks.allow.ca: "),
        (asks(own.1, Some("ca.key")), "no certificate in it"),
    ] {
        let why = failure(&firing);
        assert!(why.starts_with("hooks.luau:2: ") && why.contains(wanted), "{why}");
    }
}
