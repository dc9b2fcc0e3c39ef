//! Nanoseconds a packet in the uplink's XDP program, by BPF_PROG_TEST_RUN, in a node's namespace with the tables that its data plane wrote
//! and the kernel's own routes: from outside to a Service whose backends are on another node.
//!
//! A program around it gives the buffer another flow before each run and takes the outer headers off after it; what that costs by itself is
//! measured by another one and taken off.

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, MapData};
use aya::programs::{TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, TestRun as _};
use datapath::Planner;
use kernel::bpf::Raw;
use kernel::netlink::{Mac, Neighbour, Netlink};
use kernel::{LbMode, LoadBalancing, netns};
use packet::host::Spec;
use serde::Serialize;
use wire::fabric::{Delta, Endpoint, EndpointPort, EndpointState, Node as NodeRecord, Protocol, Service, ServicePort};

use crate::node::Node;

/// The Service's address, which the program around it writes into each packet.
const ADDRESS: &str = "10.0.0.0";
const OTHER: &str = "10.89.0.11";
/// Backends: enough for their ports not to run out.
const BACKENDS: u8 = 32;
const ROUNDS: usize = 11;
const PACKETS: u32 = 1_000_000;
/// New flows a round; a round takes other flows than those before.
const NEW: u32 = 8_192;
const BASE: &str = "uplink_base";
const BENCH: &str = "uplink_bench";
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
    for mode in [LbMode::Snat, LbMode::Dsr] {
        let node = Node::with(LoadBalancing { mode, ..LoadBalancing::default() })?;
        fill(&node)?;
        let pins = node.pins();
        let mut loader = EbpfLoader::new();
        let names = std::fs::read_dir(&pins)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        for name in names.filter(|name| name != "links").collect::<Vec<_>>() {
            loader.map_pin_path(name.clone().leak(), pins.join(&name));
        }
        let mut bpf = loader.load(&object).context("cannot open the BPF object")?;
        for name in [BASE, BENCH] {
            program(&mut bpf, name)?.load().with_context(|| format!("cannot load {name}"))?;
        }
        netns::run_in(node.netns(), || -> Result<()> {
            let mac = Netlink::here()?.link("eth0")?.mac.0;
            let (ack, syn) = (frame(mac, ADDRESS, 0x10), frame(mac, ADDRESS, 2));
            let known = |flows: u32| move |_: u32| (0, flows - 1);
            base_ns = measure(&mut bpf, BASE, &ack, known(1), PACKETS, XDP_TX)?.0;
            let mut add = |case, flows, (min, median): (f64, f64)| {
                rows.push(Row {
                    mode: mode.to_string(),
                    case,
                    flows,
                    min_ns: min - base_ns,
                    median_ns: median - base_ns,
                });
            };
            for flows in [1, 4_096, 32_768] {
                let figures = measure(&mut bpf, BENCH, &ack, known(flows), PACKETS, XDP_TX)?;
                add("established, backend on another node", flows, figures);
            }
            let fresh = |round: u32| ((1 << 20) + round * NEW, u32::MAX);
            let figures = measure(&mut bpf, BENCH, &syn, fresh, NEW, XDP_TX)?;
            add("new flow, backend on another node", NEW * ROUNDS as u32, figures);
            let other = frame([2, 0, 0, 0, 0, 9], ADDRESS, 0x10);
            let figures = measure(&mut bpf, BENCH, &other, known(1), PACKETS, XDP_PASS)?;
            add("not for this interface", 1, figures);
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
fn frame(to_mac: [u8; 6], dst: &str, tcp_flags: u8) -> Vec<u8> {
    let parse = |text: &str| text.parse().expect("the cases hold addresses");
    Spec { tcp_flags, to_mac, ..Spec::new(parse("198.18.0.0"), parse(dst), abi::IPPROTO_TCP, 0, 80) }.build()
}

/// The other node, its neighbour entry, and the Service.
fn fill(node: &Node) -> Result<()> {
    let own = Netlink::in_netns(node.netns())?;
    let address = OTHER.parse()?;
    own.replace_neighbour(&Neighbour { address, mac: Mac([2, 0, 0, 0, 0, 7]), dev: "eth0".into() })?;
    let endpoint = |i: u8| Endpoint {
        ip: format!("10.244.1.{}", 2 + i),
        node: "other".into(),
        state: EndpointState::Ready.into(),
        ports: vec![EndpointPort { name: "tcp".into(), protocol: Protocol::Tcp.into(), port: 8080 }],
        ..Endpoint::default()
    };
    let service = Service {
        namespace: "default".into(),
        name: "web".into(),
        cluster_ips: vec!["10.96.0.1".into()],
        external_ips: vec![ADDRESS.into()],
        ports: vec![ServicePort { name: "tcp".into(), protocol: Protocol::Tcp.into(), port: 80, node_port: 0 }],
        endpoints: (0..BACKENDS).map(endpoint).collect(),
        ..Service::default()
    };
    let record = |name: &str, ip: &str, cidr: &str| NodeRecord {
        name: name.into(),
        internal_ips: vec![ip.into()],
        pod_cidrs: vec![cidr.into()],
        ..NodeRecord::default()
    };
    let nodes = vec![record("node", "10.89.0.10", "10.244.0.0/24"), record("other", OTHER, "10.244.1.0/24")];
    let mut planner = Planner::new(node.local.clone(), node.datapath.observe()?);
    let refused = planner.apply(&Delta { epoch: 1, full: true, nodes, services: vec![service], ..Delta::default() })?;
    ensure!(refused.is_empty(), "the records are refused: {refused:?}");
    Ok(node.datapath.apply(&planner.plan())?)
}
