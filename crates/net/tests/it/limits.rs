//! What a container may use up.

use std::time::Instant;

use crate::lab::{Container, Lab, lab, network, sh, zone};
use spec::network::{Kind, Networking};

/// How many seconds it takes to get `bytes` from the host's end to `address`, or the other way round.
fn seconds(from: Option<&Container>, lab: &mut Lab, address: &str, port: u16, bytes: usize) -> f64 {
    let server = format!(
        "import socket\ns=socket.socket()\ns.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)\n\
         s.bind(('0.0.0.0',{port}))\ns.listen(1)\nprint('ready',flush=True)\nc,a=s.accept()\nn=0\n\
         while n<{bytes}: n+=len(c.recv(65536))\nc.send(b'x')\n"
    );
    let client = format!(
        "import socket\ns=socket.create_connection(('{address}',{port}))\ns.sendall(b'x'*{bytes})\ns.recv(1)"
    );
    match from {
        Some(container) => {
            lab.spawn(None, &server);
            let start = Instant::now();
            container.space.sh(&format!("python3 -c \"{client}\""));
            start.elapsed().as_secs_f64()
        }
        None => {
            let start = Instant::now();
            sh(&format!("python3 -c \"{client}\""));
            start.elapsed().as_secs_f64()
        }
    }
}

#[test]
fn bytes_a_second_are_limited_both_ways() {
    lab(|lab| {
        let network = network(1, Kind::Nat);
        let change = |networking: &mut Networking| {
            networking.rate.ingress = Some(1 << 20);
            networking.rate.egress = Some(1 << 20);
        };
        let host = spec::network::Permit { inward: false, whom: spec::network::Whom::Host, port: None };
        let one = lab.container_with(&network, 5, zone(1, 1), change, &[host]);
        assert!(sh(&format!("tc qdisc show dev {}", one.link())).contains("tbf"));
        // Two mebibytes at one a second: with the bursts taken off, a second at least. (No limit: milliseconds.)
        assert!(seconds(Some(&one), lab, "10.88.1.1", 90, 2 << 20) > 1.0, "egress");
        let sink = "import socket\ns=socket.socket()\ns.bind(('0.0.0.0',91))\ns.listen(1)\nprint('ready',flush=True)\n\
                    c,a=s.accept()\nn=0\nwhile n<2<<20: n+=len(c.recv(65536))\nc.send(b'x')\n";
        lab.spawn(Some(&one.space), sink);
        assert!(seconds(None, lab, &one.v4, 91, 2 << 20) > 1.0, "ingress");
    });
}

#[test]
fn packets_a_second_are_limited() {
    lab(|lab| {
        let network = network(1, Kind::Nat);
        let change = |networking: &mut Networking| networking.rate.packets = Some(50);
        let one = lab.container_with(&network, 5, zone(1, 1), change, &[]);
        let plain = lab.container(&network, 6, zone(1, 1));
        let count = |container: &Container| {
            let flood = "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n\
                         for i in range(2000): s.sendto(b'x',('10.88.1.1',53))";
            let received = || -> u64 {
                sh("nft list chain inet probe seen").split("packets ").nth(1).map_or(0, |rest| {
                    rest.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or_default()
                })
            };
            let before = received();
            container.space.sh(&format!("python3 -c \"{flood}\""));
            received() - before
        };
        crate::lab::nft(
            "table inet probe { chain seen { type filter hook input priority -300; udp dport 53 counter; }; }",
        );
        assert!(count(&one) < 1000);
        assert_eq!(count(&plain), 2000);
    });
}

#[test]
fn connections_are_counted_for_each_container() {
    lab(|lab| {
        let network = network(1, Kind::Nat);
        let one = lab.container(&network, 5, zone(1, 1));
        let two = lab.container(&network, 6, zone(1, 1));
        // None is forgotten while the flood lasts, however slow this machine is.
        sh("sysctl -qw net.netfilter.nf_conntrack_udp_timeout=600");
        // The bound is great: the flood of one is many ports of a gateway that answers none.
        let flood = "import socket\nfor port in range(1,20000):\n s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n \
                     s.bind(('10.88.1.5',1024+port%40000))\n s.sendto(b'x',('10.88.1.1',53))\n s.close()";
        one.space.sh(&format!("python3 -c \"{flood}\""));
        let kept: usize =
            sh("cat /proc/sys/net/netfilter/nf_conntrack_count").trim().parse().expect("number");
        assert!((16000..=16800).contains(&kept), "{kept} connections are remembered");
        assert!(two.space.pings("10.88.1.1"), "others are not concerned");
        lab.host.detach(&one.plan).expect("detach");
        assert!(!sh("nft list set inet tsubo connections").contains(&one.link()));
    });
}
