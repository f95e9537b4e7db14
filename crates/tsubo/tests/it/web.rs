//! nginx over this host's own root: what an exercise did not touch works by default, and is not
//! there at exact.

use std::path::Path;

use crate::support::{House, get, have, port, until_listening};

const HOST: &str = "host";

/// A development container with nginx, two pages, an error page elsewhere and an included server.
fn nginx(house: &House) -> (u16, u16) {
    let (first, second) = (port(), port());
    house.source("a.html", "page A\n");
    house.source("b.html", "page B\n");
    house.source("lost.html", "nothing here\n");
    house.source(
        "nginx.conf",
        "daemon off; pid /run/web.pid; error_log stderr;\nevents {}\nhttp { access_log off; include /srv/web/servers/*.conf; }\n",
    );
    house.source(
        "one.conf",
        format!(
            "server {{ listen 127.0.0.1:{first}; root /srv/web/site; error_page 404 /lost.html;\n\
             location = /lost.html {{ root /srv/web/errors; internal; }} }}\n"
        ),
    );
    house.source("two.conf", format!("server {{ listen 127.0.0.1:{second}; root /srv/web/other; }}\n"));
    house.source("other.html", "the other server\n");
    house.dev(
        "web",
        Path::new(HOST),
        "cd /srv; mkdir -p web/servers web/site web/errors web/other
         cp /src/nginx.conf web; cp /src/one.conf /src/two.conf web/servers; cp /src/a.html /src/b.html web/site
         cp /src/lost.html web/errors; cp /src/other.html web/other/index.html",
    );
    let exercise = format!("curl -sf http://127.0.0.1:{first}/a.html");
    let ready = format!("tcp:{first}");
    house.ok([
        "test",
        "web",
        "--ready",
        &ready,
        "--exercise",
        &exercise,
        "--",
        "nginx",
        "-c",
        "/srv/web/nginx.conf",
    ]);
    (first, second)
}

#[test]
fn nginx_serves_by_default_what_the_exercise_did_not_ask_for() {
    if !have(&["nginx", "curl"]) {
        return;
    }
    let house = House::new();
    let (first, second) = nginx(&house);
    let file = house.pack("web", "package");
    house.start("web", &file);
    until_listening(first);
    assert_eq!(get(first, "/a.html"), (200, "page A\n".to_owned()));
    assert_eq!(get(first, "/b.html"), (200, "page B\n".to_owned()));
    assert_eq!(get(first, "/no-such-page"), (404, "nothing here\n".to_owned()));
    assert_eq!(get(second, "/"), (200, "the other server\n".to_owned()));
    house.ok_elsewhere(["stop", "web"]);
    let ended = house.json_elsewhere(["inspect", "web"]);
    assert_eq!(ended["state"]["exit_code"], 0, "{ended:#}");
}

#[test]
fn nginx_at_exact_serves_what_was_asked_for_and_no_more() {
    if !have(&["nginx", "curl"]) {
        return;
    }
    let house = House::new();
    let (first, _) = nginx(&house);
    let file = house.pack("web", "exact");
    let contents = house.contents(&file);
    let kept = &contents["kept"];
    assert!(kept["/srv/web/site/a.html"].is_object() && kept["/srv/web/site/b.html"].is_null(), "{kept:#}");
    assert!(kept["/srv/web/errors/lost.html"].is_null());
    assert!(contents["files"].as_u64().expect("files") < 60, "{contents:#}");
    assert!(contents["base_bytes"].as_u64() > contents["bytes"].as_u64());
    for key in ["packed_bytes", "base_files", "distribution_packages", "cut"] {
        assert!(!contents[key].is_null(), "{key}");
    }
    house.start("web", &file);
    until_listening(first);
    assert_eq!(get(first, "/a.html"), (200, "page A\n".to_owned()));
    assert_eq!(get(first, "/b.html").0, 404);
    let inspected = house.json_elsewhere(["inspect", "web"]);
    assert_eq!(inspected["state"]["running"], true);
    assert_eq!(inspected["spec"]["root"].as_object().map(|root| root.len()), Some(1), "{inspected:#}");
}
