//! `tsubo cp`: copy between containers and this host.

use std::io::{stdin, stdout};
use std::path::PathBuf;

use lifecycle::copy::{self, Choices, Copied, Spot, Tree};
use lifecycle::{Container, Containers};
use spec::{Error, Name, Result};

use super::Place;
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo cp web:/etc/nginx/nginx.conf .            out of a container, running or not
  tsubo cp site/. web:/srv/site                   the content of a directory, into it
  tsubo cp web:/var/log - | tar t                 as a tar archive
  tar c site | tsubo cp - web:/srv                and the other way round

Owners and modes are kept, as the container counts its users. Set-id bits and file capabilities
do not leave a container without --archive. Sockets and devices are left out. In a container that
does not run only volumes can be written.
";

/// Copy files between a container and this host.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Keep set-id bits and file capabilities of what leaves a container
    #[arg(short, long)]
    pub archive: bool,

    /// Follow a link that is named as the source
    #[arg(short = 'L', long)]
    pub follow_link: bool,

    /// What to copy: CONTAINER:PATH, PATH, or - for a tar archive on standard input
    #[arg(value_name = "SRC")]
    pub from: String,

    /// Where to: CONTAINER:PATH, PATH, or - for a tar archive on standard output
    #[arg(value_name = "DST")]
    pub to: String,
}

/// One side of a copy.
#[derive(Debug, PartialEq, Eq)]
enum Side {
    Stream,
    Host(PathBuf),
    Container(String, PathBuf),
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let containers = Containers::of(&place.home()?);
    let choices = Choices { archive: args.archive, follow: args.follow_link };
    let copied = match (side(&args.from), side(&args.to)) {
        (Side::Container(from, path), Side::Host(to)) => {
            // The host's side first: the other may change what this program sees.
            let host = Tree::host()?;
            let tree = containers.find(&from)?.tree()?;
            copy::copy(&Spot { tree: &tree, path }, &Spot { tree: &host, path: absolute(to)? }, choices)?
        }
        (Side::Host(from), Side::Container(to, path)) => {
            let host = Tree::host()?;
            let tree = containers.find(&to)?.tree()?;
            Container::write_as_its_root(&tree)?;
            copy::copy(&Spot { tree: &host, path: absolute(from)? }, &Spot { tree: &tree, path }, choices)?
        }
        (Side::Container(from, path), Side::Stream) => {
            let tree = containers.find(&from)?.tree()?;
            copy::pack(&Spot { tree: &tree, path }, &mut stdout().lock(), choices)?
        }
        (Side::Stream, Side::Container(to, path)) => {
            let tree = containers.find(&to)?.tree()?;
            Container::write_as_its_root(&tree)?;
            copy::unpack(&mut stdin().lock(), &Spot { tree: &tree, path })?
        }
        (Side::Container(..), Side::Container(..)) => {
            return Err(Error::user("both sides are containers")
                .hint("copy through a stream: tsubo cp a:/x - | tsubo cp - b:/"));
        }
        _ => {
            return Err(Error::user("neither side is a container")
                .hint("name one as in web:/etc/hosts; tsubo ps -a lists them"));
        }
    };
    warn_of_skipped(copied);
    Ok(0)
}

fn warn_of_skipped(copied: Copied) {
    if copied.skipped > 0 {
        ui::error::warn(&format!("{} sockets or devices were left out", copied.skipped));
    }
}

/// The part before a colon is a container's name or id if it can be one; `./a:b` is a file.
fn side(text: &str) -> Side {
    match text.split_once(':') {
        _ if text == "-" => Side::Stream,
        Some((name, path)) if name.parse::<Name>().is_ok() => Side::Container(name.to_owned(), path.into()),
        _ => Side::Host(text.into()),
    }
}

/// A last `/` or `/.` has a meaning and stays.
fn absolute(path: PathBuf) -> Result<PathBuf> {
    let own = std::env::current_dir().map_err(|cause| Error::io("finding the current directory", cause))?;
    // Joined as text: Path forgets a dot at the end.
    if path.is_absolute() { Ok(path) } else { Ok(own.join(path)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_told_apart() {
        assert_eq!(side("-"), Side::Stream);
        assert_eq!(side("web:/a:b"), Side::Container("web".into(), "/a:b".into()));
        for host in ["./web:/a", "/x", "..", "a/b:c", ":x"] {
            assert_eq!(side(host), Side::Host(host.into()), "{host}");
        }
        assert!(
            absolute("a/.".into())
                .expect("path")
                .as_os_str()
                .to_str()
                .is_some_and(|text| text.ends_with("/a/."))
        );
    }
}
