//! Values of `fieldRef` paths.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Pod;

use super::Downward;
use crate::spec::{spec, text};

/// The value at `path`, such as `metadata.name` or `metadata.labels['app']`; `None` if the path means nothing.
pub fn field(pod: &Pod, path: &str, downward: &Downward) -> Option<String> {
    let meta = &pod.metadata;
    if let Some((list, key)) = subscript(path) {
        let map = match list {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return None,
        };
        return Some(map.as_ref().and_then(|m| m.get(key)).cloned().unwrap_or_default());
    }
    Some(match path {
        "metadata.name" => text(&meta.name).to_owned(),
        "metadata.namespace" => text(&meta.namespace).to_owned(),
        "metadata.uid" => text(&meta.uid).to_owned(),
        "metadata.labels" => lines(&meta.labels),
        "metadata.annotations" => lines(&meta.annotations),
        "spec.nodeName" => text(&spec(pod).node_name).to_owned(),
        "spec.serviceAccountName" => text(&spec(pod).service_account_name).to_owned(),
        "status.hostIP" => first(&downward.host_ips),
        "status.hostIPs" => all(&downward.host_ips),
        "status.podIP" => first(&downward.pod_ips),
        "status.podIPs" => all(&downward.pod_ips),
        _ => return None,
    })
}

fn subscript(path: &str) -> Option<(&str, &str)> {
    let (list, rest) = path.split_once('[')?;
    let key = rest.strip_suffix(']')?;
    let unquoted = key.strip_prefix('\'').and_then(|k| k.strip_suffix('\''));
    Some((list, unquoted.or_else(|| key.strip_prefix('"')?.strip_suffix('"'))?))
}

fn lines(map: &Option<BTreeMap<String, String>>) -> String {
    let line = |(key, value): (&String, &String)| format!("{key}={value:?}");
    map.iter().flatten().map(line).collect::<Vec<_>>().join("\n")
}

fn first(ips: &[IpAddr]) -> String {
    ips.first().map(ToString::to_string).unwrap_or_default()
}

fn all(ips: &[IpAddr]) -> String {
    ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
