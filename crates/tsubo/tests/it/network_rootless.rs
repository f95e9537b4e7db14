//! Networks of an ordinary user's containers: pasta or slirp4netns carries their packets.
//!
//! Each test has a host of its own (a network, mount and pid namespace), with a neighbour that stands for
//! everybody outside. Whatever a test leaves ends with it.

use std::process::Command;

use serde_json::json;

use crate::support::busybox::{file, installed};
use crate::support::forge::Tar;
use crate::support::user::heard;
use crate::support::{House, have};

/// The host, 192.0.2.2, with a neighbour at 192.0.2.1, and the user eva. Programs of the neighbour are run with
/// `outside`, eva's with `eva`.
const HOST: &str = r#"set -e
[ -c /dev/net/tun ] || { echo SKIPPED: no /dev/net/tun; exit 0; }
mknod tun c 10 200; chmod 666 tun; mount --bind tun /dev/net/tun
echo nameserver 127.0.0.53 > resolv; mount --bind resolv /etc/resolv.conf
cp /etc/passwd passwd; echo "eva:x:4242:4242::$PWD/home:/bin/sh" >> passwd
echo 'eva:300000:65536' > sub
mkdir -p home/run outer inner; echo outer > outer/page; echo inner > inner/page
for f in /etc/subuid /etc/subgid; do [ -e $f ] || { echo SKIPPED: no $f; exit 0; }; mount --bind sub $f; done
mount --bind passwd /etc/passwd
chown -R 4242:4242 home
ip link set lo up
unshare -n sh -c 'echo up > outer/up; exec sleep 600' & OUT=$!
for n in 1 2 3 4 5 6 7 8 9; do [ -e outer/up ] && break; sleep 0.1; done
outside() { nsenter -t $OUT -n "$@"; }
ip link add up0 type veth peer name eth0 netns $OUT
ip address add 192.0.2.2/24 dev up0; ip link set up0 up; ip route add default via 192.0.2.1
outside ip link set lo up; outside ip address add 192.0.2.1/24 dev eth0; outside ip link set eth0 up
outside busybox httpd -p 8000 -h outer
busybox httpd -p 127.0.0.1:9999 -h inner
BIN=$PWD/bin:/usr/sbin:/usr/bin:/sbin:/bin
eva() {
  setpriv --reuid 4242 --regid 4242 --clear-groups env -i HOME=$PWD/home XDG_RUNTIME_DIR=$PWD/home/run PATH=$BIN sh -ec "$1"
}
fetch() { curl -s -f -m 5 "$1"; }
# Within five seconds.
until_fetched() { n=0; until fetch "$1"; do n=$((n+1)); [ $n -lt 50 ] || return 1; sleep 0.1; done; }
keepers() { ps -e -o pid=,comm= | grep 'tsubo-keeper$' | sed 's/^ *//; s/ .*//'; }
# Processes that carry packets, zombies not counted.
carriers() { ps -e -o stat=,comm= | grep -E '^[^Z].*(passt|pasta|slirp4netns)' | wc -l; }
no_carriers() { n=0; while [ $(carriers) != 0 ]; do n=$((n+1)); [ $n -lt 50 ] || { ps -ef; return 1; }; sleep 0.1; done; }
eva 'tsubo install web.tsubo > /dev/null'
"#;

/// Runs a script on such a host; what it says, or None where this machine lacks something, which was said.
fn on_a_host(script: &str) -> Option<String> {
    let tools = [
        "pasta",
        "slirp4netns",
        "newuidmap",
        "newgidmap",
        "setpriv",
        "unshare",
        "ip",
        "nsenter",
        "ps",
        "curl",
    ];
    if !have(&tools) {
        return None;
    }
    let house = house()?;
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_tsubo")).parent().expect("a folder");
    std::fs::create_dir_all(house.path("bin")).expect("mkdir");
    for name in ["tsubo", "tsubo-keeper"] {
        std::fs::copy(programs.join(name), house.path("bin").join(name)).expect(name);
    }
    let mut command = Command::new("unshare");
    command
        .args(["-n", "-m", "-p", "-f", "--kill-child", "--mount-proc", "--propagation", "private"])
        .args(["sh", "-c", &format!("{HOST}{script}")])
        .current_dir(house.dir());
    heard(&mut command)
}

/// With an image `web` that serves its name on port 80.
fn house() -> Option<House> {
    let serves = "hostname > /tmp/name; exec httpd -f -p 80 -h /tmp";
    let files = |tar: Tar| {
        let applets = ["httpd", "hostname", "wget", "nslookup"];
        let tar = applets.iter().fold(tar, |tar, name| tar.symlink(&format!("bin/{name}"), "busybox"));
        let names = ["resolv.conf", "hosts", "hostname"];
        names.iter().fold(tar, |tar, name| file(tar, &format!("etc/{name}"), b"", 0o644))
    };
    installed(files, json!({"command": ["/bin/sh", "-c", serves], "writable": ["/tmp"]}))
}

/// The words of a script's output.
fn words(said: &str) -> Vec<&str> {
    said.split_whitespace().collect()
}

#[test]
fn it_reaches_the_outside_and_is_reached_by_its_ports_alone() {
    let script = r#"
        eva 'tsubo run --rm --network pasta web /bin/sh -c "busybox timeout 5 wget -q -O - http://192.0.2.1:8000/page"'
        # The host itself: its loopback is nobody else's, whichever address is tried.
        eva 'tsubo run --rm --network pasta web /bin/sh -c "
            for host in 127.0.0.1 192.0.2.2 10.0.2.2 10.0.2.3 169.254.1.1; do busybox timeout 1 wget -q -O - http://\$host:9999/page && echo open; done; true"'
        # Of two with the same port inside each is itself.
        eva 'tsubo run -d --name one -p 8081:80 web >/dev/null; tsubo run -d --name two -p 127.0.0.1:8082:80 web >/dev/null' 2> notes
        grep -c 'without root the network tsubo is pasta' notes
        until_fetched http://127.0.0.1:8081/name; until_fetched http://127.0.0.1:8082/name
        fetch http://192.0.2.2:8081/name
        outside curl -s -m 5 http://192.0.2.2:8081/name
        outside curl -s -m 1 http://192.0.2.2:8082/name || echo closed
        carriers
        eva 'tsubo stop one two >/dev/null; tsubo rm one two >/dev/null; ls $XDG_RUNTIME_DIR/tsubo/pasta | wc -l'
        no_carriers
    "#;
    let Some(said) = on_a_host(script) else { return };
    let expected = ["outer", "2", "one", "two", "one", "one", "closed", "2", "0"];
    assert_eq!(words(&said), expected, "{said}");
}

#[test]
fn names_are_asked_for_where_the_host_asks() {
    let script = r#"
        cat > answers <<'END'
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.53", 53))
while True:
    asked, who = server.recvfrom(512)
    end = asked.index(b"\0", 12) + 5
    answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes([203, 0, 113, 7])
    server.sendto(asked[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + asked[12:end] + answer, who)
END
        /usr/bin/python3 answers & 
        sleep 0.5
        eva 'tsubo run --rm --network pasta web /bin/sh -c "nslookup -type=a some.test"' | grep -o '203[.]0[.]113[.]7' | head -1
        mount --bind /dev/null $(readlink -f $(command -v pasta))
        eva 'tsubo run --rm --network pasta web /bin/sh -c "nslookup -type=a some.test"' | grep -o '203[.]0[.]113[.]7' | head -1
    "#;
    if !have(&["/usr/bin/python3"]) {
        return;
    }
    let Some(said) = on_a_host(script) else { return };
    assert_eq!(words(&said), ["203.0.113.7", "203.0.113.7"], "{said}");
}

#[test]
fn what_cannot_be_is_said_and_leaves_nothing() {
    let script = r#"
        try() { eva "$1" 2>&1 && echo unexpected || echo code $?; }
        try 'tsubo run -d --name taken -p 127.0.0.1:9999:80 web'
        eva 'tsubo run -d --name first -p 8081:80 -p 8081:80/udp web' >/dev/null 2>&1
        try 'tsubo run -d --name second -p 8081:80 web'
        try 'tsubo run -d --name third -p 8081:80/udp web'
        try 'tsubo run -d --name low -p 80:80 web'
        try 'tsubo run -d --name foreign -p 192.0.2.77:8090:80 web'
        try 'tsubo run -d --name closed --network pasta --closed web'
        try 'tsubo run -d --name allowed --network pasta --allow host web'
        try 'tsubo run -d --name foreign --network cni:lan web'
        try 'tsubo run -d --name foreign --network netavark:podman web'
        echo containers $(eva "tsubo ps -a" | grep -c -w -E "taken|first|second|third|low|foreign|closed|allowed") carriers $(carriers)
        until_fetched http://127.0.0.1:8081/name
        eva 'tsubo rm -f first >/dev/null'; no_carriers
        mount --bind /dev/null $(readlink -f $(command -v pasta)); mount --bind /dev/null $(command -v slirp4netns)
        try 'tsubo run --rm --network pasta web'
        try 'tsubo run --rm --network none web /bin/true; exit 3'
    "#;
    let Some(said) = on_a_host(script) else { return };
    for part in [
        "port 9999/tcp of the host at 127.0.0.1 is taken",
        "port 8081/tcp of the host is taken",
        "port 8081/udp of the host is taken",
        "port 80 of the host takes root",
        "no address 192.0.2.77",
        "without root nothing keeps a container from the outside",
        "who may talk to whom cannot be had without root",
        "without root a container cannot be on CNI lan",
        "without root a container cannot be on podman's network podman",
        "containers 1 carriers 1",
        "install the package passt",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.matches("code 125").count() == 10 && said.contains("code 3"), "{said}");
    assert!(!said.contains("unexpected"), "{said}");
}

#[test]
fn nothing_stays_of_a_network_however_its_container_ends() {
    let script = r#"
        eva 'tsubo run -d --name one -p 8081:80 web >/dev/null 2>&1'
        until_fetched http://127.0.0.1:8081/name
        echo carriers $(carriers)
        kill -9 $(keepers)
        eva 'tsubo gc > /dev/null; tsubo ps -a'  | grep -c exited
        no_carriers
        eva 'tsubo start one > /dev/null'
        until_fetched http://127.0.0.1:8081/name
        # While it begins: whoever was killed in between leaves nothing that is not found.
        for wait in 0.01 0.03 0.06 0.1; do
            eva 'tsubo rm -f one > /dev/null 2>&1 || true; timeout -s KILL '$wait' tsubo run -d --name one -p 8081:80 web > /dev/null 2>&1 || true'
            kill -9 $(keepers) 2> /dev/null || true
            sleep 0.3
            eva 'tsubo gc > /dev/null 2>&1; tsubo ps -a > /dev/null; tsubo rm -f one > /dev/null 2>&1 || true; ls $XDG_RUNTIME_DIR/tsubo/pasta | wc -l'
            no_carriers
        done
    "#;
    let Some(said) = on_a_host(script) else { return };
    let expected = ["carriers", "1", "1", "one", "0", "0", "0", "0"];
    let said = words(&said).into_iter().filter(|word| *word != "one").collect::<Vec<_>>();
    assert_eq!(said, expected.into_iter().filter(|word| *word != "one").collect::<Vec<_>>());
}

#[test]
fn who_is_started_again_is_reached_again() {
    let script = r#"
        eva 'tsubo run -d --name one --restart always -p 8081:80 web /bin/sh -c "hostname > /tmp/name; httpd -p 80 -h /tmp; sleep 2; exit 1" >/dev/null 2>&1'
        until_fetched http://127.0.0.1:8081/name
        first=$(pgrep -x 'passt.*|pasta.*' | head -1)
        sleep 2.5
        until_fetched http://127.0.0.1:8081/name
        [ $(pgrep -x 'passt.*|pasta.*' | head -1) != $first ] && echo another
        echo carriers $(carriers)
        eva 'tsubo rm -f one >/dev/null'
        no_carriers
    "#;
    let Some(said) = on_a_host(script) else { return };
    assert_eq!(words(&said), ["one", "one", "another", "carriers", "1"], "{said}");
}

#[test]
fn slirp4netns_does_where_pasta_is_missing() {
    let script = r#"
        mount --bind /dev/null $(readlink -f $(command -v pasta))
        eva 'tsubo run --rm --network pasta web /bin/sh -c "busybox timeout 5 wget -q -O - http://192.0.2.1:8000/page"'
        eva 'tsubo run --rm --network pasta web /bin/sh -c "
            for host in 127.0.0.1 192.0.2.2 10.0.2.2; do busybox timeout 1 wget -q -O - http://\$host:9999/page && echo open; done; true"'
        eva 'tsubo run -d --name one -p 8081:80 web >/dev/null 2>&1'
        until_fetched http://127.0.0.1:8081/name
        outside curl -s -m 5 http://192.0.2.2:8081/name
        eva 'tsubo run -d --name six -p [::1]:8082:80 web 2>&1' | grep -c 'knows no IPv6'
        echo carriers $(carriers)
        eva 'tsubo rm -f one >/dev/null'
        no_carriers
    "#;
    let Some(said) = on_a_host(script) else { return };
    assert_eq!(words(&said), ["outer", "one", "one", "1", "carriers", "1"], "{said}");
}

#[test]
fn datagrams_come_in_and_any_port_may_be_chosen() {
    let script = r#"
        cat > home/echo.py <<'END'
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 5000))
while True:
    said, who = server.recvfrom(100)
    server.sendto(said.upper(), who)
END
        cat > ask.py <<'END'
import socket, sys
for attempt in range(20):
    asks = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asks.settimeout(0.3)
    try:
        asks.sendto(b"hello", ("192.0.2.2", int(sys.argv[1])))
        print(asks.recv(100).decode())
        break
    except OSError:
        pass
END
        eva 'tsubo run -d --name one -p 5000/udp -p 80 --writable -v /usr:/usr:ro -v $HOME/echo.py:/tmp/echo.py:ro web $(readlink -f /lib64/ld-linux-x86-64.so.2) /usr/bin/python3 /tmp/echo.py >/dev/null 2>&1'
        ports=$(eva 'tsubo ps -a')
        udp=$(echo "$ports" | grep -o '[0-9]*->5000/udp' | grep -o '^[0-9]*')
        tcp=$(echo "$ports" | grep -o '[0-9]*->80' | grep -o '^[0-9]*')
        [ $udp -gt 1023 ] && [ $tcp -gt 1023 ] && echo chosen
        outside /usr/bin/python3 ask.py $udp
        eva 'tsubo rm -f one > /dev/null'
    "#;
    if !have(&["/usr/bin/python3"]) {
        return;
    }
    let Some(said) = on_a_host(script) else { return };
    assert_eq!(words(&said), ["chosen", "HELLO"], "{said}");
}
