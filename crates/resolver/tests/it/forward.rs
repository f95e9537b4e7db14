//! Names of everybody else.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use simple_dns::{Packet, PacketFlag, RCODE};

use super::client::{A, ask_from, from, hear, query, receive, send, stream, words};
use super::harness::{
    FIRST, GATEWAY, OTHER, SECOND, STRANGER, Server, WEB, WEB6, addresses, alone, ip, refusal, soon,
};

#[test]
fn others_are_asked_about_everybody_else() {
    alone("forward::others_are_asked_about_everybody_else", |net| {
        net.lease(WEB, "web", &[]);
        net.lease(WEB6, "web", &[]);
        net.host_asks(&[FIRST]);
        let seen = Arc::new(Mutex::new((BTreeSet::new(), BTreeSet::new())));
        let noted = seen.clone();
        let first = Server::start(FIRST, move |query, from: SocketAddr| {
            let mut noted = noted.lock().expect("notes");
            noted.0.insert(query.id());
            noted.1.insert(from.port());
            // Others guess before: another id, another question, a query.
            let (mut other, mut queried) = (query.clone(), query.clone());
            other.set_id(query.id().wrapping_add(1));
            queried.questions[0].qname = simple_dns::Name::new_unchecked("evil.example");
            let guesses = [addresses(&other, &["203.0.113.66"]), addresses(&queried, &["203.0.113.66"])];
            let echo = query.build_bytes_vec().expect("bytes");
            guesses.into_iter().chain([echo, vec![0; 3], addresses(query, &["203.0.113.7"])]).collect()
        });
        let _resolver = net.start("nat");
        for _ in 0..100 {
            assert_eq!(ask_from(WEB, "example.org", A), "203.0.113.7");
        }
        assert_eq!(ask_from(WEB6, "example.org", A), "203.0.113.7");
        let seen = seen.lock().expect("notes");
        assert!(seen.0.len() > 95 && seen.1.len() > 80, "{} ids, {} ports", seen.0.len(), seen.1.len());
        let asked = first.asked();
        // Nobody hears of our own names, the host asks nothing through us, and others nothing at all.
        assert_eq!(ask_from(WEB, "gone.shop", A), "NameError");
        assert_eq!(ask_from(WEB, "gone", A), "NameError");
        assert_eq!(ask_from(GATEWAY, "example.org", A), "Refused");
        assert_eq!(ask_from(STRANGER, "example.org", A), "Refused");
        assert_eq!(first.asked(), asked);
    });
}

#[test]
fn the_host_s_servers_change() {
    alone("forward::the_host_s_servers_change", |net| {
        net.lease(WEB, "web", &[]);
        let _first = Server::plain(FIRST, "203.0.113.1");
        let _second = Server::plain(SECOND, "203.0.113.2");
        net.host_asks(&[FIRST]);
        let _resolver = net.start("nat");
        assert_eq!(ask_from(WEB, "example.org", A), "203.0.113.1");
        net.host_asks(&[SECOND]);
        soon("the other server", || ask_from(WEB, "example.org", A) == "203.0.113.2");
        // Ourselves among them: nobody goes round in circles.
        net.host_asks(&[GATEWAY, FIRST]);
        soon("the first server", || ask_from(WEB, "example.org", A) == "203.0.113.1");
        net.host_asks(&[GATEWAY]);
        soon("nobody", || ask_from(WEB, "example.org", A) == "ServerFailure");
    });
}

#[test]
fn a_container_may_have_servers_of_its_own() {
    alone("forward::a_container_may_have_servers_of_its_own", |net| {
        let _first = Server::plain(FIRST, "203.0.113.1");
        let _second = Server::plain(SECOND, "203.0.113.2");
        net.host_asks(&[FIRST]);
        net.lease(OTHER, "other", &[]);
        net.write(WEB, &format!("{{\"id\": \"a\", \"name\": \"web\", \"servers\": [\"{SECOND}\"]}}"));
        let _resolver = net.start("nat");
        assert_eq!(ask_from(OTHER, "example.org", A), "203.0.113.1");
        assert_eq!(ask_from(WEB, "example.org", A), "203.0.113.2");
    });
}

#[test]
fn the_next_server_is_asked() {
    alone("forward::the_next_server_is_asked", |net| {
        net.lease(WEB, "web", &[]);
        let first = Server::start(FIRST, |query, _| vec![refusal(query, RCODE::ServerFailure)]);
        let _second = Server::plain(SECOND, "203.0.113.2");
        // Nobody listens at the stranger's.
        net.host_asks(&[STRANGER, FIRST, SECOND]);
        let _resolver = net.start("nat");
        assert_eq!(ask_from(WEB, "example.org", A), "203.0.113.2");
        assert_eq!(first.asked(), 1);
        // All are helpless: what the last one says is said.
        net.host_asks(&[FIRST]);
        soon("a failure", || ask_from(WEB, "example.org", A) == "ServerFailure");
    });
}

#[test]
fn nobody_waits_for_those_who_are_silent() {
    alone("forward::nobody_waits_for_those_who_are_silent", |net| {
        net.lease(OTHER, "other", &[]);
        net.lease(WEB, "web", &[]);
        let first = Server::silent(FIRST);
        net.host_asks(&[FIRST]);
        let _resolver = net.start("nat");
        let waiting = from(WEB);
        waiting.send(&query(9, "example.org", A)).expect("sent");
        // Asked again by somebody who has no patience: it is answered once.
        waiting.send(&query(9, "example.org", A)).expect("sent");
        soon("the server is asked", || first.asked() > 0);
        for _ in 0..1000 {
            assert_eq!(ask_from(OTHER, "web", A), WEB);
        }
        // The next server answers, where there is one, and then is the first that is asked.
        let _second = Server::plain(SECOND, "203.0.113.2");
        net.host_asks(&[FIRST, SECOND]);
        soon("the second server", || ask_from(OTHER, "example.org", A) == "203.0.113.2");
        assert_eq!(hear(&waiting), "ServerFailure");
        let asked = first.asked();
        soon("the second server at once", || {
            let before = first.asked();
            ask_from(OTHER, "example.org", A) == "203.0.113.2" && first.asked() == before
        });
        assert!(first.asked() >= asked);
    });
}

#[test]
fn what_does_not_fit_goes_over_tcp() {
    alone("forward::what_does_not_fit_goes_over_tcp", |net| {
        net.lease(WEB, "web", &[]);
        net.host_asks(&[FIRST]);
        let _first = Server::start(FIRST, |query, _| {
            let mut cut = query.clone().into_reply();
            cut.set_flags(PacketFlag::TRUNCATION);
            vec![cut.build_bytes_vec().expect("bytes")]
        });
        let listener = TcpListener::bind(SocketAddr::new(ip(FIRST), 53)).expect("a listener");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let message = receive(&mut stream).expect("a query");
                let all: Vec<String> = (0..200).map(|last| format!("203.0.113.{last}")).collect();
                let all: Vec<&str> = all.iter().map(String::as_str).collect();
                send(&mut stream, &addresses(&Packet::parse(&message).expect("a query"), &all));
            }
        });
        let _resolver = net.start("nat");
        assert_eq!(ask_from(WEB, "large.example", A), "NoError cut");
        let mut stream = stream(WEB);
        for id in 0..3 {
            send(&mut stream, &query(id, "large.example", A));
            let answer = receive(&mut stream).expect("an answer");
            assert_eq!(answer[..2], id.to_be_bytes());
            assert_eq!(words(&answer).split(' ').count(), 200);
        }
    });
}

#[test]
fn an_isolated_network_asks_nobody() {
    alone("forward::an_isolated_network_asks_nobody", |net| {
        net.write(WEB, &format!("{{\"id\": \"a\", \"name\": \"web\", \"servers\": [\"{FIRST}\"]}}"));
        let first = Server::plain(FIRST, "203.0.113.1");
        net.host_asks(&[FIRST]);
        let _resolver = net.start("isolated");
        assert_eq!(ask_from(WEB, "web", A), WEB);
        for name in ["example.org", "secret.evil.example", "1.1.1.1.in-addr.arpa", "org"] {
            assert_eq!(ask_from(WEB, name, A), "NameError");
        }
        assert_eq!(first.asked(), 0);
    });
}
