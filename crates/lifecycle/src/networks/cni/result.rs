//! What plugins say: results in the shapes of all versions of the specification, and errors.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use super::super::Given;

/// A result; each version of the specification uses some of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    interfaces: Vec<Interface>,
    ips: Vec<Ip>,
    ip4: Option<OldIp>,
    ip6: Option<OldIp>,
    dns: Dns,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Interface {
    name: String,
    mac: String,
    sandbox: String,
}

#[derive(Debug, Deserialize)]
struct Ip {
    address: IpNet,
    #[serde(default)]
    gateway: Option<IpAddr>,
    #[serde(default)]
    interface: Option<i64>,
}

/// Until 0.2.0 there was one of each family.
#[derive(Debug, Deserialize)]
struct OldIp {
    ip: IpNet,
    #[serde(default)]
    gateway: Option<IpAddr>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Dns {
    nameservers: Vec<String>,
}

/// What a result says of an interface of the container, and its MAC address, if it is said.
///
/// # Errors
/// What is none.
pub(super) fn given(result: &Value, interface: &str) -> Result<(Given, Option<String>), String> {
    let told: Told = serde_json::from_value(result.clone()).map_err(|error| error.to_string())?;
    let (mut addresses, mut gateway) = (Vec::new(), None);
    let old = [told.ip4, told.ip6].into_iter().flatten();
    let old = old.map(|old| Ip { address: old.ip, gateway: old.gateway, interface: None });
    for ip in told.ips.into_iter().chain(old) {
        let on = match ip.interface {
            None => None,
            Some(index) => {
                let known = usize::try_from(index).ok().and_then(|index| told.interfaces.get(index));
                Some(known.ok_or_else(|| format!("{} is on interface {index}, which is none", ip.address))?)
            }
        };
        // Those of other ends may be told as well.
        if on.is_none_or(|on| on.name == interface && !on.sandbox.is_empty()) {
            addresses.push(ip.address);
            gateway = gateway.or(ip.gateway);
        }
    }
    let own = told.interfaces.iter().find(|one| one.name == interface && !one.sandbox.is_empty());
    let mac = own.map(|own| own.mac.to_ascii_lowercase()).filter(|mac| !mac.is_empty());
    let servers = told.dns.nameservers.iter().filter_map(|server| server.parse().ok()).collect();
    Ok((Given { interface: interface.to_owned(), addresses, gateway, servers }, mac))
}

/// What a plugin says when it fails.
#[derive(Debug, Deserialize)]
struct Failure {
    code: Option<u64>,
    msg: String,
    #[serde(default)]
    details: String,
}

/// Whether a plugin says that nothing can be done with its configuration. `same`: it says of taking back what it has
/// said of making.
pub(super) fn refuses(out: &[u8], same: bool) -> bool {
    match serde_json::from_slice(out) {
        // A version that it does not speak, a field it does not support, what cannot be read, and what makes no sense.
        Ok(Failure { code: Some(1 | 2 | 6 | 7), .. }) => true,
        // The usual plugins say this of everything.
        Ok(Failure { code: Some(999), .. }) => same,
        _ => false,
    }
}

/// The same in words, if it is that.
pub(super) fn failure(out: &[u8]) -> Option<String> {
    let failure: Failure = serde_json::from_slice(out).ok()?;
    let plain = |text: &str| {
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(1000).collect::<String>()
    };
    let code = failure.code.map(|code| format!("error {code}: ")).unwrap_or_default();
    let details =
        if failure.details.is_empty() { String::new() } else { format!(" ({})", plain(&failure.details)) };
    Some(format!("{code}{}{details}", plain(&failure.msg)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(result: Value) -> (Vec<String>, Option<String>, usize) {
        let (given, mac) = given(&result, "eth0").expect("a result");
        let gateway = given.gateway.map(|gateway| gateway.to_string());
        assert_eq!(mac.is_some(), result["interfaces"].is_array());
        (given.addresses.iter().map(ToString::to_string).collect(), gateway, given.servers.len())
    }

    #[test]
    fn results_of_all_versions() {
        let interfaces = json!([{"name": "cni0", "mac": "02:00:00:00:00:01"},
            {"name": "eth0", "mac": "02:00:00:00:00:0A", "sandbox": "/proc/1/fd/3"}]);
        let dns = json!({"nameservers": ["10.1.0.1", "no address"], "search": ["a.b"]});
        let newest = json!({"cniVersion": "1.0.0", "interfaces": interfaces, "dns": dns, "ips": [
            {"address": "10.1.0.1/16", "interface": 0},
            {"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 1}, {"address": "fd00::5/64"}],
            "routes": [{"dst": "0.0.0.0/0"}]});
        let both = vec!["10.1.0.5/16".to_owned(), "fd00::5/64".to_owned()];
        assert_eq!(told(newest), (both.clone(), Some("10.1.0.1".to_owned()), 1));
        let third = json!({"cniVersion": "0.3.1", "interfaces": interfaces, "ips": [
            {"version": "4", "address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 1},
            {"version": "6", "address": "fd00::5/64", "interface": 1}]});
        assert_eq!(told(third), (both.clone(), Some("10.1.0.1".to_owned()), 0));
        let first = json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.5/16", "gateway": "10.1.0.1",
            "routes": [{"dst": "0.0.0.0/0"}]}, "ip6": {"ip": "fd00::5/64"}, "dns": {}});
        assert_eq!(told(first), (both, Some("10.1.0.1".to_owned()), 0));
        assert_eq!(told(json!({})), (vec![], None, 0));
    }

    #[test]
    fn what_is_no_result() {
        for bad in [
            json!({"ips": [{"address": "10.1.0.300/16"}]}),
            json!({"ips": [{"address": "10.1.0.3/16", "interface": 0}]}),
            json!({"ips": [{"address": "10.1.0.3/16", "interface": -1}], "interfaces": [{"name": "eth0"}]}),
            json!({"ip4": {}}),
        ] {
            given(&bad, "eth0").expect_err(&bad.to_string());
        }
    }

    #[test]
    fn failures_in_words() {
        let full =
            failure(br#"{"cniVersion":"1.0.0","code":11,"msg":"no\u001b room","details":"10.0.0.0/30"}"#);
        assert_eq!(full.as_deref(), Some("error 11: no  room (10.0.0.0/30)"));
        assert_eq!(failure(br#"{"msg":"bad"}"#).as_deref(), Some("bad"));
        assert_eq!(failure(b"Segmentation fault"), None);
        assert!(
            refuses(br#"{"code":7,"msg":"bad"}"#, false) && refuses(br#"{"code":999,"msg":"bad"}"#, true)
        );
        assert!(
            !refuses(br#"{"code":999,"msg":"bad"}"#, false) && !refuses(br#"{"code":11,"msg":"full"}"#, true)
        );
        assert!(!refuses(br#"{"msg":"bad"}"#, true) && !refuses(b"Segmentation fault", true));
    }
}
