//! A root with the attacker and nothing else: what is audited when nothing is said, for each runtime the
//! same. A file only for as long as it is installed.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use spec::portable::{Policy, Portable};
use spec::{Error, Result, ResultExt};

use super::runtime::{Kind, PREFIX, Runtime};

/// The attacker's path in it.
pub const PROGRAM: &str = "/tsubo-attack";

/// What a small service of files, sockets, processes and threads calls: what a preset that asks for an
/// observation lets through, and the attacker can attack with.
const USUAL: &str = "accept4 alarm arch_prctl bind brk clock_gettime clock_nanosleep clone clone3 close connect dup \
    epoll_create1 epoll_ctl epoll_wait execve exit exit_group fallocate fcntl fdatasync fstat fstatfs fsync ftruncate futex \
    getdents64 geteuid getpeername getpid getppid getrandom getsockname getsockopt gettid getuid inotify_add_watch \
    inotify_init1 ioctl kill listen lseek madvise memfd_create mkdir mkdirat mlock mmap mprotect munmap nanosleep newfstatat \
    open openat pause pipe2 poll ppoll prctl pread64 prlimit64 pwrite64 read readlink readlinkat recvfrom recvmsg rename \
    renameat2 rmdir rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield sendmsg sendto \
    set_robust_list set_tid_address setsid setsockopt shutdown sigaltstack socket socketpair stat statfs statx sync \
    sysinfo tgkill uname unlink unlinkat wait4 waitid write writev";

/// Makes it, and gives it to the runtime under the name [`PREFIX`].
pub fn install(runtime: &Runtime, attacker: &Path, work: &Path, is_observed: bool) -> Result<()> {
    if runtime.kind != Kind::Tsubo {
        return import(runtime, &layer(attacker)?);
    }
    let file = work.join(format!("{PREFIX}.tsubo"));
    write(attacker, is_observed, &file)?;
    let installed = runtime.read(&["install", &file.to_string_lossy()]);
    // With the directory it goes in any case.
    let _ = std::fs::remove_file(&file);
    installed.map(drop)
}

/// Writes it as a package.
///
/// # Errors
/// A file cannot be read or written.
pub fn write(attacker: &Path, is_observed: bool, to: &Path) -> Result<()> {
    let bytes = package(&layer(attacker)?, is_observed)?;
    std::fs::write(to, bytes).doing(|| format!("writing {}", to.display()))
}

fn layer(attacker: &Path) -> Result<Vec<u8>> {
    packed(attacker).doing(|| format!("packing {}", attacker.display()))
}

fn packed(attacker: &Path) -> std::io::Result<Vec<u8>> {
    let program = std::fs::read(attacker)?;
    let mut tar = tar::Builder::new(Vec::new());
    for name in ["proc/", "sys/", "dev/", "etc/", "srv/", "tmp/"] {
        let mut header = head(tar::EntryType::Directory, 0, if name == "tmp/" { 0o1777 } else { 0o755 });
        tar.append_data(&mut header, name, &[][..])?;
    }
    let mut header = head(tar::EntryType::Regular, program.len() as u64, 0o755);
    tar.append_data(&mut header, PROGRAM.trim_start_matches('/'), program.as_slice())?;
    tar.into_inner()
}

fn head(kind: tar::EntryType, size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(1);
    header.set_uid(0);
    header.set_gid(0);
    header
}

pub(super) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// An OCI archive with our label: a service that writes to `/tmp`, and of which nothing else is known, or what
/// calls it makes.
fn package(layer: &[u8], is_observed: bool) -> Result<Vec<u8>> {
    let packed = zstd::encode_all(layer, 1).doing(|| "packing the attacker".to_owned())?;
    let mut portable = Portable::new(PREFIX.parse()?, vec![PROGRAM.to_owned()]);
    portable.writable.insert("/tmp".parse()?);
    if is_observed {
        let syscalls = USUAL.split_whitespace().map(str::to_owned).collect();
        portable.policy = Some(Policy { syscalls, ..Policy::default() });
    }
    let spec = text(&portable)?;
    let described = |kind: &str, bytes: &[u8]| json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest(bytes), "size": bytes.len()});
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }, "os": "linux",
        "config": {"Labels": {"io.tsuboniwa.spec": spec, "io.tsuboniwa.size": layer.len().to_string()}},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described("config.v1+json", &config), "layers": [described("layer.v1.tar+zstd", &packed)],
    });
    let manifest = manifest.to_string().into_bytes();
    let index: Value = json!({"schemaVersion": 2, "manifests": [described("manifest.v1+json", &manifest)]});
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", &digest(bytes)[7..]);
    let members = [
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        (blob(&packed), packed),
        (blob(&config), config),
        (blob(&manifest), manifest),
        ("index.json".to_owned(), index.to_string().into_bytes()),
    ];
    archive(&members).doing(|| "packing the attacker".to_owned())
}

fn text(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|cause| Error::internal("writing JSON").because(cause))
}

fn archive(members: &[(String, Vec<u8>)]) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        archived(&mut tar, name, bytes.len() as u64, bytes.as_slice())?;
    }
    tar.into_inner()
}

/// One more file of an archive.
pub(super) fn archived(
    tar: &mut tar::Builder<impl Write>,
    name: &str,
    size: u64,
    content: impl std::io::Read,
) -> std::io::Result<()> {
    tar.append_data(&mut head(tar::EntryType::Regular, size, 0o644), name, content)
}

/// `docker import`, and Podman's.
fn import(runtime: &Runtime, layer: &[u8]) -> Result<()> {
    let mut command = runtime.command()?;
    command.args(["import", "-", PREFIX]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|cause| runtime.missing(cause))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Why it does not read it says itself.
        let _ = stdin.write_all(layer);
    }
    let output = child.wait_with_output().map_err(|cause| runtime.missing(cause))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::internal(format!(
        "{} import: {}",
        runtime.kind.word(),
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}
