//! What it says, and to whom.

use crate::house::{House, SMALL, json};

#[test]
fn what_cannot_be_audited_is_125_and_nothing_is_left() {
    let Some(house) = House::new() else { return };
    let cases: [&[&str]; 5] = [
        &["--only", "nothing"],
        &["no-such-image"],
        &["--no-such-flag"],
        &["--preset", "nothing"],
        &["-m", "much"],
    ];
    for args in cases {
        let output = house.audit(args).output().expect("audit");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{args:?}: {said}");
        assert!(said.starts_with("error:") && !said.contains("panicked"), "{args:?}: {said}");
    }
    assert!(!house.root().join("audit").exists());
    let listed = house.audit(&["--list"]).output().expect("list");
    assert!(listed.status.success() && String::from_utf8_lossy(&listed.stdout).lines().count() > 90);
}

#[test]
fn the_shape_of_json_and_a_picture() {
    let Some(house) = House::new() else { return };
    let mut args = vec!["--quick", "--only", "memfd,mount", "--format", "json", "--html", "audit.html"];
    args.extend(SMALL);
    let output = house.audit(&args).output().expect("audit");
    let value = json(&output);
    assert_eq!(
        (output.status.code(), value["held"].as_bool(), value["runtime"].as_str()),
        (Some(0), Some(true), Some("tsubo"))
    );
    let row = &value["attacks"][0];
    assert_eq!(
        (row["name"].as_str(), row["resource"].as_str(), row["unit"].as_str()),
        (Some("memfd"), Some("memory"), Some("bytes"))
    );
    assert!(row["got"].as_u64().is_some_and(|got| got > 1 << 20) && row["mend"].is_null(), "{row}");
    let during = &row["neighbour"]["requests"]["during"];
    assert!(during["count"].as_u64().is_some() && during["p99"].as_u64().is_some(), "{row}");
    let page = std::fs::read_to_string(house.dir.path().join("audit.html")).expect("a page");
    assert!(page.contains("<svg") && page.contains("memfd") && page.contains("prefers-color-scheme"));
}

#[test]
fn the_definition_here_says_where_its_package_is() {
    let Some(house) = House::new() else { return };
    let package = house.package("other/web.tsubo", "web", false);
    for output in [package.to_string_lossy().as_ref(), "other/web.tsubo", "./other/web.tsubo"] {
        let definition = format!("name = \"web\"\ncommand = [\"/x\"]\noutput = {output:?}\n");
        std::fs::write(house.dir.path().join("tsubo.toml"), definition).expect("write");
        let (verdicts, _) = house.verdicts("mount", &SMALL);
        assert_eq!(verdicts["mount"], "held", "{output}");
    }
    // Computed, it says the same.
    std::fs::remove_file(house.dir.path().join("tsubo.toml")).expect("remove");
    let text =
        "local c = tsubo.container('web')\nc.command = { '/x' }\nc.output = 'other/' .. c.name .. '.tsubo'";
    std::fs::write(house.dir.path().join("tsubo.luau"), text).expect("write");
    let (verdicts, _) = house.verdicts("mount", &SMALL);
    assert_eq!(verdicts["mount"], "held", "a definition that computes");
    std::fs::remove_file(package).expect("remove");
    let output = house.audit(&["--only", "mount"]).output().expect("audit");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(125) && said.contains("tsubo build makes it"), "{said}");
}
