//! `gannet status`: one look at control plane, nodes, fabric and workloads; with `--wait` until all of it is ready.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use api::Gvr;
use client::{Client, ListParams};
use serde::Serialize;
use serde_json::Value;

use crate::cli::{Output, StatusArguments};
use crate::site::{Site, command_runtime};

/// How often `--wait` looks.
const POLL: Duration = Duration::from_millis(500);
/// How long one look may take.
const LOOK: Duration = Duration::from_secs(10);

/// What a look found.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Report {
    ready: bool,
    server: String,
    nodes: Vec<NodeLine>,
    workloads: Vec<WorkloadLine>,
    /// The revision that the fabric was last compiled from.
    #[serde(skip_serializing_if = "Option::is_none")]
    fabric_epoch: Option<u64>,
    /// What is not ready, and why.
    missing: Vec<String>,
    /// Network policies of the cluster that do not have the effect that their authors wanted.
    warnings: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeLine {
    name: String,
    ready: bool,
    address: String,
    pod_cidr: String,
    version: String,
    /// What the node says of its network.
    network: String,
    /// The last epoch the node's kernel holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkloadLine {
    kind: &'static str,
    namespace: String,
    name: String,
    available: u64,
    desired: u64,
}

pub fn run(arguments: &StatusArguments) -> anyhow::Result<ExitCode> {
    let site = arguments.site.site()?;
    let report = command_runtime()?.block_on(look_until(&site, arguments))?;
    match arguments.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Output::Text => print(&report),
    }
    if arguments.wait && !report.ready {
        bail!("not ready after {} s: {}", arguments.timeout.as_secs(), report.missing.join("; "));
    }
    Ok(if report.ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn look_until(site: &Site, arguments: &StatusArguments) -> anyhow::Result<Report> {
    let deadline = process::instant() + arguments.timeout;
    let mut told = String::new();
    loop {
        let looked = tokio::time::timeout(LOOK, look(site)).await;
        let report = looked.unwrap_or_else(|_| Report {
            missing: vec![format!("the API gave no answer in {} s", LOOK.as_secs())],
            ..Report::default()
        });
        if report.ready || !arguments.wait || process::instant() >= deadline {
            return Ok(report);
        }
        let waiting = report.missing.join("; ");
        if waiting != told && arguments.output == Output::Text {
            println!("  waiting: {waiting}");
            told = waiting;
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn look(site: &Site) -> Report {
    let mut report = Report::default();
    match look_inside(site, &mut report).await {
        Ok(()) => report.ready = report.missing.is_empty(),
        Err(error) => report.missing.push(format!("control plane: {error:#}")),
    }
    report
}

async fn look_inside(site: &Site, report: &mut Report) -> anyhow::Result<()> {
    report.server = client::Kubeconfig::read(&site.kubeconfig)
        .map_err(|error| anyhow::anyhow!("{error}; it is still starting, or `gannet up` never ran"))?
        .server;
    let client = site.client()?;
    client.get_bytes("/readyz").await?;
    let fabric: Option<Value> =
        client.get_bytes(plane::STATUS_PATH).await.ok().and_then(|body| serde_json::from_slice(&body).ok());
    let ledger = fabric.as_ref().map(|status| &status["fabric"]);
    report.fabric_epoch = ledger.and_then(|ledger| ledger["epoch"].as_u64());
    let warnings = ledger.and_then(|ledger| ledger["warnings"].as_array()).into_iter().flatten();
    report.warnings = warnings.filter_map(|line| line.as_str().map(str::to_owned)).collect();
    let nodes = list(&client, "", "v1", "nodes").await?;
    for node in &nodes {
        let line = node_line(node, ledger);
        if !line.ready {
            report.missing.push(format!("node {}: {}", line.name, why_not_ready(node)));
        } else if line.epoch.is_none() && ledger.is_some() {
            report.missing.push(format!("node {}: its data plane holds no epoch of the fabric yet", line.name));
        }
        report.nodes.push(line);
    }
    if nodes.len() < site.expected_nodes {
        report.missing.push(format!("{} of {} nodes registered", nodes.len(), site.expected_nodes));
    }
    for deployment in &list(&client, "apps", "v1", "deployments").await? {
        let line = workload_line(deployment);
        let observed = deployment["status"]["observedGeneration"] == deployment["metadata"]["generation"];
        if line.available < line.desired || !observed {
            report.missing.push(format!(
                "deployment {}/{}: {} of {} available",
                line.namespace, line.name, line.available, line.desired
            ));
        }
        report.workloads.push(line);
    }
    Ok(())
}

async fn list(client: &Client, group: &str, version: &str, resource: &str) -> anyhow::Result<Vec<Value>> {
    let gvr = Gvr { group: group.to_owned(), version: version.to_owned(), resource: resource.to_owned() };
    Ok(client.list_value(&gvr, "", &ListParams::all()).await?.items)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn condition<'a>(node: &'a Value, kind: &str) -> Option<&'a Value> {
    node["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

fn node_line(node: &Value, ledger: Option<&Value>) -> NodeLine {
    let name = text(&node["metadata"]["name"]);
    let addresses = node["status"]["addresses"].as_array();
    let internal = addresses.into_iter().flatten().find(|address| address["type"] == "InternalIP");
    let known = ledger.and_then(|ledger| ledger["nodes"].as_array());
    let held = known.into_iter().flatten().find(|held| held["name"] == name.as_str());
    NodeLine {
        ready: condition(node, "Ready").is_some_and(|ready| ready["status"] == "True"),
        address: internal.map(|address| text(&address["address"])).unwrap_or_default(),
        pod_cidr: text(&node["spec"]["podCIDR"]),
        network: condition(node, "NetworkUnavailable").map(|found| text(&found["message"])).unwrap_or_default(),
        version: text(&node["status"]["nodeInfo"]["kubeletVersion"]),
        epoch: held.and_then(|held| held["epoch"].as_u64()),
        name,
    }
}

fn why_not_ready(node: &Value) -> String {
    match condition(node, "Ready") {
        Some(found) => text(&found["message"]),
        None => "it has not reported yet".to_owned(),
    }
}

fn workload_line(deployment: &Value) -> WorkloadLine {
    WorkloadLine {
        kind: "Deployment",
        namespace: text(&deployment["metadata"]["namespace"]),
        name: text(&deployment["metadata"]["name"]),
        available: deployment["status"]["availableReplicas"].as_u64().unwrap_or(0),
        desired: deployment["spec"]["replicas"].as_u64().unwrap_or(1),
    }
}

fn print(report: &Report) {
    let epoch = report.fabric_epoch.map(|epoch| format!(", fabric epoch {epoch}")).unwrap_or_default();
    println!("control plane  {}{epoch}", report.server);
    for node in &report.nodes {
        let state = if node.ready { "ready" } else { "not ready" };
        let lag = match (node.epoch, report.fabric_epoch) {
            (Some(held), Some(compiled)) => format!("epoch {held}, lag {}", compiled.saturating_sub(held)),
            _ => "no epoch".to_owned(),
        };
        println!("node           {}  {state}  {}  {}  {}  {lag}", node.name, node.address, node.pod_cidr, node.version);
        if let Some((_, uplink)) = node.network.split_once("uplink: ") {
            println!("               from outside by {uplink}");
        }
    }
    for workload in &report.workloads {
        println!(
            "{}     {}/{}  {} of {} available",
            workload.kind.to_lowercase(),
            workload.namespace,
            workload.name,
            workload.available,
            workload.desired
        );
    }
    for warning in &report.warnings {
        println!("policy         {warning}");
    }
    for missing in &report.missing {
        println!("not ready      {missing}");
    }
    if report.ready {
        println!("ready");
    }
}
