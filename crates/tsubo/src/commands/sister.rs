//! The programs beside us, which `tsubo` executes for what it does not carry itself.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

use spec::Error;

use super::Place;

/// The program of that name beside us, told of our state directory.
pub fn command(name: &str, place: &Place) -> Command {
    // A program that was shielded is nowhere; its first argument says where it was.
    let own = std::env::current_exe().ok().filter(|path| path.is_file());
    let own = own.or_else(|| std::env::args_os().next().map(PathBuf::from)).unwrap_or_default();
    let mut command = Command::new(own.with_file_name(name));
    if let Some(root) = place.root() {
        command.arg("--root").arg(root);
    }
    command
}

/// Why it could not be executed; `beside` is what should lie there.
pub fn missing(name: &str, beside: &str, cause: std::io::Error) -> Error {
    if cause.kind() == ErrorKind::NotFound {
        return Error::unsupported(format!("the program {name} is not there"))
            .hint(format!("install {beside} beside tsubo"));
    }
    Error::io(format!("executing {name}"), cause)
}
