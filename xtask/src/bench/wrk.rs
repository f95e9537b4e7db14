//! What wrk(1) says of a load.

/// What wrk tells: requests a second, and microseconds.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) requests: f64,
    pub(crate) half: f64,
    pub(crate) most: f64,
}

impl Told {
    /// Nothing where a request failed.
    pub(crate) fn read(said: &str) -> Option<Self> {
        if said.contains("Non-2xx") || said.contains("Socket errors") {
            return None;
        }
        let behind = |word: &str| said.lines().find_map(|line| line.trim().strip_prefix(word)).map(str::trim);
        Some(Self {
            requests: behind("Requests/sec:")?.parse().ok()?,
            half: microseconds(behind("50%")?)?,
            most: microseconds(behind("99%")?)?,
        })
    }
}

/// `12.00us`, `1.23ms` or `0.5s`.
fn microseconds(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    units.iter().find_map(|(unit, factor)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_tells_is_read() {
        let said = "  Latency Distribution\n     50%   21.00us\n     75%   30.00us\n     90%    0.90ms\n     99%    1.25ms\n  \
            40 requests in 1.00s\nRequests/sec:  39871.52\nTransfer/sec:   5.59MB\n";
        assert_eq!(Told::read(said), Some(Told { requests: 39871.52, half: 21.0, most: 1250.0 }));
        assert_eq!(Told::read(&format!("{said}  Non-2xx or 3xx responses: 9")), None);
    }
}
