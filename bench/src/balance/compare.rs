//! Our balancer and Katran by turns, with the same packets. Each is checked to do what is measured: what it sends is the packet in an
//! outer header to a backend, and its own counters say that it did so for each packet of each round.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use aya::programs::TestRunOptions;
use aya::{Ebpf, TestRun as _};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde::Serialize;

use super::{
    BACKENDS, BENCH, EMPTY, GATEWAY, PACKETS, ROUNDS, TWICE, UDP_VIPS, XDP_PASS, XDP_TX, ack, datagram, katran,
    least_and_median, other, program, round, syn, tables,
};

const ETHERNET: usize = 14;
const OUTER: usize = 20;
const IPPROTO_IPIP: u8 = 4;

/// Both, by turns.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// What the harness costs, with a header put on and taken off.
    pub ours_base_ns: f64,
    pub ours_twice_ns: f64,
    pub katran_base_ns: f64,
    pub katran_twice_ns: f64,
    pub rows: Vec<Row>,
}

/// The figures of one case, net of the harness.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub case: &'static str,
    pub flows: u32,
    pub addresses: u32,
    pub ours_min_ns: f64,
    pub ours_median_ns: f64,
    pub katran_min_ns: f64,
    pub katran_median_ns: f64,
    /// Ours to Katran's, of the minima.
    pub ratio: f64,
}

struct Case {
    name: &'static str,
    frame: Vec<u8>,
    /// Powers of two.
    flows: u32,
    addresses: u32,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Other,
    Established,
    /// No round has a flow of another.
    New,
}

/// What the harness costs around one of the two.
struct Around {
    base: f64,
    twice: f64,
}

impl Around {
    fn of(&self, action: u32) -> f64 {
        // A header was put on and taken off; the balancer does the one half, and it is part of its figure.
        self.base + if action == XDP_TX { (self.twice - self.base) / 2.0 } else { 0.0 }
    }
}

/// Measures; `ours` is loaded and filled.
pub fn run(ours: &mut Ebpf, path: &Path) -> Result<Comparison> {
    let mut cpus = CpuSet::new();
    cpus.set(0)?;
    sched_setaffinity(Pid::from_raw(0), &cpus).context("cannot stay on CPU 0")?;
    let mut theirs = katran::load(path, &[EMPTY, TWICE, BENCH, katran::PROGRAM])?;
    for frame in [ack(), syn(), datagram()] {
        check_output(ours, abi::balance::PROGRAM, &frame)?;
        check_output(&mut theirs, katran::PROGRAM, &frame)?;
    }
    let (ours_around, theirs_around) = around(ours, &mut theirs)?;
    let mut rows = Vec::new();
    for case in cases() {
        let action = if case.kind == Kind::Other { XDP_PASS } else { XDP_TX };
        let (a, b) = by_turns(ours, &mut theirs, &case, action)
            .with_context(|| format!("{}, {} flows", case.name, case.flows))?;
        let ((a_min, a_median), (b_min, b_median)) = (least_and_median(a), least_and_median(b));
        let (a_off, b_off) = (ours_around.of(action), theirs_around.of(action));
        rows.push(Row {
            case: case.name,
            flows: case.flows,
            addresses: case.addresses,
            ours_min_ns: a_min - a_off,
            ours_median_ns: a_median - a_off,
            katran_min_ns: b_min - b_off,
            katran_median_ns: b_median - b_off,
            ratio: (a_min - a_off) / (b_min - b_off),
        });
    }
    Ok(Comparison {
        ours_base_ns: ours_around.base,
        ours_twice_ns: ours_around.twice,
        katran_base_ns: theirs_around.base,
        katran_twice_ns: theirs_around.twice,
        rows,
    })
}

/// The rows as a table.
pub fn table(comparison: &Comparison) -> String {
    let Comparison { ours_base_ns, ours_twice_ns, katran_base_ns, katran_twice_ns, rows } = comparison;
    let mut text = format!(
        "\nBeside Katran, by turns; the harness is {ours_base_ns:.0} ns, {ours_twice_ns:.0} with a header put on and taken off, and around \
         Katran {katran_base_ns:.0} and {katran_twice_ns:.0}\n\n| case | flows | addresses | min | median | Katran min | median | ratio |\n\
         |---|---|---|---|---|---|---|---|\n"
    );
    for row in rows {
        text += &format!(
            "| {} | {} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.2} |\n",
            row.case,
            row.flows,
            row.addresses,
            row.ours_min_ns,
            row.ours_median_ns,
            row.katran_min_ns,
            row.katran_median_ns,
            row.ratio
        );
    }
    text
}

fn cases() -> Vec<Case> {
    let case =
        |name, frame: fn() -> Vec<u8>, flows, addresses, kind| Case { name, frame: frame(), flows, addresses, kind };
    let mut all = vec![case("not for a virtual address", other, 1, 1, Kind::Other)];
    let shapes = [(1, 1), (1 << 16, 1), (1 << 19, 1), (1 << 16, UDP_VIPS), (1 << 19, UDP_VIPS)];
    for (flows, addresses) in shapes {
        all.push(case("established", ack, flows, addresses, Kind::Established));
    }
    for (flows, addresses) in shapes {
        all.push(case("established, UDP", datagram, flows, addresses, Kind::Established));
    }
    // Last: they drive the others' records out.
    for addresses in [1, UDP_VIPS] {
        all.push(case("new flow each", syn, 1 << 24, addresses, Kind::New));
    }
    all
}

fn around(ours: &mut Ebpf, theirs: &mut Ebpf) -> Result<(Around, Around)> {
    let (frame, state) = (ack(), [0; 4]);
    let mut figures = [const { Vec::new() }; 4];
    for number in 0..=ROUNDS {
        let round = [
            round(ours, EMPTY, &frame, state, XDP_TX)?,
            round(ours, TWICE, &frame, state, XDP_TX)?,
            round(theirs, EMPTY, &frame, state, XDP_TX)?,
            round(theirs, TWICE, &frame, state, XDP_TX)?,
        ];
        if number > 0 {
            figures.iter_mut().zip(round).for_each(|(all, one)| all.push(one));
        }
    }
    let [a, b, c, d] = figures.map(|all| least_and_median(all).0);
    Ok((Around { base: a, twice: b }, Around { base: c, twice: d }))
}

/// Rounds of both, after one that warms caches and makes records.
fn by_turns(ours: &mut Ebpf, theirs: &mut Ebpf, case: &Case, action: u32) -> Result<(Vec<f64>, Vec<f64>)> {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let mut before = (tables::packets(ours, case.addresses)?, katran::counts(theirs)?);
    for number in 0..=ROUNDS {
        let first = if case.kind == Kind::New { number as u32 * PACKETS } else { 0 };
        let state = [first, case.flows - 1, case.addresses - 1, 0];
        let one = round(ours, BENCH, &case.frame, state, action)?;
        let other = round(theirs, BENCH, &case.frame, state, action)?;
        if number > 0 {
            a.push(one);
            b.push(other);
        } else {
            before = (tables::packets(ours, case.addresses)?, katran::counts(theirs)?);
        }
    }
    let after = (tables::packets(ours, case.addresses)?, katran::counts(theirs)?);
    let packets = if case.kind == Kind::Other { 0 } else { u64::from(PACKETS) * ROUNDS as u64 };
    let misses = if case.kind == Kind::New { packets } else { 0 };
    let sent = after.0 - before.0;
    ensure!(sent == packets, "ours sent {sent} of {packets}");
    let counted = (after.1.packets - before.1.packets, after.1.misses - before.1.misses);
    ensure!(counted == (packets, misses), "Katran sent and missed {counted:?}, not {:?}", (packets, misses));
    ensure!(after.1.fallback == 0, "{} packets on a CPU without a table of flows", after.1.fallback);
    Ok((a, b))
}

/// Whether a program sends the frame, unchanged, in an IPv4 header of its own to one of the backends.
fn check_output(bpf: &mut Ebpf, name: &str, frame: &[u8]) -> Result<()> {
    let mut left = vec![0; frame.len() + 256];
    let options =
        TestRunOptions { data_in: Some(frame), data_out: Some(&mut left), repeat: 1, ..TestRunOptions::new() };
    let result = program(bpf, name)?.test_run(options).with_context(|| format!("test run of {name}"))?;
    ensure!(result.return_value == XDP_TX, "{name} answered {}", result.return_value);
    left.truncate(result.data_size_out as usize);
    ensure!(left.len() == frame.len() + OUTER, "{name} left {} bytes of {}", left.len(), frame.len());
    let (front, inner) = left.split_at(ETHERNET + OUTER);
    ensure!(inner == &frame[ETHERNET..], "{name} changed the packet");
    let (ethernet, outer) = front.split_at(ETHERNET);
    ensure!(ethernet[..6] == GATEWAY && ethernet[12..] == [8, 0], "{name}: Ethernet header {ethernet:02x?}");
    let length = usize::from(u16::from_be_bytes([outer[2], outer[3]]));
    ensure!(outer[0] == 0x45 && outer[9] == IPPROTO_IPIP && length == left.len() - ETHERNET, "{name}: {outer:02x?}");
    let sum = outer.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum::<u32>();
    ensure!((sum & 0xffff) + (sum >> 16) == 0xffff, "{name}: checksum of {outer:02x?}");
    let known = (1..=BACKENDS).any(|id| tables::backend(id).0[3].to_ne_bytes() == outer[16..]);
    ensure!(known, "{name} sends to {:?}", &outer[16..]);
    Ok(())
}
