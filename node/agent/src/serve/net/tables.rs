//! `/net/services`, `/net/maps`, `/net/programs`: what stands in the kernel.

use abi::{Addr, SCOPE_CLUSTER, SCOPE_EXTERNAL, SCOPE_NODE_PORT, ServiceKey};
use kernel::bpf::Error;
use serde_json::{Value, json};

use super::{protocol, socket};
use crate::network::Network;

pub(super) fn services(network: &Network) -> Result<Value, Error> {
    let tables = network.seen().tables()?;
    let connects = network.seen().connects(tables.services.values().map(|value| value.id))?;
    let lines = tables.services.iter().zip(connects).map(|((key, value), connections)| {
        let slots = value.base..value.base.saturating_add(value.len);
        let backends = slots.map(|slot| {
            let id = tables.slots.get(&slot).copied().unwrap_or(0);
            let backend = tables.backends.get(&id);
            json!({
                "slot": slot,
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
            "local": value.flags & abi::SERVICE_LOCAL != 0,
            "connections": connections,
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

/// `10.96.0.1:443`, or `*:30080` for a NodePort.
fn frontend(key: &ServiceKey) -> String {
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
