//! `/net/trace?from=ADDRESS&to=ADDRESS:PORT&protocol=tcp`: what would happen to the first packet that a pod of this node sends. With
//! `&by=ADDRESS` it comes from a pod of the node that has this address, over the overlay, or with `&way=uplink` as nodes that need no tunnel send it.
//!
//! The same packet code that the programs are made of runs here, over a copy of the live tables read back from the kernel: nothing is
//! written, nothing is sent. (A test run of the loaded programs would leave flow records that look like traffic.)

use std::net::{IpAddr, SocketAddr};

use abi::{Addr, Be16, Counter, IPPROTO_TCP, IPPROTO_UDP};
use packet::host::{Frame, Memory, Spec};
use packet::socket::{self as call, Call, Choice, Given, Known};
use packet::{Scratch, Verdict, pipeline};
use serde_json::{Value, json};

use super::{protocol, reasons, socket};
use crate::network::Network;
use crate::serve::Query;

/// Source port of the packet: one that systems hand out.
const SOURCE_PORT: u16 = 50_000;
const SYN: u8 = 2;

/// A packet to be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    from: IpAddr,
    to: SocketAddr,
    proto: u8,
    /// The node that the packet comes from; `None`: a pod of this node sends it.
    by: Option<IpAddr>,
    /// It comes without a tunnel.
    native: bool,
}

impl Question {
    pub(super) fn parse(query: &Query) -> Result<Question, String> {
        let get = |name: &str| query.get(name).ok_or_else(|| format!("the query needs {name}"));
        let (from, to) = (get("from")?, get("to")?);
        let proto = match query.get("protocol").unwrap_or("tcp") {
            "tcp" => IPPROTO_TCP,
            "udp" => IPPROTO_UDP,
            other => return Err(format!("protocol is tcp or udp, not {other:?}")),
        };
        let by = query.get("by").map(|by| by.parse().map_err(|_| format!("by is an address, not {by:?}")));
        Ok(Question {
            by: by.transpose()?,
            native: query.get("way") == Some("uplink"),
            from: from.parse().map_err(|_| format!("from is an address, not {from:?}"))?,
            to: to.parse().map_err(|_| format!("to is ADDRESS:PORT, not {to:?}"))?,
            proto,
        })
    }
}

pub(super) fn answer(network: &Network, question: &Question) -> Result<Value, kernel::bpf::Error> {
    let tables = network.seen().tables()?;
    tables.now_s.set(kernel::bpf::now_s());
    Ok(match question.by {
        Some(by) => arrive(&tables, question, by),
        None => trace(&tables, question),
    })
}

/// What happens to the packet where it comes in from another node.
fn arrive(tables: &Memory, question: &Question, by: IpAddr) -> Value {
    let vni = tables.config.unwrap_or_default().vni;
    let spec = Spec {
        tcp_flags: SYN,
        ..Spec::new(question.from, question.to.ip(), question.proto, SOURCE_PORT, question.to.port())
    };
    let (mut frame, mut scratch) = (Frame(spec.build()), Scratch::default());
    let (hook, verdict) = if question.native {
        ("from_uplink", pipeline::from_uplink(&mut frame, tables, &mut scratch))
    } else {
        let node = datapath::addr(by);
        ("from_overlay", pipeline::from_overlay(&mut frame, tables, &mut scratch, &node, vni))
    };
    let mut answer = end(tables, &verdict, &scratch);
    let step = json!({"hook": hook, "does": "forwards", "to": question.to.to_string()});
    answer["steps"] = json!([step]);
    answer
}

/// The steps, each with what decides and what it decides.
fn trace(tables: &Memory, question: &Question) -> Value {
    let mut steps = Vec::new();
    let source = datapath::addr(question.from);
    let Some(pod) = tables.pods.get(&source) else {
        return refused(
            "no pod of this node has the sender's address; is the pod running (`kubectl get pods -o wide`)?",
        );
    };
    let mut target = question.to;
    if target.is_ipv4() != question.from.is_ipv4() {
        return refused("sender and receiver are of different address families, and nothing translates between them");
    }
    // A pod's namespace is any other than the node's.
    let caller = Given { netns: !tables.config.unwrap_or_default().node_cookie, random: process::seed() as u32 };
    let (addr, port) = (datapath::addr(target.ip()), Be16::new(target.port()));
    let asked = Call { addr, port, proto: question.proto };
    let choice = match question.proto {
        IPPROTO_TCP => call::connect(tables, &caller, &asked),
        _ => call::send(tables, &caller, &asked, Known::default),
    };
    let hook = if question.proto == IPPROTO_TCP { "connect" } else { "sendmsg" };
    match choice {
        Choice::Keep => steps.push(json!({"hook": hook, "does": "keeps", "to": target.to_string()})),
        Choice::Refuse => {
            let mut answer = dropped(Counter::SocketNoBackend as u32);
            steps.push(json!({"hook": hook, "does": "refuses", "service": target.to_string()}));
            answer["steps"] = json!(steps);
            return answer;
        }
        Choice::Translate(entry) | Choice::Again(entry) => {
            steps.push(json!({
                "hook": hook,
                "does": "translates",
                "service": target.to_string(),
                "backend": socket(entry.backend, entry.backend_port),
                "backendId": entry.backend_id,
            }));
            target = SocketAddr::new(datapath::ip(entry.backend), entry.backend_port.get());
        }
    }
    let spec = Spec {
        from_mac: pod.mac,
        to_mac: pod.host_mac,
        tcp_flags: SYN,
        ..Spec::new(question.from, target.ip(), question.proto, SOURCE_PORT, target.port())
    };
    let (mut frame, mut scratch) = (Frame(spec.build()), Scratch::default());
    let verdict = pipeline::from_pod(&mut frame, tables, &mut scratch, pod.ifindex);
    steps.push(packet_step(&scratch, target, question.proto));
    let mut answer = end(tables, &verdict, &scratch);
    answer["steps"] = json!(steps);
    answer
}

/// What the pod's tcx hook did with the packet.
fn packet_step(scratch: &Scratch, target: SocketAddr, proto: u8) -> Value {
    let opened = scratch.to.dst != Addr::ANY;
    let source = opened && scratch.to.src != scratch.packet.tuple.src;
    json!({
        "hook": "from_pod",
        "does": if scratch.target.backend != 0 { "translates" } else { "forwards" },
        "protocol": protocol(proto),
        "to": target.to_string(),
        "backend": (scratch.target.backend != 0).then(|| socket(scratch.target.dst, scratch.target.dport)),
        "backendId": scratch.target.backend,
        "sourceBecomes": source.then(|| socket(scratch.to.src, scratch.to.sport)),
    })
}

fn end(tables: &Memory, verdict: &Verdict, scratch: &Scratch) -> Value {
    let address = if scratch.to.dst != Addr::ANY { scratch.to.dst } else { scratch.packet.tuple.dst };
    let receiver = datapath::ip(address).to_string();
    match verdict {
        Verdict::Pass => json!({"verdict": "stack", "receiver": receiver}),
        Verdict::Drop(counter @ Counter::DropPolicyEgress) => {
            let sender = datapath::ip(scratch.packet.tuple.src).to_string();
            held(*counter, &sender, "out of the pod")
        }
        Verdict::Drop(counter @ Counter::DropPolicyIngress) => held(*counter, &receiver, "into the pod"),
        Verdict::Drop(counter) => dropped(*counter as u32),
        Verdict::Peer { ifindex } | Verdict::Redirect { ifindex } => {
            json!({"verdict": "pod", "receiver": receiver, "ifindex": ifindex})
        }
        Verdict::Neigh { .. } if scratch.place.is_native() => json!({
            "verdict": "node",
            "receiver": receiver,
            "node": datapath::ip(scratch.place.route.node).to_string(),
            "native": true,
        }),
        Verdict::Neigh { ifindex } => json!({
            "verdict": "uplink",
            "receiver": receiver,
            "ifindex": ifindex,
            "isUplink": tables.config.is_some_and(|config| config.uplink_ifindex == *ifindex),
        }),
        Verdict::Tunnel { node, .. } | Verdict::Key { node, .. } => {
            json!({"verdict": "node", "receiver": receiver, "node": datapath::ip(*node).to_string()})
        }
        Verdict::Answer { .. } => json!({"verdict": "stack", "receiver": receiver}),
        // Whole packets are traced.
        Verdict::Hold => dropped(Counter::DropFragment as u32),
    }
}

fn dropped(number: u32) -> Value {
    let (reason, advice) = reasons::reason(number).unwrap_or(("unknown", ""));
    json!({"verdict": "drop", "reason": reason, "advice": advice})
}

/// A policy's drop, with whose policy it is.
fn held(counter: Counter, pod: &str, way: &str) -> Value {
    let mut answer = dropped(counter as u32);
    answer["policyOf"] = pod.into();
    answer["way"] = way.into();
    answer
}

fn refused(advice: &str) -> Value {
    json!({"verdict": "none", "advice": advice, "steps": []})
}

#[cfg(test)]
mod tests;
