//! `net flows` and `net drops`.

use http::Method;
use serde_json::Value;

use super::{Cluster, Names, list, number, text};
use crate::cli::{NetEventArguments, Output};

/// Prints events of one kind; with `--follow` until interrupted.
pub async fn run(cluster: &Cluster, kind: &str, arguments: &NetEventArguments) -> anyhow::Result<bool> {
    let nodes = cluster.nodes(arguments.node.as_deref())?;
    if !arguments.follow {
        let mut events = Vec::new();
        for (node, answer) in cluster.ask_all(arguments.node.as_deref(), "events").await? {
            events.extend(list(&answer, "events").iter().map(|event| (node.clone(), event.clone())));
        }
        events.sort_by(|(_, a), (_, b)| text(a, "time").cmp(text(b, "time")));
        for (node, event) in &events {
            show(&cluster.names, node, event, kind, arguments);
        }
        return Ok(true);
    }
    let followed = nodes.iter().map(|node| follow(cluster, node, kind, arguments));
    futures::future::try_join_all(followed).await?;
    Ok(true)
}

async fn follow(cluster: &Cluster, node: &str, kind: &str, arguments: &NetEventArguments) -> anyhow::Result<()> {
    let mut after = 0;
    let mut names = None;
    loop {
        let path = format!("events?after={after}&wait=true");
        let answer = cluster.ask(node, Method::GET, &path).await?;
        after = number(&answer, "last");
        let events = list(&answer, "events");
        if !events.is_empty() {
            // Pods come and go while one watches.
            names = Names::read(&cluster.client).await.ok().or(names);
        }
        for event in events {
            show(names.as_ref().unwrap_or(&cluster.names), node, event, kind, arguments);
        }
    }
}

fn show(names: &Names, node: &str, event: &Value, kind: &str, arguments: &NetEventArguments) {
    if text(event, "kind") != kind || !matches(names, event, arguments) {
        return;
    }
    match arguments.output {
        Output::Json => {
            let mut event = event.clone();
            event["node"] = node.into();
            for end in ["from", "to", "backend"] {
                let label = names.label(text(&event, end));
                event[format!("{end}Name")] = label.into();
            }
            println!("{event}");
        }
        Output::Text => println!("{}", line(names, node, event)),
    }
}

fn line(names: &Names, node: &str, event: &Value) -> String {
    let from = match text(event, "from") {
        "" => "?".to_owned(),
        address => names.label(address),
    };
    let mut line = format!("{} {node} ", text(event, "time"));
    if text(event, "kind") == "drop" {
        line.push_str(&format!("DROP {} ", text(event, "reason")));
    }
    line.push_str(&format!("{} {from} -> {}", text(event, "protocol"), names.label(text(event, "to"))));
    if let Some(backend) = event["backend"].as_str() {
        line.push_str(&format!(" => {}", names.label(backend)));
    }
    line.push_str(&format!(" at {}", text(event, "hook")));
    if let Some(advice) = event["advice"].as_str() {
        line.push_str(&format!("\n    {advice}"));
    }
    line
}

/// Whether an event concerns the pod and the Service that are asked for.
fn matches(names: &Names, event: &Value, arguments: &NetEventArguments) -> bool {
    let has = |what: &str, wanted: &Option<String>| {
        let Some(wanted) = wanted else { return true };
        let wanted = if wanted.contains('/') { wanted.clone() } else { format!("default/{wanted}") };
        let suffix = format!("({what} {wanted})");
        ["from", "to", "backend"].iter().any(|end| names.label(text(event, end)).ends_with(&suffix))
    };
    has("pod", &arguments.pod) && has("service", &arguments.service)
}
