//! `/net/services`, `/net/maps`, `/net/programs`: what stands in the kernel.

use std::collections::BTreeMap;

use abi::{Addr, SCOPE_CLUSTER, SCOPE_EXTERNAL, SCOPE_NODE_PORT, SERVICE_MAGLEV, SERVICE_RANDOM, ServiceKey};
use kernel::bpf::Error;
use serde_json::{Value, json};

use super::{edges, protocol, socket};
use crate::network::Network;

pub(super) fn services(network: &Network) -> Result<Value, Error> {
    let tables = network.seen().tables_but_flows()?;
    let connects = network.seen().connects(tables.services.values().map(|value| value.id))?;
    let full = network.status().full;
    let traffic = edges::by_service(network)?;
    let lines = tables.services.iter().zip(connects).map(|((key, value), connections)| {
        // A backend has one slot, or its share of a ring.
        let mut shares: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
        for slot in value.base..value.base.saturating_add(value.len) {
            let id = tables.slots.get(&slot).copied().unwrap_or(0);
            shares.entry(id).or_insert((slot, 0)).1 += 1;
        }
        let backends = shares.into_iter().map(|(id, (slot, count))| {
            let backend = tables.backends.get(&id);
            json!({
                "slot": slot,
                "slots": count,
                "id": id,
                "address": backend.map(|backend| socket(backend.addr, backend.port)),
                "local": backend.is_some_and(|backend| backend.flags & abi::BACKEND_LOCAL != 0),
                "draining": backend.is_some_and(|backend| backend.flags & abi::BACKEND_DRAINING != 0),
            })
        });
        json!({
            "frontend": frontend(key),
            "protocol": protocol(key.proto),
            "scope": scope(key.scope),
            "id": value.id,
            "affinitySeconds": value.affinity_s,
            "algorithm": algorithm(value.flags),
            "slots": value.len,
            "ringMissing": full.flat.contains(key),
            "stale": full.refused.contains(key),
            "local": value.flags & abi::SERVICE_LOCAL != 0,
            "connections": connections,
            "traffic": edges::traffic(&traffic.get(&value.id).copied().unwrap_or_default()),
            "backends": backends.collect::<Vec<_>>(),
        })
    });
    Ok(json!({"services": lines.collect::<Vec<_>>()}))
}

pub(super) fn maps(network: &Network) -> Result<Value, Error> {
    let maps = network.seen().maps()?;
    let line = |map: &kernel::bpf::MapFill| json!({"name": map.name, "entries": map.entries, "limit": map.limit, "bytes": map.bytes});
    Ok(json!({"maps": maps.iter().map(line).collect::<Vec<_>>()}))
}

pub(super) fn programs(network: &Network) -> Result<Value, Error> {
    let programs = network.seen().programs()?;
    let line = |program: &kernel::bpf::ProgramUse| {
        json!({
            "link": program.link,
            "program": program.program,
            "id": program.program_id,
            "attachType": program.attach_type,
            "ifindex": program.ifindex,
            "runs": program.runs,
            "runNanoseconds": program.run_ns,
            "verifiedInstructions": program.verified_instructions,
        })
    };
    Ok(json!({"uplink": network.status().uplink, "programs": programs.iter().map(line).collect::<Vec<_>>()}))
}

fn algorithm(flags: u32) -> &'static str {
    if flags & SERVICE_MAGLEV != 0 {
        "maglev"
    } else if flags & SERVICE_RANDOM != 0 {
        "random"
    } else {
        "even"
    }
}

/// `10.96.0.1:443`, or `*:30080` for a NodePort.
pub(super) fn frontend(key: &ServiceKey) -> String {
    if key.addr == Addr::ANY || key.addr == Addr::ANY_V4 {
        format!("*:{}", key.port.get())
    } else {
        socket(key.addr, key.port)
    }
}

fn scope(number: u8) -> &'static str {
    match number {
        SCOPE_CLUSTER => "cluster",
        SCOPE_NODE_PORT => "nodeport",
        SCOPE_EXTERNAL => "external",
        _ => "unknown",
    }
}
