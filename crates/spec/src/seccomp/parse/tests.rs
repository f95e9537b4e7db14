//! Profiles, good and bad.

use super::*;

fn parse(text: &str) -> Parsed {
    Profile::parse(text).unwrap_or_else(|error| panic!("{error:?}"))
}

fn refused(text: &str) -> String {
    Profile::parse(text).expect_err(text).chain()
}

#[test]
fn a_profile_of_a_bundle() {
    let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32", "SCMP_ARCH_X86"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
        "syscalls": [
            {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
            {"names": ["ptrace"], "action": "SCMP_ACT_KILL_PROCESS"}]}"#;
    let Parsed { profile, warnings } = parse(text);
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(profile.default, Action::Errno(38));
    assert_eq!(profile.architectures, [Architecture::X86_64, Architecture::I386].into());
    assert_eq!(profile.flags, [Flag::Log, Flag::SpecAllow].into());
    assert_eq!(profile.rules.len(), 3);
    let condition = Condition { argument: 0, comparison: Comparison::MaskedEqual(0x7e02_0000), value: 0 };
    assert_eq!(profile.rules[1].conditions, [condition]);
    let bundle = parse(&format!(r#"{{"ociVersion": "1.0.2", "linux": {{"seccomp": {text}}}}}"#));
    assert_eq!(bundle.profile, profile);
    assert!(refused(r#"{"ociVersion": "1.0.2", "linux": {}}"#).contains("no linux.seccomp"));
}

#[test]
fn a_profile_of_docker() {
    let Parsed { profile, warnings } = parse(
        r#"{"defaultAction": "SCMP_ACT_ERRNO",
            "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
                        {"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": null}],
            "syscalls": [
                {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "args": null, "comment": "old kernels",
                 "includes": {"minKernel": "4.8", "caps": ["CAP_SYS_PTRACE"]}, "excludes": {}},
                {"name": "clone", "action": "SCMP_ACT_ALLOW",
                 "excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["s390", "s390x"]}}]}"#,
    );
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(profile.default, Action::Errno(1));
    assert_eq!(profile.architectures, [Architecture::X86_64, Architecture::I386].into());
    assert_eq!(profile.rules[0].when, When { with: 1 << 19, since: Some((4, 8)), ..When::default() });
    let s390 = ["s390", "s390x"].map(str::to_owned).into();
    assert_eq!(profile.rules[1].when, When { without: 1 << 21, not_on: s390, ..When::default() });
    assert_eq!(profile.rules[1].names, ["clone"]);
}

#[test]
fn nonsense_is_refused_with_its_place() {
    let rule = |rule: &str| format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rule}]}}"#);
    for (text, expected) in [
        (
            r#"{"defaultAction": "SCMP_ACT_MAYBE"}"#.to_owned(),
            "defaultAction: SCMP_ACT_MAYBE is not an action",
        ),
        (rule(r#"{"names": ["read"], "action": "ALLOW"}"#), "syscalls[0].action: ALLOW is not an action"),
        (rule(r#"{"names": [], "action": "SCMP_ACT_LOG"}"#), "syscalls[0] names no system call"),
        (
            rule(r#"{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5000}"#),
            "syscalls[0].errnoRet: 5000",
        ),
        (
            rule(
                r#"{"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}"#,
            ),
            "syscalls[0].args[0].index: 6 is no argument",
        ),
        (
            rule(
                r#"{"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 0, "op": "=="}]}"#,
            ),
            "syscalls[0].args[0].op: == is not a comparison",
        ),
        (
            rule(r#"{"names": ["read"], "action": "SCMP_ACT_LOG", "includes": {"caps": ["CAP_FLY"]}}"#),
            "syscalls[0].includes.caps[0]: CAP_FLY is no capability",
        ),
        (
            rule(r#"{"names": ["read"], "action": "SCMP_ACT_LOG", "excludes": {"minKernel": "five"}}"#),
            "syscalls[0].excludes.minKernel: five is no version",
        ),
        (rule(r#"{"names": ["read"], "action": "SCMP_ACT_TRACE"}"#), "SCMP_ACT_TRACE asks a tracer"),
        (
            rule(r#"{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}"#),
            "syscalls[0].action wants another process",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/x"}"#.to_owned(),
            "listenerPath wants another process",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_Z80"]}"#.to_owned(),
            "architectures[0]: SCMP_ARCH_Z80 is not an architecture",
        ),
        (
            r#"{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["FAST"]}}}"#.to_owned(),
            "linux.seccomp.flags[0]: FAST is not a flag",
        ),
        ("{".to_owned(), "reading a seccomp profile"),
        ("[]".to_owned(), "reading a seccomp profile"),
        ("{}".to_owned(), "defaultAction"),
    ] {
        let said = refused(&text);
        assert!(said.contains(expected), "{said} for {text}");
    }
}

#[test]
fn what_is_passed_over_is_told() {
    let Parsed { profile, warnings } = parse(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "colour": 1, "syscalls": [
            {"names": ["read", "warp_drive", "arm_fadvise64_64"], "action": "SCMP_ACT_ALLOW", "arg": []},
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]}]}"#,
    );
    assert_eq!(profile.rules[0].names, ["read", "arm_fadvise64_64"]);
    assert_eq!(profile.rules.len(), 3, "two conditions on one argument are two rules");
    assert_eq!(
        warnings,
        [
            "colour is unknown and has no effect",
            "syscalls[0].arg is unknown and has no effect",
            "syscalls[1] has several conditions on one argument: each of its conditions suffices, as with runc",
            "unknown system calls were skipped: warp_drive",
        ]
    );
}
