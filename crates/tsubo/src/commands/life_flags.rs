//! Flags about the life of a container, for the verbs that make one and the one that changes it.

use spec::life::{Health, Life, Restart};
use spec::{Error, Result};

/// Flags of `run`, `create` and `update`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct LifeFlags {
    /// Start it again when it ends: no, on-failure[:N], always or unless-stopped
    #[arg(long, value_name = "POLICY", help_heading = "Life")]
    pub restart: Option<Restart>,

    /// A command in the container whose exit code tells its health; `none` for none
    #[arg(long, value_name = "CMD", help_heading = "Life")]
    pub health_cmd: Option<String>,

    /// From one check to the next [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = millis, help_heading = "Life")]
    pub health_interval: Option<u64>,

    /// A check that takes longer has failed [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = millis, help_heading = "Life")]
    pub health_timeout: Option<u64>,

    /// So many failures in a row mean unhealthy [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Life")]
    pub health_retries: Option<u32>,

    /// Failures so soon after the start do not count [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = millis, help_heading = "Life")]
    pub health_start_period: Option<u64>,
}

impl LifeFlags {
    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.restart.is_none() && self.health_cmd.is_none() && !self.says_times()
    }

    fn says_times(&self) -> bool {
        let times = [self.health_interval, self.health_timeout, self.health_start_period];
        times.iter().any(Option::is_some) || self.health_retries.is_some()
    }

    /// Puts what was said in place of what there was.
    ///
    /// # Errors
    /// Times of a check without a check.
    pub fn apply(&self, life: &mut Life) -> Result<()> {
        if let Some(restart) = self.restart {
            life.restart = restart;
        }
        match self.health_cmd.as_deref() {
            Some("none" | "") => life.health = None,
            Some(command) => {
                let argv = command_line(command)?;
                let health = life.health.take().unwrap_or_else(|| Health::new(Vec::new()));
                life.health = Some(Health { argv, ..health });
            }
            None => {}
        }
        match &mut life.health {
            Some(health) => self.set_times(health),
            None if self.says_times() => {
                return Err(Error::user("there is no health check whose times could be set")
                    .hint("give it one with --health-cmd"));
            }
            None => {}
        }
        Ok(())
    }

    fn set_times(&self, health: &mut Health) {
        let set = |place: &mut u64, said: Option<u64>| *place = said.unwrap_or(*place);
        set(&mut health.interval, self.health_interval);
        set(&mut health.timeout, self.health_timeout);
        set(&mut health.start_period, self.health_start_period);
        health.retries = self.health_retries.unwrap_or(health.retries);
    }
}

/// What only a shell understands.
const SHELL: &str = "|&;<>()$`\\\"'*?[]{}~#\n=!";

/// A JSON list is taken word by word; plain words are executed as they are, since packages seldom
/// have a shell; what only a shell understands goes to `/bin/sh -c`.
fn command_line(text: &str) -> Result<Vec<String>> {
    let argv: Vec<String> = match text.trim_start().starts_with('[') {
        true => serde_json::from_str(text).map_err(|cause| {
            Error::user(format!("{text:?} is no list of words"))
                .because(cause)
                .hint(r#"write it as in ["/usr/bin/test", "-e", "/run/ready"]"#)
        })?,
        false if text.contains(|c| SHELL.contains(c)) => ["/bin/sh", "-c", text].map(str::to_owned).to_vec(),
        false => text.split_whitespace().map(str::to_owned).collect(),
    };
    match argv.first() {
        Some(program) if !program.is_empty() => Ok(argv),
        _ => Err(Error::user("the health check is an empty command")),
    }
}

/// Understands `500ms`, `30s`, `5m`, `1h`, or seconds.
pub fn millis(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "ms" => 1,
        "s" | "" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("a time is a number and ms, s, m, h or d".to_owned()),
    };
    let number: f64 = digits.parse().map_err(|_| "a time is a number and ms, s, m, h or d".to_owned())?;
    let millis = number * unit as f64;
    // A hundred years; what is longer cannot be counted everywhere.
    if (0.0..=3.2e12).contains(&millis) {
        Ok(millis as u64)
    } else {
        Err("this time is out of range".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_understood() {
        for (text, expected) in
            [("500ms", 500), ("2", 2000), ("1.5s", 1500), ("5m", 300_000), ("1h", 3_600_000)]
        {
            assert_eq!(millis(text), Ok(expected));
        }
        for bad in ["", "s", "-1s", "1w", "NaN", "inf", "1e300"] {
            assert!(millis(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_check_is_executed_by_itself_unless_it_needs_a_shell() {
        assert_eq!(
            command_line("curl -f http://127.0.0.1/").expect("words"),
            ["curl", "-f", "http://127.0.0.1/"]
        );
        assert_eq!(command_line("a || b").expect("shell"), ["/bin/sh", "-c", "a || b"]);
        assert_eq!(command_line(r#"["a b", "$c"]"#).expect("list"), ["a b", "$c"]);
        for bad in [" ", "[", "[]", r#"[""]"#, r#"[1]"#] {
            assert!(command_line(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_said_stays() {
        let mut life = Life::default();
        let flags =
            LifeFlags { health_cmd: Some("a b".into()), health_retries: Some(1), ..LifeFlags::default() };
        flags.apply(&mut life).expect("apply");
        let flags = LifeFlags { health_interval: Some(7), ..LifeFlags::default() };
        flags.apply(&mut life).expect("apply");
        let health = life.health.clone().expect("a check");
        assert_eq!((health.argv.len(), health.retries, health.interval), (2, 1, 7));
        LifeFlags { health_cmd: Some("none".into()), ..LifeFlags::default() }
            .apply(&mut life)
            .expect("apply");
        assert_eq!(life.health, None);
        assert!(flags.apply(&mut life).is_err());
    }
}
