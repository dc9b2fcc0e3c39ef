//! What goes to stdout (CNI specification, section 5; section 3 of 0.4.0 for the older shape). Pure.

use serde_json::{Value, json};
use wire::agent::AttachReply;

/// Versions of the specification that the plugin speaks.
pub(crate) const VERSIONS: [&str; 3] = ["0.3.1", "0.4.0", "1.0.0"];

/// The answer to VERSION, in the version that the caller speaks.
pub(crate) fn versions(input: &str) -> Value {
    let asked = serde_json::from_str::<Value>(input).ok();
    let version = asked.as_ref().and_then(|value| value["cniVersion"].as_str());
    let version = version.filter(|version| VERSIONS.contains(version)).unwrap_or("1.0.0");
    json!({"cniVersion": version, "supportedVersions": VERSIONS})
}

/// The answer to a successful ADD.
pub(crate) fn success(version: &str, ifname: &str, netns: &str, reply: &AttachReply) -> Value {
    let is_v6 = |address: &str| address.contains(':');
    let ips: Vec<Value> = reply
        .addresses
        .iter()
        .map(|address| {
            let mut ip = json!({"address": address, "interface": 1});
            if let Some(gateway) = reply.gateways.iter().find(|gateway| is_v6(gateway) == is_v6(address)) {
                ip["gateway"] = json!(gateway);
            }
            if version != "1.0.0" {
                ip["version"] = json!(if is_v6(address) { "6" } else { "4" });
            }
            ip
        })
        .collect();
    let routes: Vec<Value> = reply
        .addresses
        .iter()
        .map(|address| json!({"dst": if is_v6(address) { "::/0" } else { "0.0.0.0/0" }}))
        .collect();
    json!({
        "cniVersion": version,
        "interfaces": [
            {"name": reply.host_ifname},
            {"name": ifname, "mac": reply.mac, "sandbox": netns},
        ],
        "ips": ips,
        "routes": routes,
        "dns": {},
    })
}

/// The answer to ADD of the loopback interface.
pub(crate) fn loopback(input: &str, netns: &str) -> Value {
    let version = versions(input)["cniVersion"].clone();
    let mut ip = json!({"address": "127.0.0.1/8", "interface": 0});
    if version != "1.0.0" {
        ip["version"] = json!("4");
    }
    json!({
        "cniVersion": version,
        "interfaces": [{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": netns}],
        "ips": [ip],
        "dns": {},
    })
}

/// The answer to anything that failed.
pub(crate) fn failure(code: u32, message: &str) -> Value {
    json!({"cniVersion": "1.0.0", "code": code, "msg": message})
}
