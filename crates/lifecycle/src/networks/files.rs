//! The files in which a container finds who answers for names, who its neighbours are, and what it is
//! called: `/etc/resolv.conf`, `/etc/hosts` and `/etc/hostname`. They lie with the container's record and are
//! mounted in the place of the image's, or of the host's that a package asks for.

use std::fmt::Write as _;
use std::fs::DirBuilder;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use spec::container::{Bind, Mount, MountFlags, MountKind};
use spec::network::{Attachment, Network, Networking};
use spec::{Name, Result, ResultExt, RootPath};

use super::{Given, pasta};

/// What lies in the directory, and where it is shown.
const FILES: [&str; 3] = ["resolv.conf", "hosts", "hostname"];

/// So many name servers glibc asks; musl too.
const MOST_SERVERS: usize = 3;

/// Where systemd-resolved says whom it asks itself: what the host asks is itself, where no container
/// reaches it.
const BEHIND_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// The directory of these files, in that of the container.
pub fn directory(container: &Path) -> PathBuf {
    container.join("etc")
}

/// Says of the host whom it asks about names: its resolv.conf, or that of the resolver that it runs itself.
pub fn host_conf() -> String {
    let own = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let reachable = |text: &str| Conf::of(text).servers().next().is_some();
    match std::fs::read_to_string(BEHIND_RESOLVED) {
        Ok(behind) if !reachable(&own) && reachable(&behind) => behind,
        _ => own,
    }
}

/// Writes the files of a container, those that say something else than before.
///
/// # Errors
/// When they cannot be written.
pub fn write(
    dir: &Path,
    networking: &Networking,
    networks: &[Network],
    name: &Name,
    hostname: &str,
) -> Result<()> {
    let doing = || format!("writing the files of container {name} about its network");
    // Users of containers look at them through mounts: nobody can walk here from outside.
    DirBuilder::new().recursive(true).mode(0o755).create(dir).doing(doing)?;
    let texts = [
        resolv_conf(networking, networks, &[], &host_conf()),
        hosts(networking, &[], name, hostname),
        format!("{hostname}\n"),
    ];
    FILES.iter().zip(texts).try_for_each(|(file, text)| replace(&dir.join(file), &text)).doing(doing)
}

/// What they say besides when others have given a container something, and where: for [`rewrite`], as it may have
/// them before its eyes already.
pub(super) fn told(
    dir: &Path,
    networking: &Networking,
    networks: &[Network],
    (given, search): (&[Given], Vec<String>),
    (name, hostname): (&Name, &str),
) -> Vec<(PathBuf, String)> {
    let mut networking = networking.clone();
    if networking.search.is_empty() {
        networking.search = search;
    }
    let texts =
        [resolv_conf(&networking, networks, given, &host_conf()), hosts(&networking, given, name, hostname)];
    FILES.iter().map(|file| dir.join(file)).zip(texts).collect()
}

/// Writes what a file that may be mounted somewhere is to say, in its place.
///
/// # Errors
/// When it cannot be written.
pub fn rewrite(path: &Path, text: &str) -> Result<()> {
    let doing = || format!("writing {}", path.display());
    if std::fs::read(path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    let mut file = std::fs::OpenOptions::new().write(true).open(path).doing(doing)?;
    // Whoever reads meanwhile finds no empty file, and what was longer is cut off afterwards.
    file.write_all(text.as_bytes()).and_then(|()| file.set_len(text.len() as u64)).doing(doing)
}

/// By a new file in its place: a container that runs keeps what it was given.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    if std::fs::read(path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    let new = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o644).open(&new)?;
    file.write_all(text.as_bytes())?;
    // Whatever who made it usually leaves to others: everybody inside reads it.
    rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644))?;
    std::fs::rename(new, path)
}

/// Whom a container asks about names. The resolvers of its networks, which know their containers and ask
/// others about everybody else; else those that it was given, by who made it or where it was connected; else those
/// that the host asks, unless only the host itself can reach them; then those of an ordinary user ask who carries
/// their packets.
pub fn resolv_conf(
    networking: &Networking,
    networks: &[Network],
    given: &[Given],
    host_conf: &str,
) -> String {
    let host = Conf::of(host_conf);
    let ours = resolvers(networking, networks);
    let outside = networking.attachments.iter().any(|attachment| leads_out(attachment, networks));
    let theirs: Vec<IpAddr> = given.iter().flat_map(|given| given.servers.clone()).collect();
    let said = if networking.servers.is_empty() { &theirs } else { &networking.servers };
    let servers: Vec<String> = match (&ours[..], &said[..]) {
        ([], []) if outside => match host.servers().map(str::to_owned).collect::<Vec<_>>() {
            none if none.is_empty() && pasta::is_for(networking) => vec![pasta::RESOLVER.to_string()],
            servers => servers,
        },
        ([], given) => given.iter().map(ToString::to_string).collect(),
        (ours, _) => ours.iter().map(ToString::to_string).collect(),
    };
    let search: Vec<&str> = match &networking.search[..] {
        [] if outside => host.search.clone(),
        given => given.iter().map(String::as_str).collect(),
    };
    let mut text = String::new();
    for server in servers.iter().take(MOST_SERVERS) {
        let _ = writeln!(text, "nameserver {server}");
    }
    let search: Vec<&str> = search.into_iter().filter(|domain| is_word(domain)).collect();
    if !search.is_empty() {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    let options = options(&host, !ours.is_empty(), outside && said.is_empty());
    if !options.is_empty() {
        let _ = writeln!(text, "options {}", options.join(" "));
    }
    text
}

/// With a resolver of ours short names are containers' first, and only then what they are in a domain that is
/// searched: whoever answers for that domain does not answer in their place. How the host is answered
/// (`trust-ad`, `use-vc`) is between it and the servers that it asks.
fn options<'a>(host: &Conf<'a>, ours: bool, as_host: bool) -> Vec<&'a str> {
    match (ours, as_host) {
        (true, _) => {
            let edns = host.options.iter().filter(|option| **option == "edns0");
            edns.copied().chain(["ndots:0"]).collect()
        }
        (false, true) => host.options.clone(),
        (false, false) => Vec::new(),
    }
}

/// One address of each resolver, of a family that the container has.
fn resolvers(networking: &Networking, networks: &[Network]) -> Vec<IpAddr> {
    let mut all = Vec::new();
    for attachment in &networking.attachments {
        let Attachment::Network { network, addresses, .. } = attachment else { continue };
        let known = networks.iter().find(|known| known.name == *network && known.names);
        let mut gateways =
            known.into_iter().flat_map(|network| network.subnets.iter().map(|net| net.gateway));
        let ours = |gateway: &IpAddr| addresses.iter().any(|own| own.addr().is_ipv4() == gateway.is_ipv4());
        all.extend(gateways.find(ours).filter(|gateway| !all.contains(gateway)));
    }
    all
}

/// Whether the host's name servers can be reached over it.
fn leads_out(attachment: &Attachment, networks: &[Network]) -> bool {
    let Attachment::Network { network, .. } = attachment else { return true };
    let known = networks.iter().find(|known| known.name == *network);
    let closed =
        |network: &Network| matches!(network.kind, spec::network::Kind::Isolated | spec::network::Kind::Pair);
    !known.is_some_and(closed)
}

/// The container's neighbours that it knows without asking: itself, and who was given.
pub fn hosts(networking: &Networking, given: &[Given], name: &Name, hostname: &str) -> String {
    let mut text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
    let own = if hostname == name.as_str() || !is_word(hostname) {
        name.to_string()
    } else {
        format!("{hostname} {name}")
    };
    let mut addresses: Vec<IpAddr> = networking.attachments.iter().flat_map(addresses).collect();
    addresses.extend(given.iter().flat_map(|given| &given.addresses).map(ipnet::IpNet::addr));
    if addresses.is_empty() {
        // It will be told its address, or nobody knows: its name is known all the same (as Debian has it).
        addresses.push(IpAddr::from([127, 0, 1, 1]));
    }
    for address in addresses {
        let _ = writeln!(text, "{address}\t{own}");
    }
    for (name, address) in networking.hosts.iter().filter(|(name, _)| is_word(name)) {
        let _ = writeln!(text, "{address}\t{name}");
    }
    text
}

fn addresses(attachment: &Attachment) -> Vec<IpAddr> {
    match attachment {
        Attachment::Network { addresses, .. } | Attachment::Interface { addresses, .. } => {
            addresses.iter().map(|address| address.addr()).collect()
        }
        Attachment::Cni { .. } | Attachment::Netavark { .. } | Attachment::User { .. } => Vec::new(),
    }
}

/// Whether it stays one word in these files.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#' && byte != b';')
}

/// The mounts that show the files of `dir`, each where the image in `tree` has such a file: a root that is
/// read-only takes no new one. Links are followed as far as they lead within the image. `others` are the
/// container's other mounts: what lies on one of them is covered if it is there.
pub fn mounts(tree: &Path, dir: &Path, others: &[Mount]) -> Vec<Mount> {
    let shown = |file: &&str| {
        let at = place(tree, &RootPath::root().join(b"etc").join(file.as_bytes()))?;
        let given = others.iter().any(|other| other.at == at);
        let there = !given && is_there(&at, others);
        let flags = MountFlags { read_only: true, ..MountFlags::default() };
        // What everybody may read needs no other owner, and it may lie where none can be shown.
        let bind = Bind { idmapped: false, ..Bind::of(dir.join(file)) };
        there.then_some(Mount { at, what: MountKind::Bind(bind), flags })
    };
    FILES.iter().filter_map(shown).collect()
}

/// Where the image has the file, if it has it.
fn place(tree: &Path, path: &RootPath) -> Option<RootPath> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::openat(CWD, tree, directory, Mode::empty()).ok()?;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(&root, path.relative(), flags, Mode::empty(), inside).ok()?;
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&file).ok()?.st_mode);
    if !kind.is_file() {
        return None;
    }
    let end = sys_path(&file)?;
    let tree = sys_path(&root)?;
    RootPath::strict(end.strip_prefix(tree).ok()?.as_os_str().as_bytes())
}

fn sys_path(file: &impl std::os::fd::AsRawFd) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

/// Whether a file of the image is also there when the other mounts are.
fn is_there(at: &RootPath, others: &[Mount]) -> bool {
    let above = others.iter().filter(|other| at.is_within(&other.at));
    let Some(above) = above.max_by_key(|other| other.at.as_bytes().len()) else { return true };
    match &above.what {
        // These begin with what the image has there.
        MountKind::Fresh { .. } | MountKind::Tmpfs { seeded: true, .. } => true,
        MountKind::Bind(bind) => at.below(&above.at).is_some_and(|rest| {
            let rest = rest.strip_prefix(b"/").unwrap_or(rest);
            bind.source.join(std::ffi::OsStr::from_bytes(rest)).is_file()
        }),
        _ => false,
    }
}

/// What a resolv.conf says.
struct Conf<'a> {
    servers: Vec<&'a str>,
    search: Vec<&'a str>,
    options: Vec<&'a str>,
}

impl<'a> Conf<'a> {
    fn of(text: &'a str) -> Self {
        let mut conf = Self { servers: Vec::new(), search: Vec::new(), options: Vec::new() };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => conf.servers.extend(words.next()),
                // The last of these counts.
                Some("search" | "domain") => conf.search = words.collect(),
                Some("options") => conf.options.extend(words),
                _ => {}
            }
        }
        conf
    }

    /// Those that are not the host itself. A zone names an interface of the host's.
    fn servers(&self) -> impl Iterator<Item = &'a str> {
        let outside = |server: &&str| {
            server.parse::<IpAddr>().is_ok_and(|address| !address.is_loopback() && !address.is_unspecified())
        };
        self.servers.clone().into_iter().filter(outside)
    }
}

#[cfg(test)]
mod tests;
