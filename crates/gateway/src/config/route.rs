//! Which service a name and a path lead to.

use std::collections::HashMap;

use spec::{Error, Result};

/// A name as it is written, with or without a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    name: Pattern,
    /// Without a slash at its end; empty for all paths.
    path: String,
}

/// Which names are meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Pattern {
    /// This one.
    Is(String),
    /// All below this one.
    Below(String),
    /// All.
    Any,
}

impl Host {
    /// Understands `shop.example`, `*.shop.example/api`, `*`, `/api`.
    ///
    /// # Errors
    /// What is no name, or no path.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |why: &str| {
            Error::user(format!("{text:?} is no host: {why}"))
                .hint("as in shop.example, *.shop.example, shop.example/api, or * for all names")
        };
        let (name, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(bad("it is empty or has spaces"));
        }
        if name.contains(':') {
            return Err(bad("the port is that of the gateway"));
        }
        if path.contains(['?', '#']) || path.contains("//") || path.split('/').any(|part| part == "..") {
            return Err(bad("a path has neither questions nor steps back"));
        }
        let name = normal(name);
        let pattern = match name.strip_prefix("*.") {
            _ if name.is_empty() || name == "*" => Pattern::Any,
            Some(rest) if !rest.is_empty() && !rest.contains('*') => Pattern::Below(rest.to_owned()),
            None if !name.contains('*') => Pattern::Is(name),
            _ => return Err(bad("a star stands for the whole of what is before the first point")),
        };
        Ok(Self { name: pattern, path: path.trim_end_matches('/').to_owned() })
    }

    /// The same, where paths are not seen.
    ///
    /// # Errors
    /// When it has one.
    pub fn without_path(self) -> Result<Self> {
        if self.path.is_empty() {
            return Ok(self);
        }
        Err(Error::user(format!("the path {} is not seen in a TLS greeting", self.path)).hint("leave it out"))
    }
}

/// The table of routes.
#[derive(Debug, Default)]
pub struct Routes {
    /// By name; the longest path first.
    all: HashMap<Pattern, Vec<(String, usize)>>,
}

impl Routes {
    /// Leads a host to the service with this number.
    ///
    /// # Errors
    /// When it leads elsewhere already.
    pub fn add(&mut self, host: Host, service: usize) -> Result<()> {
        let paths = self.all.entry(host.name).or_default();
        if paths.iter().any(|(path, _)| *path == host.path) {
            return Err(Error::user(
                "one of its hosts, with the same path, leads to another service already",
            )
            .hint("give it a path of its own, or take it from one of both"));
        }
        paths.push((host.path, service));
        paths.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Ok(())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The service of a name (a port at its end does not matter) and a path: the nearest name, then the
    /// longest path.
    pub fn find(&self, name: &str, path: &str) -> Option<usize> {
        let name = normal(without_port(name));
        let exact = self.all.get(&Pattern::Is(name.clone())).and_then(|paths| among(paths, path));
        exact
            .or_else(|| self.below(&name, path))
            .or_else(|| self.all.get(&Pattern::Any).and_then(|paths| among(paths, path)))
    }

    fn below(&self, name: &str, path: &str) -> Option<usize> {
        let mut rest = name;
        while let Some((_, above)) = rest.split_once('.') {
            let found = self.all.get(&Pattern::Below(above.to_owned()));
            if let Some(service) = found.and_then(|paths| among(paths, path)) {
                return Some(service);
            }
            rest = above;
        }
        None
    }
}

fn among(paths: &[(String, usize)], path: &str) -> Option<usize> {
    let leads = |prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
    };
    paths.iter().find(|(prefix, _)| leads(prefix)).map(|(_, service)| *service)
}

fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn without_port(name: &str) -> &str {
    match name.rsplit_once(':') {
        // An address of version 6 in brackets has more of them.
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_and_the_longest_path_win() {
        let mut routes = Routes::default();
        let all = ["shop.example", "shop.example/api", "*.shop.example", "*", "*.a.shop.example", "/only"];
        for (number, text) in all.iter().enumerate() {
            routes.add(Host::parse(text).expect(text), number).expect(text);
        }
        for (name, path, service) in [
            ("shop.example", "/", 0),
            ("SHOP.example.:8080", "/x", 0),
            ("shop.example", "/api", 1),
            ("shop.example", "/api/x?y", 1),
            ("shop.example", "/api?y", 1),
            ("shop.example", "/apix", 0),
            ("a.shop.example", "/", 2),
            ("b.a.shop.example", "/", 4),
            ("else.where", "/", 3),
            ("else.where", "/only/x", 5),
            ("[::1]:80", "/", 3),
            ("", "/", 3),
        ] {
            assert_eq!(routes.find(name, path), Some(service), "{name} {path}");
        }
        assert!(routes.add(Host::parse("Shop.Example/").expect("a host"), 9).is_err());
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in ["", "a b", "a:80", "*x.y", "a.*", "*.*.x", "a/../b", "a//b", "a?x/y?"] {
            assert!(!Host::parse(text).expect_err(text).hints().is_empty(), "{text}");
        }
        assert!(Host::parse("a/b").expect("a path").without_path().is_err());
    }
}
