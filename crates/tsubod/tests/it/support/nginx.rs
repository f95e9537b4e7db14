//! nginx as a service.

use super::package::of_folder;
use super::{House, base};

/// nginx as a package whose servers are `servers`.
pub fn write(house: &House, servers: &str) {
    let folder = base::with(house, &["/usr/sbin/nginx"]);
    // Its places to write are there beforehand: the root is not to be written to.
    for dir in ["body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        std::fs::create_dir_all(folder.join("var/lib/nginx").join(dir)).expect("mkdir");
    }
    for dir in ["var/log/nginx", "srv/site"] {
        std::fs::create_dir_all(folder.join(dir)).expect("mkdir");
    }
    std::fs::write(folder.join("srv/site/a"), "page a\n").expect("write");
    std::fs::create_dir(folder.join("srv/site/shop.Shop")).expect("mkdir");
    std::fs::write(folder.join("srv/site/shop.Shop/Ask"), b"\0\0\0\0\x02hi").expect("write");
    for end in ["cert", "key"] {
        let from = house.path(&format!("inside.{end}"));
        if from.exists() {
            std::fs::copy(from, folder.join("etc").join(end)).expect("copy");
        }
    }
    let conf = format!(
        "daemon off; master_process off; user root root; pid /dev/shm/n.pid; error_log stderr;\nevents {{}}\n\
         http {{ access_log off; root /srv/site; {servers} }}\n"
    );
    std::fs::write(folder.join("etc/nginx.conf"), conf).expect("write");
    of_folder(house, "nginx", &folder, &["/usr/bin/nginx", "-c", "/etc/nginx.conf"]);
}
