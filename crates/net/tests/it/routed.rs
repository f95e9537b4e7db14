//! Containers that hang on links of their own: whom they reach, and whom not.

use crate::lab::{ask, lab, network, publish, sh, zone};
use spec::network::Kind;

#[test]
fn containers_reach_the_gateway_their_zone_and_the_outside() {
    lab(|lab| {
        let outside = lab.outside();
        let network = network(1, Kind::Nat);
        let one = lab.container(&network, 5, zone(1, 1));
        let two = lab.container(&network, 6, zone(1, 1));
        let other = lab.container(&network, 7, zone(1, 2));
        lab.serve(Some(&two.space), "0.0.0.0", 80, "two");
        lab.serve(Some(&two.space), "::", 81, "two");
        lab.serve(Some(&other.space), "0.0.0.0", 80, "other");
        lab.serve(Some(&outside), "0.0.0.0", 80, "outside");
        lab.serve(Some(&outside), "::", 81, "outside");
        assert!(one.space.pings("10.88.1.1") && one.space.pings("fd88:1::1"), "the gateway");
        assert_eq!(one.space.ask(&two.v4, 80).as_deref(), Ok("two 10.88.1.5"));
        assert_eq!(one.space.ask(&two.v6, 81).as_deref(), Ok("two fd88:1::5"));
        assert_eq!(one.space.ask("192.0.2.2", 80).as_deref(), Ok("outside 192.0.2.1"));
        assert_eq!(one.space.ask("2001:db8::2", 81).as_deref(), Ok("outside 2001:db8::1"));
        assert!(one.space.ask(&other.v4, 80).is_err(), "another zone");
        assert!(!one.space.pings(&other.v6), "another zone");
        assert_eq!(ask(None, &two.v4, 80).as_deref(), Ok("two 10.88.1.1"), "from the host");
    });
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    lab(|lab| {
        // As strict as hosts are.
        sh("sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1");
        let outside = lab.outside();
        let network = network(1, Kind::Nat);
        let ports = |networking: &mut spec::network::Networking| {
            networking.published = vec![publish(8080, 80), publish(8081, 81)]
        };
        let web = lab.container_with(&network, 5, zone(1, 1), ports, &[]);
        let other = lab.container(&network, 6, zone(1, 2));
        lab.serve(Some(&web.space), "0.0.0.0", 80, "web");
        lab.serve(Some(&web.space), "::", 81, "web");
        assert_eq!(outside.ask("192.0.2.1", 8080).as_deref(), Ok("web 192.0.2.2"), "who asks is seen");
        assert_eq!(outside.ask("2001:db8::1", 8081).as_deref(), Ok("web 2001:db8::2"));
        assert_eq!(ask(None, "192.0.2.1", 8080).as_deref(), Ok("web 192.0.2.1"), "the host's address");
        assert!(ask(None, "127.0.0.1", 8080).is_ok_and(|said| said.starts_with("web ")), "the loopback");
        assert!(ask(None, "::1", 8081).is_ok_and(|said| said.starts_with("web ")), "that of IPv6");
        let more =
            |networking: &mut spec::network::Networking| networking.published = vec![publish(8083, 81)];
        let second = lab.container_with(&network, 7, zone(1, 1), more, &[]);
        lab.serve(Some(&second.space), "::", 81, "second");
        for (port, name) in [(8081, "web "), (8083, "second ")] {
            assert!(ask(None, "::1", port).is_ok_and(|said| said.starts_with(name)), "{name}");
        }
        lab.host.detach(&second.plan).expect("detach");
        lab.host.remove_links(&second.plan).expect("remove");
        lab.serve(None, "::1", 8082, "host");
        assert_eq!(ask(None, "::1", 8082).as_deref(), Ok("host ::1"), "the host's own are as before");
        assert!(other.space.ask("192.0.2.1", 8080).is_ok(), "another container");
        assert!(other.space.ask("10.88.1.1", 8080).is_ok(), "by the gateway's address");
        assert!(web.space.ask("192.0.2.1", 8080).is_ok(), "itself");
        assert!(other.space.ask(&web.v4, 80).is_err(), "not around");
        lab.host.detach(&web.plan).expect("detach");
        assert!(outside.ask("192.0.2.1", 8080).is_err());
        let left = lab.host.entries().expect("entries");
        assert!(left.iter().all(|entry| entry.interface() == Some(other.link())), "{left:?}");
        lab.host.remove_links(&web.plan).expect("links");
        assert!(!sh("ip link; ip route; ip -6 route").contains(&web.link()));
    });
}

#[test]
fn a_port_of_one_address_and_of_datagrams() {
    lab(|lab| {
        let outside = lab.outside();
        let network = network(1, Kind::Nat);
        let ports = |networking: &mut spec::network::Networking| {
            let here = Some([127, 0, 0, 1].into());
            let datagrams = spec::network::Protocol::Udp;
            networking.published = vec![
                spec::network::Publish { address: here, ..publish(8080, 80) },
                spec::network::Publish { protocol: datagrams, ..publish(5353, 53) },
            ];
        };
        let web = lab.container_with(&network, 5, zone(1, 1), ports, &[]);
        lab.serve(Some(&web.space), "0.0.0.0", 80, "web");
        let echo = "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.bind(('0.0.0.0',53))\n\
                    print('ready',flush=True)\nwhile True:\n d,a=s.recvfrom(99)\n s.sendto(d,a)\n";
        lab.spawn(Some(&web.space), echo);
        assert!(ask(None, "127.0.0.1", 8080).is_ok());
        assert!(outside.ask("192.0.2.1", 8080).is_err(), "this address only");
        let question = "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.settimeout(2)\n\
                        s.sendto(b'x',('192.0.2.1',5353))\nassert s.recvfrom(9)[1]==('192.0.2.1',5353)";
        assert!(outside.ok(&format!("python3 -c \"{question}\"")));
    });
}

#[test]
fn fifty_containers_are_all_there() {
    lab(|lab| {
        let network = network(1, Kind::Nat);
        let all: Vec<_> = (10..60).map(|last| lab.container(&network, last, zone(1, 1))).collect();
        for pair in all.chunks(10) {
            assert!(pair[0].space.pings(&pair[9].v4) && pair[9].space.pings(&pair[0].v6));
        }
        assert_eq!(lab.host.links().expect("links").len(), 50);
        assert_eq!(lab.host.look(&network).expect("look"), Vec::<String>::new());
        all.iter().try_for_each(|one| lab.host.detach(&one.plan)).expect("detach");
    });
}
