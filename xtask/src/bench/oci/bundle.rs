//! The standard bundle: what `runc spec` writes, with the ground's root and its program.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::bench::runtimes::Ground;
use crate::shell::{self, Result};

/// One whose program ends at once, and one whose program stays.
pub(super) fn write(ground: &Ground) -> Result {
    let standard = ground.at("bundle-brief");
    fs::create_dir_all(&standard)?;
    shell::run(Command::new("runc").args(["spec", "--bundle", &standard]))?;
    let config: Value = serde_json::from_slice(&fs::read(ground.dir.join("bundle-brief/config.json"))?)?;
    for (name, args) in
        [("bundle-brief", json!(["/bin/idle", "true"])), ("bundle-idle", json!(["/bin/idle"]))]
    {
        let mut config = config.clone();
        config["process"]["args"] = args;
        config["process"]["terminal"] = json!(false);
        config["root"]["path"] = json!(ground.root);
        fs::create_dir_all(ground.dir.join(name))?;
        fs::write(ground.dir.join(name).join("config.json"), config.to_string())?;
    }
    Ok(())
}
