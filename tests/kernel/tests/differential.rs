//! The same packets on the same tables through `packet` on the host and through the object in the kernel: verdicts, bytes and
//! records are equal, for every tcx program.

use std::collections::BTreeMap;

use abi::{
    AffinityKey, AffinityValue, BACKEND_GONE, Config, Connection, Counter, FlowKey, FragmentKey, FragmentValue, map,
    program,
};
use aya::Ebpf;
use kernel_tests::{
    load::{self, Inputs},
    run, tables,
};
use packet::Verdict;
use packet::host::{Dice, Memory, apply, guard_at_random, limit, step, world};

/// Seeds, and packets for each: a million, and a hundred million in the long form.
const SEEDS: u64 = 1_000;
const PACKETS: u32 = 1_000;
const LONG_SEEDS: u64 = 100_000;
/// Another number of seeds, for a machine that is slow.
const SEEDS_VARIABLE: &str = "GANNET_TEST_SEEDS";

fn open() -> Ebpf {
    let mut bpf = load::open(Inputs::TestRun).expect("the object opens");
    for name in [
        program::FROM_POD,
        program::TO_POD,
        program::FROM_UPLINK,
        program::TO_UPLINK,
        program::FROM_OVERLAY,
        program::TO_OVERLAY,
    ] {
        if let Err(e) = load::program(&mut bpf, name) {
            panic!("{e:#}");
        }
    }
    bpf
}

/// The tables that the programs write are the same on both sides.
fn compare(bpf: &Ebpf, memory: &Memory, at: &str) {
    let flows = tables::flows(bpf).expect("the flow table reads");
    let fragments = tables::read::<FragmentKey, FragmentValue>(bpf, map::FRAGMENTS).expect("FRAGMENTS reads");
    let affinity = tables::read::<AffinityKey, AffinityValue>(bpf, map::AFFINITY).expect("AFFINITY reads");
    assert_eq!(flows, memory.flows.words(), "flows {at}");
    assert_eq!(fragments, *memory.fragments.borrow(), "fragments {at}");
    let (slots, rows) = tables::holds(bpf).expect("HOLDS reads");
    assert_eq!(slots, memory.pen.slots(), "fragments that wait {at}");
    assert_eq!(rows, memory.pen.rows(), "rows of fragments that wait {at}");
    for (slot, hold) in slots {
        let frame = tables::held(bpf, slot, hold.bytes as usize).expect("HELD reads");
        assert_eq!(Some(frame), memory.pen.frame(slot), "slot {slot} {at}");
    }
    let connections = tables::read::<FlowKey, Connection>(bpf, map::CONNECTIONS).expect("CONNECTIONS reads");
    assert_eq!(connections, *memory.connections.borrow(), "connections {at}");
    assert_eq!(tables::edges(bpf).expect("EDGES reads"), memory.edges, "edges {at}");
    assert_eq!(affinity, *memory.affinity.borrow(), "affinity {at}");
}

/// The counters are the same on both sides, and each packet is in exactly one of them.
fn balance(bpf: &Ebpf, memory: &Memory, packets: u64, at: &str) {
    let kernel = tables::counters(bpf).expect("COUNTERS reads");
    let host: BTreeMap<u32, u64> = memory.counters.borrow().iter().map(|(counter, n)| (*counter as u32, *n)).collect();
    assert_eq!(kernel, host, "counters {at}");
    let beside = [Counter::NewFlow as u32, Counter::FragmentReleased as u32];
    let verdicts: u64 = kernel.iter().filter(|(counter, _)| !beside.contains(counter)).map(|(_, n)| n).sum();
    assert_eq!(verdicts, packets, "in = passed + dropped + redirected {at}");
}

/// How often each verdict was met, and what was denied in, out and by limits.
#[derive(Clone, Copy, Debug, Default)]
struct Met {
    seen: [u32; 9],
    denied: [u32; 3],
}

impl Met {
    fn note(&mut self, verdict: Verdict, word: u32) {
        self.seen[word as usize] += 1;
        self.denied[0] += u32::from(verdict == Verdict::Drop(Counter::DropPolicyIngress));
        self.denied[1] += u32::from(verdict == Verdict::Drop(Counter::DropPolicyEgress));
        self.denied[2] += u32::from(verdict == Verdict::Drop(Counter::DropBandwidth));
    }

    fn add(mut self, other: Met) -> Met {
        self.seen.iter_mut().zip(other.seen).for_each(|(sum, n)| *sum += n);
        self.denied.iter_mut().zip(other.denied).for_each(|(sum, n)| *sum += n);
        self
    }
}

/// One world's packets.
fn world_of(bpf: &mut Ebpf, seed: u64, met: &mut Met) {
    let (mut memory, mut dice) = (world(), Dice(seed));
    // Other seeds for the choices, and other paces of time.
    memory.config = memory.config.map(|c| Config { seed: seed as u32, ..c });
    if seed % 2 == 0 {
        limit(&mut memory);
    }
    if seed % 3 == 0 {
        let any = dice.below(memory.backends.len());
        memory.backends.values_mut().skip(any).take(1).for_each(|backend| backend.flags |= BACKEND_GONE);
    }
    tables::reset(bpf).expect("the maps can be emptied");
    tables::fill(bpf, &memory).expect("the maps take the tables");
    for i in 0..PACKETS {
        // Every other world has policies, and they change.
        if seed % 2 == 1 && i % 100 == 50 {
            guard_at_random(&mut memory, &mut dice);
            tables::policy(bpf, &memory).expect("the maps take the policies");
        }
        let before = step(&memory, &mut dice, 1_000 + i * (seed as u32 % 7));
        // Written only where something is wrong: that costs more than the packet.
        let at = || format!("at packet {i} of seed {seed}: {before:02x?}");
        let got = run::step(bpf, &before).unwrap_or_else(|e| panic!("{e:#} {}", at()));
        let mut host = before.clone();
        let verdict = apply(&memory, &mut host);
        assert_eq!(got.words, run::words(verdict), "{verdict:?} {}", at());
        assert_eq!(got.frame, host.frame.0, "bytes {}", at());
        met.note(verdict, got.words[0]);
        if i == PACKETS / 2 {
            compare(bpf, &memory, &at());
        }
    }
    compare(bpf, &memory, &format!("after seed {seed}"));
    balance(bpf, &memory, u64::from(PACKETS), &format!("after seed {seed}"));
}

#[test]
fn host_and_kernel_agree_on_every_packet() {
    let usual = if std::env::var_os("GANNET_TEST_LONG").is_some() { LONG_SEEDS } else { SEEDS };
    let seeds = std::env::var(SEEDS_VARIABLE).map_or(usual, |number| number.parse().expect("a number of seeds"));
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    // Each thread has programs and maps of its own.
    let met = std::thread::scope(|scope| {
        let share = |first: u64| {
            scope.spawn(move || {
                let (mut bpf, mut met) = (open(), Met::default());
                (first..seeds).step_by(threads as usize).for_each(|seed| world_of(&mut bpf, seed, &mut met));
                met
            })
        };
        let shares: Vec<_> = (0..threads).map(share).collect();
        shares.into_iter().map(|share| share.join().expect("a share agrees")).fold(Met::default(), Met::add)
    });
    println!("pass, drop, peer, neigh, tunnel, key, redirect, hold, answer; denied in, out, by a limit: {met:?}");
    assert!(met.denied.iter().all(|n| u64::from(*n) > 2 * seeds), "policies deny in and out, and limits: {met:?}");
    assert!(met.seen.iter().all(|n| u64::from(*n) > 2 * seeds), "every verdict is met often: {met:?}");
}
