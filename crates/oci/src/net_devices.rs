//! Network devices of the host that become the container's: `linux.netDevices`.

mod rtnetlink;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use spec::{Error, ErrorKind, Result, ResultExt};

use self::rtnetlink::{Address, Socket};

/// Where an address reaches everywhere.
const EVERYWHERE: u8 = 0;

/// It was given by somebody, not leased.
const FOR_GOOD: u8 = 0x80;

/// A device on its way.
struct Moved<'a> {
    name: &'a str,
    inside: &'a str,
    index: i32,
    addresses: Vec<Address>,
}

/// That they are there, before anything is made.
///
/// # Errors
/// The first that is not.
pub(crate) fn check(devices: &BTreeMap<String, String>) -> Result<()> {
    if devices.is_empty() {
        return Ok(());
    }
    let here = socket()?;
    devices.keys().try_for_each(|name| index(&here, name).map(drop))
}

/// Gives them to the network namespace of a process. They keep their hardware addresses, limits, and those
/// addresses that reach everywhere and were given for good; afterwards they are up.
///
/// # Errors
/// What the kernel refuses, and names that are taken there; all is looked at before the first is moved.
pub(crate) fn give(devices: &BTreeMap<String, String>, pid: i32) -> Result<()> {
    if devices.is_empty() {
        return Ok(());
    }
    let here = socket()?;
    let path = format!("/proc/{pid}/ns/net");
    let namespace = File::open(&path).doing(|| format!("opening {path}"))?;
    let there = socket_in(&namespace)?;
    let devices: Vec<Moved<'_>> =
        devices.iter().map(|(name, inside)| look(&here, &there, name, inside)).collect::<Result<_>>()?;
    devices.iter().try_for_each(|device| device.go(&here, &there, &namespace))
}

fn look<'a>(here: &Socket, there: &Socket, name: &'a str, inside: &'a str) -> Result<Moved<'a>> {
    let index = index(here, name)?;
    if there.index(inside).doing(|| format!("looking for {inside} in the container"))?.is_some() {
        return Err(Error::conflict(format!(
            "linux.netDevices.{name}: the container's network has a device {inside} already"
        ))
        .hint("give it another name by linux.netDevices.….name"));
    }
    let mut addresses = here.addresses(index).doing(|| format!("reading the addresses of {name}"))?;
    addresses.retain(|address| address.scope == EVERYWHERE && address.flags & FOR_GOOD != 0);
    Ok(Moved { name, inside, index, addresses })
}

impl Moved<'_> {
    fn go(&self, here: &Socket, there: &Socket, namespace: &File) -> Result<()> {
        let Self { name, inside, .. } = self;
        here.give(self.index, namespace.as_fd(), inside).map_err(|error| refused(name, error))?;
        let doing = || format!("setting up {inside}, which was {name}, in the container");
        let index = there.index(inside).doing(doing)?.ok_or_else(|| io::Error::from_raw_os_error(19));
        let index = index.doing(doing)?;
        self.addresses.iter().try_for_each(|address| there.add(index, address)).doing(doing)?;
        there.up(index).doing(doing)
    }
}

fn refused(name: &str, error: io::Error) -> Error {
    let doing = format!("moving the network device {name} into the container");
    match error.kind() {
        io::ErrorKind::PermissionDenied => Error::new(ErrorKind::Denied, doing)
            .because(error)
            .hint("a device of the host is moved by root of the host only"),
        _ => Error::io(doing, error),
    }
}

fn index(here: &Socket, name: &str) -> Result<i32> {
    here.index(name)
        .doing(|| format!("looking for the network device {name}"))?
        .ok_or_else(|| Error::not_found(format!("linux.netDevices.{name}: there is no such network device")))
}

fn socket() -> Result<Socket> {
    Socket::open().doing(|| "opening a socket to the kernel's network")
}

/// One that speaks of another namespace, which only a thread of ours enters.
fn socket_in(namespace: &File) -> Result<Socket> {
    let open = || {
        sys::namespace::enter(namespace.as_fd(), sys::namespace::NET)?;
        Socket::open()
    };
    let thread = std::thread::scope(|scope| scope.spawn(open).join());
    let socket = thread.map_err(|_| Error::internal("the thread in the container's network"))?;
    socket.doing(|| "opening a socket in the container's network")
}
