//! What keeps a configuration from being served, told before it is: nothing is started or installed.

use std::fs::File;
use std::path::Path;

use lifecycle::Home;
use spec::{Error, Result, ResultExt};
use store::Store;

use crate::advisor::Advisor;
use crate::config::{Config, ServiceConfig};
use crate::settings::Settings;
use crate::tls::certificates::Certificates;

/// Everything that is wrong with it: who it concerns, and why.
pub fn examine(home: &Home, config: &Config) -> Vec<(String, Error)> {
    let mut wrong = Vec::new();
    if let Err(error) = Certificates::load(&config.certificates) {
        wrong.push(("certificate".to_owned(), error));
    }
    for told in &config.services {
        let looks = [package(home, told), Advisor::examine(&told.policy), way(config, told)];
        let found = looks.into_iter().filter_map(Result::err);
        wrong.extend(found.map(|error| (format!("service {}", told.name), error)));
    }
    wrong
}

/// What is in a file that is not installed yet is seen when it is.
fn package(home: &Home, told: &ServiceConfig) -> Result<()> {
    if told.package.contains('/') {
        let is_file = File::open(&told.package).and_then(|file| file.metadata());
        return match is_file.doing(|| format!("opening {}", told.package))?.is_file() {
            true => Ok(()),
            false => Err(Error::user(format!("{} is no file", told.package))
                .hint("a package is one: tsubo pack makes it")),
        };
    }
    let store = home.lib().join("store");
    if !Path::new(&store).is_dir() {
        return Err(Error::not_found(format!("there is no image {}: none is installed", told.package))
            .hint(format!("tsubo install {}.tsubo", told.package)));
    }
    Settings::of(told, &Store::open(&store)?.image(&told.package)?).map(drop)
}

/// How requests come to it.
fn way(config: &Config, told: &ServiceConfig) -> Result<()> {
    let always = told.activation.min.is_some_and(|min| min > 0);
    if always || !told.tcp.is_empty() || !told.sockets.is_empty() {
        return Ok(());
    }
    let open = (!config.http.is_empty(), !config.https.is_empty());
    match (told.named, told.passed, open) {
        (false, false, _) => Err(Error::user("nothing leads to it")
            .hint("say hosts, tcp, sni or sockets; it runs only where activation.min says so")),
        (true, _, (true, _) | (_, true)) | (_, true, (_, true)) => Ok(()),
        _ => Err(Error::user("nobody listens for its requests")
            .hint("say http = [\"0.0.0.0:80\"] in [gateway], or https where it is known by sni")),
    }
}
