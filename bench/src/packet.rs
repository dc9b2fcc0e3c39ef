//! Nanoseconds a packet, by BPF_PROG_TEST_RUN, net of an empty program.
//!
//! A test run repeats on the same buffer and does not restore it, so a packet that is rewritten would be another packet the second
//! time. Rewritten cases therefore run on flows whose translated tuple has a record that leads back: every run finds a record and
//! rewrites. The TTL falls with each, which bounds the repeats. New flows are new once, so they run one by one; the empty program is
//! measured the same way and taken off.

use std::time::Duration;

use abi::{
    Addr, BACKEND_ALIVE, Backend, Be16, Config, FlowKey, IPPROTO_TCP, PodValue, ROUTE_LOCAL_PODS, ROUTE_OVERLAY,
    ROUTE_SERVICE_RANGE, ROUTE_THIS_NODE, RouteValue, SCOPE_CLUSTER, SCOPE_NODE_PORT, ServiceKey, ServiceValue,
    VethValue,
    flow::{FLOW_BITS, FLOW_LINE, FlowRecord},
    map, program,
};
use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader, TestRun as _,
    maps::{Array, HashMap, MapData, lpm_trie},
    programs::{SchedClassifier, TestRunOptions},
};
use kernel::bpf::{Plain, Raw, now_s};
use packet::{
    flows::Made,
    host::{FlowMemory, Spec, v4},
};
use serde::Serialize;

/// Services in the table, as large clusters have them.
const SERVICES: u32 = 10_000;
/// Flows of the cases that miss the caches.
const MANY: u32 = 65_536;
/// Repeats of one buffer: below the largest TTL.
const REPEATS: u32 = 250;
/// Rounds a case, and packets a round.
const ROUNDS: usize = 11;
const PACKETS: u32 = 50_000;
/// Interface number that a test run shows: the loopback's.
const LOOPBACK: u32 = 1;

const CLIENT: &str = "10.244.1.2";
const BACKEND: &str = "10.244.1.3";
const SECOND: &str = "10.244.1.4";
const REMOTE: &str = "10.244.2.5";
const REMOTE_SECOND: &str = "10.244.2.6";
const OUTSIDE: &str = "203.0.113.9";
const NODE: &str = "192.0.2.1";
const MAC: [u8; 6] = [0x0a, 0, 0, 0, 1, 2];

/// The figures of one case.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub program: &'static str,
    pub case: &'static str,
    pub flows: u32,
    /// Net of the empty program.
    pub min_ns: f64,
    pub median_ns: f64,
}

/// Everything that one run measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub kernel: String,
    pub services: u32,
    /// The empty program: repeated on one buffer, and one run a call.
    pub empty_ns: f64,
    pub empty_single_ns: f64,
    pub rows: Vec<Row>,
}

/// Loads the object from `GANNET_BPF_OBJECT`, fills its maps and measures.
pub fn run() -> Result<Report> {
    let path = std::env::var_os("GANNET_BPF_OBJECT")
        .context("GANNET_BPF_OBJECT is not set: run `cargo xtask bench packet`")?;
    let object = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut bpf = EbpfLoader::new().load(&object).context("cannot open the BPF object")?;
    for name in [program::EMPTY, program::FROM_POD, program::FROM_UPLINK] {
        classifier(&mut bpf, name)?.load().with_context(|| format!("cannot load {name}"))?;
    }
    fill(&mut bpf)?;
    let flows = FlowMemory::new(FLOW_BITS, 0);
    loop_flow(&flows, (CLIENT, 50_001), [(BACKEND, 1), (SECOND, 3)])?;
    loop_flow(&flows, (CLIENT, 50_001), [(REMOTE, 2), (REMOTE_SECOND, 4)])?;
    loop_flow(&flows, (OUTSIDE, 50_001), [(BACKEND, 1), (SECOND, 3)])?;
    write(&mut bpf, &flows)?;

    let plain = frame(CLIENT, BACKEND, 50_000, 8080, 0x10);
    let empty_ns = hot(&mut bpf, program::EMPTY, &plain, REPEATS)?.1;
    let empty_single_ns = cold(&mut bpf, program::EMPTY, |_| plain.clone())?.1;
    let mut rows = Vec::new();
    let mut add = |program, case, flows, (min, median): (f64, f64), net: f64| {
        rows.push(Row { program, case, flows, min_ns: min - net, median_ns: median - net });
    };

    // from_pod
    let established = frame(CLIENT, BACKEND, 50_001, 8080, 0x10);
    add(
        program::FROM_POD,
        "established, Service to local pod",
        1,
        hot(&mut bpf, program::FROM_POD, &established, REPEATS)?,
        empty_ns,
    );
    let established = frame(CLIENT, REMOTE, 50_001, 8080, 0x10);
    add(
        program::FROM_POD,
        "established, Service to remote pod",
        1,
        hot(&mut bpf, program::FROM_POD, &established, REPEATS)?,
        empty_ns,
    );
    add(
        program::FROM_POD,
        "no Service, pod to local pod",
        1,
        hot(&mut bpf, program::FROM_POD, &plain, REPEATS)?,
        empty_ns,
    );
    let overlay = frame(CLIENT, REMOTE, 50_000, 8080, 0x10);
    add(
        program::FROM_POD,
        "no Service, pod to remote pod",
        1,
        hot(&mut bpf, program::FROM_POD, &overlay, REPEATS)?,
        empty_ns,
    );
    let fresh = |i: u32| frame(CLIENT, &vip(i), 1_024 + (i % 60_000) as u16, 80, 2);
    add(program::FROM_POD, "new flow to a Service", MANY, cold(&mut bpf, program::FROM_POD, fresh)?, empty_single_ns);
    let again = |i: u32| frame(CLIENT, &vip(i), 1_024 + (i % 60_000) as u16, 80, 0x10);
    add(program::FROM_POD, "established, Service", MANY, cold(&mut bpf, program::FROM_POD, again)?, empty_single_ns);
    let out = |i: u32| frame(CLIENT, OUTSIDE, 1_024 + (i % 20_000) as u16, 443 + (i / 20_000) as u16, 2);
    add(program::FROM_POD, "new flow, masqueraded", MANY, cold(&mut bpf, program::FROM_POD, out)?, empty_single_ns);

    // from_uplink
    let established = frame(OUTSIDE, BACKEND, 50_001, 8080, 0x10);
    add(
        program::FROM_UPLINK,
        "established, NodePort to local pod",
        1,
        hot(&mut bpf, program::FROM_UPLINK, &established, REPEATS)?,
        empty_ns,
    );
    let ssh = frame(OUTSIDE, NODE, 50_000, 22, 0x10);
    add(
        program::FROM_UPLINK,
        "no Service, to the node",
        1,
        hot(&mut bpf, program::FROM_UPLINK, &ssh, REPEATS)?,
        empty_ns,
    );
    let tunnel = vxlan();
    add(
        program::FROM_UPLINK,
        "VXLAN between nodes",
        1,
        hot(&mut bpf, program::FROM_UPLINK, &tunnel, REPEATS)?,
        empty_ns,
    );
    let fresh = |i: u32| frame(&format!("198.18.{}.{}", i >> 8 & 255, i & 255), NODE, 50_000, 30080, 2);
    add(
        program::FROM_UPLINK,
        "new flow to a NodePort",
        MANY,
        cold(&mut bpf, program::FROM_UPLINK, fresh)?,
        empty_single_ns,
    );
    let again = |i: u32| frame(&format!("198.18.{}.{}", i >> 8 & 255, i & 255), NODE, 50_000, 30080, 0x10);
    add(
        program::FROM_UPLINK,
        "established, NodePort",
        MANY,
        cold(&mut bpf, program::FROM_UPLINK, again)?,
        empty_single_ns,
    );

    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    Ok(Report { kernel, services: SERVICES, empty_ns, empty_single_ns, rows })
}

/// The report as a table.
pub fn table(report: &Report) -> String {
    let mut text = format!(
        "kernel {}, {} Services; ns a packet, net of an empty program ({:.0} ns repeated, {:.0} ns one by one)\n\n\
         | program | case | flows | min | median |\n|---|---|---|---|---|\n",
        report.kernel, report.services, report.empty_ns, report.empty_single_ns
    );
    for row in &report.rows {
        text +=
            &format!("| {} | {} | {} | {:.0} | {:.0} |\n", row.program, row.case, row.flows, row.min_ns, row.median_ns);
    }
    text
}

fn classifier<'a>(bpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    Ok(bpf.program_mut(name).with_context(|| format!("the object has no program {name}"))?.try_into()?)
}

/// One buffer, run again and again: minimum and median of the rounds.
fn hot(bpf: &mut Ebpf, name: &str, frame: &[u8], repeat: u32) -> Result<(f64, f64)> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let (mut spent, mut runs) = (Duration::ZERO, 0);
        while runs < PACKETS {
            let mut left = vec![0; frame.len() + 64];
            let options =
                TestRunOptions { data_in: Some(frame), data_out: Some(&mut left), repeat, ..TestRunOptions::new() };
            let result = classifier(bpf, name)?.test_run(options).with_context(|| format!("test run of {name}"))?;
            ensure!(result.return_value != 2, "{name} dropped a packet that it is measured by: {:?}", drops(bpf)?);
            spent += result.duration * repeat;
            runs += repeat;
        }
        rounds.push(spent.as_nanos() as f64 / f64::from(runs));
    }
    Ok(spread(rounds))
}

/// Another packet each time, each once.
fn cold(bpf: &mut Ebpf, name: &str, frame: impl Fn(u32) -> Vec<u8>) -> Result<(f64, f64)> {
    let mut rounds = Vec::new();
    let a_round = MANY / ROUNDS as u32;
    for round in 0..ROUNDS as u32 {
        let mut spent = Duration::ZERO;
        for i in 0..a_round {
            let frame = frame(round * a_round + i);
            let options = TestRunOptions { data_in: Some(&frame), ..TestRunOptions::new() };
            let result = classifier(bpf, name)?.test_run(options).with_context(|| format!("test run of {name}"))?;
            ensure!(result.return_value != 2, "{name} dropped packet {i} of round {round}: {:?}", drops(bpf)?);
            spent += result.duration;
        }
        rounds.push(spent.as_nanos() as f64 / f64::from(a_round));
    }
    Ok(spread(rounds))
}

/// The counters that are not zero, to tell why a packet was dropped.
fn drops(bpf: &Ebpf) -> Result<Vec<(u32, u64)>> {
    let counters = aya::maps::PerCpuArray::<&MapData, u64>::try_from(bpf.map(map::COUNTERS).context(map::COUNTERS)?)?;
    let total = |i| Ok((i, counters.get(&i, 0)?.iter().sum()));
    (0..abi::COUNTERS).map(total).filter(|row: &Result<(u32, u64)>| !matches!(row, Ok((_, 0)))).collect()
}

fn spread(mut rounds: Vec<f64>) -> (f64, f64) {
    rounds.sort_by(f64::total_cmp);
    (rounds[0], rounds[rounds.len() / 2])
}

fn frame(src: &str, dst: &str, sport: u16, dport: u16, tcp_flags: u8) -> Vec<u8> {
    let parse = |text: &str| text.parse().expect("the cases hold addresses");
    Spec { tcp_flags, ttl: 255, from_mac: MAC, ..Spec::new(parse(src), parse(dst), IPPROTO_TCP, sport, dport) }.build()
}

fn vxlan() -> Vec<u8> {
    let parse = |text: &str| text.parse().expect("the cases hold addresses");
    Spec::new(parse("192.0.2.2"), parse(NODE), abi::IPPROTO_UDP, 50_000, abi::VXLAN_PORT.get()).build()
}

/// The address of Service `i`, over and over.
fn vip(i: u32) -> String {
    let i = i % SERVICES;
    format!("10.96.{}.{}", i / 250, i % 250 + 1)
}

fn put<K: Plain + 'static, V: Plain + 'static>(bpf: &mut Ebpf, name: &str, key: K, value: V) -> Result<()> {
    let found = bpf.map_mut(name).with_context(|| name.to_owned())?;
    Ok(HashMap::<&mut MapData, Raw<K>, Raw<V>>::try_from(found)?.insert(Raw(key), Raw(value), 0)?)
}

fn set<V: Plain + 'static>(bpf: &mut Ebpf, name: &str, index: u32, value: V) -> Result<()> {
    let found = bpf.map_mut(name).with_context(|| name.to_owned())?;
    Ok(Array::<&mut MapData, Raw<V>>::try_from(found)?.set(index, Raw(value), 0)?)
}

/// A client's flows to two backends, each of which turns its packet into one of the other.
fn loop_flow(flows: &FlowMemory, client: (&str, u16), backends: [(&str, u32); 2]) -> Result<()> {
    let (client, sport, dport) = (v4(client.0), Be16::new(client.1), Be16::new(8080));
    let (a, b) = (backends[0], backends[1]);
    for (from, (to, backend)) in [(a.0, b), (b.0, a)] {
        let forward = FlowKey { src: client, dst: v4(from), sport, dport, proto: IPPROTO_TCP, pad: [0; 3] };
        let reply = FlowKey { src: v4(to), dst: client, sport: dport, dport: sport, ..forward };
        ensure!(flows.establish(forward, reply, backend, now_s()) == Made::New, "the flow table takes a flow");
    }
    Ok(())
}

/// Writes what the flow table has into its maps.
fn write(bpf: &mut Ebpf, flows: &FlowMemory) -> Result<()> {
    let words = flows.words();
    for (number, record) in (0..).zip(&words.records).filter(|(_, record)| **record != FlowRecord::default()) {
        set(bpf, map::FLOWS, number, *record)?;
    }
    for (name, words) in [(map::FLOW_STATES, &words.states), (map::FLOW_INDEX, &words.index)] {
        for (number, line) in (0..).zip(words.chunks_exact(FLOW_LINE as usize)) {
            if line.iter().any(|word| *word != 0) {
                set::<[u64; FLOW_LINE as usize]>(bpf, name, number, line.try_into()?)?;
            }
        }
    }
    Ok(())
}

fn fill(bpf: &mut Ebpf) -> Result<()> {
    let config = Config {
        node4: v4(NODE),
        uplink_ifindex: 2,
        overlay_ifindex: 3,
        vni: 1,
        snat_min: 10_000,
        snat_max: 60_000,
        node_cookie: 1,
        ..Config::default()
    };
    set(bpf, map::CONFIG, 0, config)?;
    for (id, addr) in [(1, BACKEND), (2, REMOTE), (3, SECOND), (4, REMOTE_SECOND)] {
        let backend = Backend { addr: v4(addr), port: Be16::new(8080), proto: IPPROTO_TCP, flags: BACKEND_ALIVE };
        set(bpf, map::BACKENDS, id, backend)?;
        set(bpf, map::SLOTS, id - 1, id)?;
    }
    let value = |i, len| ServiceValue { id: i + 1, base: 0, len, affinity_s: 0, flags: 0 };
    let of = |addr, port, scope| ServiceKey { addr, port: Be16::new(port), proto: IPPROTO_TCP, scope };
    let cluster = (0..SERVICES).map(|i| (of(v4(&vip(i)), 80, SCOPE_CLUSTER), value(i, 2)));
    let node_port = |i: u32| (of(Addr::ANY_V4, 30_000 + i as u16, SCOPE_NODE_PORT), value(i, 1));
    for (row, content) in datapath::service_rows::table(cluster.chain((0..2_768).map(node_port))) {
        set(bpf, map::SERVICES, row, content)?;
    }
    // The MAC of the host's side is the pod's, so that a packet delivered once still passes the source check.
    for addr in [CLIENT, BACKEND, SECOND] {
        put(bpf, map::PODS, v4(addr), PodValue { ifindex: LOOPBACK, mac: MAC, host_mac: MAC, seat: 1, limits: 0 })?;
    }
    put(
        bpf,
        map::VETHS,
        LOOPBACK,
        VethValue { addr4: v4(CLIENT), addr6: Addr::ANY, mac: MAC, pad: [0; 2], seat: 1, limits: 0 },
    )?;
    let found = bpf.map_mut(map::ROUTES).context(map::ROUTES)?;
    let mut routes = lpm_trie::LpmTrie::<&mut MapData, Raw<Addr>, Raw<RouteValue>>::try_from(found)?;
    for (prefix, len, kind, node) in [
        ("10.244.1.0", 24, ROUTE_LOCAL_PODS, Addr::ANY),
        ("10.244.2.0", 24, ROUTE_OVERLAY, v4("192.0.2.2")),
        (NODE, 32, ROUTE_THIS_NODE, Addr::ANY),
        ("10.96.0.0", 16, ROUTE_SERVICE_RANGE, Addr::ANY),
    ] {
        routes.insert(&lpm_trie::Key::new(96 + len, Raw(v4(prefix))), Raw(RouteValue { kind, node }), 0)?;
    }
    Ok(())
}
