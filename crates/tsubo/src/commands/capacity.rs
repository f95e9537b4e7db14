//! `tsubo capacity`: how many more containers fit on this host, and what runs out first.

use std::path::Path;

use lifecycle::ledger::{Capacity, Each, Row};
use serde_json::json;
use spec::limits::rounded;
use spec::portable::Portable;
use spec::{Error, Result};
use store::package;

use super::Place;
use super::limit_flags::LimitFlags;
use crate::ui;

const EXAMPLES: &str = "\
Examples:
  tsubo capacity                                  what this host has, what is promised, what is in use
  tsubo capacity web                              how many more of an installed image fit
  tsubo capacity web.tsubo --memory 512m          of a package, if each is started like that
  tsubo capacity web --format json

What is promised to a running container: the limits that were said (--memory, --pids-limit, its
definition) in full, else what its tests used. tsubo run refuses what would break such a promise.
";

/// Tell how many more containers fit on this host, and what runs out first.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A package file, or the name or digest of an installed image
    #[arg(value_name = "FILE|NAME")]
    pub image: Option<String>,

    #[command(flatten)]
    pub limits: LimitFlags,

    #[command(flatten)]
    pub format: ui::FormatArg,
}

/// Runs the verb.
pub fn run(args: &Args, place: &Place) -> Result<u8> {
    let limits = args.limits.layer()?;
    if args.image.is_none() && !limits.is_empty() {
        return Err(Error::user("limits of what? no image or package was named")
            .hint("as in tsubo capacity web --memory 512m"));
    }
    let portable = args.image.as_deref().map(|image| find(image, place)).transpose()?;
    let each = portable.as_ref().map(|portable| -> Result<Each> {
        let files = portable.used.map_or(0, |used| used.peak.files);
        Ok(Each { promise: lifecycle::promised(portable, &limits)?, files })
    });
    let capacity = Capacity::now(&place.home()?, each.transpose()?)?;
    if args.format.is_json() {
        let mut value = json!(capacity);
        value["image"] = json!(portable.map(|portable| portable.name));
        ui::json(&value)?;
    } else {
        show(&capacity, portable.as_ref());
    }
    Ok(0)
}

/// What is said of an image or in a package; nothing is installed.
fn find(text: &str, place: &Place) -> Result<Portable> {
    let file = Path::new(text);
    if text.contains('/') || text.ends_with(".tsubo") || text.ends_with(".tar") && file.exists() {
        return Ok(package::read_info(file)?.portable);
    }
    Ok(place.store()?.image(text)?.portable)
}

fn show(capacity: &Capacity, portable: Option<&Portable>) {
    if let Some(portable) = portable {
        ui::line(headline(capacity, portable.name.as_str()));
        ui::line("");
    }
    let mut table = match portable {
        Some(_) => {
            ui::table::new(&["RESOURCE", "HOST", "FOR ALL", "PROMISED", "IN USE", "FREE", "EACH", "FIT"])
        }
        None => ui::table::new(&["RESOURCE", "HOST", "FOR ALL", "PROMISED", "IN USE", "FREE"]),
    };
    for row in &capacity.resources {
        let amount = |number: Option<u64>| amount(row, number);
        let mut cells = vec![
            row.resource.to_owned(),
            amount(row.host),
            amount(row.room),
            amount(row.promised),
            amount(row.in_use),
            amount(row.free),
        ];
        if portable.is_some() {
            cells.extend([amount(row.each), row.fits.map_or_else(dash, count)]);
        }
        table.add_row(cells);
    }
    ui::table::print(&table);
    ui::line(format!(
        "\n{} running {} something",
        capacity.containers,
        match capacity.containers {
            1 => "container is promised",
            _ => "containers are promised",
        }
    ));
}

fn headline(capacity: &Capacity, name: &str) -> String {
    let Some((fits, first)) = capacity.fits.zip(capacity.first) else {
        return format!(
            "nothing is known of what {name} takes, so nothing is promised to it: test it (tsubo test), or say --memory SIZE"
        );
    };
    let fit =
        format!("{} more of {name} {} on this host now", count(fits), if fits == 1 { "fits" } else { "fit" });
    let many = matches!(first, "processes" | "files");
    let first = match (fits, many) {
        (0, true) => format!("{first} have run out"),
        (0, false) => format!("{first} has run out"),
        (_, true) => format!("{first} run out first"),
        (_, false) => format!("{first} runs out first"),
    };
    match capacity.let_in {
        Some(let_in) if let_in > fits => {
            format!(
                "{fit}; {first} (tsubo run would let {} in: what others use now is no promise)",
                count(let_in)
            )
        }
        _ => format!("{fit}; {first}"),
    }
}

fn amount(row: &Row, number: Option<u64>) -> String {
    match (row.unit, number) {
        (_, None) => dash(),
        ("bytes", Some(number)) => rounded(number),
        ("thousandths", Some(number)) => format!("{:.2}", number as f64 / 1000.0),
        (_, Some(number)) => count(number),
    }
}

/// More than anybody counts is no bound.
fn count(number: u64) -> String {
    if number > 1 << 40 { "no end".to_owned() } else { number.to_string() }
}

fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(fits: Option<u64>, let_in: Option<u64>) -> Capacity {
        Capacity { fits, first: fits.map(|_| "memory"), let_in, containers: 0, resources: Vec::new() }
    }

    #[test]
    fn the_first_line_says_it() {
        let told = |fits, let_in| headline(&capacity(fits, let_in), "web");
        assert_eq!(told(Some(7), Some(7)), "7 more of web fit on this host now; memory runs out first");
        assert!(told(Some(1), Some(9)).starts_with("1 more of web fits"));
        assert!(told(Some(1), Some(9)).contains("would let 9 in"));
        assert!(told(Some(0), Some(0)).contains("memory has run out"));
        assert!(told(None, None).contains("nothing is known"));
    }
}
