//! Links a static program at a fixed address: one that first relocates itself writes to pages that
//! every start pays for. It begins where it takes care that nobody can write to it (`sys::early`).

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |key: &str| std::env::var(format!("CARGO_CFG_TARGET_{key}")).unwrap_or_default();
    if target("FEATURE").split(',').any(|feature| feature == "crt-static") {
        println!("cargo::rustc-link-arg-bins=-static");
        println!("cargo::rustc-link-arg-bins=-no-pie");
        if target("ARCH") == "x86_64" {
            println!("cargo::rustc-link-arg-bins=-Wl,-e,tsubo_shielded_start");
        }
    }
}
