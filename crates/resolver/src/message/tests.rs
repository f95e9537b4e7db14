use proptest::prelude::*;

use super::*;

fn query(name: &str, kind: u16) -> Vec<u8> {
    let mut packet = Packet::new_query(0x1234);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let kind = QTYPE::try_from(kind).expect("a type");
    packet.questions.push(Question::new(Name::new(name).expect("a name"), kind, CLASS::IN.into(), false));
    packet.build_bytes_vec().expect("a query")
}

fn with_edns(name: &str, size: u16) -> Vec<u8> {
    let bytes = query(name, 1);
    let mut packet = Packet::parse(&bytes).expect("a query");
    *packet.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: size, version: 0 });
    packet.build_bytes_vec().expect("a query")
}

fn addresses(count: u8) -> Answer {
    Answer::Addresses((0..count).map(|last| IpAddr::from([10, 0, 0, last])).collect())
}

#[test]
fn a_query_is_read_and_answered() {
    let bytes = query("Web.Example", 1);
    let read = Query::parse(&bytes, false).expect("a query");
    assert_eq!((read.id, read.name.as_str(), read.kind), (0x1234, "web.example", 1));
    let answer = read.answer(&addresses(2));
    let packet = Packet::parse(&answer).expect("an answer");
    assert_eq!(packet.questions[0].qname.to_string(), "Web.Example");
    assert_eq!((packet.id(), packet.answers.len(), packet.rcode()), (0x1234, 2, RCODE::NoError));
    assert!(packet.has_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::AUTHORITATIVE_ANSWER));
    assert!(packet.opt().is_none());
}

#[test]
fn what_does_not_fit_is_cut_and_said_to_be() {
    for (bytes, stream, most) in [
        (query("web", 1), false, 512),
        (with_edns("web", 100), false, 512),
        (with_edns("web", 60_000), false, 1232),
        (query("web", 1), true, 65_535),
    ] {
        let answer = Query::parse(&bytes, stream).expect("a query").answer(&addresses(200));
        assert!(answer.len() <= most, "{} over {most}", answer.len());
        let packet = Packet::parse(&answer).expect("an answer");
        assert_eq!(packet.has_flags(PacketFlag::TRUNCATION), !stream);
        assert!(packet.answers.len() > 10 && (packet.answers.len() == 200) == stream);
        assert_eq!(packet.opt().is_some(), most == 1232 || bytes.len() > query("web", 1).len());
    }
}

#[test]
fn types_that_nobody_knows_are_read_too() {
    let mut bytes = query("web", 1);
    let at = bytes.len() - 4;
    bytes[at..at + 2].copy_from_slice(&65_280_u16.to_be_bytes());
    let read = Query::parse(&bytes, false).expect("a query");
    let answer = read.answer(&Answer::Empty);
    assert_eq!((read.kind, &answer[12..]), (65_280, &bytes[12..]));
}

#[test]
fn what_is_no_query_is_not_answered_as_one() {
    let good = query("web", 1);
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let code = |bytes: &[u8]| match Query::parse(bytes, false) {
        Ok(_) => "read".to_owned(),
        Err(Fault::Silent) => "silent".to_owned(),
        Err(Fault::Told(answer)) => format!("{:?}", Packet::parse(&answer).expect("an answer").rcode()),
    };
    assert_eq!(code(&[]), "silent");
    assert_eq!(code(&good[..11]), "silent");
    assert_eq!(code(&with(2, 0x80)), "silent");
    assert_eq!(code(&with(2, 0x28)), "NotImplemented");
    // Two questions; none; an answer; a pointer; a label that is too long; cut; another class.
    for bad in
        [with(5, 2), with(5, 0), with(7, 1), with(12, 0xc0), with(12, 64), good[..15].to_vec(), with(11, 1)]
    {
        assert_eq!(code(&bad), "FormatError", "{bad:?}");
    }
    assert_eq!(code(&with(good.len() - 1, 3)), "Refused");
    let mut trailing = good.clone();
    trailing.extend([0; 9]);
    assert_eq!(Query::parse(&trailing, false).expect("a query").bytes, good);
    let mut twice = with_edns("web", 1232);
    let opt = twice[good.len()..].to_vec();
    twice.extend(opt);
    twice[11] = 2;
    assert_eq!(code(&twice), "FormatError");
    assert_eq!(code(&vec![0; LONGEST + 1]), "FormatError");
}

#[test]
fn a_dot_within_a_label_is_no_border() {
    let mut bytes = query("a-b", 1);
    bytes[14] = b'.';
    assert_eq!(Query::parse(&bytes, false).expect("a query").name, "a?b");
}

#[test]
fn answers_are_those_to_what_was_asked() {
    let bytes = query("web.example", 1);
    let read = Query::parse(&bytes, false).expect("a query");
    let asked = read.asked_as(7);
    let other = Query::parse(&asked, false).expect("a query").answer(&addresses(1));
    assert!(read.is_answered_by(&other, 7));
    assert!(
        !read.is_answered_by(&other, 8) && !read.is_answered_by(&asked, 7) && !read.is_answered_by(&[], 7)
    );
    let (wrong, mut cased) = (query("wrong.exampl", 1), other.clone());
    assert!(!Query::parse(&wrong, false).expect("a query").is_answered_by(&other, 7));
    cased[13] = b'W';
    assert!(read.is_answered_by(&cased, 7));
    let back = read.passed_on(other);
    assert_eq!(back[..2], bytes[..2]);
    let long = read.passed_on(Query::parse(&bytes, true).expect("a query").answer(&addresses(100)));
    assert!(is_truncated(&long) && Packet::parse(&long).expect("an answer").answers.is_empty());
}

proptest! {
    /// Whatever comes is read or refused; what is read can be answered, and the answer is one.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300), stream: bool) {
        check(&bytes, stream)?;
    }

    #[test]
    fn any_change(at in 0_usize..60, byte: u8, cut in 0_usize..80, stream: bool) {
        let mut bytes = with_edns("some.name.example", 1400);
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(cut);
        check(&bytes, stream)?;
    }
}

fn check(bytes: &[u8], stream: bool) -> Result<(), TestCaseError> {
    match Query::parse(bytes, stream) {
        Err(Fault::Silent) => {}
        Err(Fault::Told(answer)) => prop_assert!(Packet::parse(&answer).is_ok()),
        Ok(query) => {
            for answer in
                [addresses(100), Answer::Name("web.shop".to_owned()), Answer::Missing, Answer::Failed]
            {
                let answer = query.answer(&answer);
                prop_assert!(answer.len() >= 12 && (stream || answer.len() <= 1232));
                prop_assert!(query.is_answered_by(&answer, query.id));
                let _ = query.passed_on(answer);
            }
            prop_assert!(Query::parse(query.bytes, stream).is_ok());
        }
    }
    Ok(())
}
