//! What containers may send.

use std::io::{Read, Write};

use super::client::{A, ask_again, ask_from, from, hear, query, receive, send, stream, words};
use super::harness::{FIRST, OTHER, Server, WEB, alone, soon};

/// Numbers that are the same each time.
fn numbers() -> impl Iterator<Item = u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    })
}

#[test]
fn it_has_given_up_what_it_does_not_need() {
    alone("hostile::it_has_given_up_what_it_does_not_need", |net| {
        net.lease(WEB, "web", &[]);
        let resolver = net.start("nat");
        assert_eq!(resolver.status("Uid"), "65534 65534 65534 65534");
        assert_eq!(resolver.status("Gid"), "65534 65534 65534 65534");
        assert_eq!(resolver.status("Groups"), "");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(resolver.status(set), "0000000000000000");
        }
        assert_eq!(
            (resolver.status("NoNewPrivs"), resolver.status("Seccomp")),
            ("1".to_owned(), "2".to_owned())
        );
        // Its own; how much of the program is counted as its depends on who else has read the file.
        assert!(resolver.memory() < 700, "{} KiB", resolver.memory());
    });
}

#[test]
fn it_manages_where_nobody_may_read_the_leases() {
    alone("hostile::it_manages_where_nobody_may_read_the_leases", |net| {
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(net.leases(), closed).expect("a mode");
        let check = || {
            let resolver = net.start("nat");
            assert_eq!(resolver.status("Uid"), "0 0 0 0");
            assert_eq!(
                (resolver.status("CapEff"), resolver.status("Seccomp")),
                ("0".repeat(16), "2".to_owned())
            );
            net.lease(WEB, "web", &[]);
            assert_eq!(ask_from(OTHER, "web", A), WEB);
        };
        check();
        // Or only one of them.
        let mode = std::os::unix::fs::PermissionsExt::from_mode;
        std::fs::set_permissions(net.leases(), mode(0o755)).expect("a mode");
        std::fs::set_permissions(net.leases().join(WEB), mode(0o600)).expect("a mode");
        check();
    });
}

#[test]
fn nonsense_is_survived() {
    alone("hostile::nonsense_is_survived", |net| {
        net.lease(WEB, "web", &[]);
        net.host_asks(&[FIRST]);
        let _first = Server::start(FIRST, |query, _| {
            let mut bytes = query.build_bytes_vec().expect("bytes");
            bytes[2] |= 0x80;
            bytes.extend(numbers().take(usize::from(query.id() % 600)));
            vec![bytes]
        });
        let mut resolver = net.start("nat");
        let (mut numbers, socket) = (numbers(), from(WEB));
        let good = query(1, "www.example.org", A);
        for round in 0..5000_usize {
            let length = usize::from(numbers.next().expect("a number")) * (1 + round % 5);
            let bytes: Vec<u8> = match round % 3 {
                0 => numbers.by_ref().take(length).collect(),
                1 => good.iter().copied().chain(numbers.by_ref().take(length)).collect(),
                _ => {
                    let mut bytes = good.clone();
                    bytes[numbers.next().map_or(0, usize::from) % good.len()] =
                        numbers.next().expect("a number");
                    bytes
                }
            };
            socket.send(&bytes).expect("sent");
        }
        // Names that point to themselves, and to the end of the world.
        for pointer in [[0xc0, 12], [0xc0, 13], [0xff, 0xff]] {
            let mut bytes = good[..12].to_vec();
            bytes.extend([pointer[0], pointer[1], 0, 1, 0, 1]);
            socket.send(&bytes).expect("sent");
        }
        socket.send(&vec![0x41; 60_000]).expect("sent");
        assert_eq!(ask_again(OTHER, "web", A), WEB);
        assert!(resolver.0.try_wait().expect("a child").is_none());
    });
}

#[test]
fn slow_and_many_connections_are_bounded() {
    alone("hostile::slow_and_many_connections_are_bounded", |net| {
        net.lease(WEB, "web", &[]);
        let resolver = net.start("nat");
        // So many that say nothing, or only how much they will say.
        let mut slow: Vec<_> = (0..40).map(|_| stream(WEB)).collect();
        for (number, stream) in slow.iter_mut().enumerate() {
            let _ = stream.write_all(&[0xff, 0xff][..number % 3]);
        }
        let mut other = stream(OTHER);
        send(&mut other, &query(1, "web", A));
        assert_eq!(words(&receive(&mut other).expect("an answer")), WEB);
        // What is too long is not waited for, and what is too slow neither.
        for stream in &mut slow {
            let mut room = [0; 16];
            assert!(!matches!(stream.read(&mut room), Ok(1..)));
        }
        let mut again = stream(WEB);
        send(&mut again, &query(1, "web", A));
        assert_eq!(words(&receive(&mut again).expect("an answer")), WEB);
        assert!(resolver.memory() < 2500, "{} KiB", resolver.memory());
    });
}

#[test]
fn a_flood_is_not_everybody_s() {
    alone("hostile::a_flood_is_not_everybody_s", |net| {
        net.lease(WEB, "web", &[]);
        net.lease(OTHER, "other", &[]);
        let first = Server::start(FIRST, |query, _| {
            let known = query.questions[0].qname.to_string() == "known.example";
            if known { vec![super::harness::addresses(query, &["203.0.113.1"])] } else { Vec::new() }
        });
        net.host_asks(&[FIRST]);
        let resolver = net.start("nat");
        let socket = from(WEB);
        for number in 0..20_000_u32 {
            let name = format!("n{number}.example");
            socket.send(&query(number as u16, &name, A)).expect("sent");
        }
        soon("the server is asked", || first.asked() > 0);
        // Others are heard, and asked for.
        assert_eq!(ask_again(OTHER, "web", A), WEB);
        assert_eq!(ask_again(OTHER, "known.example", A), "203.0.113.1");
        // So many at a time; the others were refused at once.
        assert!(first.asked() < 300, "{}", first.asked());
        assert_eq!(hear(&socket), "ServerFailure");
        assert!(resolver.memory() < 3500, "{} KiB", resolver.memory());
    });
}
