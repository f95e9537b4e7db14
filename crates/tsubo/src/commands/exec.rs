//! `tsubo exec`: run a command in a running container.

use std::collections::BTreeSet;
use std::path::Path;

use lifecycle::{Containers, Exec, Limit};
use spec::container::Namespace;
use spec::{Error, ErrorKind, Result, RootPath};

use super::terminal_flags::TerminalFlags;
use super::{Place, run, update};
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo exec web nginx -s reload
  tsubo exec -it web sh                           a shell, if the package has one; Ctrl-P Ctrl-Q leaves it
  tsubo exec -u www-data -w /srv web ls
  tsubo exec -d web sleep 60                      nobody waits for it; prints its number on the host
  tsubo exec --no-net web ls                      everything of the container but its network
  tsubo exec --ns net,uts,ipc web ss -tln         this host's files and programs in its network

Exit codes: the command's own, 128+N if signal N ended it, 125 if tsubo failed,
126 if the command cannot be executed, 127 if it does not exist.
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

    /// Leave it alone: it has no input, nobody hears what it says, and it may outlive this command
    #[arg(short, long, conflicts_with_all = ["interactive", "tty"])]
    pub detach: bool,

    /// Set a variable of its environment
    #[arg(short, long, value_name = "K=V", value_parser = run::variable)]
    pub env: Vec<(String, String)>,

    /// Who it runs as: names or numbers of the container
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,

    /// Its working directory
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<RootPath>,

    /// A resource limit of its own
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]", value_parser = update::ulimit)]
    pub ulimits: Vec<Limit>,

    #[command(flatten)]
    pub entering: Entering,

    #[command(flatten)]
    pub terminal: TerminalFlags,

    /// Name or id of the container
    pub name: String,

    /// The command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// Which of the container's namespaces it enters.
#[derive(Debug, clap::Args)]
pub struct Entering {
    /// Enter these only: mount, pid, ipc, uts, cgroup, net, user, time
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = namespace, help_heading = "Namespaces")]
    pub ns: Option<Vec<Namespace>>,

    /// Stay with this host's files and programs (needs --no-pid)
    #[arg(long, help_heading = "Namespaces")]
    pub no_mount: bool,

    /// Stay with this host's process numbers
    #[arg(long, help_heading = "Namespaces")]
    pub no_pid: bool,

    /// Stay with this host's System V IPC and message queues
    #[arg(long, help_heading = "Namespaces")]
    pub no_ipc: bool,

    /// Stay with this host's name
    #[arg(long, help_heading = "Namespaces")]
    pub no_uts: bool,

    /// Stay with this host's view of control groups
    #[arg(long, help_heading = "Namespaces")]
    pub no_cgroup: bool,

    /// Stay with this host's network
    #[arg(long, help_heading = "Namespaces")]
    pub no_net: bool,

    /// Stay with this host's clocks
    #[arg(long, help_heading = "Namespaces")]
    pub no_time: bool,
}

impl Entering {
    /// Those that are not entered.
    fn without(&self) -> Result<BTreeSet<Namespace>> {
        let left = [
            (Namespace::Mount, self.no_mount),
            (Namespace::Pid, self.no_pid),
            (Namespace::Ipc, self.no_ipc),
            (Namespace::Uts, self.no_uts),
            (Namespace::Cgroup, self.no_cgroup),
            (Namespace::Net, self.no_net),
            (Namespace::Time, self.no_time),
        ];
        let mut without: BTreeSet<Namespace> =
            left.into_iter().filter(|(_, left)| *left).map(|(namespace, _)| namespace).collect();
        if let Some(only) = &self.ns {
            // Whose user it is stays as with the container: it would have more rights otherwise.
            without.extend(
                Namespace::ALL.into_iter().filter(|one| !only.contains(one) && *one != Namespace::User),
            );
        }
        if without.contains(&Namespace::Mount) && !without.contains(&Namespace::Pid) {
            return Err(Error::user(
                "a process with this host's files cannot be shown to the container's processes",
            )
            .hint("they could reach the host's files through it; add --no-pid, or leave pid out of --ns"));
        }
        Ok(without)
    }
}

fn namespace(text: &str) -> Result<Namespace> {
    Namespace::ALL.into_iter().find(|one| one.word() == text || one.file() == text).ok_or_else(|| {
        let words: Vec<_> = Namespace::ALL.iter().map(|one| one.word()).collect();
        Error::user(format!("{text:?} is no namespace")).hint(format!("they are {}", words.join(", ")))
    })
}

/// Runs the verb; the code is the command's.
pub fn run(args: Args, place: &Place) -> Result<u8> {
    let without = args.entering.without()?;
    let container = Containers::of(&place.home()?).find(&args.name)?;
    let user = match &args.user {
        Some(user) => Some(workshop::passwd::look_up(Path::new(&super::path::root_of(&container)?), user)?),
        None => None,
    };
    let exec = Exec {
        argv: args.command,
        env: args.env,
        // Where the host's files stay, the container's directory need not exist.
        cwd: args.workdir.or_else(|| without.contains(&Namespace::Mount).then(RootPath::root)),
        user,
        terminal: args.tty,
        input: args.interactive,
    };
    // Most often it ended in this very moment: what failed then says little by itself.
    let named = |error: Error| match error.kind() {
        ErrorKind::Internal | ErrorKind::Conflict => {
            error.context(format!("executing in container {}", args.name))
        }
        _ => error,
    };
    if args.detach {
        ui::line(container.exec_alone(exec, without, &args.ulimits).map_err(named)?.to_string());
        return Ok(0);
    }
    let session = container.exec_with(exec, without, &args.ulimits).map_err(named)?;
    let session = args.terminal.apply(session)?;
    Ok(session.relay()?.clamp(0, 255) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        entering: Entering,
    }

    fn without(args: &[&str]) -> Result<BTreeSet<Namespace>> {
        let line = <Line as clap::Parser>::try_parse_from([&["x"], args].concat()).expect("parse");
        line.entering.without()
    }

    #[test]
    fn the_hosts_files_are_not_shown_to_the_container() {
        assert_eq!(without(&[]).expect("all"), BTreeSet::new());
        assert_eq!(without(&["--no-net"]).expect("one"), [Namespace::Net].into());
        let net = without(&["--ns", "net,uts"]).expect("two");
        assert!(
            !net.contains(&Namespace::Net)
                && net.contains(&Namespace::Mount)
                && !net.contains(&Namespace::User)
        );
        for bad in [&["--no-mount"][..], &["--ns", "pid,net"]] {
            assert!(without(bad).expect_err("refused").hints()[0].contains("--no-pid"));
        }
    }
}
