//! Build, test, bench and demo: what `./x` hands over to. One file per subcommand.
mod apt;
mod attacks;
mod bench;
mod build;
mod command;
mod demo;
mod floors;
mod guest;
mod house;
mod junit;
mod lint;
mod shell;
mod soak;
mod sources;
mod table;
mod test;

fn main() -> std::process::ExitCode {
    command::main(std::env::args().skip(1).collect())
}
