//! `tsubo build`: a definition file from its folder to a package.

use crate::support::base::small;
use crate::support::{House, mode};

fn definition(house: &House, text: &str) -> String {
    let base = small(house);
    house.source("tsubo.toml", format!("name = \"app\"\nbase = \"{}\"\n{text}", base.display()));
    house.path("src").display().to_string()
}

#[test]
fn a_definition_is_built_tested_and_packed_in_one_go() {
    let house = House::new();
    house.source("site/index", "the site\n");
    house.source("single", "one file\n");
    let check = house.source("check.sh", "#!/bin/sh\ntest -n \"$TSUBO_PID\" && test -f tsubo.toml\n");
    mode(&check, 0o755);
    let folder = definition(
        &house,
        r#"
build = ["mkdir -p /srv/state", "echo built > /srv/built", "chown 1234 /srv/state"]
command = ["/bin/sh", "-c", "cat /srv/site/index /srv/one /srv/built; echo $GREETING; pwd; id -u; echo x > /srv/state/x; echo up; exec sleep 1000"]
environment = { GREETING = "hello" }
user = "ann"
workdir = "/srv"
ready = "log:^up$"
exercises = ["./check.sh"]
inside = ["cat /srv/state/x"]
volumes = ["/srv/state"]
stop_signal = "SIGINT"
closure = "exact"
keep = ["/usr/bin/ls"]
output = "out.tsubo"

[[copy]]
from = "site"
to = "/srv/site"

[[copy]]
from = "single"
to = "/srv/one"
"#,
    );
    house.ok(["build", &folder]);
    let file = house.path("src/out.tsubo").display().to_string();
    let spec = &house.contents(&file)["spec"];
    assert_eq!(spec["volumes"], serde_json::json!(["/srv/state"]));
    assert_eq!(spec["stop_signal"], 2);
    assert_eq!(spec["user"]["uid"], 1234);
    house.start("app", &file);
    let said = || house.ok_elsewhere(["logs", "app"]);
    crate::support::until("it is up", || said().contains("up\n"));
    assert_eq!(said(), "the site\none file\nbuilt\nhello\n/srv\n1234\nup\n");
    assert_eq!(house.ok_elsewhere(["exec", "app", "ls", "/srv/state"]), "x\n");
    // Once more, over what is there already.
    house.ok(["build", "--keep-dev", &folder]);
}

#[test]
fn a_build_command_that_fails_ends_the_build() {
    let house = House::new();
    let folder = definition(&house, "build = [\"exit 7\"]\ncommand = [\"true\"]\n");
    let complaint = house.fails(1, ["build", &folder]);
    assert!(complaint.contains("exit 7") && complaint.contains("code 7"), "{complaint}");
    assert!(!house.path("src/app.tsubo").exists());
}

#[test]
fn an_unknown_key_names_the_nearest() {
    let house = House::new();
    let folder = definition(&house, "command = [\"true\"]\nexercise = []\n");
    let complaint = house.fails(125, ["build", &folder]);
    assert!(complaint.contains("line 4") && complaint.contains("\"exercises\""), "{complaint}");
}
