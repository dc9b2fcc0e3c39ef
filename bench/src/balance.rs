//! Nanoseconds a packet in the layer-4 balancer, by BPF_PROG_TEST_RUN.
//!
//! A program around the balancer gives the buffer another flow before each run and takes the outer header off after it, so that one
//! buffer serves a million runs over any number of flows. What that costs by itself is measured by two more programs and
//! taken off; the outer header that the balancer puts on is part of its figure.

mod compare;
mod katran;
mod tables;

use std::path::Path;

use abi::balance::map;
use abi::{IPPROTO_TCP, IPPROTO_UDP};
use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, MapData};
use aya::programs::{TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, TestRun as _};
use datapath::maglev;
use kernel::bpf::Raw;
use packet::host::Spec;
use serde::Serialize;

/// Virtual addresses, `10.0.x.y`.
const VIPS: u32 = 10_000;
/// Backends of each.
const BACKENDS: u32 = 8;
/// Of these addresses the flows choose: the largest power of two.
const VIP_MASK: u32 = 8_191;
/// So many of the addresses have a UDP port, too.
const UDP_VIPS: u32 = 256;
/// Hardware address that frames are sent to.
const GATEWAY: [u8; 6] = [2, 0, 0, 0, 0, 9];
const ROUNDS: usize = 11;
const PACKETS: u32 = 1_000_000;
/// Entries of the flow table, above the flows measured.
const FLOWS: u32 = 1 << 21;

const EMPTY: &str = "balance_base";
const TWICE: &str = "balance_twice";
const BENCH: &str = "balance_bench";
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

/// The figures of one case.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub case: &'static str,
    pub flows: u32,
    pub vips: u32,
    /// Net of the harness.
    pub min_ns: f64,
    pub median_ns: f64,
}

/// Everything that one run measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub kernel: String,
    pub vips: u32,
    /// What the harness costs: giving the packet a flow, and putting an outer header on and taking it off.
    pub base_ns: f64,
    pub twice_ns: f64,
    pub rows: Vec<Row>,
    /// Beside Katran, where an object of it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub katran: Option<compare::Comparison>,
    /// Writing one ring of this many slots, in microseconds: one address's backends change.
    pub ring_slots: u32,
    pub ring_us: f64,
}

/// Loads the object from `GANNET_BPF_OBJECT`, fills its maps and measures; with the path of an object of Katran's, both by
/// turns, too.
pub fn run(katran: Option<&Path>) -> Result<Report> {
    let path = std::env::var_os("GANNET_BPF_OBJECT")
        .context("GANNET_BPF_OBJECT is not set: run `cargo xtask bench balance`")?;
    let object = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let size = maglev::size(BACKENDS as usize, 0);
    let mut loader = EbpfLoader::new();
    loader.map_max_entries(map::SLOTS, tables::elements(size)).map_max_entries(map::FLOWS, FLOWS);
    let mut bpf = loader.load(&object).context("cannot open the BPF object")?;
    for name in [EMPTY, TWICE, BENCH, abi::balance::PROGRAM] {
        program(&mut bpf, name)?.load().with_context(|| format!("cannot load {name}"))?;
    }
    let mut tables = tables::fill(&mut bpf, size)?;
    let katran = match katran {
        Some(path) => Some(compare::run(&mut bpf, path)?),
        None => None,
    };

    let one = ack();
    let base_ns = measure(&mut bpf, EMPTY, &one, (1, 1), XDP_TX)?.0;
    let twice_ns = measure(&mut bpf, TWICE, &one, (1, 1), XDP_TX)?.0;
    let undo = (twice_ns - base_ns) / 2.0;
    let mut rows = Vec::new();
    let mut add = |bpf: &mut Ebpf, case, frame: &[u8], flows, vips, action| -> Result<()> {
        let (min, median) = measure(bpf, BENCH, frame, (flows, vips), action)?;
        let around = base_ns + if action == XDP_TX { undo } else { 0.0 };
        rows.push(Row { case, flows, vips, min_ns: min - around, median_ns: median - around });
        Ok(())
    };
    add(&mut bpf, "not for a virtual address", &other(), 1, 1, XDP_PASS)?;
    for (flows, vips) in [(1, 1), (4_096, 1), (65_536, 1), (1 << 19, 1), (65_536, 8_192), (1 << 20, 8_192)] {
        add(&mut bpf, "established", &ack(), flows, vips, XDP_TX)?;
    }
    for (flows, vips) in [(4_096, 1), (1 << 20, 8_192)] {
        add(&mut bpf, "new flow", &syn(), flows, vips, XDP_TX)?;
    }
    // Every slot has changed: each flow has a record, made at its first packet.
    tables::change_all(&mut tables);
    add(&mut bpf, "new flow, all slots changed", &syn(), 1 << 20, 8_192, XDP_TX)?;
    for (flows, vips) in [(1, 1), (65_536, 1), (1 << 19, 1), (65_536, 8_192), (1 << 20, 8_192)] {
        add(&mut bpf, "established, all slots changed", &ack(), flows, vips, XDP_TX)?;
    }

    let (ring_slots, ring_us) = tables::ring_write(&mut tables)?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    Ok(Report { kernel, vips: VIPS, base_ns, twice_ns, rows, katran, ring_slots, ring_us })
}

/// The report as a table.
pub fn table(report: &Report) -> String {
    let mut text = format!(
        "kernel {}, {} virtual addresses of {BACKENDS} backends; ns a packet, net of the harness ({:.0} ns, and {:.0} ns with a \
         header put on and taken off)\n\n| case | flows | addresses | min | median |\n|---|---|---|---|---|\n",
        report.kernel, report.vips, report.base_ns, report.twice_ns
    );
    for row in &report.rows {
        text +=
            &format!("| {} | {} | {} | {:.0} | {:.0} |\n", row.case, row.flows, row.vips, row.min_ns, row.median_ns);
    }
    if let Some(comparison) = &report.katran {
        text += &compare::table(comparison);
    }
    text + &format!("\nOne ring of {} slots is written in {:.1} us.\n", report.ring_slots, report.ring_us)
}

fn program<'a>(bpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    Ok(bpf.program_mut(name).with_context(|| format!("the object has no program {name}"))?.try_into()?)
}

/// Minimum and median of the rounds.
fn measure(bpf: &mut Ebpf, name: &str, frame: &[u8], (flows, vips): (u32, u32), action: u32) -> Result<(f64, f64)> {
    let mut rounds = Vec::new();
    for number in 0..=ROUNDS {
        let ns = round(bpf, name, frame, [0, flows - 1, (vips - 1).min(VIP_MASK), 0], action)?;
        // The first round warms caches and, where flows have records, makes them.
        if number > 0 {
            rounds.push(ns);
        }
    }
    Ok(least_and_median(rounds))
}

/// One run of [`PACKETS`], nanoseconds each. `state` is what [`BENCH`] starts with: the number of the first packet, and the masks of flows and
/// addresses.
fn round(bpf: &mut Ebpf, name: &str, frame: &[u8], state: [u32; 4], action: u32) -> Result<f64> {
    let map = bpf.map_mut("LB_BENCH").context("the object has no map LB_BENCH")?;
    Array::<&mut MapData, Raw<[u32; 4]>>::try_from(map)?.set(0, Raw(state), 0)?;
    let mut left = vec![0; frame.len() + 256];
    let options =
        TestRunOptions { data_in: Some(frame), data_out: Some(&mut left), repeat: PACKETS, ..TestRunOptions::new() };
    let result = program(bpf, name)?.test_run(options).with_context(|| format!("test run of {name}"))?;
    ensure!(result.return_value == action, "{name} answered {} instead of {action}", result.return_value);
    Ok(result.duration.as_nanos() as f64)
}

fn least_and_median(mut rounds: Vec<f64>) -> (f64, f64) {
    rounds.sort_by(f64::total_cmp);
    (rounds[0], rounds[rounds.len() / 2])
}

fn frame(dst: &str, tcp_flags: u8) -> Vec<u8> {
    let parse = |text: &str| text.parse().expect("the cases hold addresses");
    Spec { tcp_flags, ..Spec::new(parse("198.18.0.0"), parse(dst), IPPROTO_TCP, 1, 80) }.build()
}

fn datagram() -> Vec<u8> {
    let parse = |text: &str| text.parse().expect("the cases hold addresses");
    Spec::new(parse("198.18.0.0"), parse("10.0.0.0"), IPPROTO_UDP, 1, 80).build()
}

fn ack() -> Vec<u8> {
    frame("10.0.0.0", 0x10)
}

fn syn() -> Vec<u8> {
    frame("10.0.0.0", 2)
}

/// To a port that no virtual address has.
fn other() -> Vec<u8> {
    let parse = |text: &str| text.parse().expect("an address");
    Spec::new(parse("198.18.0.0"), parse("10.0.0.0"), IPPROTO_TCP, 1, 22).build()
}
