//! Our tables of the packet filter: whether they are there, and whole; they are made by nft(8), once.

use std::io::Write;
use std::process::{Command, Stdio};

use spec::{Error, Result, ResultExt};

use crate::filter::TABLE;
use crate::message::{Answer, Batch, attribute, be_word, text};
use crate::socket::Socket;
use crate::uapi::filter::{
    GETCHAIN, NEWCHAIN, NFPROTO_BRIDGE, NFPROTO_INET, NFTA_CHAIN_NAME, NFTA_CHAIN_TABLE, NFTA_CHAIN_USE,
};
use crate::uapi::netlink::DUMP;

/// One of our two tables.
pub(crate) struct Table {
    family: u8,
    /// Its family, for nft.
    word: &'static str,
    text: &'static str,
    /// Its chains, and how many rules each has.
    chains: &'static [(&'static str, u32)],
}

/// That for links of their own.
pub(crate) const ROUTED: Table = Table {
    family: NFPROTO_INET,
    word: "inet",
    text: include_str!("table.nft"),
    chains: &[
        ("entry", 7),
        ("tracked", 1),
        ("published", 6),
        ("published_here", 4),
        ("onward", 20),
        ("here", 8),
        ("leaving", 5),
    ],
};

/// That for ports of bridges.
pub(crate) const BRIDGED: Table = Table {
    family: NFPROTO_BRIDGE,
    word: "bridge",
    text: include_str!("bridge.nft"),
    chains: &[("entry", 12), ("here", 1)],
};

impl Table {
    /// The chains that are not there, or not whole.
    pub(crate) fn missing(&self, socket: &Socket) -> Result<Vec<String>> {
        let mark = self.mark();
        let wanted: Vec<_> = self.chains.iter().copied().chain(std::iter::once((mark.as_str(), 0))).collect();
        let mut batch = Batch::default();
        for (chain, _) in &wanted {
            batch.message(GETCHAIN, 0, &[self.family, 0, 0, 0]);
            batch.put_text(NFTA_CHAIN_TABLE, TABLE);
            batch.put_text(NFTA_CHAIN_NAME, chain);
        }
        let mut there = Vec::new();
        socket.ask(&mut batch, |answer| there.extend(chain(answer)))?;
        let is_whole = |(name, rules): &(&str, u32)| {
            there.iter().any(|found| found.name == *name && found.rules == *rules)
        };
        Ok(wanted.iter().filter(|one| !is_whole(one)).map(|(name, _)| (*name).to_owned()).collect())
    }

    /// The name of an empty chain that says by which text the table was made: as many rules may be other ones.
    fn mark(&self) -> String {
        format!("{MARK}{:016x}", digest(self.text))
    }

    /// The marks that other texts left.
    fn old_marks(&self, socket: &Socket) -> Result<Vec<String>> {
        let mut batch = Batch::default();
        batch.message(GETCHAIN, DUMP, &[self.family, 0, 0, 0]);
        let mut found = Vec::new();
        socket.ask(&mut batch, |answer| {
            found.extend(chain(answer).filter(|chain| chain.table == TABLE).map(|chain| chain.name));
        })?;
        let mark = self.mark();
        found.retain(|name| name.starts_with(MARK) && *name != mark);
        Ok(found)
    }

    /// What it is called.
    pub(crate) fn name(&self) -> String {
        format!("{} {TABLE}", self.word)
    }

    /// Makes it, or its rules anew, if it is not whole; elements that are there stay.
    pub(crate) fn raise(&self, socket: &Socket) -> Result<()> {
        if self.missing(socket)?.is_empty() {
            return Ok(());
        }
        self.load_by("nft", &self.old_marks(socket)?)
    }

    fn load_by(&self, program: &str, old_marks: &[String]) -> Result<()> {
        let name = self.name();
        let mut text = format!("add table {name}\nflush table {name}\n");
        for mark in old_marks {
            // What is added first is there, whoever else removes it.
            text += &format!("add chain {name} {mark}\ndelete chain {name} {mark}\n");
        }
        text += &format!("add chain {name} {}\n{}", self.mark(), self.text);
        let mut nft = Command::new(program);
        // Who keeps a container has no environment, and may be wiping what it was given just now
        // (`sys::start::forget_words`); and nobody else's program is executed as root.
        nft.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin");
        nft.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut nft = nft.spawn().map_err(no_nft)?;
        let mut input = nft.stdin.take();
        let written = input.as_mut().map_or(Ok(()), |input| input.write_all(text.as_bytes()));
        drop(input);
        let output = nft.wait_with_output().doing(|| "waiting for nft")?;
        if output.status.success() {
            return written.doing(|| "telling nft the rules");
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        Err(Error::unsupported(format!("the packet filter's table {name} could not be made: {said}")).hint(
        "is it another version's (nft delete table inet tsubo, when no container runs)? has the kernel nf_tables?",
    ))
    }
}

/// How the chains begin that say by which text a table was made.
const MARK: &str = "v_";

/// FNV-1a: it tells texts of ours apart, and nobody chooses them.
fn digest(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// A chain that is there.
struct Chain {
    table: String,
    name: String,
    rules: u32,
}

fn chain(answer: &Answer<'_>) -> Option<Chain> {
    let body = answer.body.get(4..)?;
    let said = |kind| attribute(body, kind).map(text).unwrap_or_default();
    (answer.kind == NEWCHAIN).then(|| Chain {
        table: said(NFTA_CHAIN_TABLE),
        name: said(NFTA_CHAIN_NAME),
        rules: attribute(body, NFTA_CHAIN_USE).map_or(0, be_word),
    })
}

fn no_nft(cause: std::io::Error) -> Error {
    if cause.kind() == std::io::ErrorKind::NotFound {
        return Error::unsupported("there is no nft(8), which makes the rules between containers")
            .hint("install nftables, or use --network host or --network none");
    }
    Error::process("starting nft", cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_have_as_many_rules_as_are_looked_for() {
        for table in [ROUTED, BRIDGED] {
            assert_eq!(rules(table.text), table.chains, "{}", table.name());
        }
    }

    fn rules(text: &str) -> Vec<(&str, u32)> {
        let mut found: Vec<(&str, u32)> = Vec::new();
        let mut inside = false;
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("chain ") {
                found.push((name.trim_end_matches(" {"), 0));
                inside = true;
            } else if line == "}" {
                inside = false;
            } else if inside && !line.starts_with("type ") && !line.starts_with('#') {
                found.last_mut().expect("in a chain").1 += 1;
            }
        }
        found
    }

    #[test]
    fn without_nft_the_way_out_is_said() {
        let error = ROUTED.load_by("/nonexistent/nft", &[]).expect_err("there is none");
        assert_eq!(error.kind(), spec::ErrorKind::Unsupported);
        assert!(error.hints()[0].contains("install nftables"));
    }
}
