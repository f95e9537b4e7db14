//! The command line, the terminal, and the loop between keys and looks.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use lifecycle::Home;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use spec::{Error, Result};

use crate::app::{App, Next};

/// Show all containers on a terminal screen, as they change. `tsubo top` executes this.
#[derive(Debug, Parser)]
#[command(name = "tsubo-top", version)]
struct Args {
    /// The state directory
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// The time between two looks, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(100..))]
    interval: u64,
}

/// Runs it; the code is the process's exit code.
pub(crate) fn run() -> u8 {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Nobody may be there to read it.
            let _ = error.print();
            return if error.use_stderr() { 125 } else { 0 };
        }
    };
    match show(&args) {
        Ok(()) => 0,
        Err(error) => {
            let mut out = std::io::stderr().lock();
            let _ = writeln!(out, "error: {}", error.chain());
            error.hints().iter().for_each(|hint| _ = writeln!(out, "  hint: {hint}"));
            error.kind().exit_code()
        }
    }
}

fn show(args: &Args) -> Result<()> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Error::user("tsubo top draws on a terminal, and there is none here")
            .hint("for a table or JSON: tsubo stats; for the processes of one container: tsubo top NAME"));
    }
    let own = lifecycle::rootless::enter()?;
    let home = Home::open(args.root.as_deref(), own.as_ref())?;
    let mut app = App::new(&home)?;
    let asked = asked_to_end()?;
    // From here on a panic puts the terminal back before it tells.
    let mut terminal = ratatui::try_init().map_err(|cause| Error::io("preparing the terminal", cause))?;
    let ended = watch(&mut terminal, &mut app, Duration::from_millis(args.interval), &asked);
    ratatui::restore();
    ended
}

/// Becomes true when somebody asks from outside.
fn asked_to_end() -> Result<Arc<AtomicBool>> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP, signal_hook::consts::SIGINT] {
        let registered = signal_hook::flag::register(signal, asked.clone());
        registered.map_err(|cause| Error::io("watching signals", cause))?;
    }
    Ok(asked)
}

fn watch(
    terminal: &mut DefaultTerminal,
    app: &mut App,
    interval: Duration,
    asked: &AtomicBool,
) -> Result<()> {
    let failed = |cause| Error::io("drawing on the terminal", cause);
    let mut next = Instant::now() + interval;
    while !asked.load(Ordering::Relaxed) {
        terminal.draw(|frame| app.draw(frame)).map_err(failed)?;
        let left = next.saturating_duration_since(Instant::now());
        match event::poll(left) {
            Ok(true) => {
                let event = event::read().map_err(failed)?;
                if matches!(event, Event::Key(key) if app.key(key) == Next::Quit) {
                    return Ok(());
                }
            }
            Ok(false) => {
                app.look()?;
                next = Instant::now() + interval;
            }
            // The loop looks who has asked for what.
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(failed(cause)),
        }
    }
    Ok(())
}
