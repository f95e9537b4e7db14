//! containerd as Kubernetes drives it: this is the runtime handler of pods. (crictl is no package
//! of Debian 12; a few lines of Python speak instead.)

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::containerd::{Containerd, IMAGE};
use crate::like_docker as like;
use crate::said::Said;

const PYTHON: &str = "/usr/bin/python3";
const CALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engines/cri.py");
const INTERFACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engines");

/// Without them nobody speaks.
const NEEDED: [&str; 4] = [
    PYTHON,
    "/usr/bin/protoc",
    "/usr/lib/python3/dist-packages/grpc/__init__.py",
    "/usr/lib/python3/dist-packages/google/protobuf/__init__.py",
];

const MEMORY: i64 = 64 << 20;

/// A pod of two containers.
struct Pod {
    containerd: Containerd,
    id: String,
    config: Value,
}

impl Pod {
    fn new() -> Option<Self> {
        if let Some(missing) = NEEDED.iter().find(|path| !Path::new(path).exists()) {
            println!("SKIPPED: {missing} is not installed (package of Debian)");
            return None;
        }
        let containerd = Containerd::for_pods(&settings())?;
        let house = &containerd.house;
        house.call(&["protoc", "-I", INTERFACE, "--python_out", &house.at(""), "cri.proto"]).well();
        let config = json!({
            "metadata": { "name": "pod", "uid": "u", "namespace": "n" },
            "log_directory": house.at("logs"),
            "linux": {
                "cgroup_parent": format!("/{}", house.name),
                // No network of its own: that would take plugins.
                "security_context": { "namespace_options": { "network": "NODE" } },
            },
        });
        let mut pod = Self { containerd, id: String::new(), config };
        pod.containerd.house.until("the image", || {
            let asked = json!({ "image": { "image": IMAGE } }).to_string();
            pod.said("ImageStatus", &asked).out.contains("sha256:")
        });
        let run = json!({ "config": pod.config, "runtime_handler": "tsubo" });
        pod.id = pod.call("RunPodSandbox", &run)["pod_sandbox_id"].as_str().expect("an id").to_owned();
        Some(pod)
    }

    fn said(&self, method: &str, request: &str) -> Said {
        let house = &self.containerd.house;
        house.call(&[PYTHON, CALL, &house.at(""), &house.at("sock"), method, request])
    }

    #[track_caller]
    fn call(&self, method: &str, request: &Value) -> Value {
        let said = self.said(method, &request.to_string()).well();
        serde_json::from_str(&said).expect("JSON")
    }

    /// The same for what takes the id of a container.
    #[track_caller]
    fn of(&self, method: &str, id: &str) -> Value {
        self.call(method, &json!({ "container_id": id }))
    }

    /// Makes a container of a script, and starts it.
    fn start(&self, name: &str, script: &str, more: &Value) -> String {
        let mut config = json!({
            "metadata": { "name": name },
            "image": { "image": IMAGE },
            "command": ["sh", "-c", script],
            "log_path": format!("{name}.log"),
            "linux": {
                "resources": { "memory_limit_in_bytes": MEMORY, "cpu_period": 100_000, "cpu_quota": 50_000 },
                "security_context": { "namespace_options": { "network": "NODE", "pid": "CONTAINER" } },
            },
        });
        merge(&mut config, more);
        let request = json!({ "pod_sandbox_id": self.id, "config": config, "sandbox_config": self.config });
        let id = self.call("CreateContainer", &request)["container_id"].as_str().expect("an id").to_owned();
        assert_eq!(self.status(&id)["state"], "CONTAINER_CREATED");
        self.of("StartContainer", &id);
        id
    }

    fn status(&self, id: &str) -> Value {
        self.of("ContainerStatus", id)["status"].take()
    }

    fn exec(&self, id: &str, script: &str) -> (String, i64) {
        let request = json!({ "container_id": id, "cmd": ["sh", "-c", script], "timeout": 60 });
        let said = self.call("ExecSync", &request);
        let out = said["stdout"].as_str().expect("text").trim_end().to_owned();
        (out, said["exit_code"].as_i64().expect("a number"))
    }

    fn ended(&self, id: &str) -> Value {
        self.containerd.house.until("the end", || self.status(id)["state"] == "CONTAINER_EXITED");
        self.status(id)
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.containerd.house.at(&format!("logs/{name}.log"))).unwrap_or_default()
    }

    /// What a file of a container's control group says.
    fn group(&self, controller: &str, id: &str, file: &str) -> String {
        let path = format!("/sys/fs/cgroup/{controller}/{}/{id}/{file}", self.containerd.house.name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}")).trim().to_owned()
    }
}

/// Objects become one; of other values the second stays.
fn merge(value: &mut Value, more: &Value) {
    match (value, more) {
        (Value::Object(fields), Value::Object(more)) => {
            for (name, one) in more {
                merge(fields.entry(name).or_insert(Value::Null), one);
            }
        }
        (value, more) => *value = more.clone(),
    }
}

/// What `config.toml` says of pods.
fn settings() -> String {
    let cri = "plugins.\"io.containerd.grpc.v1.cri\"";
    let tsubo = format!("{cri}.containerd.runtimes.tsubo");
    let program = env!("CARGO_BIN_EXE_tsubo-oci");
    // Without CAP_SYS_RESOURCE nobody is spared by the kernel, which the sandbox would be.
    format!(
        "[{cri}]\nsandbox_image = \"{IMAGE}\"\nrestrict_oom_score_adj = true\n\
         [{cri}.cni]\nconf_dir = \"CNI/conf\"\nbin_dir = \"CNI/bin\"\n\
         [{cri}.containerd]\nsnapshotter = \"overlayfs\"\ndefault_runtime_name = \"tsubo\"\n\
         [{tsubo}]\nruntime_type = \"io.containerd.runc.v2\"\n\
         [{tsubo}.options]\nBinaryName = \"{program}\"\n"
    )
}

#[test]
fn pods_of_kubernetes() {
    let Some(pod) = Pod::new() else { return };
    let state = pod.call("PodSandboxStatus", &json!({ "pod_sandbox_id": pod.id }));
    assert_eq!(state["status"]["state"], "SANDBOX_READY");
    assert_eq!(state["status"]["runtime_handler"], "tsubo");
    let left = pod.containerd.house.left();
    let volume = pod.containerd.house.at("volume");
    fs::create_dir(&volume).expect("a directory");
    let shared = json!({ "mounts": [{ "container_path": "/v", "host_path": volume }] });
    let back = pod.start("back", &format!("echo up; echo kept >/v/file; {}", like::SERVICE), &shared);
    executes_and_limits(&pod, &back);
    confined_and_together(&pod, &shared);
    out_of_memory(&pod);
    stops(&pod);
    pod.call("StopContainer", &json!({ "container_id": back, "timeout": 0 }));
    assert_eq!(pod.ended(&back)["exit_code"], 137);
    pod.of("RemoveContainer", &back);
    let gone = pod.said("ContainerStatus", &json!({ "container_id": back }).to_string());
    assert!(gone.error.starts_with("NOT_FOUND"), "{gone:?}");
    pod.containerd.house.only(&left);
    pod.call("StopPodSandbox", &json!({ "pod_sandbox_id": pod.id }));
    pod.call("RemovePodSandbox", &json!({ "pod_sandbox_id": pod.id }));
    pod.containerd.house.call(&["sh", "-c", "ls /run/containerd/runc/k8s.io; :"]).says("");
    pod.containerd.end();
}

fn executes_and_limits(pod: &Pod, back: &str) {
    assert_eq!(pod.status(back)["state"], "CONTAINER_RUNNING");
    assert_eq!(pod.exec(back, "echo here; exit 3"), ("here".to_owned(), 3));
    assert_eq!(pod.group("memory", back, "memory.limit_in_bytes"), MEMORY.to_string());
    assert_eq!(pod.group("cpu", back, "cpu.cfs_quota_us"), "50000");
    let stats = &pod.of("ContainerStats", back)["stats"];
    let figure = |path: &str| stats.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let figures = ["/cpu/usage_core_nano_seconds/value", "/memory/working_set_bytes/value"].map(figure);
    assert!(figures.iter().all(|figure| figure.as_ref().is_some_and(|text| text != "0")), "{stats}");
    let request = json!({
        "container_id": back,
        "linux": { "cpu_quota": 25_000, "cpu_period": 100_000, "memory_limit_in_bytes": 2 * MEMORY },
    });
    pod.call("UpdateContainerResources", &request);
    assert_eq!(pod.group("memory", back, "memory.limit_in_bytes"), (2 * MEMORY).to_string());
    assert_eq!(pod.group("cpu", back, "cpu.cfs_quota_us"), "25000");
    pod.containerd.house.until("the log", || pod.log("back").contains("stdout F up"));
}

/// Another container of the pod, an ordinary user who can do nothing, reaches the first one.
fn confined_and_together(pod: &Pod, shared: &Value) {
    let mut more = json!({
        "envs": [{ "key": "A", "value": "b" }],
        "working_dir": "/data",
        "linux": { "security_context": {
            "run_as_user": { "value": 1000 }, "readonly_rootfs": true, "no_new_privs": true,
            "capabilities": { "drop_capabilities": ["ALL"] }, "seccomp": { "profile_type": 0 },
        } },
    });
    merge(&mut more, shared);
    let script = format!(
        "id -u; pwd; echo $A; cat /v/file; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status; touch /data/x || echo sealed; {}",
        like::CLIENT
    );
    let front = pod.start("front", &script, &more);
    let status = pod.ended(&front);
    let log = pod.log("front");
    assert!(status["exit_code"] == 0 && status["reason"] == "Completed", "{status} {log}");
    let lines: Vec<&str> =
        log.lines().filter_map(|line| line.split_once(" stdout F ")).map(|l| l.1).collect();
    let wanted = [
        "1000",
        "/data",
        "b",
        "kept",
        "CapEff:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "sealed",
        "hello",
    ];
    assert_eq!(lines, wanted, "{log}");
    pod.of("RemoveContainer", &front);
}

fn out_of_memory(pod: &Pod) {
    let greedy = pod.start("greedy", "tail /dev/zero; exit $?", &json!({}));
    let status = pod.ended(&greedy);
    assert_eq!((&status["reason"], &status["exit_code"]), (&json!("OOMKilled"), &json!(137)), "{status}");
    pod.of("RemoveContainer", &greedy);
}

/// Who is asked to end does, and tells how.
fn stops(pod: &Pod) {
    let polite = pod.start("polite", "trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done", &json!({}));
    pod.containerd.house.until("the log", || pod.log("polite").contains("up"));
    pod.call("StopContainer", &json!({ "container_id": polite, "timeout": 20 }));
    let status = pod.ended(&polite);
    assert_eq!((&status["reason"], &status["exit_code"]), (&json!("Error"), &json!(9)), "{status}");
    pod.of("RemoveContainer", &polite);
}
