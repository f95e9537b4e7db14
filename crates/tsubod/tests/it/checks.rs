//! `tsubo gateway check`: mistakes are told before anybody is served.

use crate::support::gateway::{command, service, write_config};
use crate::support::{House, package};

fn check(house: &House) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(command(house).get_program());
    command.arg("--root").arg(house.root()).arg("check").arg(house.path("gateway.toml"));
    let output = command.output().expect("spawn");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn what_is_there_is_fine() {
    let house = House::new();
    package::write(&house, "one");
    std::fs::write(house.path("scale.luau"), "return function(seen) return seen.wanted end").expect("write");
    write_config(&house, 8080, "", &service("web", "\"*\"", "policy = \"scale.luau\"", ""));
    let (code, said) = check(&house);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn what_is_missing_is_told_all_at_once() {
    let house = House::new();
    package::write(&house, "one");
    std::fs::write(house.path("scale.luau"), "return function(seen) return seen.wanted +").expect("write");
    let services = [
        service("gone", "\"a.test\"", "", "").replace("./web.tsubo", "./gone.tsubo"),
        service("unknown", "\"b.test\"", "", "").replace("./web.tsubo", "nobody"),
        service("scripted", "\"c.test\"", "policy = \"scale.luau\"", ""),
        service("lonely", "", "", ""),
        service("secret", "", "sni = [\"d.test\"]", ""),
    ];
    let certificate = "[[certificate]]\ncert = \"none.pem\"\nkey = \"none.key\"\n";
    write_config(&house, 8080, "", &(certificate.to_owned() + &services.concat()));
    let (code, said) = check(&house);
    assert_eq!(code, Some(125), "{said}");
    for part in [
        "certificate: ",
        "none.pem",
        "service gone: opening ",
        "service unknown: there is no image nobody",
        "service scripted: ",
        "scale.luau:1:",
        "service lonely: nothing leads to it",
        "service secret: nobody listens",
        "6 mistakes",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}
