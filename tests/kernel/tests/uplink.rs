//! The same frames through the uplink's XDP program on the host and in the kernel: fates, bytes, reasons and records are equal. What
//! passes goes on through tcx, on both sides, so that each meets records of the other. The next hop is given: a test run has no routes.

use abi::{
    AffinityKey, AffinityValue, Config, Connection, FlowKey, FragmentKey, FragmentValue, LB_DSR, LB_SNAT, UplinkRun,
    map, program,
};
use aya::{
    Ebpf, TestRun as _,
    maps::{Array, MapData},
    programs::{TestRunOptions, Xdp},
};
use kernel::bpf::Raw;
use kernel_tests::{
    load::{self, Inputs},
    run, tables,
};
use packet::{
    host::{Cable, Dice, Frame, Hook, Memory, Step, apply, at_uplink, cable, guard_at_random, over_ipv6, world},
    verdict::Fate,
    vxlan::OUTER_V6,
};

const SEEDS: u64 = 8;
const FRAMES: u32 = 2_000;
const LONG_SEEDS: u64 = 400;

fn set(bpf: &mut Ebpf, run: UplinkRun) {
    let found = bpf.map_mut(map::UPLINK_RUN).expect(map::UPLINK_RUN);
    Array::<&mut MapData, Raw<UplinkRun>>::try_from(found)
        .and_then(|mut array| array.set(0, Raw(run), 0))
        .expect("the inputs are taken");
}

fn reason(bpf: &Ebpf) -> u32 {
    let found = bpf.map(map::UPLINK_RUN).expect(map::UPLINK_RUN);
    Array::<&MapData, Raw<UplinkRun>>::try_from(found).and_then(|array| array.get(&0, 0)).expect("the outcome").0.reason
}

/// The program's action, the frame it left, and why it dropped it.
fn in_kernel(bpf: &mut Ebpf, given: &Cable, now_s: u32) -> (u32, Vec<u8>, u32) {
    let (to, from) = given.hop.unwrap_or_default();
    set(bpf, UplinkRun { now_s, reachable: u32::from(given.hop.is_some()), to, from, reason: 0 });
    let uplink: &Xdp = bpf.program(program::UPLINK).expect("the program").try_into().expect("an XDP program");
    let mut out = vec![0; given.frame.0.len() + OUTER_V6];
    let options = TestRunOptions { data_in: Some(&given.frame.0), data_out: Some(&mut out), ..TestRunOptions::new() };
    let result = uplink.test_run(options).expect("the program runs");
    out.truncate(result.data_size_out as usize);
    (result.return_value, out, reason(bpf))
}

fn compare(bpf: &Ebpf, memory: &Memory, at: &str) {
    let flows = tables::flows(bpf).expect("the flow table reads");
    assert_eq!(flows, memory.flows.words(), "flows {at}");
    let fragments = tables::read::<FragmentKey, FragmentValue>(bpf, map::FRAGMENTS).expect("FRAGMENTS reads");
    assert_eq!(fragments, *memory.fragments.borrow(), "fragments {at}");
    let affinity = tables::read::<AffinityKey, AffinityValue>(bpf, map::AFFINITY).expect("AFFINITY reads");
    assert_eq!(affinity, *memory.affinity.borrow(), "affinity {at}");
    let connections = tables::read::<FlowKey, Connection>(bpf, map::CONNECTIONS).expect("CONNECTIONS reads");
    assert_eq!(connections, *memory.connections.borrow(), "connections {at}");
    assert_eq!(tables::edges(bpf).expect("EDGES reads"), memory.edges, "edges {at}");
}

#[test]
fn host_and_kernel_agree_on_every_frame() {
    let mut bpf = load::open(Inputs::TestRun).expect("the object opens");
    for name in [program::UPLINK, program::FROM_UPLINK] {
        if let Err(e) = load::program(&mut bpf, name) {
            panic!("{e:#}");
        }
    }
    let seeds = if std::env::var_os("GANNET_TEST_LONG").is_some() { LONG_SEEDS } else { SEEDS };
    let mut seen = [0_u32; 3];
    for seed in 0..seeds {
        let mut memory = world();
        let lb_mode = if seed % 4 < 2 { LB_SNAT } else { LB_DSR };
        memory.config = memory.config.map(|c| Config { seed: seed as u32, lb_mode, ..c });
        if seed % 8 > 3 {
            over_ipv6(&mut memory);
        }
        let mut dice = Dice(seed);
        if seed % 2 == 1 {
            guard_at_random(&mut memory, &mut dice);
        }
        tables::reset(&mut bpf).expect("the maps can be emptied");
        tables::fill(&mut bpf, &memory).expect("the maps take the tables");
        for i in 0..FRAMES {
            let now_s = 1_000 + i * (seed as u32 % 5);
            let given = cable(&memory, &mut dice);
            let at = format!("at frame {i} of seed {seed}: {:02x?}", given.frame.0);
            let (action, bytes, reason) = in_kernel(&mut bpf, &given, now_s);
            let mut host = given.clone();
            let fate = at_uplink(&memory, &mut host, now_s);
            // XDP_DROP, XDP_PASS, XDP_TX of include/uapi/linux/bpf.h.
            let (want, why) = match fate {
                Fate::Drop(counter) => (1, counter as u32),
                Fate::Pass => (2, 0),
                Fate::Send => (3, 0),
            };
            assert_eq!((action, reason), (want, why), "{fate:?} {at}");
            assert_eq!(bytes, host.frame.0, "bytes {at}");
            seen[want as usize - 1] += 1;
            if fate == Fate::Pass {
                let mut step = Step { hook: Hook::FromUplink, frame: Frame(bytes), now_s };
                let got = run::step(&bpf, &step).unwrap_or_else(|e| panic!("{e:#} {at}"));
                let verdict = apply(&memory, &mut step);
                assert_eq!(got.words, run::words(verdict), "{verdict:?} {at}");
                assert_eq!(got.frame, step.frame.0, "bytes from tcx {at}");
            }
            if i % 50 == 0 {
                compare(&bpf, &memory, &at);
            }
        }
        compare(&bpf, &memory, &format!("after seed {seed}"));
    }
    println!("drop, pass, send: {seen:?}");
    assert!(seen.iter().all(|n| u64::from(*n) > seeds), "every fate is met: {seen:?}");
}
