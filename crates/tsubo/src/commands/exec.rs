//! `tsubo exec`: run a command in a running container.

use std::path::Path;

use lifecycle::{Containers, Exec};
use spec::{Result, RootPath};

use super::{Place, run};

const EXAMPLES: &str = "\
Examples:
  tsubo exec web nginx -s reload
  tsubo exec -it web sh                           a shell, if the package has one
  tsubo exec -u www-data -w /srv web ls
";

/// Run a command in a running container, confined like the container itself.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Keep its standard input open
    #[arg(short, long)]
    pub interactive: bool,

    /// Give it a terminal
    #[arg(short, long)]
    pub tty: bool,

    /// Set a variable of its environment
    #[arg(short, long, value_name = "K=V", value_parser = run::variable)]
    pub env: Vec<(String, String)>,

    /// Who it runs as: names or numbers of the container
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,

    /// Its working directory
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<RootPath>,

    /// Name or id of the container
    pub name: String,

    /// The command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// Runs the verb; the code is the command's.
pub fn run(args: Args, place: &Place) -> Result<u8> {
    let container = Containers::of(&place.home()?).find(&args.name)?;
    let user = match &args.user {
        Some(user) => Some(workshop::passwd::look_up(Path::new(&super::path::root_of(&container)?), user)?),
        None => None,
    };
    let exec = Exec {
        argv: args.command,
        env: args.env,
        cwd: args.workdir,
        user,
        terminal: args.tty,
        input: args.interactive,
    };
    Ok(container.exec(exec)?.relay()?.clamp(0, 255) as u8)
}
