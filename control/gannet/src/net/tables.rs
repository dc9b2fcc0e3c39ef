//! `net top`, `net services`, `net maps`, `net progs`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Cluster, list, number, text};
use crate::cli::{NetLookArguments, NetTopArguments, Output};

/// A map counts as nearly full from here on.
const FULL_PERCENT: u64 = 90;
/// Between the two looks of `net top`.
const PERIOD: Duration = Duration::from_secs(2);

/// What is counted of a Service, or of one of its clients.
#[derive(Clone, Copy, Default)]
struct Counted {
    connections: u64,
    bytes_to: u64,
    bytes_from: u64,
}

impl Counted {
    fn add(&mut self, value: &Value) {
        self.connections += number(value, "connections");
        self.bytes_to += number(&value["traffic"], "bytesTo");
        self.bytes_from += number(&value["traffic"], "bytesFrom");
    }

    /// A second's worth.
    fn since(&self, before: &Counted) -> Counted {
        let rate = |now: u64, before: u64| now.saturating_sub(before) / PERIOD.as_secs();
        Counted {
            connections: rate(self.connections, before.connections),
            bytes_to: rate(self.bytes_to, before.bytes_to),
            bytes_from: rate(self.bytes_from, before.bytes_from),
        }
    }
}

/// Services, or their clients, by what happened in the last seconds, then ever.
pub async fn top(cluster: &Cluster, arguments: &NetTopArguments) -> anyhow::Result<bool> {
    let before = counted(cluster, arguments).await?;
    tokio::time::sleep(PERIOD).await;
    let now = counted(cluster, arguments).await?;
    let line = |(name, now): ([String; 2], Counted)| {
        let rate = now.since(before.get(&name).unwrap_or(&now));
        (rate, now, name)
    };
    let mut lines: Vec<(Counted, Counted, [String; 2])> = now.into_iter().map(line).collect();
    let weight = |(rate, now, _): &(Counted, Counted, [String; 2])| {
        std::cmp::Reverse((rate.connections, rate.bytes_to + rate.bytes_from, now.connections))
    };
    lines.sort_by_key(weight);
    if arguments.look.output == Output::Json {
        let line = |(rate, now, [client, service]): &(Counted, Counted, [String; 2])| {
            let mut line = json!({
                "service": service,
                "connectionsPerSecond": rate.connections,
                "connections": now.connections,
                "bytesToPerSecond": rate.bytes_to,
                "bytesTo": now.bytes_to,
                "bytesFromPerSecond": rate.bytes_from,
                "bytesFrom": now.bytes_from,
            });
            if arguments.clients {
                line["client"] = client.as_str().into();
            }
            line
        };
        println!("{}", json!(lines.iter().map(line).collect::<Vec<_>>()));
        return Ok(true);
    }
    let columns = ["NEW/S", "CONNECTIONS", "B/S TO", "B/S FROM"];
    print!("{:>10} {:>12} {:>12} {:>12}  ", columns[0], columns[1], columns[2], columns[3]);
    println!("{}", if arguments.clients { "CLIENT -> SERVICE" } else { "SERVICE" });
    for (rate, now, [client, service]) in lines {
        let arrow = if arguments.clients { " -> " } else { "" };
        println!(
            "{:>10} {:>12} {:>12} {:>12}  {client}{arrow}{service}",
            rate.connections, now.connections, rate.bytes_to, rate.bytes_from
        );
    }
    println!(
        "bytes are of packets that are translated one by one; TCP connections of pods are at connect(), and only counted"
    );
    Ok(true)
}

/// By client (empty without them) and Service.
async fn counted(cluster: &Cluster, arguments: &NetTopArguments) -> anyhow::Result<BTreeMap<[String; 2], Counted>> {
    let (path, key) = if arguments.clients { ("edges", "edges") } else { ("services", "services") };
    let mut sums: BTreeMap<[String; 2], Counted> = BTreeMap::new();
    for (node, answer) in cluster.ask_all(arguments.look.node.as_deref(), path).await? {
        for one in list(&answer, key) {
            let service = format!("{} {}", text(one, "protocol"), cluster.names.label(text(one, "frontend")));
            let client = match text(one, "client") {
                "node" => format!("node {node}"),
                "ended" => "pods that ended".to_owned(),
                other => cluster.names.label(other),
            };
            sums.entry([client, service]).or_default().add(one);
        }
    }
    Ok(sums)
}

pub async fn services(cluster: &Cluster, arguments: &NetLookArguments) -> anyhow::Result<bool> {
    let answers = cluster.ask_all(arguments.node.as_deref(), "services").await?;
    if arguments.output == Output::Json {
        return print_json(&answers);
    }
    for (node, answer) in &answers {
        println!("node {node}");
        for service in list(answer, "services") {
            let local = if service["local"] == true { " local" } else { "" };
            let affinity = match number(service, "affinitySeconds") {
                0 => String::new(),
                seconds => format!(" affinity {seconds}s"),
            };
            let spread = spread(service);
            println!(
                "  {} {} {}{local}{affinity}{spread}",
                text(service, "protocol"),
                cluster.names.label(text(service, "frontend")),
                text(service, "scope")
            );
            let backends = list(service, "backends");
            if backends.is_empty() {
                println!("      no ready backend: connections are refused");
            }
            for backend in backends {
                let address = match text(backend, "address") {
                    "" => "EMPTY SLOT (`gannet net verify --repair`)".to_owned(),
                    address => cluster.names.label(address),
                };
                let draining = if backend["draining"] == true { " draining" } else { "" };
                // Backends of equal weight have a slot each, others their share of a ring.
                let share = match number(backend, "slots") {
                    0 | 1 => String::new(),
                    slots => {
                        let all = number(service, "slots").max(1);
                        format!(" {slots} of {all} slots ({:.1} %)", slots as f64 * 100.0 / all as f64)
                    }
                };
                println!("      slot {} -> {address}{draining}{share}", number(backend, "slot"));
            }
        }
    }
    Ok(true)
}

/// The algorithm that is at work, and what keeps it from what was asked for.
fn spread(service: &Value) -> String {
    let (algorithm, slots) = (text(service, "algorithm"), number(service, "slots"));
    let is_ring = slots > list(service, "backends").len() as u64;
    let mut said = match (algorithm, is_ring) {
        ("" | "even", false) => String::new(),
        (other, false) => format!(" {other}"),
        (other, true) => format!(" {other}, ring of {slots}"),
    };
    if service["ringMissing"] == true {
        said.push_str(" NO ROOM FOR A RING: equal shares (a smaller gannet.io/maglev-size may fit; `gannet net maps`)");
    }
    if service["stale"] == true {
        said.push_str(" NO ROOM: as it was before the last change (`gannet net maps`)");
    }
    said
}

/// What a map that is nearly full means, and what helps.
fn when_full(map: &str) -> Option<&'static str> {
    Some(match map {
        "SERVICES" => "further frontends are left out: fewer Services, ports or addresses",
        "SLOTS" => "Services get no rings: smaller `gannet.io/maglev-size`, or fewer Services with it",
        "BACKENDS" => "further endpoints are left out: fewer endpoints",
        "FLOWS" => "new translated connections may be refused: start the node with a larger `--flows`",
        "ROUTES" => "further nodes are not reached: fewer pod ranges",
        "SOURCES" => "further source ranges stay shut: fewer loadBalancerSourceRanges",
        "IDENTITIES" | "RULES" | "SEATS" => "pods of further policies are cut off: fewer or simpler policies",
        "PODS" | "VETHS" => "further pods are not attached: fewer pods on the node",
        "EDGES" => "further clients are counted together, as `others`",
        _ => return None,
    })
}

pub async fn maps(cluster: &Cluster, arguments: &NetLookArguments) -> anyhow::Result<bool> {
    let answers = cluster.ask_all(arguments.node.as_deref(), "maps").await?;
    if arguments.output == Output::Json {
        return print_json(&answers);
    }
    println!("{:<16} {:<12} {:>9} {:>9} {:>12}", "NODE", "MAP", "ENTRIES", "LIMIT", "BYTES");
    for (node, answer) in &answers {
        for map in list(answer, "maps") {
            let entries = map["entries"].as_u64().map_or_else(|| "-".to_owned(), |entries| entries.to_string());
            let (name, limit, bytes) = (text(map, "name"), number(map, "limit"), number(map, "bytes"));
            println!("{node:<16} {name:<12} {entries:>9} {limit:>9} {bytes:>12}");
            let full = map["entries"].as_u64().is_some_and(|entries| entries * 100 >= limit * FULL_PERCENT);
            if let Some(advice) = when_full(name).filter(|_| full) {
                println!("{:<16} ^ nearly full: {advice}", "");
            }
        }
    }
    Ok(true)
}

pub async fn programs(cluster: &Cluster, arguments: &NetLookArguments) -> anyhow::Result<bool> {
    let answers = cluster.ask_all(arguments.node.as_deref(), "programs").await?;
    if arguments.output == Output::Json {
        return print_json(&answers);
    }
    println!(
        "{:<16} {:<26} {:<15} {:>6} {:>8} {:>12} {:>8}",
        "NODE", "LINK", "PROGRAM", "ID", "IFINDEX", "RUNS", "NS/RUN"
    );
    let mut measured = false;
    for (node, answer) in &answers {
        for program in list(answer, "programs") {
            let (runs, time) = (number(program, "runs"), number(program, "runNanoseconds"));
            measured |= runs > 0;
            let mean = time.checked_div(runs).map_or_else(|| "-".to_owned(), |mean| mean.to_string());
            let ifindex = program["ifindex"].as_u64().map_or_else(|| "cgroup".to_owned(), |index| index.to_string());
            let (link, name, id) = (text(program, "link"), text(program, "program"), number(program, "id"));
            println!("{node:<16} {link:<26} {name:<15} {id:>6} {ifindex:>8} {runs:>12} {mean:>8}");
        }
    }
    for (node, answer) in &answers {
        println!("{node}: load balancing from outside by {}", text(answer, "uplink"));
    }
    if !measured {
        println!("runs are counted while `sysctl kernel.bpf_stats_enabled=1` is set");
    }
    Ok(true)
}

fn print_json(answers: &[(String, Value)]) -> anyhow::Result<bool> {
    let nodes: serde_json::Map<String, Value> = answers.iter().cloned().collect();
    println!("{}", serde_json::to_string_pretty(&nodes)?);
    Ok(true)
}
