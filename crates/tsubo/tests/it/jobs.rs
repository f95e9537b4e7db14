//! Programs that end by themselves: what they print says whether the package has all they need.

use crate::support::base::{compile, small};
use crate::support::{House, have};

/// Makes `app` from the small base by `script`, tests the command, packs it at both levels, runs it
/// elsewhere: each time it must print the same.
#[track_caller]
fn same_everywhere(house: &House, script: &str, command: &[&str]) -> [String; 2] {
    house.dev("app", &small(house), script);
    house.test_job("app", command);
    let expected = house.ok(["dev", "app", "--"].iter().chain(command));
    ["exact", "package"].map(|closure| {
        let file = house.pack("app", closure);
        assert_eq!(house.run(&file, &[]), expected, "at {closure}");
        house.ok_elsewhere(["rmi", "app"]);
        file
    })
}

#[test]
fn a_shell_script_runs_from_its_package() {
    let house = House::new();
    house.source("hello.sh", "#!/bin/sh\n. /srv/lib.sh\ncat /srv/text | sort\nsay done\n");
    house.source("lib.sh", "say() { echo \"$@\"; }\n");
    house.source("text", "b\na\n");
    let files = same_everywhere(&house, "cp /src/* /srv/; chmod +x /srv/hello.sh", &["/srv/hello.sh"]);
    let contents = house.contents(&files[0]);
    for path in ["/srv/hello.sh", "/srv/lib.sh", "/srv/text", "/usr/bin/cat", "/usr/bin/sort", "/usr/bin/sh"]
    {
        assert!(contents["kept"][path].is_object(), "{path} in {contents:#}");
    }
    assert!(contents["kept"]["/usr/bin/mount"].is_null());
}

#[test]
fn a_static_program_is_a_package_of_one_file() {
    if !have(&["gcc"]) {
        return;
    }
    let house = House::new();
    compile(&house, "hello", "#include <stdio.h>\nint main(){puts(\"static\");}", &["-static"]);
    let files = same_everywhere(&house, "cp /src/hello /srv/hello", &["/srv/hello"]);
    assert_eq!(house.contents(&files[0])["files"], 1);
}
