//! `gannet net test`: Services called as users call them: by name from a pod on every node, by VIP and by NodePort from
//! here. Prints which pods answered.

mod from_here;
mod from_pods;

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context as _, bail};
use api::Gvr;
use client::{Client, ListParams};
use serde_json::Value;

use crate::cli::NetTestArguments;
use crate::site::command_runtime;

/// A Service as callers see it.
struct Target {
    namespace: String,
    name: String,
    vip: Option<IpAddr>,
    port: u16,
    node_port: Option<u16>,
}

struct Node {
    name: String,
    address: IpAddr,
}

/// Answers to one kind of call: how often each said what, and what went wrong.
#[derive(Default)]
pub struct Answers {
    counts: BTreeMap<String, usize>,
    faults: BTreeMap<String, usize>,
}

impl Answers {
    /// Counts an answer's first line, or a fault.
    pub fn add(&mut self, answer: Result<&str, String>) {
        match answer {
            Ok(line) => *self.counts.entry(who(line)).or_default() += 1,
            Err(fault) => *self.faults.entry(fault).or_default() += 1,
        }
    }

    fn report(&self, what: &str) -> bool {
        let good: usize = self.counts.values().sum();
        let bad: usize = self.faults.values().sum();
        let answered: Vec<String> = self.counts.iter().map(|(who, count)| format!("{who} {count}")).collect();
        println!("{what}: {good} of {} answered: {}", good + bad, answered.join(", "));
        for (fault, count) in &self.faults {
            println!("    {count} failed: {fault}");
        }
        bad == 0 && good > 0
    }
}

/// `pod=hello-x node=dev-1 ...` as `hello-x@dev-1`; other servers by their first line.
fn who(line: &str) -> String {
    let field = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name));
    match (field("pod="), field("node=")) {
        (Some(pod), Some(node)) => format!("{pod}@{node}"),
        _ => line.chars().take(40).collect(),
    }
}

pub fn run(arguments: &NetTestArguments) -> anyhow::Result<()> {
    let site = arguments.site.site()?;
    let client = site.client()?;
    command_runtime()?.block_on(async {
        let nodes = nodes(&client).await?;
        let mut all_good = true;
        for service in &arguments.services {
            let target = target(&client, service).await?;
            all_good &= test(&client, &target, &nodes, arguments).await?;
        }
        if !all_good {
            bail!(
                "calls failed; `gannet status` and the Service's endpoints (`kubectl get endpointslices`) may say why"
            );
        }
        Ok(())
    })
}

async fn test(client: &Client, target: &Target, nodes: &[Node], arguments: &NetTestArguments) -> anyhow::Result<bool> {
    let Target { namespace, name, vip, port, node_port } = target;
    let mut good = true;
    for (node, answers) in from_pods::call(client, target, nodes, arguments).await? {
        good &= answers.report(&format!("http://{name}.{namespace}:{port} from a pod on {node}"));
    }
    if let Some(vip) = vip {
        let answers = from_here::call((*vip, *port), arguments.calls).await;
        good &= answers.report(&format!("http://{vip}:{port} from the host"));
    }
    if let Some(node_port) = node_port {
        for node in nodes {
            let answers = from_here::call((node.address, *node_port), arguments.calls).await;
            good &= answers
                .report(&format!("http://{}:{node_port} from the host, NodePort on {}", node.address, node.name));
        }
    }
    Ok(good)
}

async fn target(client: &Client, service: &str) -> anyhow::Result<Target> {
    let (namespace, name) = service.split_once('/').unwrap_or(("default", service));
    let object = client
        .get_value(&core("services"), namespace, name)
        .await
        .with_context(|| format!("service {namespace}/{name}"))?;
    let is_tcp = |port: &&Value| port["protocol"].as_str().unwrap_or("TCP") == "TCP";
    let port = object["spec"]["ports"].as_array().into_iter().flatten().find(is_tcp);
    let port = port.with_context(|| format!("service {namespace}/{name} has no TCP port"))?;
    let number = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
    Ok(Target {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        vip: object["spec"]["clusterIP"].as_str().and_then(|address| address.parse().ok()),
        port: number(&port["port"]).context("a port beyond 65535")?,
        node_port: number(&port["nodePort"]).filter(|port| *port > 0),
    })
}

async fn nodes(client: &Client) -> anyhow::Result<Vec<Node>> {
    let listed = client.list_value(&core("nodes"), "", &ListParams::all()).await?;
    let nodes = listed.items.iter().filter_map(|node| {
        let addresses = node["status"]["addresses"].as_array()?;
        let internal = addresses.iter().find(|address| address["type"] == "InternalIP")?;
        Some(Node {
            name: node["metadata"]["name"].as_str()?.to_owned(),
            address: internal["address"].as_str()?.parse().ok()?,
        })
    });
    Ok(nodes.collect())
}

fn core(resource: &str) -> Gvr {
    Gvr { group: String::new(), version: "v1".to_owned(), resource: resource.to_owned() }
}
