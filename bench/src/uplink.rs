//! Nanoseconds a packet in the uplink's XDP program, by BPF_PROG_TEST_RUN, in a node's namespace with the tables that its data plane wrote
//! and the kernel's own routes: from outside to a Service whose backends are on another node.
//!
//! A program around it gives the buffer another flow before each run and makes it what it was after it; what that costs by itself (with
//! outer headers put on and taken off) is measured by another one and taken off.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, MapData};
use aya::programs::{TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, TestRun as _};
use datapath::Planner;
use kernel::bpf::Raw;
use kernel::netlink::{Mac, Neighbour, Netlink, Route};
use kernel::{LbMode, LoadBalancing, netns};
use packet::host::Spec;
use serde::Serialize;
use wire::fabric::{Delta, Endpoint, EndpointPort, EndpointState, Node as NodeRecord, Protocol, Service, ServicePort};

use crate::node::Node;

/// The Service's address, which the program around it writes into each packet.
const ADDRESS: &str = "10.0.0.0";
const ADDRESS6: &str = "2001:db8:7::7";
/// The other node, and where clients are.
const OTHER: &str = "10.89.0.11";
const OTHER6: &str = "fd10:89::11";
const ROUTER: &str = "10.89.0.1";
const ROUTER6: &str = "fd10:89::1";
const CLIENT: &str = "198.18.0.0";
const CLIENT6: &str = "2001:db8:c::";
/// Backends: enough for their ports not to run out.
const BACKENDS: u8 = 32;
const ROUNDS: usize = 11;
const PACKETS: u32 = 1_000_000;
/// New flows a round; a round takes other flows than those before.
const NEW: u32 = 8_192;
const BASE: &str = "uplink_base";
const BENCH: &str = "uplink_bench";
/// Bytes that the program around it makes again.
const HEAD: usize = 128;
/// Outer headers of VXLAN over IPv4 (RFC 7348 section 5).
const OUTER: usize = 50;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

/// The figures of one case.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub mode: String,
    pub case: &'static str,
    pub flows: u32,
    /// Net of the harness.
    pub min_ns: f64,
    pub median_ns: f64,
}

/// Everything that one run measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub kernel: String,
    /// What the harness costs.
    pub base_ns: f64,
    pub rows: Vec<Row>,
}

/// Loads the object from `GANNET_BPF_OBJECT` onto the tables of a node made for it, and measures.
pub fn run() -> Result<Report> {
    let path = std::env::var_os("GANNET_BPF_OBJECT")
        .context("GANNET_BPF_OBJECT is not set: run `cargo xtask bench uplink`")?;
    let object = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (mut rows, mut base_ns) = (Vec::new(), 0.0);
    for (mode, native) in [(LbMode::Snat, false), (LbMode::Dsr, false), (LbMode::Snat, true)] {
        let node = Node::dual(LoadBalancing { mode, ..LoadBalancing::default() }, native)?;
        fill(&node, native)?;
        let pins = node.pins();
        let mut loader = EbpfLoader::new();
        let names = std::fs::read_dir(&pins)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        for name in names.filter(|name| name != "links").collect::<Vec<_>>() {
            loader.map_pin_path(name.clone().leak(), pins.join(&name));
        }
        let mut bpf = loader.load(&object).context("cannot open the BPF object")?;
        for name in [BASE, BENCH, abi::program::UPLINK] {
            program(&mut bpf, name)?.load().with_context(|| format!("cannot load {name}"))?;
        }
        netns::run_in(node.netns(), || -> Result<()> {
            let mac = Netlink::here()?.link("eth0")?.mac.0;
            let known = |flows: u32| move |_: u32| (0, flows - 1);
            let fresh = |round: u32| ((1 << 20) + round * NEW, u32::MAX);
            base_ns = measure(&mut bpf, BASE, &frame(mac, false, 0x10), known(1), PACKETS, XDP_TX)?.0;
            for six in [false, true] {
                let (ack, syn) = (frame(mac, six, 0x10), frame(mac, six, 2));
                let way = format!("{mode}{}{}", if six { ", IPv6" } else { "" }, if native { ", native" } else { "" });
                let mut add = |case, flows, (min, median): (f64, f64)| {
                    let (min_ns, median_ns) = (min - base_ns, median - base_ns);
                    rows.push(Row { mode: way.clone(), case, flows, min_ns, median_ns });
                };
                for flows in [1, 4_096, 32_768] {
                    let figures = measure(&mut bpf, BENCH, &ack, known(flows), PACKETS, XDP_TX)?;
                    add("established, backend on another node", flows, figures);
                }
                if mode == LbMode::Snat {
                    let answer = answer(&mut bpf, mac, &ack, six, native)?;
                    let figures = measure(&mut bpf, BENCH, &answer, |_| (0, 0), PACKETS, XDP_TX)?;
                    add("answer of a backend on another node", 1, figures);
                }
                if !native {
                    let figures = measure(&mut bpf, BENCH, &syn, fresh, NEW, XDP_TX)?;
                    add("new flow, backend on another node", NEW * ROUNDS as u32, figures);
                    let other = frame([2, 0, 0, 0, 0, 9], six, 0x10);
                    let figures = measure(&mut bpf, BENCH, &other, known(1), PACKETS, XDP_PASS)?;
                    add("not for this interface", 1, figures);
                }
            }
            Ok(())
        })??;
    }
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    Ok(Report { kernel, base_ns, rows })
}

/// The report as a table.
pub fn table(report: &Report) -> String {
    let mut text = format!(
        "kernel {}; ns a packet, net of the harness ({:.0} ns)\n\n| mode | case | flows | min | median |\n|---|---|---|---|---|\n",
        report.kernel, report.base_ns
    );
    for row in &report.rows {
        text +=
            &format!("| {} | {} | {} | {:.0} | {:.0} |\n", row.mode, row.case, row.flows, row.min_ns, row.median_ns);
    }
    text
}

fn program<'a>(bpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    Ok(bpf.program_mut(name).with_context(|| format!("the object has no program {name}"))?.try_into()?)
}

/// Minimum and median of the rounds. `flows` gives each round its first flow and the mask of their numbers.
fn measure(
    bpf: &mut Ebpf,
    name: &str,
    frame: &[u8],
    flows: impl Fn(u32) -> (u32, u32),
    packets: u32,
    action: u32,
) -> Result<(f64, f64)> {
    let mut rounds = Vec::new();
    for round in 0..=ROUNDS as u32 {
        let (first, mask) = flows(round);
        let found = bpf.map_mut("LB_BENCH").context("LB_BENCH")?;
        Array::<&mut MapData, Raw<[u32; 4]>>::try_from(found)?.set(0, Raw([first, mask, 0, 0]), 0)?;
        // The head, the length, and whether there are several flows: an answer is of its own.
        let mut image = [0; HEAD / 4 + 2];
        for (word, bytes) in image.iter_mut().zip(frame[..HEAD].chunks_exact(4)) {
            *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        image[HEAD / 4] = frame.len() as u32;
        image[HEAD / 4 + 1] = u32::from(mask != 0 || name == BASE);
        let found = bpf.map_mut("UPLINK_FRAME").context("UPLINK_FRAME")?;
        Array::<&mut MapData, Raw<[u32; HEAD / 4 + 2]>>::try_from(found)?.set(0, Raw(image), 0)?;
        let mut left = vec![0; frame.len() + 64];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut left),
            repeat: packets,
            ..TestRunOptions::new()
        };
        let result = program(bpf, name)?.test_run(options).with_context(|| format!("test run of {name}"))?;
        ensure!(result.return_value == action, "{name} answered {} instead of {action}", result.return_value);
        // The first round makes the flows and warms the caches.
        if round > 0 {
            rounds.push(result.duration.as_nanos() as f64);
        }
    }
    rounds.sort_by(f64::total_cmp);
    Ok((rounds[0], rounds[rounds.len() / 2]))
}

/// TCP from a client outside, as the program around it goes on from.
fn frame(to_mac: [u8; 6], six: bool, tcp_flags: u8) -> Vec<u8> {
    let (client, address) = if six { (CLIENT6, ADDRESS6) } else { (CLIENT, ADDRESS) };
    let spec = Spec::new(parse(client), parse(address), abi::IPPROTO_TCP, 0, 80);
    Spec { tcp_flags, to_mac, payload: vec![0; HEAD], ..spec }.build()
}

fn parse(text: &str) -> IpAddr {
    text.parse().expect("the cases hold addresses")
}

/// What the backend answers to a packet of an open flow: as it comes in by the uplink.
fn answer(bpf: &mut Ebpf, mac: [u8; 6], given: &[u8], six: bool, native: bool) -> Result<Vec<u8>> {
    let mut sent = vec![0; given.len() + OUTER];
    let options = TestRunOptions { data_in: Some(given), data_out: Some(&mut sent), ..TestRunOptions::new() };
    let result = program(bpf, abi::program::UPLINK)?.test_run(options)?;
    ensure!(result.return_value == XDP_TX, "the packet was not sent on");
    let inner = &sent[if native { 0 } else { OUTER }..];
    let octets = |at: usize| <[u8; 4]>::try_from(&inner[at..at + 4]);
    let octets6 = |at: usize| <[u8; 16]>::try_from(&inner[at..at + 16]);
    let (node, backend, l4): (IpAddr, IpAddr, usize) =
        if six { (octets6(22)?.into(), octets6(38)?.into(), 54) } else { (octets(26)?.into(), octets(30)?.into(), 34) };
    let port = |at: usize| u16::from_be_bytes([inner[at], inner[at + 1]]);
    let spec = Spec::new(backend, node, abi::IPPROTO_TCP, port(l4 + 2), port(l4));
    let packet = Spec { to_mac: mac, payload: vec![0; HEAD], ..spec }.build();
    if native {
        return Ok(packet);
    }
    let spec = Spec::new(parse(OTHER), parse("10.89.0.10"), abi::IPPROTO_UDP, 50_000, abi::VXLAN_PORT.get());
    let payload = [&[8, 0, 0, 0, 0, 0, 1, 0][..], &packet].concat();
    Ok(Spec { to_mac: mac, no_checksum: true, payload, ..spec }.build())
}

/// The other node, the neighbours' entries, and the Service.
fn fill(node: &Node, native: bool) -> Result<()> {
    let own = Netlink::in_netns(node.netns())?;
    for address in [OTHER, OTHER6, ROUTER, ROUTER6].map(parse) {
        own.replace_neighbour(&Neighbour { address, mac: Mac([2, 0, 0, 0, 0, 7]), dev: "eth0".into() })?;
    }
    for (anywhere, router) in [("0.0.0.0/0", ROUTER), ("::/0", ROUTER6)] {
        own.replace_route(&Route::through(anywhere.parse()?, parse(router), "eth0"))?;
    }
    let endpoint = |i: u8| {
        [format!("10.244.1.{}", 2 + i), format!("fd10:244:1::{:x}", 2 + u16::from(i))].map(|ip| Endpoint {
            ip,
            node: "other".into(),
            state: EndpointState::Ready.into(),
            ports: vec![EndpointPort { name: "tcp".into(), protocol: Protocol::Tcp.into(), port: 8080 }],
            ..Endpoint::default()
        })
    };
    let service = Service {
        namespace: "default".into(),
        name: "web".into(),
        cluster_ips: vec!["10.96.0.1".into(), "fd10:96::1".into()],
        external_ips: vec![ADDRESS.into(), ADDRESS6.into()],
        ports: vec![ServicePort { name: "tcp".into(), protocol: Protocol::Tcp.into(), port: 80, node_port: 0 }],
        endpoints: (0..BACKENDS).flat_map(endpoint).collect(),
        ..Service::default()
    };
    let record = |name: &str, ips: [&str; 2], ranges: [&str; 2]| NodeRecord {
        name: name.into(),
        internal_ips: ips.map(str::to_owned).to_vec(),
        pod_cidrs: ranges.map(str::to_owned).to_vec(),
        native,
        ..NodeRecord::default()
    };
    let nodes = vec![
        record("node", ["10.89.0.10", "fd10:89::10"], ["10.244.0.0/24", "fd10:244::/64"]),
        record("other", [OTHER, OTHER6], ["10.244.1.0/24", "fd10:244:1::/64"]),
    ];
    let mut planner = Planner::new(node.local.clone(), node.datapath.observe()?);
    let refused = planner.apply(&Delta { epoch: 1, full: true, nodes, services: vec![service], ..Delta::default() })?;
    ensure!(refused.is_empty(), "the records are refused: {refused:?}");
    Ok(node.datapath.apply(&planner.plan())?)
}
