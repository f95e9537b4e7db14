//! The story that the README tells, word for word but for the installation: nginx as the
//! distribution ships it, on port 80.

use std::path::Path;

use crate::support::wires::Wires;
use crate::support::{House, get, have, until_listening};

#[test]
fn nginx_as_it_is_shipped_goes_from_development_to_another_machine() {
    if !have(&["nginx", "curl"]) || !Path::new("/etc/nginx/nginx.conf").exists() {
        return;
    }
    let _wires = Wires::new();
    let house = House::new().with_what_is_usual();
    house.source("index.html", "the start\n");
    house.source("more.html", "and more\n");
    house.dev("web", Path::new("host"), "cp /src/*.html /var/www/html/; nginx -t 2>&1");
    let service = ["--", "nginx", "-g", "daemon off;"];
    let exercise = "curl -sf http://127.0.0.1:80/ > /dev/null";
    house.ok(["test", "web", "--ready", "tcp:80", "--exercise", exercise].iter().chain(&service));
    let file = house.pack("web", "package");
    let contents = house.contents(&file);
    assert!(contents["files"].as_u64() < contents["base_files"].as_u64());
    assert_eq!(contents["spec"]["ports"][0]["port"], 80);
    assert_eq!(house.ok_elsewhere(["run", "-d", "--name", "web", &file]), "web\n");
    until_listening(80);
    assert_eq!(get(80, "/"), (200, "the start\n".to_owned()));
    assert_eq!(get(80, "/more.html"), (200, "and more\n".to_owned()));
    assert_eq!(get(80, "/nothing").0, 404);
    assert!(house.ok_elsewhere(["ps"]).contains("web"));
    house.ok_elsewhere(["exec", "web", "nginx", "-t"]);
    house.ok_elsewhere(["exec", "web", "nginx", "-s", "reload"]);
    assert_eq!(get(80, "/").0, 200);
    let log = house.ok_elsewhere(["path", "web"]);
    let log = Path::new(log.trim()).join("var/log/nginx/access.log");
    assert!(std::fs::read_to_string(log).expect("the access log").contains("/more.html"));
    house.ok_elsewhere(["stop", "web"]);
    assert_eq!(house.json_elsewhere(["inspect", "web"])["state"]["exit_code"], 0);
    house.ok_elsewhere(["rm", "web"]);
}
