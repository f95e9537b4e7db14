//! `tsubo-oci spec`: a configuration to begin with.

use std::fs::File;
use std::io::Write;

use spec::{Error, Result, ResultExt};

use crate::bundle;
use crate::cli::{Context, Verb};
use crate::line::{Line, Reach, switch};
use crate::setup::BUNDLE;

/// The verb.
pub(crate) const VERB: Verb = Verb {
    name: "spec",
    words: "",
    about: "Write a config.json to begin with",
    flags: &[BUNDLE, switch("rootless", None, "for an ordinary user")],
    reach: Reach::All,
    example: "  mkdir -p web/rootfs && tsubo-oci spec --bundle web",
    run,
};

fn run(_context: &Context, line: &Line) -> Result<u8> {
    line.no_words()?;
    let path = bundle::find(line.text("bundle"))?.join("config.json");
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let config = spec::oci::example(line.on("rootless").then_some((uid, gid)));
    let text = serde_json::to_string_pretty(&config);
    let text = text.map_err(|cause| Error::internal("encoding the configuration").because(cause))?;
    let mut file = File::create_new(&path).doing(|| format!("making {}", path.display()))?;
    writeln!(file, "{text}").doing(|| format!("writing {}", path.display()))?;
    Ok(0)
}
