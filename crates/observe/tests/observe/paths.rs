//! Every way of using a path.

use spec::observation::Use::{Changed, Entered, Executed, Followed, Listed, LookedAt, Missing, Opened};
use tsubo_observe::{Opens, Seen};

use crate::harness::{Case, by, used, uses};

/// Runs the test with each set of instruments.
fn each(test: impl Fn(Opens)) {
    for opens in [Opens::Listener, Opens::Fanotify] {
        test(opens);
    }
}

fn probe(opens: Opens, prepare: impl Fn(&Case), deeds: &[&str]) -> Seen {
    let case = Case::new(opens);
    prepare(&case);
    case.probe(deeds)
}

fn one_file(case: &Case) {
    case.file("/t/dir/file", "x");
}

#[test]
fn stat_only() {
    each(|opens| {
        let seen = probe(opens, one_file, &["stat", "/t/dir/file"]);
        used(&seen, "/t/dir/file", &[LookedAt]);
        assert_eq!(by(&seen, "/t/dir/file").1, ["/t/probe"]);
    });
}

#[test]
fn access_only() {
    each(|opens| used(&probe(opens, one_file, &["access", "/t/dir/file"]), "/t/dir/file", &[LookedAt]));
}

#[test]
fn readlink_only() {
    each(|opens| {
        let seen = probe(
            opens,
            |case| {
                case.link("/t/link", "nowhere");
            },
            &["readlink", "/t/link"],
        );
        used(&seen, "/t/link", &[Followed]);
        used(&seen, "/t/nowhere", &[]);
    });
}

#[test]
fn o_path_only() {
    each(|opens| used(&probe(opens, one_file, &["opath", "/t/dir/file"]), "/t/dir/file", &[LookedAt]));
}

#[test]
fn chdir_only() {
    each(|opens| used(&probe(opens, one_file, &["chdir", "/t/dir"]), "/t/dir", &[Entered]));
}

#[test]
fn xattr_statfs_inotify() {
    each(|opens| {
        let prepare = |case: &Case| {
            case.file("/t/a", "").file("/t/b", "").file("/t/c", "");
        };
        let seen = probe(opens, prepare, &["getxattr", "/t/a", "statfs", "/t/b", "inotify", "/t/c"]);
        for path in ["/t/a", "/t/b", "/t/c"] {
            used(&seen, path, &[LookedAt]);
        }
    });
}

#[test]
fn directory_listing() {
    each(|opens| {
        let seen = probe(opens, one_file, &["list", "/t/dir"]);
        used(&seen, "/t/dir", &[Listed]);
        used(&seen, "/t/dir/file", &[]);
    });
}

#[test]
fn failed_look_ups() {
    each(|opens| {
        let seen = probe(opens, one_file, &["fail", "/t/no", "fail", "/t/a/b", "fail", "/t/dir/file/x"]);
        used(&seen, "/t/no", &[Missing]);
        used(&seen, "/t/a", &[Missing]);
        used(&seen, "/t/a/b", &[Missing]);
        used(&seen, "/t/dir/file", &[LookedAt]);
        used(&seen, "/t/dir/file/x", &[Missing]);
    });
}

#[test]
fn relative_to_a_descriptor() {
    each(|opens| {
        let prepare = |case: &Case| {
            case.file("/t/dir/looked", "").file("/t/dir/opened", "");
        };
        let deeds = ["dir", "/t/dir", "statat", "looked", "openat", "opened", "openat", "../dir/opened"];
        let seen = probe(opens, prepare, &deeds);
        used(&seen, "/t/dir/looked", &[LookedAt]);
        used(&seen, "/t/dir/opened", &[Opened]);
        used(&seen, "/t/dir", &[Listed, LookedAt]);
    });
}

#[test]
fn relative_to_the_working_directory() {
    each(|opens| {
        let prepare = |case: &Case| {
            case.file("/t/dir/looked", "").file("/t/dir/opened", "");
        };
        let seen =
            probe(opens, prepare, &["chdir", "/t/dir", "stat", "looked", "open", "./opened", "fail", "no"]);
        used(&seen, "/t/dir/looked", &[LookedAt]);
        used(&seen, "/t/dir/opened", &[Opened]);
        used(&seen, "/t/dir/no", &[Missing]);
    });
}

#[test]
fn five_symlinks_through_directories() {
    each(|opens| {
        for deed in ["stat", "open"] {
            let prepare = |case: &Case| {
                case.link("/t/a/1", "../b/2").link("/t/b/2", "/t/c/3").link("/t/c", "real");
                case.link("/t/real/3", "../d/./4")
                    .link("/t/d/4", "5")
                    .link("/t/d/5", "/t/end")
                    .file("/t/end", "x");
            };
            let seen = probe(opens, prepare, &[deed, "/t/a/1"]);
            for link in ["/t/a/1", "/t/b/2", "/t/c", "/t/real/3", "/t/d/4", "/t/d/5"] {
                used(&seen, link, &[Followed]);
            }
            used(&seen, "/t/end", if deed == "stat" { &[LookedAt] } else { &[Opened] });
            used(&seen, "/t/c/3", &[]);
        }
    });
}

#[test]
fn interpreters_and_the_links_to_them() {
    each(|opens| {
        let case = Case::new(opens);
        case.file("/t/script", "#!/t/sh -e\nexit 0\n").link("/t/sh", "/bin/dash");
        std::fs::set_permissions(case.lower("t/script"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("mode");
        let seen = case.run(&["/t/script"]);
        assert!(uses(&seen, "/t/script").contains(&Executed));
        used(&seen, "/t/sh", &[Followed]);
        used(&seen, "/usr/bin/dash", &[Executed]);
        used(&seen, "/bin", &[Followed]);
        used(&seen, "/lib64", &[Followed]);
        let loader = std::fs::canonicalize("/lib64/ld-linux-x86-64.so.2").expect("a loader");
        assert!(uses(&seen, loader.to_str().expect("UTF-8")).contains(&Executed));
        assert_eq!(by(&seen, "/etc/ld.so.cache").1, ["/usr/bin/dash"]);
    });
}

#[test]
fn execveat_by_descriptor() {
    each(|opens| {
        let prepare = |case: &Case| {
            std::fs::copy("/bin/true", case.lower("t/true")).expect("copied");
        };
        let seen = probe(opens, prepare, &["execveat", "/t/true"]);
        assert!(uses(&seen, "/t/true").contains(&Executed));
    });
}

#[test]
fn dlopen() {
    each(|opens| {
        let case = Case::new(opens);
        case.file("/t/plugin.c", "int plugin(void) { return 1; }").link("/t/plugin.so", "plugin.so.1");
        case.compile("t/plugin.so.1", &case.lower("t/plugin.c"), &["-shared", "-fPIC"]);
        let seen = case.probe(&["dlopen", "/t/plugin.so"]);
        used(&seen, "/t/plugin.so", &[Followed]);
        used(&seen, "/t/plugin.so.1", &[Opened]);
    });
}

#[test]
fn bind_mount_in_a_mount_namespace_of_its_own() {
    each(|opens| {
        let prepare = |case: &Case| {
            case.file("/t/from/opened", "").file("/t/from/looked", "").file("/t/to/other", "");
        };
        let seen = probe(opens, prepare, &["bind", "/t/from:/t/to", "bind", "/t/from:/t/to"]);
        used(&seen, "/t/from/opened", &[Opened]);
        used(&seen, "/t/from/looked", &[LookedAt]);
        used(&seen, "/t/to/opened", &[]);
        used(&seen, "/t/to/looked", &[]);
    });
}

#[test]
fn chroot() {
    each(|opens| {
        let prepare = |case: &Case| {
            case.file("/t/jail/opened", "").file("/t/jail/looked", "").link("/t/jail/link", "/dir");
            case.file("/t/jail/dir/x", "");
        };
        let deeds = [
            "jail",
            "/t/jail",
            "chroot",
            "/t/jail",
            "stat",
            "/looked",
            "open",
            "/link/../opened",
            "fail",
            "/no",
        ];
        let seen = probe(opens, prepare, &deeds);
        used(&seen, "/t/jail", &[Entered]);
        used(&seen, "/t/jail/opened", &[Opened]);
        used(&seen, "/t/jail/looked", &[LookedAt]);
        used(&seen, "/t/jail/link", &[Followed]);
        used(&seen, "/t/jail/dir", &[LookedAt]);
        used(&seen, "/t/jail/no", &[Missing]);
        used(&seen, "/looked", &[]);
    });
}

#[test]
fn twenty_thousand_files() {
    each(|opens| {
        let case = Case::new(opens);
        for number in 0..20_000 {
            let path = case.lower(&format!("t/many/{number}"));
            if number == 0 {
                std::fs::create_dir(path.parent().expect("parent")).expect("directory");
            }
            std::fs::write(path, "").expect("file");
        }
        let seen = case.probe(&["burst", "/t/many"]);
        let found = (0..20_000).filter(|n| uses(&seen, &format!("/t/many/{n}")) == [Opened]).count();
        assert_eq!(found, 20_000);
    });
}

#[test]
fn two_hundred_short_lived_processes() {
    each(|opens| {
        let case = Case::new(opens);
        for number in 0..200 {
            case.file(&format!("/t/many/{number}"), "");
        }
        let seen = case.probe(&["spawn", "/t/many"]);
        for number in 0..200 {
            let path = format!("/t/many/{number}");
            used(&seen, &path, &[Opened]);
            assert_eq!(by(&seen, &path).1, ["/t/probe"]);
        }
    });
}

#[test]
fn changes() {
    each(|opens| {
        let prepare = |case: &Case| {
            case.file("/t/d/a", "x").file("/t/d/b", "x").file("/t/e/c", "x");
        };
        let deeds = [
            "write", "/t/d/a", "unlink", "/t/d/b", "create", "/t/new/x", "rename", "/t/e/c", "mkdir", "/t/e",
        ];
        let mut all = vec!["mkdir", "/t/new"];
        all.extend(deeds);
        let seen = probe(opens, prepare, &all);
        assert!(uses(&seen, "/t/d/a").contains(&Changed));
        used(&seen, "/t/d/b", &[Changed]);
        assert!(uses(&seen, "/t/e/c").contains(&Changed));
        assert!(uses(&seen, "/t/e").contains(&LookedAt));
    });
}

#[test]
fn threads() {
    each(|opens| {
        let prepare = |case: &Case| {
            case.file("/t/x", "").file("/t/x-thread", "");
        };
        let seen = probe(opens, prepare, &["threads", "/t/x"]);
        used(&seen, "/t/x", &[Opened]);
        used(&seen, "/t/x-thread", &[LookedAt]);
    });
}

#[test]
fn threads_that_live_for_one_relative_path() {
    each(|opens| {
        let prepare = |case: &Case| {
            case.file("/t/real/x", "");
            for number in 0..200 {
                case.link(&format!("/t/dir/link-{number}"), "../real/x");
            }
        };
        let seen = probe(opens, prepare, &["brief", "/t/dir"]);
        for number in 0..200 {
            used(&seen, &format!("/t/dir/link-{number}"), &[Followed]);
            used(&seen, &format!("/t/dir/absent-{number}"), &[Missing]);
        }
        assert_eq!(by(&seen, "/t/dir/link-7").1, ["/t/probe"]);
    });
}

#[test]
fn killed_after_an_exec_and_a_relative_path() {
    each(|opens| {
        let prepare = |case: &Case| {
            case.link("/t/dir/link", "file").file("/t/dir/file", "");
        };
        let seen = probe(opens, prepare, &["run", "cd /t/dir; ../probe die link; true"]);
        used(&seen, "/t/dir/link", &[Followed]);
        used(&seen, "/t/dir/file", &[Opened]);
    });
}

#[test]
fn what_killed_processes_used_is_known_or_the_run_is_invalid() {
    each(|opens| {
        let case = Case::new(opens);
        case.file("/t/dir/file", "");
        for number in 0..50 {
            case.link(&format!("/t/dir/link-{number}"), "file");
        }
        let run = case.probed(&["chdir", "/t/dir", "slain", "link"]);
        assert_eq!(run.status, 0);
        match run.seen {
            Ok(seen) => {
                (0..50).for_each(|number| used(&seen, &format!("/t/dir/link-{number}"), &[Followed]));
            }
            Err(error) => {
                assert_eq!(opens, Opens::Fanotify, "{error}");
                assert!(format!("{error:?}").contains("opened link-"), "{error:?}");
            }
        }
    });
}

#[test]
fn sockets_that_have_a_path() {
    each(|opens| {
        let prepare = |case: &Case| {
            case.link("/t/var/run", "../run").file("/t/run/.keep", "").link("/t/way", "run/socket");
        };
        let deeds = ["socket", "/t/var/run/socket", "connect", "/t/way", "chdir", "/t", "connect", "way"];
        let seen = probe(opens, prepare, &deeds);
        used(&seen, "/t/var/run", &[Followed]);
        used(&seen, "/t/run", &[LookedAt]);
        used(&seen, "/t/way", &[Followed]);
        used(&seen, "/t/run/socket", &[LookedAt]);
    });
}

#[test]
fn what_watches_is_no_program_of_the_image() {
    each(|opens| {
        let seen = probe(opens, one_file, &["stat", "/t/dir/file"]);
        let own = std::env::current_exe().expect("a path").display().to_string();
        assert!(seen.paths.values().all(|used| !used.by.contains(&own)), "{own}");
    });
}

#[test]
fn io_uring_is_absent_and_bad_arguments_fail_as_ever() {
    each(|opens| drop(probe(opens, |_| {}, &["uring", "", "bad", ""])));
}

#[test]
fn a_cached_answer_does_not_outlive_the_truth() {
    each(|opens| {
        let deeds = [
            ["stat", "/t/f"],
            ["fail", "/t/later"],
            ["fail", "/t/later"],
            ["create", "/t/later"],
            ["stat", "/t/later"],
            ["unlink", "/t/f"],
            ["fail", "/t/f"],
        ]
        .concat();
        let seen = probe(
            opens,
            |case| {
                case.file("/t/f", "");
            },
            &deeds,
        );
        assert!(uses(&seen, "/t/later").contains(&Missing) && uses(&seen, "/t/later").contains(&LookedAt));
        assert!(uses(&seen, "/t/f").contains(&Missing) && uses(&seen, "/t/f").contains(&LookedAt));
    });
}

#[test]
fn gained_privilege_is_noticed() {
    each(|opens| {
        let prepare = |case: &Case| {
            let path = case.lower("t/true");
            std::fs::copy("/bin/true", &path).expect("copied");
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o4755))
                .expect("mode");
        };
        let by = |user: &str| {
            let case = Case::new(opens);
            prepare(&case);
            let become_user = ["--reuid", user, "--regid", user, "--clear-groups", "/t/true"];
            case.run(&[["/usr/bin/setpriv"].as_slice(), &become_user].concat()).gained_privilege
        };
        assert!(by("1234"));
        assert!(!by("0"), "root is root before and after");
        assert!(!probe(opens, |_| {}, &["static", "/bin/true"]).gained_privilege);
    });
}

#[test]
fn a_pid_namespace_of_its_own() {
    each(|opens| {
        let seen = probe(
            opens,
            |case| {
                case.link("/t/link", "file").file("/t/file", "");
            },
            &["nested", "/t/link"],
        );
        used(&seen, "/t/link", &[Followed]);
        used(&seen, "/t/file", &[Opened]);
    });
}

#[test]
fn killed_right_after() {
    each(|opens| {
        let seen = probe(
            opens,
            |case| {
                case.link("/t/link", "file").file("/t/file", "");
            },
            &["killed", "/t/link"],
        );
        used(&seen, "/t/link", &[Followed]);
        used(&seen, "/t/file", &[Opened]);
    });
}

#[test]
fn signals_do_not_disturb_what_is_looked_at() {
    each(|opens| used(&probe(opens, one_file, &["signals", "/t/dir/file"]), "/t/dir/file", &[LookedAt]));
}

#[test]
fn a_listener_of_the_services_own_is_refused_and_told() {
    each(|opens| {
        let seen = probe(opens, one_file, &["supervise", ""]);
        assert!(seen.warnings.iter().any(|warning| warning.starts_with("/t/probe wants to supervise")));
    });
}

#[test]
fn a_second_file_system_of_the_image() {
    each(|opens| {
        let prepare = |case: &Case| {
            case.file("/t/second/x", "").file("/second/looked", "").file("/second/dir/opened", "");
            case.link("/second/link", "../first").file("/t/first", "");
        };
        let deeds = ["stat", "/t/second/looked", "open", "/t/second/dir/opened", "stat", "/t/second/link"];
        let more = ["chdir", "/t/second/dir", "stat", "../../first", "fail", "/t/second/x"];
        let seen = probe(opens, prepare, &[deeds.as_slice(), &more].concat());
        used(&seen, "/t/second/looked", &[LookedAt]);
        used(&seen, "/t/second/dir/opened", &[Opened]);
        used(&seen, "/t/second/link", &[Followed]);
        used(&seen, "/t/first", &[LookedAt]);
        used(&seen, "/t/second/x", &[Missing]);
    });
}

#[test]
fn a_plain_tree_as_root() {
    let case = Case::new(Opens::Listener);
    case.file("/etc/passwd", "").link("/etc/link", "passwd").file("/bin/x", "");
    std::fs::copy("/bin/busybox", case.lower("bin/busybox")).expect("copied");
    let script = "cd /etc; [ -e link ]; cat passwd; ! cat /no/where";
    let seen = case.in_plain_tree(&["/bin/busybox", "sh", "-ec", script]);
    used(&seen, "/etc", &[Entered]);
    used(&seen, "/etc/link", &[Followed]);
    used(&seen, "/etc/passwd", &[Opened, LookedAt]);
    used(&seen, "/no/where", &[Missing]);
    used(&seen, "/bin/busybox", &[Executed]);
    assert!(seen.paths.keys().all(|path| path.as_bytes().len() < 20), "{:?}", seen.paths.keys());
}
