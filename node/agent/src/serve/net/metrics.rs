//! The data plane in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use abi::Counter;
use abi::edge::EdgeTraffic;
use kernel::bpf::Error;

use super::{edges, protocol, reasons, tables};
use crate::network::Network;

/// Counters that are no drops.
const OTHERS: [(Counter, &str, &str); 11] = [
    (Counter::Forwarded, "forwarded", "Packets sent on to other nodes or outside."),
    (Counter::Delivered, "delivered", "Packets given to local pods."),
    (Counter::Passed, "passed", "Packets for or of the node's own stack."),
    (Counter::NewFlow, "flows", "Translated flows opened."),
    (
        Counter::FlowReplaced,
        "flows_replaced",
        "Translated flows that took the place of one that nobody had answered: the table is full, or flooded.",
    ),
    (Counter::FragmentHeld, "fragments_held", "Fragments that waited for the first one of their datagram."),
    (Counter::FragmentReleased, "fragments_released", "Fragments that waited, and went on once the first one came."),
    (Counter::Answered, "answered", "Echo requests to load-balancer and external addresses, answered."),
    (Counter::SocketTranslated, "socket_translations", "Socket calls translated to a backend."),
    (Counter::EventSuppressed, "events_suppressed", "Events that the rate held back."),
    (Counter::EventLost, "events_lost", "Events for which the ring buffer had no room."),
];

pub(super) fn text(network: &Network) -> Result<String, Error> {
    let seen = network.seen();
    let mut out = String::new();
    // Writing to a String cannot fail.
    let mut line = |args: std::fmt::Arguments<'_>| {
        let _ = writeln!(out, "{args}");
    };
    let counters = seen.counters()?;
    line(format_args!("# HELP gannet_datapath_drops_total Packets dropped and calls refused, by reason."));
    line(format_args!("# TYPE gannet_datapath_drops_total counter"));
    for (number, value) in (0..).zip(&counters) {
        if let Some((name, _)) = reasons::reason(number) {
            line(format_args!("gannet_datapath_drops_total{{reason=\"{name}\"}} {value}"));
        }
    }
    for (counter, name, help) in OTHERS {
        let value = counters.get(counter as usize).copied().unwrap_or(0);
        line(format_args!("# HELP gannet_datapath_{name}_total {help}"));
        line(format_args!("# TYPE gannet_datapath_{name}_total counter"));
        line(format_args!("gannet_datapath_{name}_total {value}"));
    }
    line(format_args!("# HELP gannet_datapath_service_connections_total Connections given to a backend, by frontend."));
    line(format_args!("# TYPE gannet_datapath_service_connections_total counter"));
    let services = network.seen().frontends()?;
    let connects = seen.connects(services.iter().map(|(_, value)| value.id))?;
    for ((key, _), connections) in services.iter().zip(connects) {
        let (addr, port, proto) = (datapath::ip(key.addr), key.port.get(), protocol(key.proto));
        line(format_args!(
            "gannet_datapath_service_connections_total{{address=\"{addr}\",port=\"{port}\",protocol=\"{proto}\",scope=\"{}\"}} {connections}",
            key.scope
        ));
    }
    let full = network.status().full;
    for (name, help, frontends) in [
        ("frontends_refused", "Frontends that the service tables have no room for.", &full.refused),
        ("frontends_without_ring", "Frontends that have no Maglev ring for want of room.", &full.flat),
    ] {
        line(format_args!("# HELP gannet_datapath_{name} {help}"));
        line(format_args!("# TYPE gannet_datapath_{name} gauge"));
        line(format_args!("gannet_datapath_{name} {}", frontends.len()));
    }
    clients(network, &mut line)?;
    line(format_args!(
        "# HELP gannet_datapath_uplink_info What meets the uplink's packets first, and how other nodes' backends are reached."
    ));
    line(format_args!("# TYPE gannet_datapath_uplink_info gauge"));
    let uplink = network.status().uplink;
    let (path, mode) = uplink.split_once(", ").unwrap_or((&uplink, ""));
    line(format_args!("gannet_datapath_uplink_info{{path=\"{path}\",mode=\"{mode}\"}} 1"));
    line(format_args!("# HELP gannet_datapath_map_entries Entries in use."));
    line(format_args!("# TYPE gannet_datapath_map_entries gauge"));
    let maps = seen.maps()?;
    for map in &maps {
        if let Some(entries) = map.entries {
            line(format_args!("gannet_datapath_map_entries{{map=\"{}\"}} {entries}", map.name));
        }
    }
    line(format_args!("# HELP gannet_datapath_map_limit Most entries, bytes for the event buffer."));
    line(format_args!("# TYPE gannet_datapath_map_limit gauge"));
    for map in &maps {
        line(format_args!("gannet_datapath_map_limit{{map=\"{}\"}} {}", map.name, map.limit));
    }
    Ok(out)
}

/// What went through each Service, and whose it was.
fn clients(network: &Network, line: &mut impl FnMut(std::fmt::Arguments<'_>)) -> Result<(), Error> {
    let lines = edges::lines(network)?.lines;
    // A plane that has stopped gives no names, and the addresses do as well.
    let names = network.names(lines.iter().map(|one| one.frontend).collect()).unwrap_or_default();
    let mut services: BTreeMap<String, EdgeTraffic> = BTreeMap::new();
    let mut clients: BTreeMap<String, (u64, EdgeTraffic)> = BTreeMap::new();
    for one in &lines {
        let key = &one.frontend;
        let service = names.services.get(key).cloned().unwrap_or_else(|| tables::frontend(key));
        let service = format!("service=\"{service}\",port=\"{}\",protocol=\"{}\"", key.port.get(), protocol(key.proto));
        let pod = one.client.parse().ok().and_then(|ip| names.pods.get(&ip));
        let client = pod.unwrap_or(&one.client);
        let client = if network.may_label(client, &service) { client } else { "others" };
        let sum = clients.entry(format!("client=\"{client}\",{service}")).or_default();
        sum.0 += one.connections;
        edges::add(&mut sum.1, &one.traffic);
        edges::add(services.entry(service).or_default(), &one.traffic);
    }
    line(format_args!("# HELP gannet_datapath_service_packets_total Translated packets, by Service and direction."));
    line(format_args!("# TYPE gannet_datapath_service_packets_total counter"));
    for (labels, traffic) in &services {
        for (direction, way) in ["to", "from"].into_iter().zip(traffic.ways) {
            let packets = way.packets;
            line(format_args!("gannet_datapath_service_packets_total{{{labels},direction=\"{direction}\"}} {packets}"));
        }
    }
    line(format_args!("# HELP gannet_datapath_service_bytes_total Bytes of them from the IP header on."));
    line(format_args!("# TYPE gannet_datapath_service_bytes_total counter"));
    for (labels, traffic) in &services {
        for (direction, way) in ["to", "from"].into_iter().zip(traffic.ways) {
            let bytes = way.bytes;
            line(format_args!("gannet_datapath_service_bytes_total{{{labels},direction=\"{direction}\"}} {bytes}"));
        }
    }
    line(format_args!(
        "# HELP gannet_datapath_client_connections_total Connections given to a backend, by client and Service."
    ));
    line(format_args!("# TYPE gannet_datapath_client_connections_total counter"));
    for (labels, (connections, _)) in &clients {
        line(format_args!("gannet_datapath_client_connections_total{{{labels}}} {connections}"));
    }
    line(format_args!(
        "# HELP gannet_datapath_client_bytes_total Bytes of translated packets, by client, Service and direction."
    ));
    line(format_args!("# TYPE gannet_datapath_client_bytes_total counter"));
    for (labels, (_, traffic)) in &clients {
        for (direction, way) in ["to", "from"].into_iter().zip(traffic.ways) {
            let bytes = way.bytes;
            line(format_args!("gannet_datapath_client_bytes_total{{{labels},direction=\"{direction}\"}} {bytes}"));
        }
    }
    Ok(())
}
