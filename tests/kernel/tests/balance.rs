//! The same packets through the balancer on the host and in the kernel: fates, bytes, records and counters are equal.

use std::os::fd::AsFd as _;

use abi::balance::{self, SLOTS_AN_ELEMENT, Vip, map};
use abi::{FlowKey, FragmentKey, FragmentValue};
use aya::Ebpf;
use aya::TestRun as _;
use aya::maps::{Array, Map, MapData};
use aya::programs::{TestRunOptions, Xdp};
use kernel::bpf::{Mapped, Plain, Raw};
use kernel_tests::{
    load::{self, Inputs},
    tables,
};
use packet::balance::Fate;
use packet::host::{BalancerMemory, Dice, Frame, balance as on_host, balancer_frame, balancer_world};

const SEEDS: u64 = 8;
const PACKETS: u32 = 4_000;
const LONG_SEEDS: u64 = 2_000;

fn mapped<T: Plain>(bpf: &Ebpf, name: &str, len: u32) -> Mapped<T> {
    let Some(Map::Array(data)) = bpf.map(name) else { panic!("{name} is no array") };
    Mapped::new(data.fd().as_fd(), len as usize).expect("the array maps")
}

fn set_config(bpf: &mut Ebpf, config: balance::Config) {
    let found = bpf.map_mut(map::CONFIG).expect(map::CONFIG);
    Array::<&mut MapData, Raw<balance::Config>>::try_from(found)
        .and_then(|mut array| array.set(0, Raw(config), 0))
        .expect("CONFIG takes the configuration");
}

/// Fills the mapped tables as the balancer's daemon does: by stores.
fn fill(bpf: &Ebpf, m: &BalancerMemory) {
    let mut vips = mapped::<Vip>(bpf, map::VIPS, balance::MAX_ROWS);
    for (row, vip) in &m.vips {
        assert!(vips.set(*row as usize, vip));
    }
    let mut slots = mapped::<[u32; SLOTS_AN_ELEMENT as usize]>(bpf, map::SLOTS, balance::MAX_SLOTS);
    for (i, pair) in m.slots.chunks(2).enumerate() {
        assert!(slots.set(i, &[pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    let mut backends = mapped::<balance::Backend>(bpf, map::BACKENDS, balance::MAX_BACKENDS);
    for (id, backend) in &m.backends {
        assert!(backends.set(*id as usize, backend));
    }
    let mut changed = mapped::<u32>(bpf, map::CHANGED, balance::MAX_VIPS);
    for (number, second) in &m.changed_s {
        assert!(changed.set(*number as usize, second));
    }
}

fn in_kernel(bpf: &Ebpf, frame: &Frame) -> (u32, Vec<u8>) {
    let program: &Xdp = bpf.program(balance::PROGRAM).expect("the program").try_into().expect("an XDP program");
    let mut out = vec![0; frame.0.len() + 64];
    let options = TestRunOptions { data_in: Some(&frame.0), data_out: Some(&mut out), ..TestRunOptions::new() };
    let result = program.test_run(options).expect("the program runs");
    out.truncate(result.data_size_out as usize);
    (result.return_value, out)
}

#[test]
fn host_and_kernel_agree_on_every_packet() {
    let mut bpf = load::open(Inputs::TestRun).expect("the object opens");
    if let Err(e) = load::program(&mut bpf, balance::PROGRAM) {
        panic!("{e:#}");
    }
    let seeds = if std::env::var_os("GANNET_TEST_LONG").is_some() { LONG_SEEDS } else { SEEDS };
    let mut seen = [0_u32; 3];
    for seed in 0..seeds {
        let m = balancer_world();
        let config = m.config.expect("the world has one");
        tables::clear::<FlowKey, u32>(&mut bpf, map::FLOWS).expect("FLOWS empties");
        tables::clear::<FragmentKey, FragmentValue>(&mut bpf, map::FRAGMENTS).expect("FRAGMENTS empties");
        fill(&bpf, &m);
        let mut dice = Dice(seed);
        for i in 0..PACKETS {
            // The gate counts by the second, from which another seed starts afresh.
            let now_s = 990 + seed as u32 * 100 + i / 200;
            if i % 200 == 0 {
                m.now_s.set(now_s);
                set_config(&mut bpf, balance::Config { test_now_s: now_s, ..config });
            }
            let before = balancer_frame(&mut dice);
            let at = format!("at packet {i} of seed {seed}: {:02x?}", before.0);
            let (action, bytes) = in_kernel(&bpf, &before);
            let mut host = before.clone();
            let fate = on_host(&m, &mut host);
            // XDP_DROP, XDP_PASS, XDP_TX of include/uapi/linux/bpf.h.
            let (want, place) = match fate {
                Fate::Drop(_) => (1, 0),
                Fate::Pass => (2, 1),
                Fate::Send => (3, 2),
            };
            assert_eq!(action, want, "{fate:?} {at}");
            assert_eq!(bytes, host.0, "bytes {at}");
            seen[place] += 1;
        }
        let flows = tables::read::<FlowKey, u32>(&bpf, map::FLOWS).expect("FLOWS reads");
        assert_eq!(flows, *m.flows.borrow(), "records after seed {seed}");
        let fragments = tables::read::<FragmentKey, FragmentValue>(&bpf, map::FRAGMENTS).expect("FRAGMENTS reads");
        assert_eq!(fragments, *m.fragments.borrow(), "fragments after seed {seed}");
    }
    println!("drop, pass, send: {seen:?}");
    assert!(seen.iter().all(|n| *n > 500), "every fate is met often: {seen:?}");
}
