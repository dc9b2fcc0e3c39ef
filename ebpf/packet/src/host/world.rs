//! A small cluster as one of its nodes sees it: this node (1) with two pods, two other nodes, Services of every sort.

use std::net::{Ipv4Addr, Ipv6Addr};

use abi::{
    Addr, BACKEND_ALIVE, BACKEND_DRAINING, Backend, Be16, Config, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP, PodValue,
    ROUTE_LOCAL_PODS, ROUTE_NATIVE, ROUTE_NODE, ROUTE_OVERLAY, ROUTE_SERVICE_ADDRESS, ROUTE_SERVICE_RANGE,
    ROUTE_THIS_NODE, RouteKey, RouteValue, SCOPE_CLUSTER, SCOPE_EXTERNAL, SCOPE_NODE_PORT, SERVICE_LOCAL,
    SERVICE_MAGLEV, SERVICE_RANDOM, SERVICE_RANGES, ServiceKey, ServiceValue, Source, SourceKey, VethValue,
};

use super::{FlowMemory, Memory};

/// Interface number of the uplink; the overlay's is one more.
pub const UPLINK: u32 = 2;
/// The flow table of [`world`] has 2^10 records: fewer than a long test opens flows.
pub const FLOW_BITS: u32 = 10;

/// Indexes of the seats that policies of [`world`] may use, in both banks. A test that writes them all for each change of policy needs few.
pub const SEATS: std::ops::Range<u32> = 0..16;
/// The VXLAN network.
pub const VNI: u32 = 1;

/// An IPv4 address from its text.
pub fn v4(text: &str) -> Addr {
    Addr::v4(text.parse::<Ipv4Addr>().expect("an IPv4 address").octets())
}

/// An IPv6 address from its text.
pub fn v6(text: &str) -> Addr {
    Addr::v6(text.parse::<Ipv6Addr>().expect("an IPv6 address").octets())
}

fn addr(text: &str) -> Addr {
    if text.contains(':') { v6(text) } else { v4(text) }
}

/// MAC of local pod `n`.
pub fn pod_mac(n: u32) -> [u8; 6] {
    [0x0a, 0, 0, 0, 1, n as u8]
}

/// The cluster. Local pods 2 and 3 sit behind interfaces 12 and 13, on seats 2 and 3. No policy selects them.
pub fn world() -> Memory {
    let mut m = Memory {
        config: Some(Config {
            node4: v4("192.0.2.1"),
            node6: v6("2001:db8::1"),
            uplink_ifindex: UPLINK,
            overlay_ifindex: UPLINK + 1,
            vni: VNI,
            snat_min: 40_000,
            snat_max: 40_255,
            // As [`super::Spec`] addresses frames.
            uplink_mac: [2, 0, 0, 0, 0, 2],
            node_cookie: 1,
            seed: 7,
            pods6: v6("fd00:1::"),
            ..Config::default()
        }),
        flows: FlowMemory::new(FLOW_BITS, 0),
        ..Memory::default()
    };
    m.now_s.set(1_000);
    for n in [2, 3] {
        let (addr4, addr6) = (addr(&format!("10.244.1.{n}")), addr(&format!("fd00:1::{n}")));
        let pod =
            PodValue { ifindex: 10 + n, mac: pod_mac(n), host_mac: [0x0e, 0, 0, 0, 1, n as u8], seat: n, limits: 0 };
        m.pods.extend([(addr4, pod), (addr6, pod)]);
        m.veths.insert(10 + n, VethValue { addr4, addr6, mac: pod_mac(n), pad: [0; 2], seat: n, limits: 0 });
    }
    for (prefix, len, kind, node) in [
        ("10.244.1.0", 24, ROUTE_LOCAL_PODS, ""),
        ("10.244.2.0", 24, ROUTE_OVERLAY, "192.0.2.2"),
        ("10.244.3.0", 24, ROUTE_OVERLAY, "192.0.2.3"),
        ("192.0.2.1", 32, ROUTE_THIS_NODE, ""),
        ("169.254.1.1", 32, ROUTE_THIS_NODE, ""),
        ("192.0.2.2", 32, ROUTE_NODE, "192.0.2.2"),
        ("192.0.2.3", 32, ROUTE_NODE, "192.0.2.3"),
        ("10.244.4.0", 24, ROUTE_OVERLAY | ROUTE_NATIVE, "192.0.2.4"),
        ("192.0.2.4", 32, ROUTE_NODE | ROUTE_NATIVE, "192.0.2.4"),
        ("fd00:4::", 64, ROUTE_OVERLAY | ROUTE_NATIVE, "192.0.2.4"),
        ("2001:db8::4", 128, ROUTE_NODE | ROUTE_NATIVE, "192.0.2.4"),
        ("10.96.0.0", 16, ROUTE_SERVICE_RANGE, ""),
        ("fd00:1::", 64, ROUTE_LOCAL_PODS, ""),
        ("fd00:2::", 64, ROUTE_OVERLAY, "192.0.2.2"),
        ("2001:db8::1", 128, ROUTE_THIS_NODE, ""),
        ("2001:db8::2", 128, ROUTE_NODE, "192.0.2.2"),
        ("fd00:96::", 112, ROUTE_SERVICE_RANGE, ""),
        ("198.51.100.7", 32, ROUTE_SERVICE_ADDRESS, ""),
        ("198.51.100.8", 32, ROUTE_SERVICE_ADDRESS, ""),
        // On an interface of this node, too.
        ("198.51.100.10", 32, ROUTE_SERVICE_ADDRESS, ""),
        ("2001:db8:100::7", 128, ROUTE_SERVICE_ADDRESS, ""),
        ("2001:db8:100::10", 128, ROUTE_SERVICE_ADDRESS, ""),
    ] {
        let node = if node.is_empty() { Addr::ANY } else { addr(node) };
        let prefix_len = if prefix.contains(':') { len } else { 96 + len };
        m.routes.insert(RouteKey { prefix_len, addr: addr(prefix) }, RouteValue { kind, node });
    }
    services(&mut m);
    m
}

/// Makes the tunnels between the nodes of [`world`] end at their addresses of IPv6.
pub fn over_ipv6(m: &mut Memory) {
    let third = RouteValue { kind: ROUTE_NODE, node: v4("192.0.2.3") };
    m.routes.insert(RouteKey { prefix_len: 128, addr: v6("2001:db8::3") }, third);
    for route in m.routes.values_mut().filter(|route| route.node.is_v4()) {
        let [.., number] = route.node.v4_octets();
        route.node = v6(&format!("2001:db8::{number}"));
    }
}

fn services(m: &mut Memory) {
    let (tcp, udp) = (IPPROTO_TCP, IPPROTO_UDP);
    let web = ["10.244.1.2:8080", "10.244.1.3:8080", "10.244.2.5:8080"];
    // The third node is reached without a tunnel.
    let native = ["10.244.1.2:8080", "10.244.4.5:8080", "192.0.2.4:9000"];
    let web6 = ["[fd00:1::2]:8080", "[fd00:2::5]:8080"];
    serve(m, "10.96.0.1", 443, tcp, SCOPE_CLUSTER, &["192.0.2.1:6443", "192.0.2.2:6443"], 0, 0);
    serve(m, "10.96.0.10", 53, udp, SCOPE_CLUSTER, &["169.254.1.1:53"], 0, 0);
    serve(m, "10.96.0.20", 80, tcp, SCOPE_CLUSTER, &web, 0, 0);
    serve(m, "10.96.0.20", 80, udp, SCOPE_CLUSTER, &web, 0, 0);
    serve(m, "", 30080, tcp, SCOPE_NODE_PORT, &web, 0, 0);
    serve(m, "", 30080, udp, SCOPE_NODE_PORT, &web, 0, 0);
    serve(m, "", 30081, tcp, SCOPE_NODE_PORT, &["10.244.1.3:8080"], 0, SERVICE_LOCAL);
    serve(m, "", 30082, tcp, SCOPE_NODE_PORT, &["192.0.2.1:9000", "203.0.113.9:9000"], 0, 0);
    serve(m, "10.96.0.29", 80, udp, SCOPE_CLUSTER, &native, 0, 0);
    serve(m, "10.96.0.29", 80, tcp, SCOPE_CLUSTER, &native, 0, 0);
    serve(m, "", 30083, tcp, SCOPE_NODE_PORT, &native, 0, 0);
    serve(m, "10.96.0.21", 80, tcp, SCOPE_CLUSTER, &[], 0, 0);
    serve(m, "10.96.0.22", 80, udp, SCOPE_CLUSTER, &web, 60, 0);
    serve(m, "10.96.0.23", 80, tcp, SCOPE_CLUSTER, &["203.0.113.9:9000"], 0, 0);
    serve(m, "10.96.0.24", 80, IPPROTO_SCTP, SCOPE_CLUSTER, &["10.244.1.3:80", "10.244.1.3:81"], 0, 0);
    serve(m, "198.51.100.7", 80, tcp, SCOPE_EXTERNAL, &["10.244.1.2:8080"], 0, SERVICE_LOCAL);
    serve(m, "198.51.100.7", 80, tcp, SCOPE_CLUSTER, &web, 0, 0);
    serve(m, "fd00:96::14", 80, tcp, SCOPE_CLUSTER, &web6, 0, 0);
    serve(m, "fd00:96::14", 80, udp, SCOPE_CLUSTER, &web6, 30, 0);
    serve(m, "", 30086, tcp, SCOPE_NODE_PORT, &web6, 0, 0);
    serve(m, "198.51.100.8", 80, tcp, SCOPE_EXTERNAL, &web, 0, SERVICE_RANGES);
    serve(m, "198.51.100.8", 80, tcp, SCOPE_CLUSTER, &web, 0, 0);
    serve(m, "10.96.0.25", 80, tcp, SCOPE_CLUSTER, &web, 0, SERVICE_MAGLEV);
    serve(m, "10.96.0.26", 80, tcp, SCOPE_CLUSTER, &web, 60, SERVICE_MAGLEV);
    serve(m, "10.96.0.27", 80, tcp, SCOPE_CLUSTER, &web, 0, SERVICE_RANDOM);
    let service = ServiceKey { addr: v4("198.51.100.8"), port: Be16::new(80), proto: tcp, scope: SCOPE_EXTERNAL };
    let prefix_len = 8 * size_of::<ServiceKey>() as u32 + 96 + 24;
    m.sources.insert(SourceKey { prefix_len, source: Source { service, client: v4("203.0.113.0") } });
    // The last backend made is being drained: it holds flows and takes no new ones.
    if let Some(backend) = m.backends.values_mut().next_back() {
        backend.flags |= BACKEND_DRAINING;
    }
}

#[expect(clippy::too_many_arguments, reason = "a table of Services reads best one a line")]
/// No address stands for any of the node's, of the backends' family.
fn serve(m: &mut Memory, vip: &str, port: u16, proto: u8, scope: u8, backends: &[&str], affinity_s: u32, flags: u32) {
    let base = m.slots.len() as u32;
    for text in backends {
        let at: std::net::SocketAddr = text.parse().expect("address and port");
        let backend =
            Backend { addr: addr(&at.ip().to_string()), port: Be16::new(at.port()), proto, flags: BACKEND_ALIVE };
        let id = match m.backends.iter().find(|(_, b)| **b == backend) {
            Some((id, _)) => *id,
            None => m.backends.len() as u32 + 1,
        };
        m.backends.insert(id, backend);
        m.slots.insert(m.slots.len() as u32, id);
    }
    let any = if backends.iter().all(|text| text.starts_with('[')) { Addr::ANY } else { Addr::ANY_V4 };
    let key = ServiceKey { addr: if vip.is_empty() { any } else { addr(vip) }, port: Be16::new(port), proto, scope };
    let id = m.services.len() as u32 + 1;
    m.services.insert(key, ServiceValue { id, base, len: backends.len() as u32, affinity_s, flags });
}
