//! Names of containers.

use super::client::{A, AAAA, MX, PTR, ask_from, from, hear, query, receive, send, stream, words};
use super::harness::{GATEWAY, OTHER, STRANGER, WEB, WEB6, alone};

#[test]
fn containers_find_each_other() {
    alone("names::containers_find_each_other", |net| {
        net.lease(WEB, "web", &["www"]);
        net.lease(WEB6, "web", &["www"]);
        let _resolver = net.start("nat");
        for source in [OTHER, WEB6, GATEWAY] {
            for name in ["web", "WEB", "www", "0123456789ab", "web.shop", "web.internal"] {
                assert_eq!(ask_from(source, name, A), WEB, "{name} from {source}");
                assert_eq!(ask_from(source, name, AAAA), WEB6, "{name} from {source}");
            }
        }
        assert_eq!(ask_from(OTHER, "web", MX), "NoError");
        assert_eq!(ask_from(OTHER, "nobody", A), "NameError");
        assert_eq!(ask_from(OTHER, "5.0.99.10.in-addr.arpa", PTR), "web.shop");
        assert_eq!(ask_from(STRANGER, "web", A), "Refused");
    });
}

#[test]
fn leases_come_and_go() {
    alone("names::leases_come_and_go", |net| {
        net.lease(WEB, "web", &[]);
        let _resolver = net.start("nat");
        for round in 0..50 {
            let name = format!("job{round}");
            net.lease(OTHER, &name, &["job"]);
            assert_eq!(ask_from(WEB, &name, A), OTHER);
            assert_eq!(ask_from(WEB, "job", A), OTHER);
            std::fs::remove_file(net.leases().join(OTHER)).expect("removed");
            assert_eq!(ask_from(WEB, "job", A), "NameError");
        }
        // What is damaged is passed over, and so is what is no lease.
        for text in ["", "{", "[]", "{\"name\": 7}", &"x".repeat(100_000)] {
            net.write(OTHER, text);
            assert_eq!(ask_from(WEB, "web", A), WEB, "{text:.20}");
        }
        net.write("no-address", "{\"name\": \"no\"}");
        std::fs::create_dir(net.leases().join("10.99.0.9")).expect("a directory");
        std::os::unix::fs::symlink("/dev/zero", net.leases().join("10.99.0.10")).expect("a link");
        assert_eq!(ask_from(WEB, "web", A), WEB);
        // Renamed, as another file in its place.
        net.write("10.99.0.77", "{\"id\": \"a\", \"name\": \"other\"}");
        std::fs::rename(net.leases().join("10.99.0.77"), net.leases().join(OTHER)).expect("renamed");
        assert_eq!(ask_from(WEB, "other", A), OTHER);
    });
}

#[test]
fn several_with_one_name_take_turns() {
    alone("names::several_with_one_name_take_turns", |net| {
        for number in 2..250 {
            net.lease(&format!("10.99.0.{number}"), &format!("worker{number}"), &["worker"]);
        }
        let _resolver = net.start("nat");
        let firsts: std::collections::BTreeSet<String> = (0..248)
            .map(|_| ask_from(WEB, "worker", A).split(' ').next().expect("an address").to_owned())
            .collect();
        assert_eq!(firsts.len(), 248);
        // Not all of them go into a datagram, which is said; over TCP all come.
        let socket = from(WEB);
        socket.send(&query(1, "worker", A)).expect("sent");
        let mut room = [0; 2048];
        let length = socket.recv(&mut room).expect("an answer");
        assert!(length <= 512 && room[2] & 0x02 != 0, "{length}");
        let mut stream = stream(WEB);
        send(&mut stream, &query(2, "worker", A));
        assert_eq!(words(&receive(&mut stream).expect("an answer")).split(' ').count(), 248);
    });
}

#[test]
fn queries_come_over_tcp_too() {
    alone("names::queries_come_over_tcp_too", |net| {
        net.lease(WEB, "web", &[]);
        net.lease(WEB6, "web", &[]);
        let _resolver = net.start("nat");
        for source in [OTHER, WEB6] {
            let mut stream = stream(source);
            // Several at once, and byte by byte.
            send(&mut stream, &query(1, "web", A));
            send(&mut stream, &query(2, "web", AAAA));
            assert_eq!(words(&receive(&mut stream).expect("an answer")), WEB);
            assert_eq!(words(&receive(&mut stream).expect("an answer")), WEB6);
            let message = query(3, "nobody", A);
            let bytes = [&[0, u8::try_from(message.len()).expect("short")][..], &message].concat();
            for byte in bytes {
                std::io::Write::write_all(&mut stream, &[byte]).expect("sent");
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            assert_eq!(words(&receive(&mut stream).expect("an answer")), "NameError");
        }
    });
}

#[test]
fn ten_thousand_queries() {
    alone("names::ten_thousand_queries", |net| {
        net.lease(WEB, "web", &[]);
        let resolver = net.start("nat");
        let socket = from(OTHER);
        for id in 0..10_000 {
            socket.send(&query(id, "web", A)).expect("sent");
            assert_eq!(hear(&socket), WEB, "{id}");
        }
        println!("{} KiB", resolver.memory());
    });
}
