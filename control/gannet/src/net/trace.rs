//! `net trace`.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, bail};
use http::Method;
use serde_json::Value;

use super::names::{Names, Pod};
use super::{Cluster, list, text};
use crate::cli::{NetTraceArguments, Output};

/// Follows the first packet of a pod; well if it arrives somewhere.
pub async fn run(cluster: &Cluster, arguments: &NetTraceArguments) -> anyhow::Result<bool> {
    let words: Vec<&str> =
        arguments.words.iter().map(String::as_str).filter(|word| !matches!(*word, "->" | "to")).collect();
    let mut words = words.into_iter();
    let from = arguments.from.as_deref().or_else(|| words.next());
    let from = from.context("say which pod sends: `gannet net trace NAMESPACE/POD SERVICE:PORT`")?;
    let to = arguments.to.as_deref().or_else(|| words.next());
    let to = to.context("say where to: `gannet net trace NAMESPACE/POD SERVICE:PORT`")?;
    let names = &cluster.names;
    let pod = names.pod(from).with_context(|| format!("there is no pod {from}; `kubectl get pods -A` names them"))?;
    let ip = pod.ip.with_context(|| {
        format!("pod {} has no address of its own: it does not run, or uses its node's network", pod.name)
    })?;
    let to = target(names, to)?;
    let protocol = arguments.proto.to_lowercase();
    let path = format!("trace?from={ip}&to={to}&protocol={protocol}");
    let mut answer = cluster.ask(&pod.node, Method::GET, &path).await?;
    if let Some((node, path)) = arrival(names, pod, ip, &protocol, &answer) {
        answer["arrival"] = cluster.ask(&node, Method::GET, &path).await?;
        answer["arrival"]["at"] = node.into();
    }
    if arguments.output == Output::Json {
        println!("{answer}");
    } else {
        print(names, pod, to, &answer);
    }
    let lost = |answer: &Value| matches!(text(answer, "verdict"), "drop" | "none");
    Ok(!lost(&answer) && !lost(&answer["arrival"]))
}

/// Whom to ask what becomes of a packet that went to another node, and how.
fn arrival(names: &Names, pod: &Pod, from: IpAddr, protocol: &str, answer: &Value) -> Option<(String, String)> {
    if text(answer, "verdict") != "node" {
        return None;
    }
    let node = names.node_at(text(answer, "node").parse().ok()?)?;
    let by = names.node_ip(&pod.node)?;
    let last = list(answer, "steps").last()?;
    let to = last["backend"].as_str().unwrap_or_else(|| text(last, "to"));
    let way = if answer["native"] == true { "&way=uplink" } else { "" };
    Some((node.to_owned(), format!("trace?from={from}&to={to}&protocol={protocol}&by={by}{way}")))
}

/// `ADDRESS:PORT`, or a Service or pod by name and a port.
fn target(names: &Names, text: &str) -> anyhow::Result<SocketAddr> {
    if let Ok(socket) = text.parse() {
        return Ok(socket);
    }
    let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let Some((host, port)) = parts else { bail!("{text:?} is no SERVICE:PORT, POD:PORT or ADDRESS:PORT") };
    let known = host.parse::<IpAddr>().ok().or_else(|| names.service(host));
    let ip = known
        .or_else(|| names.pod(host).and_then(|pod| pod.ip))
        .with_context(|| format!("no Service or running pod is called {host}; `kubectl get services -A` names them"))?;
    Ok(SocketAddr::new(ip, port))
}

fn print(names: &Names, pod: &Pod, to: SocketAddr, answer: &Value) {
    println!("pod {} on node {} -> {}", pod.name, pod.node, names.label(&to.to_string()));
    println!("(the node's packet code over a copy of its live tables; nothing was sent or written)");
    print_end(names, answer);
    if answer["arrival"].is_object() {
        println!("on node {}", text(&answer["arrival"], "at"));
        print_end(names, &answer["arrival"]);
    }
}

/// What the hooks of one node do, and where it ends.
fn print_end(names: &Names, answer: &Value) {
    for (number, step) in (1..).zip(list(answer, "steps")) {
        println!("{number:>3}. {}", step_line(names, step));
    }
    let receiver = names.label(text(answer, "receiver"));
    match text(answer, "verdict") {
        "stack" => println!("  => to the node's own stack, for {receiver}"),
        "pod" => println!("  => into {receiver} on this node, by interface {}", answer["ifindex"]),
        "uplink" => {
            println!("  => out of the node for {receiver}, by the kernel's route on interface {}", answer["ifindex"])
        }
        "node" if answer["native"] == true => {
            println!("  => by the uplink, without a tunnel, to {}, for {receiver}", names.label(text(answer, "node")))
        }
        "node" => println!("  => over the overlay to {}, for {receiver}", names.label(text(answer, "node"))),
        "drop" => {
            let policy =
                answer["policyOf"].as_str().map(|pod| format!(" {} {}", text(answer, "way"), names.label(pod)));
            println!(
                "  => DROPPED: {}{}\n     {}",
                text(answer, "reason"),
                policy.unwrap_or_default(),
                text(answer, "advice")
            );
        }
        _ => println!("  => {}", text(answer, "advice")),
    }
}

fn step_line(names: &Names, step: &Value) -> String {
    let to = names.label(text(step, "to"));
    let mut line = match (text(step, "hook"), text(step, "does")) {
        (hook, "forwards") => format!("{hook}: forwarded to {to} as it is"),
        (hook, "translates") => {
            let service = if step["service"].is_string() { names.label(text(step, "service")) } else { to };
            format!("{hook}: {service} becomes backend {}", names.label(text(step, "backend")))
        }
        (hook, "refuses") => {
            format!("{hook}: {} has no backend, the call is refused", names.label(text(step, "service")))
        }
        (hook, _) => format!("{hook}: the socket call keeps its address"),
    };
    if let Some(source) = step["sourceBecomes"].as_str() {
        line.push_str(&format!("; the source becomes {source}"));
    }
    line
}
