//! Who talks to which Service, and how much: `/net/edges`, and the sums of each Service.

use std::collections::BTreeMap;

use abi::edge::{CLIENT_OTHER, CLIENT_OUTSIDE, EdgeTraffic, MAX_EDGES};
use abi::{Addr, ServiceKey};
use kernel::bpf::{Edge, Error};
use serde_json::{Value, json};

use super::{protocol, tables};
use crate::network::Network;

/// A client and a Service, whichever way the client's connections were translated.
pub(super) struct Line {
    /// An address, or `outside`, `others`, `node`, `ended`.
    pub client: String,
    /// A frontend of the Service port.
    pub frontend: ServiceKey,
    pub connections: u64,
    pub traffic: EdgeTraffic,
}

/// All lines, and how the table is filled.
pub(super) struct Lines {
    pub lines: Vec<Line>,
    pub rows: u32,
    pub lost: u64,
}

/// Reads the table.
pub(super) fn lines(network: &Network) -> Result<Lines, Error> {
    let table = network.seen().edges()?;
    let mut frontends: BTreeMap<u32, ServiceKey> = BTreeMap::new();
    for (key, value) in network.seen().frontends()? {
        // The one that most people know it by.
        let known = frontends.entry(value.id).or_insert(key);
        if key.scope < known.scope {
            *known = key;
        }
    }
    let node_cookie = network.seen().config()?.map_or(0, |config| config.node_cookie);
    let mut sums: BTreeMap<(String, ServiceKey), Line> = BTreeMap::new();
    for edge in &table.edges {
        // A Service that has just gone has no frontend.
        let Some(frontend) = frontends.get(&edge.service).copied() else { continue };
        let client = client(network, edge, node_cookie);
        let line = sums.entry((client.clone(), frontend)).or_insert_with(|| Line {
            client,
            frontend,
            connections: 0,
            traffic: EdgeTraffic::default(),
        });
        line.connections += edge.connections;
        add(&mut line.traffic, &edge.traffic);
    }
    Ok(Lines { lines: sums.into_values().collect(), rows: table.rows, lost: table.lost })
}

fn client(network: &Network, edge: &Edge, node_cookie: u64) -> String {
    match edge.client {
        CLIENT_OTHER => "others".to_owned(),
        CLIENT_OUTSIDE => "outside".to_owned(),
        // A namespace's cookie: no host has an address that ends so.
        Addr([low, high, 0, 0]) => {
            let cookie = u64::from(low) | u64::from(high) << 32;
            match network.caller(cookie) {
                _ if cookie == node_cookie => "node".to_owned(),
                Some(ip) => ip.to_string(),
                None => "ended".to_owned(),
            }
        }
        address => datapath::ip(address).to_string(),
    }
}

/// Adds traffic up.
pub(super) fn add(sum: &mut EdgeTraffic, more: &EdgeTraffic) {
    for (way, more) in sum.ways.iter_mut().zip(more.ways) {
        way.packets += more.packets;
        way.bytes += more.bytes;
    }
}

/// What went through each Service port, by its number.
pub(super) fn by_service(network: &Network) -> Result<BTreeMap<u32, EdgeTraffic>, Error> {
    let mut sums: BTreeMap<u32, EdgeTraffic> = BTreeMap::new();
    for edge in network.seen().edges()?.edges {
        add(sums.entry(edge.service).or_default(), &edge.traffic);
    }
    Ok(sums)
}

/// Traffic as JSON: from the client, and back to it.
pub(super) fn traffic(traffic: &EdgeTraffic) -> Value {
    let [to, from] = traffic.ways;
    json!({
        "packetsTo": to.packets,
        "bytesTo": to.bytes,
        "packetsFrom": from.packets,
        "bytesFrom": from.bytes,
    })
}

pub(super) fn answer(network: &Network) -> Result<Value, Error> {
    let Lines { lines, rows, lost } = lines(network)?;
    let line = |line: &Line| {
        json!({
            "client": line.client,
            "frontend": tables::frontend(&line.frontend),
            "protocol": protocol(line.frontend.proto),
            "connections": line.connections,
            "traffic": traffic(&line.traffic),
        })
    };
    let edges: Vec<Value> = lines.iter().map(line).collect();
    Ok(json!({"edges": edges, "rows": rows, "limit": MAX_EDGES, "connectionsWithoutRow": lost}))
}
