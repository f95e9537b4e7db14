//! The standard library, in Luau: `require("tsubo/…")`.

/// Its modules: names and texts.
pub const MODULES: [(&str, &str); 6] = [
    ("tsubo/autoscaler", include_str!("../lib/autoscaler.luau")),
    ("tsubo/balloon", include_str!("../lib/balloon.luau")),
    ("tsubo/canary", include_str!("../lib/canary.luau")),
    ("tsubo/leader", include_str!("../lib/leader.luau")),
    ("tsubo/nightly", include_str!("../lib/nightly.luau")),
    ("tsubo/webhook", include_str!("../lib/webhook.luau")),
];

/// A module of it: what its file is called in errors, and its text.
pub fn find(name: &str) -> Option<(String, String)> {
    let (_, text) = MODULES.iter().find(|(known, _)| *known == name)?;
    Some((format!("tsubo:{}", name.trim_start_matches("tsubo/")), (*text).to_owned()))
}
