//! What people see: errors, tables, progress, sizes. Colours only on a terminal.

pub mod error;
pub mod graph;
pub mod progress;
pub mod table;

use std::io::Write;

/// Prints to stdout. A reader that has gone away (`tsubo ps | head`) is no error; what cannot be written
/// for another reason ends the command, since what it has to say is all that it is for.
pub fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            error::show(&spec::Error::io("writing the output", error));
            std::process::exit(125);
        }
        _ => {}
    }
}

/// Prints a line to stdout.
pub fn line(text: impl AsRef<str>) {
    print(&format!("{}\n", text.as_ref()));
}

/// Prints data as JSON.
pub fn json(value: &impl serde::Serialize) -> spec::Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|cause| spec::Error::internal("writing JSON").because(cause))?;
    line(text);
    Ok(())
}

/// A size in bytes for people, with decimal units as disks have them.
pub fn size(bytes: u64) -> String {
    humansize::format_size(bytes, humansize::DECIMAL)
}

/// How long ago a moment was, given in seconds since 1970.
pub fn age(moment: u64) -> String {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |age| age.as_secs());
    let past = now.saturating_sub(moment);
    match past {
        0..60 => format!("{past} s ago"),
        60..3600 => format!("{} min ago", past / 60),
        3600..86_400 => format!("{} h ago", past / 3600),
        _ => format!("{} days ago", past / 86_400),
    }
}

/// How listings are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// The flag that every listing has.
#[derive(Debug, clap::Args)]
pub struct FormatArg {
    /// How to show it
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

impl FormatArg {
    /// Whether JSON is wanted.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }
}
