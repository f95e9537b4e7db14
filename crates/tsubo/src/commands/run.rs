//! `tsubo run`: start a container from a package or an installed image.

use std::path::{Path, PathBuf};

use lifecycle::{Bind, Container, Containers, Launch, RunOptions, Source, Spare};
use spec::life::{Life, Restart};
use spec::{Error, Id, Name, Result, RootPath};
use store::{Image, Install};
use workshop::progress::Progress;

use super::Place;
use super::free_name::with_free_name;
use super::isolation::{self, IsolationArgs};
use super::life_flags::LifeFlags;
use super::limit_flags::{GroupFlag, LimitFlags, OvercommitFlag};
use super::network_flags::NetworkFlags;
use super::terminal_flags::TerminalFlags;
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo run -d --name web web.tsubo               in the background; the package is installed if need be
  tsubo run --rm web                              in the foreground, from the installed image
  tsubo run --rm -it web sh                       another command, on a terminal
  tsubo run -d -e LOG=debug -v /srv/data:/data:ro web
  tsubo run -d --network front -p 8080:80 web     on a network of ours; port 8080 of the host leads to it
  tsubo run -d --restart unless-stopped --health-cmd 'curl -fs http://127.0.0.1/' web

Exit codes: the container's own, 128+N if signal N ended it, 125 if tsubo failed,
126 if the command cannot be executed, 127 if it does not exist.
A container of which nobody says where its network comes from has one of its own: this host reaches it at 127.0.0.1
where its service was seen to listen (tsubo port), others where it is published (tsubo network --help).
";

/// Start a container from a package file or an installed image.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Leave it running in the background
    #[arg(short, long)]
    pub detach: bool,

    /// Remove it when it has ended
    #[arg(long)]
    pub rm: bool,

    /// Name of the container [default: the image's name and a number]
    #[arg(short, long, value_name = "NAME")]
    pub name: Option<Name>,

    /// Set a variable of its environment
    #[arg(short, long, value_name = "K=V", value_parser = variable)]
    pub env: Vec<(String, String)>,

    /// Show a directory or file of the host inside
    #[arg(short, long = "volume", value_name = "SRC:DST[:ro]", value_parser = volume)]
    pub volumes: Vec<Bind>,

    /// Keep its standard input open
    #[arg(short, long)]
    pub interactive: bool,

    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,

    /// Who it runs as: names or numbers of the container
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,

    /// Make the whole root writable, in memory
    #[arg(long)]
    pub writable: bool,

    /// Let a small init of ours be process 1: it reaps, and passes signals on
    #[arg(long)]
    pub init: bool,

    #[command(flatten)]
    pub life: LifeFlags,

    #[command(flatten)]
    pub terminal: TerminalFlags,

    #[command(flatten)]
    pub limits: LimitFlags,

    #[command(flatten)]
    pub group: GroupFlag,

    #[command(flatten)]
    pub overcommit: OvercommitFlag,

    #[command(flatten)]
    pub network: NetworkFlags,

    #[command(flatten)]
    pub isolation: IsolationArgs,

    /// A package file, or the name or digest of an installed image
    #[arg(value_name = "FILE|NAME")]
    pub image: String,

    /// A command line in place of the package's
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    pub args: Vec<String>,
}

/// Runs the verb; the code is the container's when it runs in the foreground.
pub fn run(args: Args, place: &Place, spare: Option<Spare>) -> Result<u8> {
    if args.isolation.explain {
        return explain(&args, place);
    }
    let container = make(&args, place, false, spare.as_ref().map(Spare::id))?;
    let name = container.name().clone();
    let launch = Launch { attached: !args.detach, input: args.interactive, ..Launch::default() };
    let session = container.start_with(launch, spare)?;
    if args.detach {
        ui::line(name.as_str());
        return Ok(0);
    }
    let code = args.terminal.apply(session.last())?.relay()?.clamp(0, 255) as u8;
    // All that is left to do is to forget what we know.
    sys::start::finish(code)
}

/// Makes the container; `standing` if it is started by another command, with this id if a keeper
/// is ready for that.
pub fn make(args: &Args, place: &Place, standing: bool, id: Option<Id>) -> Result<Container> {
    let mut life = Life { input: args.interactive, standing, ..Life::default() };
    args.life.apply(&mut life)?;
    if args.rm && life.restart != Restart::No {
        return Err(Error::user("a container that is removed when it ends cannot be started again")
            .hint("leave out --rm or --restart"));
    }
    let home = place.home()?;
    let image = find_or_install(&args.image, place)?;
    let containers = Containers::of(&home);
    let label = format!("{}@{}", image.name, image.digest.short());
    let source = Source { portable: &image.portable, tree: &image.tree, image: &label };
    let create = |name| {
        let options = RunOptions {
            id,
            life: life.clone(),
            asked: super::asked::of(args, &image.portable.hooks)?,
            ..options(args, &image, name)?
        };
        containers.create(source, options, args.rm)
    };
    let container = match &args.name {
        Some(name) => create(name.clone()),
        None => with_free_name(&image.name, &containers, create),
    }?;
    isolation::warn(container.notes());
    Ok(container)
}

/// Says what it would be started with, and starts nothing.
fn explain(args: &Args, place: &Place) -> Result<u8> {
    let image = find_or_install(&args.image, place)?;
    let mut options = options(args, &image, args.name.clone().unwrap_or_else(|| image.name.clone()))?;
    let containers = Containers::of(&place.home()?);
    options.presets = containers.presets();
    options.volumes = Some(containers.volumes(&options.name));
    let (_, reasons) = lifecycle::explained(&image.portable, &image.tree, &options)?;
    isolation::explain(&reasons);
    Ok(0)
}

fn options(args: &Args, image: &Image, name: Name) -> Result<RunOptions> {
    let mut options = RunOptions::named(name);
    options.user =
        args.user.as_deref().map(|user| workshop::passwd::look_up(&image.tree, user)).transpose()?;
    options.args.clone_from(&args.args);
    options.env.clone_from(&args.env);
    options.binds.clone_from(&args.volumes);
    options.terminal = args.tty;
    options.writable_root = args.writable;
    options.init = args.init;
    options.isolation = args.isolation.layer();
    options.limits = args.limits.layer()?;
    options.limits.group = args.group.group.clone().or(options.limits.group);
    options.network = args.network.table()?;
    options.as_packaged = args.isolation.as_packaged;
    options.overcommit = args.overcommit.overcommit;
    Ok(options)
}

/// A file is installed; anything else is the name or digest of an image.
pub fn find_or_install(text: &str, place: &Place) -> Result<Image> {
    let store = place.store()?;
    if !looks_like_file(text) {
        return store.image(text);
    }
    let bar = ui::progress::Bar::quiet();
    bar.stage(&format!("installing {text}"));
    store.install(&PathBuf::from(text), Install { sync: true }, &|done, total| bar.amount(done, total))
}

/// A name never has a slash; a name that is also a file in this folder means the file only if it
/// ends as packages do.
fn looks_like_file(text: &str) -> bool {
    text.contains('/')
        || (text.ends_with(".tsubo") || text.ends_with(".tar")) && Path::new(text).exists()
        || text.ends_with(".tsubo")
}

/// Understands `-v SRC:DST[:ro,noidmap]`.
pub fn volume(text: &str) -> Result<Bind, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, at, options) = match parts.as_slice() {
        [source, at] => (source, at, ""),
        [source, at, options] => (source, at, *options),
        _ => return Err("expected SOURCE:DESTINATION or SOURCE:DESTINATION:ro".to_owned()),
    };
    let (mut read_only, mut idmapped) = (false, true);
    for option in options.split(',').filter(|_| parts.len() == 3) {
        match option {
            "ro" => read_only = true,
            "rw" => read_only = false,
            "noidmap" => idmapped = false,
            _ => return Err(format!("{option:?} is none of ro, rw, noidmap; --mount has more")),
        }
    }
    if source.is_empty() {
        return Err("the source is empty".to_owned());
    }
    let at: RootPath = at.parse().map_err(|error: Error| error.to_string())?;
    if at.is_root() {
        return Err("the destination cannot be the container's root".to_owned());
    }
    let source = std::path::absolute(source).map_err(|error| error.to_string())?;
    Ok(Bind { source, at, read_only, idmapped })
}

/// Understands `-e K=V`; `-e K` takes the value from our own environment.
pub fn variable(text: &str) -> Result<(String, String), String> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, value.to_owned()),
        None => (text, std::env::var(text).map_err(|_| format!("{text} is not set; write {text}=VALUE"))?),
    };
    let plain = !key.is_empty() && !key.contains('\0') && !value.contains('\0');
    plain.then(|| (key.to_owned(), value)).ok_or_else(|| "expected NAME=VALUE".to_owned())
}

/// Understands a signal by number or by name, with or without `SIG`.
pub fn signal(text: &str) -> Result<i32> {
    let bad = || {
        Error::user(format!("{text:?} is no signal"))
            .hint("use a name as in TERM, SIGTERM or RTMIN+3 (to RTMIN+30), or a number from 1 to 64")
    };
    // 0 only asks whether somebody is there.
    spec::signal::parse(text).ok().filter(|number| *number > 0).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_understood() {
        let bind = volume("/a:/b:ro").expect("bind");
        assert!(bind.read_only && bind.source == Path::new("/a") && bind.at.to_string() == "/b");
        for bad in ["/a", "/a:b", ":/b", "/a:/b:rx", "/a:/b:ro:x", "/a:/", "/a:/../b"] {
            assert!(volume(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn signals_have_names_and_numbers() {
        assert_eq!(signal("SIGTERM").expect("name"), 15);
        assert_eq!(signal("hup").expect("name"), 1);
        assert_eq!(signal("64").expect("number"), 64);
        for bad in ["0", "65", "TERMINATE", "", "-9"] {
            assert!(signal(bad).is_err(), "{bad}");
        }
    }
}
