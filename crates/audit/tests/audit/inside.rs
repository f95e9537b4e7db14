//! What the attacker finds in a container, and what stays of it where others see it.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::house::{House, SMALL};

fn names(dir: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a directory").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn one_writable_directory_deep_in_a_tree_is_found() {
    let Some(house) = House::new() else { return };
    let (place, deep) = (house.dir.path().join("place"), "var/lib/app/data");
    std::fs::create_dir_all(place.join(deep)).expect("mkdir");
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    std::os::unix::fs::chown(place.join(deep), Some(1000), None).expect("chown");
    let volume = format!("{}:/srv", place.display());
    let flags: Vec<&str> =
        SMALL.iter().copied().chain(["--userns", "host", "-u", "1000", "-v", volume.as_str()]).collect();
    house.only_red("disk-bytes,disk-files,page-cache", &flags, &["disk-bytes", "disk-files"]);
    assert_eq!(names(&place.join(deep)), [] as [String; 0]);
}

#[test]
fn what_cannot_be_tried_without_proc_is_unknown_and_what_can_is_not() {
    let Some(house) = House::new() else { return };
    let questions =
        "root-is-root,capabilities,new-privileges,descriptors,filter,signals,host-processes,mount,kcore";
    let flags: Vec<&str> = SMALL.iter().copied().chain(["--", "--without", "/proc"]).collect();
    let (verdicts, code) = house.verdicts(questions, &flags);
    let unknown: Vec<&str> =
        verdicts.iter().filter(|(_, verdict)| *verdict != "held").map(|(name, _)| name.as_str()).collect();
    assert_eq!((unknown, code), (vec!["root-is-root"], 1), "{verdicts:#?}");
}

#[test]
fn what_is_in_a_directory_of_the_host_in_memory_goes_with_a_killed_audit() {
    let Some(house) = House::new() else { return };
    let place = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
    let volume = format!("{}:/tmp", place.path().display());
    // A file of somebody's, called nearly alike.
    std::fs::write(place.path().join("tsubo-attack"), "kept").expect("write");
    let mut args = vec!["--only", "tmpfs-files"];
    args.extend(SMALL.iter().copied().chain(["--userns", "host", "-v", volume.as_str()]));
    let mut audit = house.audit(&args);
    let mut child = audit.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("audit");
    let end = Instant::now() + Duration::from_secs(60);
    let until = |count: usize| {
        while names(place.path()).len() != count {
            assert!(Instant::now() < end, "{:?}", names(place.path()));
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    until(2);
    child.kill().expect("kill");
    child.wait().expect("wait");
    until(1);
    assert_eq!(names(place.path()), ["tsubo-attack"]);
}
