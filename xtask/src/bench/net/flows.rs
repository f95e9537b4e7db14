//! Throughput and latency on the way from another machine to a service.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::engines::Engine;
use super::world::{self, HOST, Space, World, inside};
use super::{Home, Table, names, service};
use crate::bench::samples::Samples;
use crate::bench::wrk::Told;
use crate::bench::{Ask, row};
use crate::shell::{self, Result};

const ROUNDS: u32 = 5;

/// Who is behind the bare links.
const BEHIND: &str = "198.51.100.2";
const BEFORE: &str = "198.51.100.1";

const VETH: &str = "bare veth, routed";

/// One way to the service.
struct Way<'a> {
    name: &'static str,
    world: &'a World,
    host: &'static str,
    stream: Samples,
    requests: Samples,
    half: Samples,
    most: Samples,
}

pub(super) fn measure(ask: &Ask, home: &Home, engines: &[Engine]) -> Result<Table> {
    let root = service::root(home)?;
    let plain = Plain::serve(&root)?;
    service::start(home, &root)?;
    let mut ways = vec![Way::new("tsubo, published port", &home.world, HOST)];
    for engine in engines {
        match engine.serve(&root) {
            Ok(()) => ways.push(Way::new(engine.name, &engine.world, HOST)),
            Err(error) => println!("SKIPPED: a published port of {}: {error}", engine.name),
        }
    }
    ways.push(Way::new(VETH, &plain.world, BEHIND));
    ways.push(Way::new("host network", &plain.world, HOST));
    for way in &ways {
        for port in [service::WEB, service::STREAM] {
            way.world.until_served(port, way.host).map_err(|e| format!("{}: {e}", way.name))?;
        }
    }
    for _ in 0..ask.rounds(ROUNDS) {
        for way in &mut ways {
            shell::unless_interrupted()?;
            way.measure().map_err(|e| format!("{}: {e}", way.name))?;
        }
    }
    home.state.quiet(&["rm", "-f", "service"])?;
    Ok(tabulate(&ways))
}

/// What is told of a way.
type Which = for<'b, 'c> fn(&'b Way<'c>) -> &'b Samples;

fn tabulate(ways: &[Way<'_>]) -> Table {
    let head = [
        "to a service",
        "Gbit/s",
        "to the veth",
        "median µs",
        "to the veth",
        "99 % µs",
        "to the veth",
        "requests/s",
    ];
    let mut rows = vec![row(head)];
    let Some(veth) = ways.iter().find(|way| way.name == VETH) else { return rows };
    for way in ways {
        let cell = |which: Which, digits: usize| {
            let (own, other) = (which(way).median(), which(veth).median());
            [format!("{own:.digits$}"), format!("{:.2}", own / other)]
        };
        let [stream, half, most] = [cell(|w| &w.stream, 1), cell(|w| &w.half, 0), cell(|w| &w.most, 0)];
        let requests = vec![format!("{:.0}", way.requests.median())];
        rows.push([vec![way.name.into()], stream.to_vec(), half.to_vec(), most.to_vec(), requests].concat());
    }
    rows
}

impl<'a> Way<'a> {
    fn new(name: &'static str, world: &'a World, host: &'static str) -> Self {
        let none = Samples::default;
        Self { name, world, host, stream: none(), requests: none(), half: none(), most: none() }
    }

    fn measure(&mut self) -> Result {
        let (host, stream, web) = (self.host, service::STREAM, service::WEB);
        let said = shell::read(&mut self.world.client(&format!("iperf3 -c {host} -p {stream} -t 1 -J")))?;
        let told: serde_json::Value = serde_json::from_str(&said)?;
        let sum = names::find(&told, "sum_received").and_then(|sum| sum["bits_per_second"].as_f64());
        self.stream.extend([sum.ok_or("iperf3 tells no sum")? / 1e9]);
        let said = shell::read(
            &mut self.world.client(&format!("wrk -t 1 -c 1 -d 1s --latency http://{host}:{web}/")),
        )?;
        let told = Told::read(&said).ok_or_else(|| format!("wrk says {said}"))?;
        self.requests.extend([told.requests]);
        self.half.extend([told.half]);
        self.most.extend([told.most]);
        Ok(())
    }
}

/// The service on a host without rules, and behind bare links.
struct Plain {
    servers: Vec<Child>,
    world: World,
    _behind: Space,
}

impl Plain {
    fn serve(root: &Path) -> Result<Self> {
        let (world, behind) = (World::new("h")?, Space::new()?);
        world::connect(&world.host(), &behind.pid(), ["veth0", "eth0"], [BEFORE, BEHIND])?;
        behind.run(&format!("ip route add default via {BEFORE}"))?;
        shell::read(&mut inside(&world.host(), "echo 1 > /proc/sys/net/ipv4/ip_forward"))?;
        let mut servers = Vec::new();
        for (name, pid) in [("here", world.host()), ("behind", behind.pid())] {
            // A /tmp each, and the devices that every program expects.
            let script =
                "mount -t tmpfs tmpfs $1/tmp && mount --bind /dev $1/dev && exec chroot $1 /srv/serve";
            let log = fs::File::create(world.at(name))?;
            let server = Command::new("nsenter")
                .args([
                    "--target",
                    &pid,
                    "--net",
                    "unshare",
                    "--mount",
                    "--pid",
                    "--fork",
                    "--kill-child",
                    "sh",
                    "-c",
                    script,
                    "sh",
                ])
                .arg(root)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()?;
            servers.push(server);
        }
        Ok(Self { servers, world, _behind: behind })
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        for server in &mut self.servers {
            // unshare(1) takes its child along, and that its namespace.
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}
