use super::*;

const MAC: [u8; 6] = [2, 0x74, 0, 0, 0, 1];
const OWN: [u8; 4] = [192, 0, 2, 7];
const SERVER: [u8; 4] = [192, 0, 2, 1];

fn client(before: Option<[u8; 4]>) -> Client {
    let identity = Identity {
        mac: MAC,
        client: vec![1, 2, 0x74, 0, 0, 0, 1],
        hostname: Some("web".to_owned()),
        broadcast: false,
        size: 1500,
        taken: vec![[192, 0, 2, 99].into()],
        elsewhere: vec!["10.88.0.0/16".parse().expect("a net"), "192.0.2.0/24".parse().expect("a net")],
    };
    Client::new(identity, before.map(Ipv4Addr::from), 1, Duration::ZERO)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The one thing that it sends.
#[track_caller]
fn sent(actions: Vec<Action>) -> (Message, To) {
    match <[Action; 1]>::try_from(actions) {
        Ok([Action::Send(message, to)]) => (message, to),
        other => panic!("{other:?}"),
    }
}

/// What is answered to this.
fn answer(to: &Message, kind: Kind) -> Message {
    let mut answer = Message::new(kind, to.transaction, to.mac).with(code::SERVER, SERVER);
    answer.reply = true;
    if kind != Kind::Nak {
        answer.yours = OWN.into();
        answer = answer.with(code::MASK, [255, 255, 255, 0]).with(code::LEASE, 1000_u32.to_be_bytes());
    }
    answer
}

/// Brings it to its first lease, asked for at `now`.
fn bound(client: &mut Client, now: Duration) {
    let (discover, _) = sent(client.tick(now));
    let (request, _) = sent(client.hear(now, &answer(&discover, Kind::Offer)));
    assert_eq!(client.hear(now, &answer(&request, Kind::Ack)), [Action::Probe(OWN.into())]);
    let have = client.tick(now + PROBE);
    assert!(matches!(&have[..], [Action::Have(lease, Some(end))]
        if lease.address.addr() == Ipv4Addr::from(OWN) && *end == now + seconds(1000)));
}

#[test]
fn an_address_is_offered_taken_and_looked_for() {
    let mut client = client(None);
    let (discover, to) = sent(client.tick(Duration::ZERO));
    assert_eq!((discover.kind, to, client.ears()), (Kind::Discover, To::Link, Ears::Link));
    assert_eq!(discover.options[&code::HOSTNAME], b"web");
    let (request, to) = sent(client.hear(seconds(0), &answer(&discover, Kind::Offer)));
    assert_eq!((request.kind, to, request.transaction), (Kind::Request, To::Link, discover.transaction));
    assert_eq!(request.address(code::WISH), Some(OWN.into()));
    assert_eq!(request.address(code::SERVER), Some(SERVER.into()));
    assert_eq!(client.hear(seconds(0), &answer(&request, Kind::Ack)), [Action::Probe(OWN.into())]);
    assert!(client.lease().is_none() && client.tick(PROBE / 2).is_empty());
    assert!(matches!(client.tick(PROBE)[..], [Action::Have(..)]));
    assert_eq!(client.ears(), Ears::None);
}

#[test]
fn only_what_is_meant_for_it_is_heard() {
    let mut client = client(None);
    let (discover, _) = sent(client.tick(Duration::ZERO));
    let good = answer(&discover, Kind::Offer);
    let mut others = vec![Message { transaction: good.transaction ^ 1, ..good.clone() }];
    others.push(Message { mac: [9; 6], ..good.clone() });
    others.push(Message { reply: false, ..good.clone() });
    others.push(Message { kind: Kind::Ack, ..good.clone() });
    others.push(Message { yours: Ipv4Addr::LOCALHOST, ..good.clone() });
    others.push(Message { yours: [10, 88, 7, 7].into(), ..good.clone() });
    others.push(Message { yours: [192, 0, 2, 99].into(), ..good.clone() });
    for other in others {
        assert!(client.hear(seconds(0), &other).is_empty(), "{other:?}");
    }
    let complaint = client.complaint().expect("a complaint").to_owned();
    assert!(complaint.contains("192.0.2.1") && complaint.contains("somebody else's"), "{complaint}");
    let (request, _) = sent(client.hear(seconds(0), &good));
    let by_another = answer(&request, Kind::Ack).with(code::SERVER, [192, 0, 2, 66]);
    assert!(client.hear(seconds(0), &by_another).is_empty());
    let refused = answer(&request, Kind::Nak).with(code::SERVER, [192, 0, 2, 66]);
    assert!(client.hear(seconds(0), &refused).is_empty());
    assert!(!client.hear(seconds(0), &answer(&request, Kind::Ack)).is_empty());
}

#[test]
fn nobody_is_asked_again_and_again_less_often() {
    let mut client = client(None);
    let (mut now, mut times) = (Duration::ZERO, Vec::new());
    for _ in 0..9 {
        assert_eq!(sent(client.tick(now)).0.kind, Kind::Discover);
        let next = client.due().expect("a time");
        times.push((next - now).as_secs_f64());
        now = next;
    }
    for (try_, pause) in times.iter().enumerate() {
        let whole = f64::from(1 << try_.min(6));
        assert!((0.75 * whole..1.25 * whole).contains(pause), "{times:?}");
    }
}

#[test]
fn the_address_of_before_is_asked_for_first() {
    let mut again = client(Some(OWN));
    let (request, to) = sent(again.tick(Duration::ZERO));
    assert_eq!((request.kind, to), (Kind::Request, To::Link));
    assert_eq!((request.address(code::WISH), request.address(code::SERVER)), (Some(OWN.into()), None));
    let mut other = answer(&request, Kind::Ack);
    other.yours = [192, 0, 2, 8].into();
    assert!(again.hear(seconds(0), &other).is_empty());
    assert!(matches!(again.hear(seconds(0), &answer(&request, Kind::Ack))[..], [Action::Have(..)]));
    let mut refused = client(Some(OWN));
    let (request, _) = sent(refused.tick(Duration::ZERO));
    let (discover, _) = sent(refused.hear(seconds(0), &answer(&request, Kind::Nak)));
    assert_eq!(discover.kind, Kind::Discover);
    assert_ne!(discover.transaction, request.transaction);
    let mut unheard = client(Some(OWN));
    let mut kinds = Vec::new();
    for _ in 0..4 {
        let now = unheard.due().expect("a time");
        kinds.push(sent(unheard.tick(now)).0.kind);
    }
    assert_eq!(kinds, [Kind::Request, Kind::Request, Kind::Discover, Kind::Discover]);
}

#[test]
fn a_lease_is_made_longer_by_its_server_then_by_anybody_and_then_ends() {
    let mut client = client(None);
    bound(&mut client, seconds(10));
    let at = client.due().expect("a time");
    assert!((seconds(10 + 465)..=seconds(10 + 500)).contains(&at), "{at:?}");
    let (request, to) = sent(client.tick(at));
    assert_eq!((request.own, to, client.ears()), (OWN.into(), To::Server(SERVER.into()), Ears::Own));
    assert_eq!((request.address(code::WISH), request.address(code::SERVER)), (None, None));
    let more = client.hear(at, &answer(&request, Kind::Ack));
    assert!(matches!(&more[..], [Action::Have(_, Some(end))] if *end == at + seconds(1000)), "{more:?}");
    let mut tos = Vec::new();
    let (now, lost) = loop {
        let now = client.due().expect("a time");
        let actions = client.tick(now);
        match &actions[..] {
            [Action::Send(message, to)] => {
                assert_eq!(message.own, Ipv4Addr::from(OWN));
                tos.push(*to);
            }
            _ => break (now, actions),
        }
    };
    let switch = tos.iter().position(|to| *to == To::Everybody).expect("anybody");
    assert!(tos[..switch].iter().all(|to| *to == To::Server(SERVER.into())) && switch > 0);
    assert!(tos[switch..].iter().all(|to| *to == To::Everybody) && tos.len() < 30, "{tos:?}");
    assert_eq!(now, at + seconds(1000));
    assert!(matches!(&lost[..], [Action::Lose(net), Action::Send(discover, To::Link)]
        if net.to_string() == "192.0.2.7/24" && discover.address(code::WISH) == Some(OWN.into())));
    assert!(client.lease().is_none());
}

#[test]
fn another_server_may_take_a_lease_over() {
    let mut client = client(None);
    bound(&mut client, seconds(0));
    let request = loop {
        let now = client.due().expect("a time");
        if let (message, To::Everybody) = sent(client.tick(now)) {
            break message;
        }
    };
    let other = answer(&request, Kind::Ack).with(code::SERVER, [192, 0, 2, 2]);
    assert!(matches!(&client.hear(seconds(900), &other)[..], [Action::Have(..)]));
    assert_eq!(client.lease().expect("a lease").server, Ipv4Addr::new(192, 0, 2, 2));
}

#[test]
fn no_answer_moves_who_has_an_address() {
    let mut client = client(None);
    bound(&mut client, seconds(0));
    let mut rebinding = false;
    while !rebinding {
        let now = client.due().expect("a time");
        let (request, to) = sent(client.tick(now));
        rebinding = to == To::Everybody;
        let mut other = answer(&request, Kind::Ack);
        other.yours = [192, 0, 2, 66].into();
        assert!(client.hear(now, &other).is_empty(), "{to:?}");
        assert_eq!(client.lease().expect("a lease").address.addr(), Ipv4Addr::from(OWN));
        assert_eq!(client.ears(), Ears::Own);
    }
    let end = client.held().and_then(Held::end).expect("an end");
    assert!(
        matches!(client.tick(end)[..], [Action::Lose(_), Action::Send(..)]),
        "it goes on as without an answer"
    );
}

#[test]
fn a_lease_that_is_refused_or_slept_over_is_lost_at_once() {
    let mut refused = client(None);
    bound(&mut refused, seconds(0));
    let at = refused.due().expect("a time");
    let (request, _) = sent(refused.tick(at));
    assert!(matches!(
        refused.hear(at, &answer(&request, Kind::Nak))[..],
        [Action::Lose(_), Action::Send(..)]
    ));
    let mut asleep = client(None);
    bound(&mut asleep, seconds(0));
    assert!(matches!(asleep.tick(seconds(5000))[..], [Action::Lose(_), Action::Send(..)]));
}

#[test]
fn an_address_that_another_has_is_declined() {
    let mut client = client(None);
    let (discover, _) = sent(client.tick(seconds(0)));
    let (request, _) = sent(client.hear(seconds(0), &answer(&discover, Kind::Offer)));
    client.hear(seconds(0), &answer(&request, Kind::Ack));
    let own = Claim { mac: MAC, address: OWN.into() };
    assert!(client.claimed(seconds(0), own).is_empty(), "our own question");
    let (decline, to) = sent(client.claimed(seconds(0), Claim { mac: [9; 6], address: OWN.into() }));
    assert_eq!((decline.kind, to), (Kind::Decline, To::Link));
    assert_eq!(decline.address(code::WISH), Some(OWN.into()));
    assert!(client.complaint().expect("a complaint").contains("another machine"));
    assert_eq!(client.ears(), Ears::None, "until it asks again");
    let at = client.due().expect("a time");
    assert!(at > PAUSE / 2 && sent(client.tick(at)).0.kind == Kind::Discover);
}

#[test]
fn what_is_for_ever_is_never_asked_for_again() {
    let mut client = client(Some(OWN));
    let (request, _) = sent(client.tick(seconds(0)));
    let ever = answer(&request, Kind::Ack).with(code::LEASE, u32::MAX.to_be_bytes());
    assert!(matches!(client.hear(seconds(0), &ever)[..], [Action::Have(_, None)]));
    assert_eq!(client.due(), None);
}

#[test]
fn whatever_comes_in_whatever_order_it_goes_on() {
    let mut random = Random::new(5);
    let kinds = [Kind::Discover, Kind::Offer, Kind::Request, Kind::Decline, Kind::Ack, Kind::Nak];
    let mut client = client(Some(OWN));
    let mut now = Duration::ZERO;
    let mut haves = 0;
    for _ in 0..50_000 {
        if random.below(3) == 0 {
            now = client.due().map_or(now, |due| due.max(now));
            client.tick(now);
        }
        let to = Message::new(Kind::Request, client.transaction, MAC);
        let mut message = answer(&to, kinds[random.below(6) as usize]);
        message.yours = Ipv4Addr::from(random.number());
        if random.below(2) == 0 {
            message.yours = OWN.into();
        }
        if random.below(4) == 0 {
            let value: Vec<u8> = (0..random.below(9)).map(|_| random.below(256) as u8).collect();
            message.options.insert(random.below(256) as u8, value);
        }
        let done = client.hear(now, &message);
        haves += done.iter().filter(|action| matches!(action, Action::Have(..))).count();
        if random.below(9) == 0 {
            client.claimed(now, Claim { mac: [9; 6], address: OWN.into() });
        }
    }
    assert!(haves > 0);
}
