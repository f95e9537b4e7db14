//! Containers that pretend: nobody believes them, and nobody else notices.

use std::path::Path;

use crate::lab::{Container, Lab, Space, lab, network, sh, until, zone};
use spec::network::Kind;

/// Datagrams to this port are written to `log`, one line for each: who sent it, and what it says.
fn listen(lab: &mut Lab, space: Option<&Space>, family: &str, address: &str, port: u16, log: &Path) {
    let script = format!(
        "import socket\ns=socket.socket(socket.{family},socket.SOCK_DGRAM)\n\
         s.setsockopt(socket.SOL_SOCKET,socket.SO_BROADCAST,1)\ns.bind(('{address}',{port}))\n\
         print('ready',flush=True)\nwhile True:\n d,a=s.recvfrom(999)\n\
         \x20open('{}','a').write(a[0]+' '+d.decode()+'\\n')\n",
        log.display()
    );
    lab.spawn(space, &script);
}

/// What a container sends as it likes: `frame(ethernet source, type, payload)`, `udp4(...)`, `udp6(...)`.
const SEND: &str = r"
import socket,struct
def mac(t): return bytes(int(x,16) for x in t.split(':'))
def sum16(b):
    b=b+b'\0'*(len(b)%2); s=sum(struct.unpack('!%dH'%(len(b)//2),b))
    while s>>16: s=(s&0xffff)+(s>>16)
    return (~s)&0xffff
s=socket.socket(socket.AF_PACKET,socket.SOCK_RAW); s.bind(('eth0',0))
me=s.getsockname()[4]
def frame(kind,payload,mine=me,hard=None): s.send((hard or gateway)+mine+struct.pack('!H',kind)+payload)
def udp4(source,to,port,text,sport=9,**k):
    u=struct.pack('!4H',sport,port,8+len(text),0)+text
    h=struct.pack('!BBHHHBBH4s4s',0x45,0,20+len(u),1,0,64,17,0,socket.inet_aton(source),socket.inet_aton(to))
    frame(0x800,h[:10]+struct.pack('!H',sum16(h))+h[12:]+u,**k)
def v6(source,to,proto,body,at,**k):
    a,b=socket.inet_pton(socket.AF_INET6,source),socket.inet_pton(socket.AF_INET6,to)
    c=sum16(a+b+struct.pack('!II',len(body),proto)+body)
    body=body[:at]+struct.pack('!H',c or 0xffff)+body[at+2:]
    frame(0x86dd,struct.pack('!IHBB',0x60000000,len(body),proto,255)+a+b+body,**k)
def udp6(source,to,port,text,**k): v6(source,to,17,struct.pack('!4H',9,port,8+len(text),0)+text,6,**k)
def arp(op,source,at,to,**k):
    frame(0x806,struct.pack('!HHBBH6s4s6s4s',1,0x800,6,4,op,at,socket.inet_aton(source),b'\xff'*6,socket.inet_aton(to)),**k)
";

fn send(container: &Container, script: &str) {
    let mac =
        container.space.sh("ip neigh show dev eth0 | sed -n 's/.*lladdr \\([^ ]*\\).*/\\1/p' | head -1");
    let file = tempfile::NamedTempFile::new().expect("file");
    let text = SEND.replace("s=socket.socket(", &format!("gateway=mac('{}')\ns=socket.socket(", mac.trim()));
    std::fs::write(file.path(), format!("{text}\n{script}")).expect("write");
    container.space.sh(&format!("python3 {}", file.path().display()));
}

fn read(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}

#[test]
fn the_address_of_another_is_not_believed() {
    lab(|lab| {
        let directory = tempfile::tempdir().expect("directory");
        let (four, six) = (directory.path().join("4"), directory.path().join("6"));
        let outside = lab.outside();
        listen(lab, Some(&outside), "AF_INET", "0.0.0.0", 99, &four);
        listen(lab, Some(&outside), "AF_INET6", "::", 98, &six);
        let network = network(1, Kind::Nat);
        let evil = lab.container(&network, 5, zone(1, 1));
        let victim = lab.container(&network, 6, zone(1, 1));
        let sources4 =
            ["10.88.1.6", "10.88.1.77", "10.88.1.1", "192.0.2.1", "8.8.8.8", "127.0.0.1", "0.0.0.0"];
        let sources6 = ["fd88:1::6", "fd88:1::77", "fd88:1::1", "2001:db8::1", "fe80::1", "::1"];
        for source in sources4 {
            send(&evil, &format!("udp4('{source}','192.0.2.2',99,b'false')"));
        }
        for source in sources6 {
            send(&evil, &format!("udp6('{source}','2001:db8::2',98,b'false')"));
        }
        // The MAC address it says it has makes no difference.
        send(&evil, "udp4('10.88.1.5','192.0.2.2',99,b'true',mine=mac('02:74:0a:58:01:06'))");
        send(&evil, "udp6('fd88:1::5','2001:db8::2',98,b'true')");
        until("the honest one arrives", || read(&four).contains("true") && read(&six).contains("true"));
        assert!(
            !read(&four).contains("false") && !read(&six).contains("false"),
            "{}{}",
            read(&four),
            read(&six)
        );
        assert!(victim.space.pings("192.0.2.2") && evil.space.pings(&victim.v4));
    });
}

#[test]
fn answers_to_arp_and_neighbour_discovery_reach_nobody() {
    lab(|lab| {
        let network = network(1, Kind::Nat);
        let evil = lab.container(&network, 5, zone(1, 1));
        let victim = lab.container(&network, 6, zone(1, 1));
        lab.serve(Some(&victim.space), "0.0.0.0", 80, "victim");
        let neighbours = || {
            let inside = victim.space.sh("ip neigh; ip -6 neigh");
            let mut lines: Vec<_> =
                format!("{}{inside}", sh("ip neigh; ip -6 neigh")).lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let before = neighbours();
        send(
            &evil,
            "every=b'\\xff'*6\n\
             for address in ('10.88.1.6','10.88.1.1','10.88.1.9','192.0.2.2'):\n\
             \x20for op in (1,2):\n\
             \x20 for to in (every,gateway):\n  \x20arp(op,address,me,'10.88.1.1',hard=to)\n\
             def advert(target,source):\n\
             \x20body=struct.pack('!BBHI16sBB6s',136,0,0,0xa0000000,socket.inet_pton(socket.AF_INET6,target),2,1,me)\n\
             \x20v6(source,'ff02::1',58,body,2,hard=mac('33:33:00:00:00:01'))\n\
             def solicit(source):\n\
             \x20body=struct.pack('!BBHI16sBB6s',135,0,0,0,socket.inet_pton(socket.AF_INET6,'fd88:1::1'),1,1,me)\n\
             \x20v6(source,'fd88:1::1',58,body,2)\n\
             for address in ('fd88:1::6','fd88:1::1','fd88:1::9'):\n\
             \x20advert(address,address); advert(address,'fd88:1::5'); solicit(address)\n\
             router=struct.pack('!BBHBBHII',134,0,0,64,0,1800,0,0)\n\
             v6('fe80::1','ff02::1',58,router,2,hard=mac('33:33:00:00:00:01'))\n\
             v6('fd88:1::5','fd88:1::1',58,router,2)\n",
        );
        assert_eq!(neighbours(), before);
        assert!(sh("ip -6 route show default").is_empty(), "no way by a router that is none");
        assert!(evil.space.ask(&victim.v4, 80).is_ok() && crate::lab::ask(None, &victim.v4, 80).is_ok());
        assert!(victim.space.pings("10.88.1.1"));
    });
}

#[test]
fn answers_of_a_dhcp_server_reach_nobody() {
    lab(|lab| {
        let directory = tempfile::tempdir().expect("directory");
        let (inside, here, last) =
            (directory.path().join("inside"), directory.path().join("here"), directory.path().join("last"));
        let network = network(1, Kind::Nat);
        let evil = lab.container(&network, 5, zone(1, 1));
        let victim = lab.container(&network, 6, zone(1, 2));
        listen(lab, Some(&victim.space), "AF_INET", "0.0.0.0", 68, &inside);
        listen(lab, None, "AF_INET", "0.0.0.0", 68, &here);
        listen(lab, None, "AF_INET", "0.0.0.0", 53, &last);
        send(
            &evil,
            "every=b'\\xff'*6\n\
             for source in ('10.88.1.5','10.88.1.1','0.0.0.0'):\n\
             \x20for to in ('255.255.255.255','10.88.1.255','10.88.1.6','10.88.1.1'):\n\
             \x20 for hard in (every,gateway): udp4(source,to,68,b'offer',sport=67,hard=hard)\n\
             udp4('10.88.1.5','10.88.1.1',53,b'last')\n",
        );
        until("the last one arrives", || read(&last).contains("last"));
        assert_eq!((read(&inside), read(&here)), (String::new(), String::new()));
    });
}

#[test]
fn the_hosts_loopback_is_not_reached_from_inside() {
    lab(|lab| {
        let directory = tempfile::tempdir().expect("directory");
        let log = directory.path().join("log");
        let network = network(1, Kind::Nat);
        let ports = |networking: &mut spec::network::Networking| {
            networking.published = vec![crate::lab::publish(80, 80)]
        };
        let evil = lab.container_with(&network, 5, zone(1, 1), ports, &[]);
        assert_eq!(sh(&format!("cat /proc/sys/net/ipv4/conf/{}/route_localnet", evil.link())).trim(), "1");
        listen(lab, None, "AF_INET", "127.0.0.1", 53, &log);
        listen(lab, None, "AF_INET", "10.88.1.1", 53, &log);
        listen(lab, None, "AF_INET6", "::1", 53, &log);
        send(
            &evil,
            "for source in ('10.88.1.5','127.0.0.1'):\n\x20udp4(source,'127.0.0.1',53,b'false')\n\
             for source in ('fd88:1::5','::1'):\n\x20udp6(source,'::1',53,b'false')\n\
             udp4('10.88.1.5','10.88.1.1',53,b'true')\n",
        );
        until("the honest one arrives", || read(&log).contains("true"));
        assert!(!read(&log).contains("false"));
    });
}
