//! `/net/events?after=NUMBER&wait=true`: drops and new flows.

use std::time::Duration;

use abi::event::{
    EVENT_DROP, HOOK_CONNECT, HOOK_FROM_OVERLAY, HOOK_FROM_POD, HOOK_FROM_UPLINK, HOOK_SENDMSG, HOOK_TO_OVERLAY,
    HOOK_TO_POD, HOOK_TO_UPLINK, HOOK_UPLINK,
};
use abi::{Addr, Be16};
use serde_json::{Value, json};

use super::{protocol, reasons, socket};
use crate::network::{Network, Noted};
use crate::serve::Query;

/// How long an asker who waits is kept, below the API server's patience with a node.
const WAIT: Duration = Duration::from_secs(20);

pub(super) async fn answer(network: &Network, query: &Query) -> Value {
    let after = query.get("after").and_then(|number| number.parse().ok()).unwrap_or(0);
    let wait = if query.flag("wait") { WAIT } else { Duration::ZERO };
    let (last, events) = network.recent().after(after, wait).await;
    json!({"last": last, "events": events.iter().map(event).collect::<Vec<_>>()})
}

fn event(noted: &Noted) -> Value {
    let event = &noted.event;
    let drop = event.kind == EVENT_DROP;
    let (reason, advice) =
        reasons::reason(event.reason).unwrap_or(("unknown", "this node's programs are of another version"));
    let caller = noted.caller.map(|ip| ip.to_string());
    let known = event.tuple.dst != Addr::ANY;
    let source = (event.tuple.src != Addr::ANY).then(|| socket(event.tuple.src, event.tuple.sport)).or(caller);
    json!({
        "number": noted.number,
        "time": noted.time.to_string(),
        "kind": if drop { "drop" } else { "flow" },
        "reason": drop.then_some(reason),
        "advice": drop.then_some(advice),
        "hook": hook(event.hook),
        "protocol": known.then(|| protocol(event.tuple.proto)),
        "from": source,
        "to": known.then(|| socket(event.tuple.dst, event.tuple.dport)),
        "backend": (event.to_port != Be16(0)).then(|| socket(event.to, event.to_port)),
        "bytes": event.bytes,
        "tcpFlags": flags(event.tcp_flags),
        "ifindex": event.ifindex,
    })
}

fn hook(number: u8) -> &'static str {
    match number {
        HOOK_FROM_POD => "from_pod",
        HOOK_TO_POD => "to_pod",
        HOOK_UPLINK => "uplink",
        HOOK_FROM_UPLINK => "from_uplink",
        HOOK_TO_UPLINK => "to_uplink",
        HOOK_FROM_OVERLAY => "from_overlay",
        HOOK_TO_OVERLAY => "to_overlay",
        HOOK_CONNECT => "connect",
        HOOK_SENDMSG => "sendmsg",
        _ => "unknown",
    }
}

fn flags(bits: u8) -> String {
    let names = ["FIN", "SYN", "RST", "PSH", "ACK"];
    let set = names.iter().enumerate().filter(|(i, _)| bits >> i & 1 != 0).map(|(_, name)| *name);
    set.collect::<Vec<_>>().join(",")
}
