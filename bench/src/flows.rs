//! Nanoseconds a use of the flow table, by BPF_PROG_TEST_RUN of a program that uses it for another flow with each run, beside the kernel's
//! own LRU hash map with a key a direction.
//!
//! Flows are visited in an order that no cache foresees, and different from the one in which they were made. What the program around
//! costs by itself is measured and taken off.

use abi::{
    Addr, Be16, FlowKey, IPPROTO_TCP,
    flow::{
        FLOW_BITS_MAX, FlowRecord, FlowRun, RUN_ESTABLISH, RUN_HASH_LOOK, RUN_HASH_MAKE, RUN_LOOK, RUN_MAKE,
        RUN_NOTHING, flow_buckets, flow_records, flow_state_lines,
    },
    map,
};
use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader, TestRun as _,
    maps::{Array, MapData},
    programs::{TestRunOptions, Xdp},
};
use kernel::LoadBalancing;
use kernel::bpf::{FlowTable, Raw, Seen, now_s};
use packet::flows::{self, Made, TCP_IDLE_S, TRANSIT_IDLE_S};
use serde::Serialize;

use crate::node::Node;

const PROGRAM: &str = "flow_run";
const RUN: &str = "FLOW_RUN";
const HASH: &str = "FLOW_RUN_HASH";
const XDP_PASS: u32 = 2;
/// Rounds of a case, which take turns with those of others, and runs a round: few, so that little else comes between.
const ROUNDS: u32 = 48;
const RUNS: u32 = 1 << 14;
/// Looks at all maps.
const SCRAPES: usize = 9;
/// Between two requests for metrics, as Prometheus is mostly told.
const SCRAPE_S: f64 = 15.0;
/// When the flows are made.
const START_S: u32 = 100_000;

/// The figures of one case.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub case: &'static str,
    /// Records of the table, and flows that live in it.
    pub size: u32,
    pub flows: u32,
    /// Net of the program around.
    pub min_ns: f64,
    pub median_ns: f64,
    /// Of a thousand runs, how many did what was asked.
    pub good_permille: u32,
}

/// Everything that one run measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub kernel: String,
    pub rows: Vec<Row>,
    pub upkeep: Vec<Upkeep>,
}

/// What user space does with a table that nine tenths of living flows fill. There is no sweep, so this is all upkeep.
#[derive(Clone, Debug, Serialize)]
pub struct Upkeep {
    pub size: u32,
    pub flows: u32,
    /// Reading how full every map is, which each request for metrics does: the best of some.
    pub scrape_ms: f64,
    /// The same as a share of one core where metrics are asked for every [`SCRAPE_S`] seconds.
    pub core_percent: f64,
    /// The three arrays, and all maps of the node, as the kernel counts them.
    pub table_bytes: u64,
    pub maps_bytes: u64,
}

/// One way to use the table, again and again.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    /// `RUN_*`.
    what: u32,
    /// Flows that are visited, 0 for those that have never been.
    flows: u32,
    /// 1: by both tuples.
    ways: u32,
}

/// A table of 2^`bits` records and the program that uses it.
struct Bed {
    bpf: Ebpf,
    size: u32,
    /// Flows made so far.
    flows: u32,
    now_s: u32,
}

/// Loads the object from `GANNET_BPF_OBJECT` with tables of 2^`bits` records, one size after the other, and measures.
pub fn run(sizes: &[u32]) -> Result<Report> {
    let path =
        std::env::var_os("GANNET_BPF_OBJECT").context("GANNET_BPF_OBJECT is not set: run `cargo xtask bench flows`")?;
    let object = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (mut rows, mut upkeeps) = (Vec::new(), Vec::new());
    for bits in sizes {
        ensure!((10..=FLOW_BITS_MAX).contains(bits), "a table of 2^{bits} records is not for measuring");
        Bed::new(&object, *bits)?.measure(&mut rows)?;
        upkeeps.push(upkeep(*bits)?);
    }
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
    Ok(Report { kernel, rows, upkeep: upkeeps })
}

impl Bed {
    fn new(object: &[u8], bits: u32) -> Result<Bed> {
        let mut loader = EbpfLoader::new();
        loader.override_global("FLOW_TABLE_BITS", &bits, true);
        loader.map_max_entries(map::FLOWS, flow_records(bits));
        loader.map_max_entries(map::FLOW_STATES, flow_state_lines(bits));
        loader.map_max_entries(map::FLOW_INDEX, flow_buckets(bits));
        loader.map_max_entries(HASH, 2 * flow_records(bits));
        let mut bpf = loader.load(object).context("cannot open the BPF object")?;
        let program: &mut Xdp = bpf.program_mut(PROGRAM).context(PROGRAM)?.try_into()?;
        program.load().with_context(|| format!("cannot load {PROGRAM}"))?;
        Ok(Bed { bpf, size: flow_records(bits), flows: 0, now_s: START_S })
    }

    /// Every case at this size, in an order in which each finds the table as it needs it.
    fn measure(mut self, rows: &mut Vec<Row>) -> Result<()> {
        let case = |name, what, flows, ways| Case { name, what, flows, ways };
        let established = case("new flow, established at once", RUN_ESTABLISH, 0, 0);
        let insert = case("LRU hash, insert of two keys", RUN_HASH_MAKE, 0, 0);
        for part in [self.size / 4, self.size / 10 * 9] {
            rows.extend(self.turns(&[established, insert], part - self.flows)?);
            let look = [
                case("look-up", RUN_LOOK, part, 1),
                case("LRU hash look-up", RUN_HASH_LOOK, part, 1),
                case("look-up, one flow", RUN_LOOK, 1, 0),
                case("LRU hash look-up, one flow", RUN_HASH_LOOK, 1, 0),
            ];
            rows.extend(self.turns(&look, ROUNDS * RUNS)?);
        }
        // The last tenth is of flows that nobody answers, and they are over when the next ones come.
        let make = case("new flow, a tenth over", RUN_MAKE, 0, 0);
        self.turns(&[make], self.size / 10)?;
        self.now_s += 2 * TRANSIT_IDLE_S;
        rows.extend(self.turns(&[make], self.size / 20)?);
        self.now_s += 2 * TCP_IDLE_S;
        rows.extend(self.turns(&[Case { name: "new flow, all over", ..make }], self.size)?);
        // Now all are of flows that nobody has answered.
        let flood = Case { name: "new flow, nobody answers", ..make };
        let evicting = Case { name: "LRU hash, insert of two keys, evicting", ..insert };
        rows.extend(self.turns(&[flood, evicting], self.size)?);
        Ok(())
    }

    /// So many runs of each case, in rounds that take turns. Those of flows that have never been are the next ones in each.
    fn turns(&mut self, cases: &[Case], runs: u32) -> Result<Vec<Row>> {
        let mut figures: Vec<(Vec<f64>, u64)> = cases.iter().map(|_| (Vec::new(), 0)).collect();
        let mut base = vec![f64::MAX; cases.len()];
        let a_round = RUNS.min(runs.div_ceil(8));
        let mut done = 0;
        while done < runs {
            let these = a_round.min(runs - done);
            for ((case, (times, good)), base) in cases.iter().zip(&mut figures).zip(&mut base) {
                let from = if case.flows == 0 { self.flows } else { done };
                *base = self.round(Case { what: RUN_NOTHING, ..*case }, from, these)?.0.min(*base);
                let (time, well) = self.round(*case, from, these)?;
                times.push(time);
                *good += u64::from(well);
            }
            if cases[0].flows == 0 {
                self.flows += these;
            }
            done += these;
        }
        let rows = cases.iter().zip(figures).zip(base).map(|((case, (mut times, good)), base)| {
            times.sort_by(f64::total_cmp);
            Row {
                case: case.name,
                size: self.size,
                flows: if case.flows == 0 { self.flows } else { case.flows },
                min_ns: times[0] - base,
                median_ns: times[times.len() / 2] - base,
                good_permille: (1_000 * good / u64::from(runs)) as u32,
            }
        });
        Ok(rows.collect())
    }

    /// Nanoseconds a run, and how many did what was asked.
    fn round(&mut self, case: Case, from: u32, runs: u32) -> Result<(f64, u32)> {
        let Case { what, flows, ways, .. } = case;
        let start = FlowRun { what, next: from, flows, ways, now_s: self.now_s, good: 0 };
        let found = self.bpf.map_mut(RUN).context(RUN)?;
        Array::<&mut MapData, Raw<FlowRun>>::try_from(found)?.set(0, Raw(start), 0)?;
        let frame = [0; 64];
        let options = TestRunOptions { data_in: Some(&frame), repeat: runs, ..TestRunOptions::new() };
        let program: &mut Xdp = self.bpf.program_mut(PROGRAM).context(PROGRAM)?.try_into()?;
        let result = program.test_run(options).with_context(|| format!("test run of {PROGRAM}"))?;
        ensure!(result.return_value == XDP_PASS, "{PROGRAM} answered {}", result.return_value);
        let found = self.bpf.map(RUN).context(RUN)?;
        let end = Array::<&MapData, Raw<FlowRun>>::try_from(found)?.get(&0, 0)?.0;
        ensure!(end.next == from.wrapping_add(runs), "{} runs of {runs}", end.next.wrapping_sub(from));
        Ok((result.duration.as_nanos() as f64, end.good))
    }
}

/// Fills the table of a node made for it, and looks at it as its agent does.
fn upkeep(bits: u32) -> Result<Upkeep> {
    let node = Node::sized(LoadBalancing::default(), bits)?;
    let pins = node.pins();
    let table = FlowTable::open(&pins, bits, node.datapath.config().seed)?;
    let size = flow_records(bits);
    let flows = (0..size / 10 * 9).filter(|n| flows::make(&table, &draft(*n), now_s()) == Made::New).count() as u32;
    let seen = Seen::new(pins.parent().context("pins have a folder")?);
    let (mut scrape_ms, mut maps) = (f64::MAX, Vec::new());
    for _ in 0..SCRAPES {
        let begin = process::instant();
        maps = seen.maps()?;
        scrape_ms = begin.elapsed().as_secs_f64().min(scrape_ms / 1e3) * 1e3;
    }
    let found = maps.iter().find(|map| map.name == map::FLOWS).and_then(|map| map.entries);
    ensure!(found == Some(u64::from(flows)), "{found:?} of {flows} flows are seen");
    let bytes = |of: &dyn Fn(&str) -> bool| maps.iter().filter(|map| of(&map.name)).map(|map| map.bytes).sum();
    let table = [map::FLOWS, map::FLOW_STATES, map::FLOW_INDEX];
    Ok(Upkeep {
        size,
        flows,
        scrape_ms,
        core_percent: scrape_ms / 1e3 / SCRAPE_S * 1e2,
        table_bytes: bytes(&|name| table.contains(&name)),
        maps_bytes: bytes(&|_| true),
    })
}

/// A flow between two addresses.
fn draft(n: u32) -> FlowRecord {
    let client = Addr::v4((0x0a00_0000 + n).to_be_bytes());
    let key = |src, dst, sport, dport| {
        let (sport, dport) = (Be16::new(sport), Be16::new(dport));
        FlowKey { src, dst, sport, dport, proto: IPPROTO_TCP, pad: [0; 3] }
    };
    let keys = [key(client, Addr::v4([10, 96, 0, 1]), 1_024, 80), key(Addr::v4([192, 0, 2, 1]), client, 8_080, 1_024)];
    FlowRecord { keys, ..FlowRecord::default() }
}

/// The report as a table.
pub fn table(report: &Report) -> String {
    let mut text = format!(
        "kernel {}; ns a use, net of the program around it\n\n| case | records | flows | min | median | done, of 1,000 |\n|---|---|---|---|---|---|\n",
        report.kernel
    );
    for row in &report.rows {
        text += &format!(
            "| {} | {} | {} | {:.0} | {:.0} | {} |\n",
            row.case, row.size, row.flows, row.min_ns, row.median_ns, row.good_permille
        );
    }
    text += "\n| records | flows | one look at all maps, ms | every 15 s, % of a core | the table, MB | all maps, MB |\n|---|---|---|---|---|---|\n";
    for Upkeep { size, flows, scrape_ms, core_percent, table_bytes, maps_bytes } in &report.upkeep {
        let megabytes = [table_bytes, maps_bytes].map(|bytes| *bytes as f64 / 1e6);
        text += &format!(
            "| {size} | {flows} | {scrape_ms:.1} | {core_percent:.2} | {:.0} | {:.0} |\n",
            megabytes[0], megabytes[1]
        );
    }
    text
}
