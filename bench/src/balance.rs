//! Nanoseconds a packet in the layer-4 balancer, by BPF_PROG_TEST_RUN.
//!
//! A program around the balancer gives the buffer another flow before each run and takes the outer header off after it, so that one
//! buffer serves a million runs over any number of flows. What that costs by itself is measured by two more programs and
//! taken off; the outer header that the balancer puts on is part of its figure.

use std::os::fd::AsFd as _;

use abi::balance::{self, MAX_ROWS, SLOTS_AN_ELEMENT, Vip, map};
use abi::{Addr, BACKEND_ALIVE, Be16, IPPROTO_TCP};
use anyhow::{Context as _, Result, bail, ensure};
use aya::maps::{Array, Map, MapData};
use aya::programs::{TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, TestRun as _};
use datapath::balancer::{Rows, VipKey, vip};
use datapath::maglev::{self, Member};
use kernel::bpf::{Mapped, Raw};
use packet::host::{Spec, v4};
use serde::Serialize;

/// Virtual addresses, `10.0.x.y`.
const VIPS: u32 = 10_000;
/// Backends of each.
const BACKENDS: u32 = 8;
/// Of these addresses the flows choose: the largest power of two.
const VIP_MASK: u32 = 8_191;
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
    /// Writing one ring of this many slots, in microseconds: one address's backends change.
    pub ring_slots: u32,
    pub ring_us: f64,
}

struct Tables {
    vips: Mapped<Vip>,
    slots: Mapped<[u32; SLOTS_AN_ELEMENT as usize]>,
    rows: Rows,
    size: u32,
}

/// Loads the object from `GANNET_BPF_OBJECT`, fills its maps and measures.
pub fn run() -> Result<Report> {
    let path = std::env::var_os("GANNET_BPF_OBJECT")
        .context("GANNET_BPF_OBJECT is not set: run `cargo xtask bench balance`")?;
    let object = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let size = maglev::size(BACKENDS as usize, 0);
    let elements = (VIPS * size).div_ceil(SLOTS_AN_ELEMENT) + 65_536;
    let mut loader = EbpfLoader::new();
    loader.map_max_entries(map::SLOTS, elements).map_max_entries(map::FLOWS, FLOWS);
    let mut bpf = loader.load(&object).context("cannot open the BPF object")?;
    for name in [EMPTY, TWICE, BENCH] {
        program(&mut bpf, name)?.load().with_context(|| format!("cannot load {name}"))?;
    }
    let mut tables = fill(&mut bpf, size, elements)?;

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
    for (flows, vips) in [(1, 1), (4_096, 1), (65_536, 8_192), (1 << 20, 8_192)] {
        add(&mut bpf, "established", &ack(), flows, vips, XDP_TX)?;
    }
    for (flows, vips) in [(4_096, 1), (1 << 20, 8_192)] {
        add(&mut bpf, "new flow", &syn(), flows, vips, XDP_TX)?;
    }
    // Every slot has changed: each flow has a record, made at its first packet.
    change_all(&mut tables);
    add(&mut bpf, "new flow, all slots changed", &syn(), 1 << 20, 8_192, XDP_TX)?;
    for (flows, vips) in [(1, 1), (65_536, 8_192), (1 << 20, 8_192)] {
        add(&mut bpf, "established, all slots changed", &ack(), flows, vips, XDP_TX)?;
    }

    let (ring_slots, ring_us) = ring_write(&mut tables)?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    Ok(Report { kernel, vips: VIPS, base_ns, twice_ns, rows, ring_slots, ring_us })
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
    text + &format!("\nOne ring of {} slots is written in {:.1} us.\n", report.ring_slots, report.ring_us)
}

fn program<'a>(bpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    Ok(bpf.program_mut(name).with_context(|| format!("the object has no program {name}"))?.try_into()?)
}

/// Minimum and median of the rounds.
fn measure(bpf: &mut Ebpf, name: &str, frame: &[u8], (flows, vips): (u32, u32), action: u32) -> Result<(f64, f64)> {
    let mut rounds = Vec::new();
    for round in 0..=ROUNDS {
        let state = [0, flows - 1, (vips - 1).min(VIP_MASK), 0];
        Array::<&mut MapData, Raw<[u32; 4]>>::try_from(bpf.map_mut("LB_BENCH").context("LB_BENCH")?)?.set(
            0,
            Raw(state),
            0,
        )?;
        let mut left = vec![0; frame.len() + 256];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut left),
            repeat: PACKETS,
            ..TestRunOptions::new()
        };
        let result = program(bpf, name)?.test_run(options).with_context(|| format!("test run of {name}"))?;
        ensure!(result.return_value == action, "{name} answered {} instead of {action}", result.return_value);
        // The first round warms caches and, where flows have records, makes them.
        if round > 0 {
            rounds.push(result.duration.as_nanos() as f64);
        }
    }
    rounds.sort_by(f64::total_cmp);
    Ok((rounds[0], rounds[rounds.len() / 2]))
}

fn frame(dst: &str, tcp_flags: u8) -> Vec<u8> {
    let parse = |text: &str| text.parse().expect("the cases hold addresses");
    Spec { tcp_flags, ..Spec::new(parse("198.18.0.0"), parse(dst), IPPROTO_TCP, 1, 80) }.build()
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

fn address(i: u32) -> Addr {
    let [_, _, a, b] = i.to_be_bytes();
    v4(&format!("10.0.{a}.{b}"))
}

fn fill(bpf: &mut Ebpf, size: u32, elements: u32) -> Result<Tables> {
    let source4 = v4("192.0.2.1");
    let config = balance::Config {
        source4,
        gateway_mac: [2, 0, 0, 0, 0, 9],
        own_mac: [2, 0, 0, 0, 0, 1],
        mtu: 1_500,
        seed: 7,
        ready: 1,
        gate_per_s: u32::MAX,
        ..balance::Config::default()
    };
    Array::<&mut MapData, Raw<balance::Config>>::try_from(bpf.map_mut(map::CONFIG).context(map::CONFIG)?)?.set(
        0,
        Raw(config),
        0,
    )?;
    let mut vips = mapped::<Vip>(bpf, map::VIPS, MAX_ROWS as usize)?;
    let mut slots = mapped(bpf, map::SLOTS, elements as usize)?;
    let mut backends = mapped::<balance::Backend>(bpf, map::BACKENDS, balance::MAX_BACKENDS as usize)?;
    for id in 1..=BACKENDS {
        let addr = v4(&format!("192.0.2.{}", 100 + id));
        let backend = balance::Backend {
            addr,
            sum: balance::outer_sum(&source4, &addr),
            flags: BACKEND_ALIVE,
            ..balance::Backend::default()
        };
        ensure!(backends.set(id as usize, &backend), "backend {id}");
    }
    let ring = maglev::ring(&members(), size);
    let mut rows = Rows::default();
    for i in 0..VIPS {
        let base = i * size;
        for (slot, member) in ring.iter().enumerate() {
            put_slot(&mut slots, base + slot as u32, balance::slot(*member as u16 + 1, 0))?;
        }
        let key = VipKey { addr: address(i), port: Be16::new(80), proto: IPPROTO_TCP };
        let row = rows.take(key)?;
        ensure!(vips.set(row as usize, &vip(&key, i, Vip::pack_ring(base, size), 0)), "row {row}");
    }
    Ok(Tables { vips, slots, rows, size })
}

fn mapped<T: kernel::bpf::Plain>(bpf: &Ebpf, name: &str, len: usize) -> Result<Mapped<T>> {
    let Map::Array(data) = bpf.map(name).with_context(|| name.to_owned())? else { bail!("{name} is no array") };
    Mapped::new(data.fd().as_fd(), len).with_context(|| format!("cannot map {name}"))
}

fn members() -> Vec<Member> {
    (0..BACKENDS).map(|i| Member { hash: maglev::spread(u64::from(i)), weight: 1 }).collect()
}

fn put_slot(slots: &mut Mapped<[u32; SLOTS_AN_ELEMENT as usize]>, index: u32, value: u32) -> Result<()> {
    let at = (index / SLOTS_AN_ELEMENT) as usize;
    let mut pair = slots.get(at).context("beyond the slots")?;
    pair[(index % SLOTS_AN_ELEMENT) as usize] = value;
    slots.set(at, &pair);
    Ok(())
}

/// Every slot gets another backend, and keeps the one it had as its previous one.
fn change_all(tables: &mut Tables) {
    for at in 0..tables.slots.len() {
        let Some(pair) = tables.slots.get(at) else { continue };
        let changed = pair.map(|slot| {
            let current = slot & 0xffff;
            if current == 0 { 0 } else { balance::slot((current % BACKENDS) as u16 + 1, current as u16) }
        });
        tables.slots.set(at, &changed);
    }
}

/// A ring of 16,381 slots is computed anew and stored: microseconds of the stores.
fn ring_write(tables: &mut Tables) -> Result<(u32, f64)> {
    let size = 16_381;
    let ring = maglev::ring(&members(), size);
    let pairs: Vec<[u32; 2]> = ring
        .chunks(2)
        .map(|pair| [balance::slot(pair[0] as u16 + 1, 0), pair.get(1).map_or(0, |m| balance::slot(*m as u16 + 1, 0))])
        .collect();
    let base = (VIPS * tables.size).div_ceil(SLOTS_AN_ELEMENT) as usize;
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = std::time::Instant::now();
        for (i, pair) in pairs.iter().enumerate() {
            tables.slots.set(base + i, pair);
        }
        let row = tables.rows.iter().next().map(|(_, row)| row as usize).context("no row")?;
        let ring = Vip::pack_ring(base as u32 * SLOTS_AN_ELEMENT, size);
        ensure!(tables.vips.set_word(row, std::mem::offset_of!(Vip, ring), ring), "row {row}");
        best = best.min(start.elapsed().as_nanos() as f64 / 1_000.0);
    }
    Ok((size, best))
}
