//! `tsubo pack`: make a package of what was used, and prove it.

use std::path::PathBuf;

use spec::activation::ActivationTable;
use spec::hooks::Hooks;
use spec::isolation::Isolation;
use spec::limits::Limits;
use spec::network::NetworkTable;
use spec::{Name, Result, ResultExt};
use workshop::cut::Level;
use workshop::dev::Development;
use workshop::dev::stack::Stack;
use workshop::interrupt::Interrupt;
use workshop::pack::{Packed, Request};

use super::Place;
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo pack web -o web.tsubo                     replays the tests on the cut image before it says yes
  tsubo pack web --closure exact                  what was seen, and what that cannot work without
  tsubo pack web --keep '/srv/site/**' --drop '/usr/share/locale/**'
  tsubo pack web --repair                         add what the replay missed, and try again
";

/// Make a package of what the tests have seen, and prove it by replaying them on it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Name of the development container
    pub name: Name,

    /// The package file to write [default: NAME.tsubo]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// How much is kept beyond what was seen: exact, directory or package
    #[arg(long, value_name = "LEVEL", default_value = "package")]
    pub closure: Level,

    /// Keep these paths in any case (a glob; a directory keeps all below it)
    #[arg(long, value_name = "GLOB")]
    pub keep: Vec<String>,

    /// Cut these paths in any case
    #[arg(long, value_name = "GLOB")]
    pub drop: Vec<String>,

    /// Do not run the tests again on the cut image
    #[arg(long)]
    pub no_replay: bool,

    /// Add what the replay missed, and try again
    #[arg(long, conflicts_with = "no_replay")]
    pub repair: bool,

    /// Compress harder: some 10 % smaller, and seconds instead of tenths of one
    #[arg(long)]
    pub small: bool,

    #[command(flatten)]
    pub format: ui::FormatArg,
}

/// Runs the verb.
pub fn run(args: Args, place: &Place) -> Result<u8> {
    let interrupt = Interrupt::install()?;
    let development = place.developments()?.open(&args.name)?;
    sys::private_mounts::enter().doing(|| "making a private mount namespace")?;
    let stack = development.mount()?;
    let request = Request {
        out: args.output.unwrap_or_else(|| PathBuf::from(format!("{}.tsubo", args.name))),
        level: args.closure,
        keep: args.keep,
        drop: args.drop,
        replay: !args.no_replay,
        repair: args.repair,
        small: args.small,
        isolation: Isolation::default(),
        limits: Limits::default(),
        network: NetworkTable::default(),
        activation: ActivationTable::default(),
        hooks: Hooks::default(),
    };
    make(&development, &stack, &request, args.format.is_json(), &interrupt)?;
    Ok(0)
}

/// Packs with progress and tells what came out.
pub fn make(
    development: &Development,
    stack: &Stack,
    request: &Request,
    json: bool,
    interrupt: &Interrupt,
) -> Result<Packed> {
    let bar = ui::progress::Bar::new();
    let packed = workshop::pack::pack(development, stack, request, interrupt, &bar)?;
    drop(bar);
    if json {
        ui::json(&super::contents::summary(
            &packed.report,
            &packed.portable,
            packed.written.bytes,
            packed.written.digest,
        ))?;
    } else {
        tell(&packed, request);
    }
    Ok(packed)
}

fn times(count: usize) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

fn tell(packed: &Packed, request: &Request) {
    let report = &packed.report;
    ui::line(format!("{}: {} packed", request.out.display(), ui::size(packed.written.bytes)));
    ui::line(format!(
        "{} files, {} — of {} files, {} ({})",
        report.files,
        ui::size(report.bytes),
        report.base_files,
        ui::size(report.base_bytes),
        super::contents::share(report.bytes, report.base_bytes),
    ));
    match packed.replayed {
        Some(time) => ui::line(format!(
            "cut and written in {:.2} s; replayed {} in {:.2} s, and it works",
            packed.took.as_secs_f64(),
            times(packed.replays),
            time.as_secs_f64()
        )),
        None => ui::line(format!("cut and written in {:.2} s; not replayed", packed.took.as_secs_f64())),
    }
    if !packed.repaired.is_empty() {
        ui::line(format!("{} paths were added because the replay missed them", packed.repaired.len()));
    }
    if !packed.added_calls.is_empty() {
        let names: Vec<&str> = packed.added_calls.iter().map(String::as_str).collect();
        ui::line(format!("system calls that only the replay made were added: {}", names.join(", ")));
    }
    super::contents::policy(report, &packed.portable).iter().for_each(ui::line);
    super::forecast::lines(&packed.portable, &report.curve).iter().for_each(ui::line);
    for (path, bytes) in &packed.undeclared {
        ui::error::warn(&format!(
            "the service keeps data in {path} ({}), which is fresh at each start; declare it with --volume {path} in the test, or run with -v",
            ui::size(*bytes)
        ));
    }
    packed.warnings.iter().for_each(|warning| ui::error::warn(warning));
    ui::line(format!("next: tsubo run -d --name {} {}", packed.portable.name, request.out.display()));
}
