//! Who may talk to whom.

use std::net::IpAddr;

use crate::lab::{ask, lab, network, nft, publish, sh, zone};
use spec::network::{Kind, Networking, Permit, Protocol, Whom};

fn permit(inward: bool, whom: Whom, port: Option<u16>) -> Permit {
    Permit { inward, whom, port: port.map(|port| (Protocol::Tcp, port)) }
}

#[test]
fn the_hosts_services_are_closed_but_for_names_and_what_is_allowed() {
    lab(|lab| {
        let network = network(1, Kind::Nat);
        let one = lab.container(&network, 5, zone(1, 1));
        let trusted =
            lab.container_with(&network, 6, zone(1, 1), |_| {}, &[permit(false, Whom::Host, Some(22))]);
        lab.serve(None, "0.0.0.0", 22, "host");
        lab.serve(None, "0.0.0.0", 53, "names");
        lab.serve(None, "0.0.0.0", 23, "host");
        assert!(one.space.ask("10.88.1.1", 22).is_err());
        assert!(one.space.ask("10.88.1.1", 53).is_ok(), "names");
        assert!(trusted.space.ask("10.88.1.1", 22).is_ok());
        assert!(trusted.space.ask("10.88.1.1", 23).is_err(), "this port only");
        let second = crate::lab::network(2, Kind::Isolated);
        let far = lab.container(&second, 5, zone(2, 1));
        assert!(far.space.ask("10.88.1.1", 53).is_err(), "the names of another network");
        assert!(far.space.ask("10.88.2.1", 53).is_ok(), "its own");
    });
}

#[test]
fn isolated_and_closed_containers_have_no_way_out() {
    lab(|lab| {
        let outside = lab.outside();
        lab.serve(Some(&outside), "0.0.0.0", 80, "outside");
        lab.serve(Some(&outside), "0.0.0.0", 81, "outside");
        let open = network(1, Kind::Nat);
        let isolated = network(2, Kind::Isolated);
        let shut = |networking: &mut Networking| networking.closed = true;
        let some = Whom::Net("192.0.2.0/24".parse().expect("net"));
        let one = lab.container(&isolated, 5, zone(2, 1));
        let two = lab.container_with(&open, 6, zone(1, 1), shut, &[]);
        let three = lab.container_with(&open, 7, zone(1, 1), shut, &[permit(false, some, Some(80))]);
        let four = lab.container_with(&open, 8, zone(1, 1), shut, &[permit(false, Whom::Outside, Some(80))]);
        for closed in [&one, &two] {
            assert!(closed.space.ask("192.0.2.2", 80).is_err());
        }
        for allowed in [&three, &four] {
            assert!(allowed.space.ask("192.0.2.2", 80).is_ok());
            assert!(allowed.space.ask("192.0.2.2", 81).is_err());
        }
        let five = lab.container_with(&open, 9, zone(1, 1), shut, &[permit(false, Whom::Outside, None)]);
        assert!(five.space.ask("192.0.2.2", 81).is_ok() && five.space.pings("192.0.2.2"), "everything");
        assert!(five.space.ask(&one.v4, 80).is_err(), "containers are not the outside");
    });
}

#[test]
fn published_ports_are_no_way_out_of_what_is_closed() {
    lab(|lab| {
        let (open, isolated) = (network(1, Kind::Nat), network(2, Kind::Isolated));
        let ports = |networking: &mut Networking| networking.published = vec![publish(8080, 80)];
        let shut = |networking: &mut Networking| networking.closed = true;
        let web = lab.container_with(&open, 5, zone(1, 1), ports, &[]);
        lab.serve(Some(&web.space), "0.0.0.0", 80, "web");
        let far = lab.container(&isolated, 5, zone(2, 1));
        let other = lab.container_with(&open, 6, zone(1, 2), shut, &[]);
        let plain = lab.container(&open, 7, zone(1, 2));
        let near = lab.container_with(&open, 8, zone(1, 1), shut, &[]);
        let to_web = permit(false, Whom::Net(web.v4.parse::<IpAddr>().expect("address").into()), Some(80));
        let allowed = lab.container_with(&isolated, 6, zone(2, 1), |_| {}, &[to_web]);
        for gateway in ["10.88.1.1", "10.88.2.1"] {
            assert!(far.space.ask(gateway, 8080).is_err() && other.space.ask(gateway, 8080).is_err());
            assert!(plain.space.ask(gateway, 8080).is_ok(), "where all is open");
            assert!(near.space.ask(gateway, 8080).is_ok(), "in its own zone");
            assert!(allowed.space.ask(gateway, 8080).is_ok(), "with a permission");
        }
    });
}

#[test]
fn what_belongs_to_no_connection_does_not_leave_as_it_is() {
    lab(|lab| {
        let outside = lab.outside();
        let directory = tempfile::tempdir().expect("directory");
        let log = directory.path().join("log");
        let one = lab.container(&network(1, Kind::Nat), 5, zone(1, 1));
        lab.serve(Some(&outside), "0.0.0.0", 80, "outside");
        // All of TCP that arrives outside: from whom, and the flags.
        let sniff = format!(
            "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_RAW,6)\nprint('ready',flush=True)\n\
             while True:\n d,a=s.recvfrom(99)\n open('{}','a').write(a[0]+' %x\\n'%d[33])\n",
            log.display()
        );
        lab.spawn(Some(&outside), &sniff);
        // A segment far outside the window of a connection, and one of none that could ever be (SYN and FIN).
        let script = "import socket,struct\nc=socket.create_connection(('192.0.2.2',80))\n\
             port=c.getsockname()[1]\nraw=socket.socket(socket.AF_INET,socket.SOCK_RAW,6)\n\
             def sum16(b):\n s=sum(struct.unpack('!%dH'%(len(b)//2),b))\n\x20while s>>16: s=(s&0xffff)+(s>>16)\n\
             \x20return ~s&0xffff\n\
             def tcp(sport,flags):\n h=struct.pack('!HHIIBBHHH',sport,80,0x7fff0000,0x7fff0000,0x50,flags,9,0,0)\n\
             \x20p=socket.inet_aton('10.88.1.5')+socket.inet_aton('192.0.2.2')+struct.pack('!HH',6,20)\n\
             \x20raw.sendto(h[:16]+struct.pack('!H',sum16(p+h))+h[18:],('192.0.2.2',0))\n\
             tcp(port,0x10)\ntcp(port,0x31)\ntcp(9,0x03)\n";
        let file = directory.path().join("script");
        std::fs::write(&file, script).expect("write");
        let read = || std::fs::read_to_string(&log).unwrap_or_default();
        // The beginning of the last connection comes behind all else.
        let run = |connections| {
            one.space.sh(&format!("python3 {}", file.display()));
            assert!(one.space.ask("192.0.2.2", 80).is_ok());
            let begun = || read().lines().filter(|line| line.ends_with(" 2")).count();
            crate::lab::until("all arrives", || begun() >= connections);
            read()
        };
        let seen = run(2);
        assert!(seen.contains("192.0.2.1 ") && !seen.contains("10.88."), "{seen}");
        let rules = sh("nft -a list chain inet tsubo onward");
        let rule = rules.lines().find(|line| line.contains("invalid")).expect("the rule");
        sh(&format!("nft delete rule inet tsubo onward {}", rule.split("# ").nth(1).expect("handle")));
        assert!(run(4).contains("10.88.1.5 "), "it is the rule that holds");
    });
}

#[test]
fn permissions_reach_over_zones_and_networks_one_way() {
    lab(|lab| {
        let (first, second) = (network(1, Kind::Nat), network(2, Kind::Isolated));
        let to_zone = permit(false, Whom::Zone(zone(2, 1)), Some(80));
        let one = lab.container_with(&first, 5, zone(1, 1), |_| {}, &[to_zone]);
        let plain = lab.container(&first, 6, zone(1, 1));
        let two = lab.container(&second, 5, zone(2, 1));
        let v6 = Whom::Net(IpAddr::from([0xfd88, 1, 0, 0, 0, 0, 0, 6]).into());
        let hears = [permit(true, Whom::Zone(zone(1, 2)), None), permit(true, v6, Some(80))];
        let three = lab.container_with(&second, 6, zone(2, 2), |_| {}, &hears);
        let four = lab.container(&first, 7, zone(1, 2));
        for server in [&one, &two, &three] {
            lab.serve(Some(&server.space), "::", 80, "it");
            lab.serve(Some(&server.space), "0.0.0.0", 81, "it");
        }
        assert!(one.space.ask(&two.v6, 80).is_ok(), "to a zone");
        assert!(one.space.ask(&two.v4, 81).is_err(), "but not its other ports");
        assert!(plain.space.ask(&two.v6, 80).is_err(), "others of its zone may not");
        assert!(two.space.ask(&one.v6, 80).is_err(), "nor back");
        assert!(four.space.ask(&three.v4, 81).is_ok() && four.space.pings(&three.v6), "from a zone");
        assert!(plain.space.ask(&three.v6, 80).is_ok(), "from an address");
        assert!(plain.space.ask(&three.v4, 81).is_err());
    });
}

#[test]
fn nobody_gets_at_a_container_from_outside_unless_it_hears() {
    lab(|lab| {
        let outside = lab.outside();
        let network = network(1, Kind::Nat);
        let one = lab.container(&network, 5, zone(1, 1));
        let hears = [permit(true, Whom::Outside, Some(80))];
        let two = lab.container_with(&network, 6, zone(1, 1), |_| {}, &hears);
        for server in [&one, &two] {
            lab.serve(Some(&server.space), "0.0.0.0", 80, "it");
            lab.serve(Some(&server.space), "0.0.0.0", 81, "it");
        }
        outside.sh("ip route add 10.88.0.0/16 via 192.0.2.1");
        assert!(outside.ask(&one.v4, 80).is_err());
        assert!(outside.ask(&two.v4, 80).is_ok());
        assert!(outside.ask(&two.v4, 81).is_err());
    });
}

#[test]
fn the_hosts_firewall_holds() {
    lab(|lab| {
        let outside = lab.outside();
        let network = network(1, Kind::Nat);
        let ports = |networking: &mut Networking| networking.published = vec![publish(8080, 80)];
        let web = lab.container_with(&network, 5, zone(1, 1), ports, &[]);
        lab.serve(Some(&web.space), "0.0.0.0", 80, "web");
        lab.serve(Some(&outside), "0.0.0.0", 80, "outside");
        assert!(outside.ask("192.0.2.1", 8080).is_ok());
        assert!(lab.host.look(&network).expect("look").is_empty());
        nft(
            "table inet mine { chain early { type filter hook prerouting priority -400; tcp dport 8080 drop; }; }",
        );
        assert!(outside.ask("192.0.2.1", 8080).is_err(), "a drop before");
        nft("delete table inet mine");
        nft("table ip mine { chain f { type filter hook forward priority 10; policy drop; }; }");
        assert!(outside.ask("192.0.2.1", 8080).is_err(), "a drop behind");
        assert!(web.space.ask("192.0.2.2", 80).is_err());
        let said = lab.host.look(&network).expect("look").join("\n");
        assert!(said.contains("chain f of table ip mine"), "{said}");
        nft(
            "table ip mine { chain f { meta iifgroup >= 0x75000000 accept; meta oifgroup >= 0x75000000 accept; }; }",
        );
        assert!(outside.ask("192.0.2.1", 8080).is_ok(), "as the words say");
        nft("table ip mine { chain i { type filter hook input priority 10; policy drop; }; }");
        let said = lab.host.look(&network).expect("look").join("\n");
        assert!(said.contains("chain i of table ip mine") && said.contains("port 53"), "{said}");
    });
}

#[test]
fn the_host_does_not_become_a_router_for_others() {
    lab(|lab| {
        let outside = lab.outside();
        // A machine on the other side of the host, which no container is.
        let inner = crate::lab::Space::new();
        sh(
            "ip link add lan0 type veth peer name lan1; ip addr add 198.51.100.1/24 dev lan0; ip link set lan0 up",
        );
        sh(&format!("ip link set lan1 netns {}", inner.path()));
        inner.sh("ip addr add 198.51.100.2/24 dev lan1; ip link set lan1 up; ip route add default via 198.51.100.1");
        outside.sh("ip route add 198.51.100.0/24 via 192.0.2.1");
        sh("sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0 net.ipv6.conf.up0.accept_ra=1");
        assert!(!outside.pings("198.51.100.2"), "as it was");
        let one = lab.container(&network(1, Kind::Nat), 5, zone(1, 1));
        assert!(one.space.pings("192.0.2.2") && one.space.pings("198.51.100.2"));
        assert!(!outside.pings("198.51.100.2") && !inner.pings("192.0.2.2"), "as it was");
        assert_eq!(
            sh("cat /proc/sys/net/ipv6/conf/up0/accept_ra").trim(),
            "2",
            "its own address by the router"
        );
        // Nor when somebody flushed the rules, but for those bridges that came later.
        sh(
            "ip link add br9 type bridge; ip addr add 203.0.113.1/24 dev br9; ip link set br9 up; nft flush ruleset",
        );
        assert!(outside.pings("198.51.100.2"), "nobody is there to drop it");
        let second = network(2, Kind::Nat);
        lab.host.raise(&second).expect("raise");
        assert!(!outside.pings("198.51.100.2") && !inner.pings("192.0.2.2"), "as it was");
        let uplinks = sh("nft list set inet tsubo uplinks");
        assert!(uplinks.contains("lan0") && uplinks.contains("up0") && !uplinks.contains("br9"), "{uplinks}");
        // Where it was one, it stays one.
        nft("flush set inet tsubo guard");
        assert!(outside.pings("198.51.100.2"));
    });
}

#[test]
fn a_loopback_service_of_the_host_is_not_reached() {
    lab(|lab| {
        let network = network(1, Kind::Nat);
        let ports = |networking: &mut Networking| networking.published = vec![publish(8080, 80)];
        let one = lab.container_with(&network, 5, zone(1, 1), ports, &[]);
        lab.serve(None, "127.0.0.1", 3306, "secret");
        assert!(ask(None, "127.0.0.1", 3306).is_ok());
        // The kernel inside is told that 127.0.0.1 is elsewhere.
        one.space.sh("ip addr flush dev lo; sysctl -qw net.ipv4.conf.all.route_localnet=1");
        one.space.sh("ip route del local 127.0.0.0/8 table local 2>/dev/null || true");
        one.space.sh("ip route add 127.0.0.1 via 10.88.1.1 dev eth0 onlink src 10.88.1.5");
        assert!(one.space.ask("127.0.0.1", 3306).is_err());
    });
}
