//! Addresses to names.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use api::Gvr;
use client::{Client, ListParams};
use serde_json::Value;

/// A pod as traffic sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    pub name: String,
    pub node: String,
    pub ip: Option<IpAddr>,
}

/// Who has which address, as the API said when asked.
#[derive(Default)]
pub struct Names {
    pods: Vec<Pod>,
    services: BTreeMap<IpAddr, String>,
    node_ports: BTreeMap<u64, String>,
    nodes: BTreeMap<String, Option<IpAddr>>,
}

impl Names {
    pub async fn read(client: &Client) -> anyhow::Result<Names> {
        let mut names = Names::default();
        for node in all(client, "nodes").await? {
            names.add_node(&node);
        }
        for pod in all(client, "pods").await? {
            names.add_pod(&pod);
        }
        for service in all(client, "services").await? {
            names.add_service(&service);
        }
        Ok(names)
    }

    fn add_node(&mut self, node: &Value) {
        let addresses = node["status"]["addresses"].as_array().into_iter().flatten();
        let mut internal = addresses.filter(|address| address["type"] == "InternalIP");
        let ip = internal.find_map(|address| address["address"].as_str()?.parse().ok());
        self.nodes.insert(node["metadata"]["name"].as_str().unwrap_or_default().to_owned(), ip);
    }

    fn add_pod(&mut self, pod: &Value) {
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        // A pod in the node's network has the node's address, and one that ended has none any more.
        let own = pod["spec"]["hostNetwork"] != true && phase != "Succeeded" && phase != "Failed";
        self.pods.push(Pod {
            name: name_of(pod),
            node: pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned(),
            ip: pod["status"]["podIP"].as_str().filter(|_| own).and_then(|ip| ip.parse().ok()),
        });
    }

    fn add_service(&mut self, service: &Value) {
        let name = name_of(service);
        let spec = &service["spec"];
        let one = spec["clusterIP"].as_str().into_iter();
        let lists = [&spec["clusterIPs"], &spec["externalIPs"]].into_iter().flat_map(|list| list.as_array());
        let addresses = one.chain(lists.flatten().filter_map(Value::as_str));
        self.services.extend(addresses.filter_map(|ip| Some((ip.parse().ok()?, name.clone()))));
        let ports = spec["ports"].as_array().into_iter().flatten();
        self.node_ports.extend(ports.filter_map(|port| Some((port["nodePort"].as_u64()?, name.clone()))));
    }

    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// The address of a node.
    pub fn node_ip(&self, name: &str) -> Option<IpAddr> {
        self.nodes.get(name).copied().flatten()
    }

    /// The node that has an address.
    pub fn node_at(&self, ip: IpAddr) -> Option<&str> {
        self.nodes.iter().find(|(_, address)| **address == Some(ip)).map(|(node, _)| node.as_str())
    }

    /// The pod `namespace/name`; without a namespace that of `default`.
    pub fn pod(&self, name: &str) -> Option<&Pod> {
        let full = full(name);
        self.pods.iter().find(|pod| pod.name == full)
    }

    /// The first address of the Service `namespace/name`, or `name`, or `name.namespace`.
    pub fn service(&self, name: &str) -> Option<IpAddr> {
        let mut labels = name.splitn(3, '.');
        let full = match (labels.next(), labels.next()) {
            (Some(first), Some(namespace)) if !name.contains('/') => format!("{namespace}/{first}"),
            _ => full(name),
        };
        self.services.iter().find(|(_, service)| **service == full).map(|(ip, _)| *ip)
    }

    /// Who has an address: `pod ns/name`, `service ns/name` or `node name`.
    pub fn of(&self, ip: IpAddr) -> Option<String> {
        if let Some(service) = self.services.get(&ip) {
            return Some(format!("service {service}"));
        }
        if let Some(pod) = self.pods.iter().find(|pod| pod.ip == Some(ip)) {
            return Some(format!("pod {}", pod.name));
        }
        self.nodes.iter().find(|(_, address)| **address == Some(ip)).map(|(node, _)| format!("node {node}"))
    }

    /// `10.96.0.20:80 (service default/hello)`, for an address with or without port; what is neither stays as it is.
    pub fn label(&self, address: &str) -> String {
        if let Some(port) = address.strip_prefix("*:") {
            let known = port.parse().ok().and_then(|port: u64| self.node_ports.get(&port));
            return known.map_or_else(|| address.to_owned(), |service| format!("{address} (service {service})"));
        }
        let socket = address.parse::<SocketAddr>().map(|socket| socket.ip());
        let Ok(ip) = socket.or_else(|_| address.parse()) else { return address.to_owned() };
        self.of(ip).map_or_else(|| address.to_owned(), |name| format!("{address} ({name})"))
    }
}

fn full(name: &str) -> String {
    if name.contains('/') { name.to_owned() } else { format!("default/{name}") }
}

fn name_of(object: &Value) -> String {
    let part = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
    format!("{}/{}", part("namespace"), part("name"))
}

async fn all(client: &Client, resource: &str) -> anyhow::Result<Vec<Value>> {
    let gvr = Gvr { group: String::new(), version: "v1".to_owned(), resource: resource.to_owned() };
    Ok(client.list_value(&gvr, "", &ListParams::all()).await?.items)
}

#[cfg(test)]
mod tests;
