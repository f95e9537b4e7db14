//! Certificate authorities: who talks to one TLS server may talk to another.

use super::super::scene::Scene;
use super::super::selection::Selection;

/// Where programs look for authorities. /etc/ssl/openssl.cnf is not among them: OpenSSL reads it
/// whenever it is loaded, and most who load it never verify anybody.
const TOUCHED: [&str; 9] = [
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/usr/lib/ssl/certs",
    "/usr/lib/ssl/cert.pem",
    "/etc/ca-certificates.conf",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/etc/pki/tls",
    "/etc/pki/ca-trust",
];
const KEPT: [&str; 4] =
    ["/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted"];

pub(super) fn apply(scene: &Scene<'_>, selection: &mut Selection<'_>) {
    if TOUCHED.iter().any(|path| scene.touched(path)) {
        // Most are symlinks; what they lead to comes along.
        KEPT.iter().for_each(|directory| super::keep_directory(selection, directory));
        super::keep_files(selection, &["/usr/lib/ssl/certs", "/usr/lib/ssl/cert.pem"]);
    }
}
