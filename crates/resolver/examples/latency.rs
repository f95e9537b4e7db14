//! How long an answer takes: `cargo run --release --example latency -- 10.88.0.1 NAME [COUNT] [SOURCE]`, in a container's
//! namespace or on the host.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use simple_dns::{CLASS, Name, Packet, QTYPE, Question, TYPE};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [server, name, rest @ ..] = &words[..] else { return Err("an address and a name are wanted".into()) };
    let count = rest.first().map_or(Ok(10_000), |word| word.parse())?;
    let source: IpAddr = rest.get(1).map_or(Ok(Ipv4Addr::UNSPECIFIED.into()), |word| word.parse())?;
    let socket = UdpSocket::bind(SocketAddr::new(source, 0))?;
    socket.connect(SocketAddr::new(server.parse()?, 53))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut took = (0..count).map(|id| ask(&socket, id, name)).collect::<Result<Vec<_>, _>>()?;
    took.sort();
    let at = |part: usize| took.get(took.len() * part / 100).or(took.last()).copied().unwrap_or_default();
    println!("{} answers: p50 {:?}, p99 {:?}, max {:?}", took.len(), at(50), at(99), at(100));
    Ok(())
}

fn ask(socket: &UdpSocket, id: u16, name: &str) -> Result<Duration, Box<dyn std::error::Error>> {
    let mut packet = Packet::new_query(id);
    packet.questions.push(Question::new(Name::new(name)?, QTYPE::TYPE(TYPE::A), CLASS::IN.into(), false));
    let (query, mut room) = (packet.build_bytes_vec()?, [0; 1500]);
    let begun = Instant::now();
    socket.send(&query)?;
    let length = socket.recv(&mut room)?;
    let took = begun.elapsed();
    if Packet::parse(&room[..length])?.answers.is_empty() {
        return Err(format!("{name} is not known").into());
    }
    Ok(took)
}
