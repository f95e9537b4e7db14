//! What a gateway is told: the file as it is written ([`file`]), and what follows from it.

pub mod file;
pub mod route;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use spec::activation::ActivationTable;
use spec::isolation::Isolation;
use spec::limits::Limits;
use spec::network::NetworkTable;
use spec::{Error, Name, Result, ResultExt};

use file::{File, PolicyTable, ServiceTable};
use route::{Host, Routes};

/// A weight that says nothing.
const USUAL_WEIGHT: u32 = 100;

/// A prepared start takes a few hundred KiB, and makes the next one shorter by a millisecond or more.
const PREPARED: usize = 32;

/// Everything that a gateway is told, checked.
#[derive(Debug, Default)]
pub struct Config {
    /// Where plain HTTP is spoken.
    pub http: Vec<SocketAddr>,
    /// Where TLS is.
    pub https: Vec<SocketAddr>,
    /// Where metrics and the status are told besides the control socket.
    pub admin: Option<SocketAddr>,
    /// Certificates and keys, the first for names that no other is for.
    pub certificates: Vec<CertificateFiles>,
    /// What clients may do.
    pub clients: Clients,
    /// Where each request is noted.
    pub access_log: Option<PathBuf>,
    /// So many instances of all services run at once, at most.
    pub instances: Option<usize>,
    /// So many services have their next start prepared, at most.
    pub prepared: usize,
    /// The services.
    pub services: Vec<ServiceConfig>,
    /// Which of them a host name and a path lead to.
    pub hosts: Routes,
    /// Which of them a name in a TLS greeting leads to, undeciphered.
    pub sni: Routes,
}

/// A certificate with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, PEM.
    pub cert: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}

/// What clients may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clients {
    /// The head of a request must be complete within this time.
    pub head_time: Duration,
    /// A connection without a request is closed after this.
    pub idle_time: Duration,
    /// In the midst of a request or an answer, one that neither sends nor takes anything for so long is.
    pub stall_time: Duration,
    /// So many at once.
    pub connections: usize,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            head_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(75),
            stall_time: Duration::from_secs(60),
            connections: 100_000,
        }
    }
}

/// One service, as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Its name, and how its instances' names begin.
    pub name: Name,
    /// A package file or the name of an installed image.
    pub package: String,
    /// It is known by names.
    pub named: bool,
    /// It is known by names in TLS greetings.
    pub passed: bool,
    /// Ports of the host that lead to it.
    pub tcp: Vec<SocketAddr>,
    /// Ports of the host whose sockets it is given.
    pub sockets: Vec<SocketAddr>,
    /// A command line in place of the package's.
    pub command: Vec<String>,
    /// Environment on top of the package's.
    pub environment: Vec<(String, String)>,
    /// What is said of its instances' networks.
    pub network: Arc<NetworkTable>,
    /// Of their limits.
    pub limits: Arc<Limits>,
    /// Of their isolation.
    pub isolation: Arc<Isolation>,
    /// On top of what the package says of it.
    pub activation: Arc<ActivationTable>,
    /// Who says how many instances there should be.
    pub policy: Policy,
    /// Its share where not all can have what they want.
    pub weight: u32,
    /// The package gets what it asks for, even of the host.
    pub as_packaged: bool,
    /// Started also where that breaks promises made to others.
    pub overcommit: bool,
}

/// Who says how many instances there should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Policy {
    /// Our own rule.
    #[default]
    Own,
    /// A program with its arguments, run for each question.
    Program(Vec<String>),
    /// A function of a script, which is kept.
    Script {
        /// Where it lies.
        file: PathBuf,
        /// The function; empty for the usual one.
        function: String,
    },
}

impl Policy {
    fn of(table: Option<PolicyTable>, folder: &Path) -> Result<Self> {
        match table {
            None => Ok(Self::Own),
            Some(PolicyTable::Program(words)) if words.is_empty() => Ok(Self::Own),
            Some(PolicyTable::Program(words)) => Ok(Self::Program(words)),
            Some(PolicyTable::Script(said)) => {
                let split = said.rsplit_once('#').filter(|(_, function)| !function.contains('/'));
                let (file, function) = split.unwrap_or((&said, ""));
                if file.is_empty() {
                    return Err(Error::user(format!("policy {said:?} names no script"))
                        .hint("as in policy = \"scale.luau\", or \"scale.luau#of_the_shop\""));
                }
                Ok(Self::Script { file: folder.join(file), function: function.to_owned() })
            }
        }
    }
}

#[cfg(test)]
impl ServiceConfig {
    /// One of which nothing else is said.
    pub(crate) fn called(name: &str) -> Self {
        let text = format!("[service.{name}]\npackage = \"none\"");
        let mut config = Config::parse(&text, Path::new("/gateway.toml")).expect("a service");
        config.services.remove(0)
    }
}

impl Config {
    /// Understands a file; relative paths begin where it lies.
    ///
    /// # Errors
    /// What is no TOML, an unknown key, a word that means nothing, two services for one address.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::of(File::parse(text, &shown)?, folder).doing(|| shown)
    }

    /// The same, of what was read.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn of(file: File, folder: &Path) -> Result<Self> {
        let File { gateway, certificate, service } = file;
        let usual = Clients::default();
        let clients = Clients {
            head_time: file::time(gateway.head_time.as_deref(), usual.head_time)?,
            idle_time: file::time(gateway.idle_time.as_deref(), usual.idle_time)?,
            stall_time: file::time(gateway.stall_time.as_deref(), usual.stall_time)?,
            connections: gateway.connections.unwrap_or(usual.connections),
        };
        let mut config = Self {
            http: gateway.http,
            https: gateway.https,
            admin: gateway.admin,
            certificates: certificate
                .into_iter()
                .map(|one| CertificateFiles { cert: folder.join(one.cert), key: folder.join(one.key) })
                .collect(),
            clients,
            access_log: gateway.access_log.map(|path| folder.join(path)),
            instances: gateway.instances,
            prepared: gateway.prepared.unwrap_or(PREPARED),
            ..Self::default()
        };
        for (name, table) in service {
            let doing = format!("service {name:?}");
            config.add(&name, table, folder).doing(|| doing)?;
        }
        config.check()?;
        Ok(config)
    }

    /// One package for all requests; it is called by the name of its file, or its own.
    ///
    /// # Errors
    /// When no service can be called that.
    pub fn of_one(listen: &[SocketAddr], package: &str) -> Result<Self> {
        let name = Path::new(package).file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let table = ServiceTable {
            package: package.to_owned(),
            hosts: vec!["*".to_owned()],
            ..ServiceTable::default()
        };
        let mut file = File::default();
        file.gateway.http = listen.to_vec();
        file.service.insert(name, table);
        Self::of(file, Path::new("/"))
    }

    fn add(&mut self, name: &str, table: ServiceTable, folder: &Path) -> Result<()> {
        let number = self.services.len();
        let name: Name = name.parse()?;
        if name.as_str().len() > LONGEST {
            return Err(Error::user(format!("its name is longer than {LONGEST} bytes"))
                .hint("its instances are called by it and a number"));
        }
        if table.package.is_empty() {
            return Err(Error::user("package is empty")
                .hint("as in package = \"web.tsubo\", or the name of an image"));
        }
        for host in &table.hosts {
            self.hosts.add(Host::parse(host)?, number)?;
        }
        for host in &table.sni {
            self.sni.add(Host::parse(host)?.without_path()?, number)?;
        }
        table.network.check()?;
        table.activation.resolve()?;
        let file = folder.join(&table.package);
        let is_file = table.package.contains('/')
            || table.package.ends_with(".tsubo")
            || table.package.ends_with(".tar");
        let services = self.services.iter();
        let service = ServiceConfig {
            name,
            package: if is_file { file.display().to_string() } else { table.package },
            named: !table.hosts.is_empty(),
            passed: !table.sni.is_empty(),
            tcp: table.tcp,
            sockets: table.sockets,
            command: table.command,
            environment: table.environment.into_iter().collect(),
            network: shared(services.clone().map(|one| &one.network), table.network),
            limits: shared(services.clone().map(|one| &one.limits), table.limits),
            isolation: shared(services.clone().map(|one| &one.isolation), table.isolation),
            activation: shared(services.clone().map(|one| &one.activation), table.activation),
            policy: Policy::of(table.policy, folder)?,
            weight: weight(table.weight)?,
            as_packaged: table.as_packaged,
            overcommit: table.overcommit,
        };
        self.services.push(service);
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.instances == Some(0) {
            return Err(Error::user("instances = 0 lets nothing run")
                .hint("leave it out for what the host has room for"));
        }
        let mut seen: Vec<(SocketAddr, String)> = Vec::new();
        let own = self.http.iter().map(|at| (*at, "http".to_owned()));
        let own = own.chain(self.https.iter().map(|at| (*at, "https".to_owned())));
        let own = own.chain(self.admin.map(|at| (at, "admin".to_owned())));
        let of = |service: &ServiceConfig| {
            let all: Vec<_> = service.tcp.iter().chain(&service.sockets).copied().collect();
            all.into_iter().map(|at| (at, format!("service {}", service.name))).collect::<Vec<_>>()
        };
        for (at, who) in own.chain(self.services.iter().flat_map(of)) {
            if let Some((_, other)) = seen.iter().find(|(taken, _)| *taken == at) {
                return Err(Error::user(format!("{at} is said twice: by {other} and by {who}"))
                    .hint("each address leads to one thing"));
            }
            seen.push((at, who));
        }
        if !self.https.is_empty() && self.certificates.is_empty() && self.sni.is_empty() {
            return Err(Error::user("https without a certificate")
                .hint("add [[certificate]] with cert = \"chain.pem\" and key = \"key.pem\""));
        }
        Ok(())
    }
}

/// A thousand services that say the same take the room of one.
fn shared<'a, T: PartialEq + 'a>(known: impl Iterator<Item = &'a Arc<T>>, said: T) -> Arc<T> {
    let same = known.into_iter().find(|one| ***one == said);
    same.map_or_else(|| Arc::new(said), Arc::clone)
}

fn weight(said: Option<u32>) -> Result<u32> {
    let weight = said.unwrap_or(USUAL_WEIGHT);
    let fits = (1..=10_000).contains(&weight);
    fits.then_some(weight).ok_or_else(|| {
        Error::user(format!("{weight} is no weight")).hint("1 to 10000; 100 where nothing is said")
    })
}

/// Room for a point and a number in a name of 63 bytes.
const LONGEST: usize = 56;

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Config> {
        Config::parse(text, Path::new("/etc/tsubo/gateway.toml"))
    }

    #[test]
    fn a_file_says_what_leads_where() {
        let made = config(
            "[gateway]\nhttp = [\"127.0.0.1:80\"]\n[service.web]\npackage = \"web.tsubo\"\nhosts = [\"a.example\"]\n\
             [service.web.activation]\nmax = 3\n[service.db]\npackage = \"db\"\ntcp = [\"127.0.0.1:6379\"]",
        )
        .expect("fine");
        assert_eq!(made.services.len(), 2);
        let web = made.hosts.find("A.example:80", "/").expect("a route");
        assert_eq!(made.services[web].package, "/etc/tsubo/web.tsubo");
        assert_eq!(made.services[web].activation.max, Some(3));
    }

    #[test]
    fn a_policy_is_a_program_or_a_script() {
        let policy = |said: &str| {
            let text = format!("[service.web]\npackage = \"a\"\npolicy = {said}");
            config(&text).map(|mut made| made.services.remove(0).policy)
        };
        assert_eq!(policy("[\"x\"]").expect("a program"), Policy::Program(vec!["x".to_owned()]));
        let script = |function: &str| Policy::Script {
            file: "/etc/tsubo/a.luau".into(),
            function: function.to_owned(),
        };
        assert_eq!(policy("\"a.luau\"").expect("a script"), script(""));
        assert_eq!(policy("\"a.luau#b\"").expect("a function"), script("b"));
        let error = policy("3").expect_err("neither").chain();
        assert!(error.contains("policy is a script"), "{error}");
    }

    #[test]
    fn mistakes_are_named_with_the_way_out() {
        for text in [
            "[gateway]\nhtp = []",
            "[gateway]\nhttp = [\"nowhere\"]",
            "[gateway]\ninstances = 0",
            "[service.web]\npackage = \"a\"\nweight = 0",
            "[service.web]\npackage = \"a\"\nweight = 10001",
            "[gateway]\nhttps = [\"127.0.0.1:443\"]",
            "[service.web]\nhosts = [\"a\"]",
            "[service.web]\npackage = \"a\"\npolicy = \"#b\"",
            "[service.web]\npackage = \"a\"\nhost = \"x\"",
            "[service.web]\npackage = \"a\"\n[service.web.activation]\nmax = 0",
            "[service.\"a b\"]\npackage = \"a\"",
            "[service.a]\npackage = \"a\"\nhosts = [\"x\"]\n[service.b]\npackage = \"b\"\nhosts = [\"X\"]",
            "[service.a]\npackage = \"a\"\ntcp = [\"127.0.0.1:1\"]\n[service.b]\npackage = \"b\"\ntcp = [\"127.0.0.1:1\"]",
        ] {
            let error = config(text).expect_err(text);
            assert!(error.chain().contains("gateway.toml"), "{}", error.chain());
        }
    }
}
