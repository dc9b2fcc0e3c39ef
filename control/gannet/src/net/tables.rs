//! `net top`, `net services`, `net maps`, `net progs`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Cluster, list, number, text};
use crate::cli::{NetLookArguments, Output};

/// Between the two looks of `net top`.
const PERIOD: Duration = Duration::from_secs(2);

/// Services by the connections that were opened to them: in the last seconds, then ever.
pub async fn top(cluster: &Cluster, arguments: &NetLookArguments) -> anyhow::Result<bool> {
    let before = connections(cluster, arguments).await?;
    tokio::time::sleep(PERIOD).await;
    let mut lines: Vec<(u64, u64, String)> = connections(cluster, arguments)
        .await?
        .into_iter()
        .map(|(name, now)| {
            let new = now.saturating_sub(before.get(&name).copied().unwrap_or(now));
            (new / PERIOD.as_secs(), now, name)
        })
        .collect();
    lines.sort_by(|a, b| b.cmp(a));
    if arguments.output == Output::Json {
        let line = |(rate, total, name): &(u64, u64, String)| json!({"service": name, "connectionsPerSecond": rate, "connections": total});
        println!("{}", json!(lines.iter().map(line).collect::<Vec<_>>()));
        return Ok(true);
    }
    println!("{:>10} {:>12}  SERVICE", "NEW/S", "CONNECTIONS");
    for (rate, total, name) in lines {
        println!("{rate:>10} {total:>12}  {name}");
    }
    Ok(true)
}

async fn connections(cluster: &Cluster, arguments: &NetLookArguments) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut sums = BTreeMap::new();
    for (_, answer) in cluster.ask_all(arguments.node.as_deref(), "services").await? {
        for service in list(&answer, "services") {
            let name = format!("{} {}", text(service, "protocol"), cluster.names.label(text(service, "frontend")));
            // Frontends of one port share its number and its count.
            let sum: &mut u64 = sums.entry(name).or_default();
            *sum += number(service, "connections");
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
            let algorithm = match text(service, "algorithm") {
                "" | "even" => String::new(),
                other => format!(" {other}"),
            };
            println!(
                "  {} {} {}{local}{affinity}{algorithm}",
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
                    slots => format!(" {slots} of {} slots", number(service, "slots")),
                };
                println!("      slot {} -> {address}{draining}{share}", number(backend, "slot"));
            }
        }
    }
    Ok(true)
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
