//! What a Service costs its clients: connection set-up, new UDP flows and throughput through a ClusterIP against the
//! pod itself, with few and with many Services in the tables.
//!
//! One node and two pods, each a network namespace, with the data plane as a node daemon would set it up. The four
//! ways are measured in turn, round by round, so that they share whatever else the machine does.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;
use datapath::Planner;
use serde::Serialize;
use wire::fabric::{Delta, Endpoint, EndpointPort, Protocol, Service, ServicePort};

use crate::node::Node;
pub use calls::Cost;
pub use compare::Figure;
pub use program::{Programming, Roll};
use program::{ROLLS, changes, cold, commit, roll};
pub use rules::Rules;
pub use ways::{Row, Way};

mod calls;
mod client;
mod compare;
mod program;
mod rules;
mod server;
mod ways;

/// Services in the tables.
const SIZES: [u32; 3] = [10, 10_000, 100_000];
/// Services from this number on have one port only, so that all have room.
const LEAN: u32 = 10_000;
/// Services of two endpoints each whose first sync is timed.
const COLD: [u32; 3] = [10_000, 45_000, 100_000];

const PORT: u16 = 8080;
const SINK_PORT: u16 = 8081;

/// Everything that one run measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub kernel: String,
    pub cases: Vec<Case>,
    pub cold: Vec<Programming>,
    pub rolls: Vec<Roll>,
    pub rules: Vec<Rules>,
}

/// The figures of one number of Services.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    pub services: u32,
    /// From the fabric's state to full tables.
    pub load_ms: f64,
    /// From a changed endpoint to written tables: fold and plan, then write, medians; 99th percentile of both.
    pub change_plan_us: f64,
    pub change_write_us: f64,
    pub change_p99_us: f64,
    pub rows: Vec<Row>,
    pub calls: Vec<Cost>,
}

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    All,
    /// Connections, datagrams and streams, and the socket hooks by themselves.
    Connections,
    /// The socket hooks by themselves.
    Calls,
    /// What changes cost to plan and to write.
    Programming,
}

/// Sets the node up and measures.
pub fn run(part: Part) -> Result<Report> {
    let mut node = Node::new()?;
    let server = node.pod()?;
    let nowhere = node.nowhere()?;
    let served = server::Server::start(&server.netns, server.ip)?;
    let mut cases = Vec::new();
    let mut planner = Planner::new(node.local.clone(), node.datapath.observe()?);
    for services in SIZES {
        // Another for each size: flows of one client to one server share a space of ports.
        let client = node.pod()?;
        let full = Delta { full: true, services: fabric(services, server.ip), ..Delta::default() };
        let (planned, written) = commit(&node, &mut planner, full)?;
        let load_ms = (planned + written).as_secs_f64() * 1e3;
        let [change_plan_us, change_write_us, change_p99_us] = changes(&node, &mut planner)?;
        // The last Service was changed.
        let (mut rows, mut calls) = (Vec::new(), Vec::new());
        if part != Part::Programming {
            calls = calls::measure(&node, &nowhere, server.ip, services - 1)?;
        }
        if matches!(part, Part::All | Part::Connections) {
            rows = ways::measure(&node, &client.netns, (&served, server.ip), services - 1)?;
        }
        cases.push(Case { services, load_ms, change_plan_us, change_write_us, change_p99_us, rows, calls });
    }
    if matches!(part, Part::Connections | Part::Calls) {
        return Ok(Report { kernel: kernel()?, cases, cold: Vec::new(), rolls: Vec::new(), rules: Vec::new() });
    }
    let cold = COLD.into_iter().map(|services| cold(&node, &mut planner, services)).collect::<Result<_>>()?;
    let rolls = ROLLS.into_iter().map(|rings| roll(&node, &mut planner, rings)).collect::<Result<_>>()?;
    let rules = if part == Part::All { rules::run()? } else { Vec::new() };
    Ok(Report { kernel: kernel()?, cases, cold, rolls, rules })
}

fn kernel() -> Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned())
}

/// As a table.
pub fn table(report: &Report) -> String {
    let mut text = format!("kernel {}\n", report.kernel);
    for case in &report.cases {
        text += &format!(
            "\n{} Services: loaded in {:.0} ms; one endpoint change {:.0} us to plan, {:.0} us to write \
             ({:.0} us both, p99)\n",
            case.services, case.load_ms, case.change_plan_us, case.change_write_us, case.change_p99_us
        );
        if !case.calls.is_empty() {
            text += &calls::table(&case.calls);
        }
        if !case.rows.is_empty() {
            text += &ways::table(&case.rows);
        }
    }
    for cold in &report.cold {
        let Programming { entries, plan_ms, write_ms } = cold;
        text += &format!(
            "\nFirst sync of {entries} Services of two endpoints: {plan_ms:.0} ms to plan, {write_ms:.0} ms to write\n"
        );
    }
    for Roll { ports, ring, plan_ms, write_ms } in &report.rolls {
        let rings = if *ring == 0 { "without rings".to_owned() } else { format!("with rings of {ring} slots") };
        text += &format!(
            "\nRoll of a Service of {ports} ports {rings}: {plan_ms:.1} ms to plan, {write_ms:.1} ms to write\n"
        );
    }
    if !report.rules.is_empty() {
        text += &rules::table(&report.rules);
    }
    text
}

/// The Service under test and `count - 1` others that nobody calls.
fn fabric(count: u32, backend: IpAddr) -> Vec<Service> {
    (0..count).map(|number| service(number, &[backend])).collect()
}

/// Service `number`: port 80 to [`PORT`] and 81 to [`SINK_PORT`].
fn service(number: u32, backends: &[IpAddr]) -> Service {
    let ports =
        [("tcp", Protocol::Tcp, 80, PORT), ("udp", Protocol::Udp, 80, PORT), ("sink", Protocol::Tcp, 81, SINK_PORT)];
    let ports = if number < LEAN { &ports[..] } else { &ports[..1] };
    Service {
        namespace: "bench".into(),
        name: format!("s{number}"),
        cluster_ips: vec![vip(number)],
        ports: ports
            .iter()
            .map(|(name, protocol, port, _)| ServicePort {
                name: (*name).into(),
                protocol: (*protocol).into(),
                port: *port,
                node_port: 0,
            })
            .collect(),
        endpoints: backends
            .iter()
            .map(|ip| Endpoint {
                ip: ip.to_string(),
                ports: ports
                    .iter()
                    .map(|(name, protocol, _, port)| EndpointPort {
                        name: (*name).into(),
                        protocol: (*protocol).into(),
                        port: (*port).into(),
                    })
                    .collect(),
                ..Endpoint::default()
            })
            .collect(),
        ..Service::default()
    }
}

/// The ClusterIP of Service `number`.
fn vip(number: u32) -> String {
    let [_, high, middle, low] = (number + (97 << 16)).to_be_bytes();
    format!("10.{high}.{middle}.{low}")
}

/// A percentile in microseconds.
fn micros(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}
