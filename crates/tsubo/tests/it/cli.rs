//! The command line itself.

use crate::support::House;
use crate::support::base::small;

#[test]
fn without_arguments_it_shows_the_way() {
    let house = House::new();
    let help = crate::support::succeed(std::process::Command::new(env!("CARGO_BIN_EXE_tsubo")));
    let places: Vec<_> =
        ["tsubo dev", "tsubo test", "tsubo pack", "tsubo run"].map(|verb| help.find(verb)).into();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{help}");
    drop(house);
}

#[test]
fn the_help_of_every_verb_has_an_example() {
    let house = House::new();
    let help = house.ok(["--help"]);
    let verbs: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .map_while(|line| line.strip_prefix("  ")?.split_whitespace().next())
        .collect();
    assert!(verbs.len() > 15, "{verbs:?}");
    for verb in verbs {
        let help = house.ok([verb, "--help"]);
        assert!(help.contains(&format!("tsubo {verb}")) && help.contains("Example"), "{verb}: {help}");
    }
}

#[test]
fn what_is_generated_is_whole() {
    let house = House::new();
    let schema = house.json(["generate", "schema"]);
    assert!(schema["properties"]["exercises"].is_object());
    assert!(house.ok(["generate", "bash"]).contains("tsubo"));
    assert!(house.ok(["generate", "man"]).contains("tsubo"));
}

#[test]
fn info_tells_what_this_host_can_do() {
    let house = House::new();
    assert!(house.json(["info", "--format", "json"]).is_object());
    assert!(house.ok(["info"]).lines().count() > 5);
}

#[test]
fn the_same_test_makes_the_same_package() {
    let house = House::new();
    house.dev("app", &small(&house), "true");
    house.test_job("app", &["/bin/sh", "-c", "ls / > /dev/null"]);
    let digest = |file: &str| house.contents(file)["digest"].clone();
    let first = digest(&house.pack("app", "exact"));
    assert_eq!(first, digest(&house.pack("app", "exact")));
    assert_ne!(first, digest(&house.pack("app", "package")));
}

#[test]
fn images_are_found_by_name_and_digest_and_share_what_is_equal() {
    let house = House::new();
    let base = small(&house);
    std::fs::write(base.join("srv/big"), vec![7; 3 << 20]).expect("write");
    house.dev("app", &base, "true");
    house.dev("other", &base, "true");
    for name in ["app", "other"] {
        house.test_job(name, &["/bin/sh", "-c", "cat /srv/big > /dev/null; echo ran"]);
        let file = house.pack(name, "exact");
        house.ok_elsewhere(["install", &file]);
        house.ok_elsewhere(["install", &file]);
    }
    let images = house.json_elsewhere(["images", "--format", "json"]);
    assert_eq!(images.as_array().map(Vec::len), Some(2), "{images:#}");
    let inode = |name: &str| {
        std::os::unix::fs::MetadataExt::ino(
            &std::fs::metadata(house.tree(name).join("srv/big")).expect("stat"),
        )
    };
    assert_eq!(inode("app"), inode("other"));
    let digest =
        house.json_elsewhere(["inspect", "--image", "app"])["digest"].as_str().expect("digest").to_owned();
    assert_eq!(house.ok_elsewhere(["run", "--rm", &digest]), "ran\n");
    assert_eq!(house.ok_elsewhere(["run", "--rm", &digest[7..19]]), "ran\n");
    house.ok_elsewhere(["rmi", "app"]);
    assert_eq!(house.ok_elsewhere(["run", "--rm", "other"]), "ran\n");
}

#[test]
fn development_containers_are_listed_and_removed() {
    let house = House::new();
    house.dev("app", &small(&house), "true");
    let rows = house.json(["ps", "-a", "--format", "json"]);
    assert_eq!((rows[0]["name"].as_str(), rows[0]["stage"].as_str()), (Some("app"), Some("development")));
    assert!(house.json(["inspect", "--dev", "app"])["record"].is_object());
    house.fails(125, ["dev", "app", "--from", "/usr", "--", "true"]);
    house.ok(["rm", "--dev", "app"]);
    assert_eq!(house.json(["ps", "-a", "--format", "json"]), serde_json::json!([]));
    assert!(!house.here().join("dev/app").exists());
}
