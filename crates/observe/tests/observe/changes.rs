//! What a run wrote, told from the overlay's upper directory.

use std::collections::BTreeMap;

use spec::RootPath;
use spec::observation::Written;
use tsubo_observe::{Opens, written};

use crate::harness::Case;

fn changed(case: &Case, script: &str) -> BTreeMap<String, Written> {
    case.run(&["/bin/sh", "-ec", script]);
    let found = written(&case.upper(), &case.lower(""), &RootPath::root()).expect("told");
    let ours = found.into_iter().map(|(path, what)| (path.to_string(), what));
    ours.filter(|(path, _)| path.starts_with("/t/")).collect()
}

#[test]
fn every_kind_of_change() {
    let case = Case::new(Opens::Listener);
    case.file("/t/same", "x").file("/t/changed", "x").file("/t/gone", "x").file("/t/moved", "xyz");
    case.file("/t/touched/inside", "x").file("/t/full/a", "x").file("/t/full/b", "x").file("/t/mode/x", "");
    let script = "cat /t/same; echo more >> /t/changed; rm /t/gone; mv /t/moved /t/there; mkdir /t/new;
        echo 12345 > /t/new/file; touch /t/touched/x; rm /t/touched/x; rm -r /t/full; mkdir /t/full;
        echo y > /t/full/b; chmod 700 /t/mode";
    let found = changed(&case, script);
    let expected = [
        ("/t/changed", Written::Changed { bytes: 6 }),
        ("/t/full", Written::Entries),
        ("/t/full/a", Written::Removed),
        ("/t/full/b", Written::Changed { bytes: 2 }),
        ("/t/gone", Written::Removed),
        ("/t/mode", Written::Changed { bytes: 0 }),
        ("/t/moved", Written::Removed),
        ("/t/new", Written::Created { bytes: 0 }),
        ("/t/new/file", Written::Created { bytes: 6 }),
        ("/t/there", Written::Created { bytes: 3 }),
        ("/t/touched", Written::Entries),
    ];
    assert_eq!(found, expected.map(|(path, what)| (path.to_owned(), what)).into());
}

#[test]
fn a_file_becomes_a_directory_and_the_other_way_round() {
    let case = Case::new(Opens::Listener);
    case.file("/t/file", "x").file("/t/dir/inside", "x");
    let found =
        changed(&case, "rm /t/file; mkdir /t/file; echo 1 > /t/file/x; rm -r /t/dir; echo 1 > /t/dir");
    let expected = [
        ("/t/dir", Written::Changed { bytes: 2 }),
        ("/t/dir/inside", Written::Removed),
        ("/t/file", Written::Changed { bytes: 0 }),
        ("/t/file/x", Written::Created { bytes: 2 }),
    ];
    assert_eq!(found, expected.map(|(path, what)| (path.to_owned(), what)).into());
}
