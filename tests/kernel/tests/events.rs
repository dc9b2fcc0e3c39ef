//! Events: a drop and a new flow are told with what they are about, and no CPU tells more in a second than it may.

use abi::event::{EVENT_DROP, EVENT_FLOW, Event, HOOK_FROM_POD};
use abi::{Config, Counter, IPPROTO_TCP, map, program};
use aya::{
    Ebpf,
    maps::{Array, MapData, PerCpuArray, RingBuf},
};
use kernel::bpf::{Raw, event_of};
use kernel_tests::{
    load::{self, Inputs},
    run, tables,
};
use packet::host::{Frame, Hook, Spec, Step, pod_mac, v4, world};

/// Records a CPU may write in a second here.
const RATE: u32 = 5;

fn open() -> Ebpf {
    let mut bpf = load::open(Inputs::TestRun).expect("the object opens");
    load::program(&mut bpf, program::FROM_POD).expect("from_pod loads");
    let mut memory = world();
    memory.config = memory.config.map(|c| Config { events_per_s: RATE, ..c });
    tables::fill(&mut bpf, &memory).expect("the maps take the tables");
    bpf
}

/// A SYN of pod 2 from an address, to 10.96.0.20:80 or another.
fn syn(src: &str, dst: &str, sport: u16, now_s: u32) -> Step {
    let spec = Spec {
        tcp_flags: 2,
        from_mac: pod_mac(2),
        ..Spec::new(src.parse().expect("address"), dst.parse().expect("address"), IPPROTO_TCP, sport, 80)
    };
    Step { hook: Hook::FromPod { ifindex: 12 }, frame: Frame(spec.build()), now_s }
}

fn read(bpf: &mut Ebpf) -> Vec<Event> {
    let found = bpf.map_mut(map::EVENTS).expect("EVENTS");
    let mut ring = RingBuf::<&mut MapData>::try_from(found).expect("a ring buffer");
    let mut events = Vec::new();
    while let Some(item) = ring.next() {
        events.push(event_of(&item).expect("a whole record"));
    }
    events
}

fn counter(bpf: &Ebpf, counter: Counter) -> u64 {
    let found = bpf.map(map::COUNTERS).expect("COUNTERS");
    let counters = PerCpuArray::<&MapData, u64>::try_from(found).expect("counters");
    counters.get(&(counter as u32), 0).expect("a counter").iter().sum()
}

/// The gate is a CPU's: the test stays on one.
fn stay() {
    let mut set = nix::sched::CpuSet::new();
    set.set(0).expect("CPU 0");
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set).expect("this thread stays on CPU 0");
}

#[test]
fn a_drop_is_told_with_its_reason_and_its_tuple() {
    stay();
    let mut bpf = open();
    run::step(&bpf, &syn("10.244.1.99", "10.96.0.20", 40_001, 2_000)).expect("runs");
    run::step(&bpf, &syn("10.244.1.2", "10.96.0.21", 40_002, 2_000)).expect("runs");
    let events = read(&mut bpf);
    let told: Vec<_> = events.iter().map(|e| (e.kind, e.hook, e.reason, e.tuple.src, e.tuple.dst)).collect();
    let drop = |reason: Counter, src, dst| (EVENT_DROP, HOOK_FROM_POD, reason as u32, v4(src), v4(dst));
    assert_eq!(
        told,
        [
            drop(Counter::DropSpoofed, "10.244.1.99", "10.96.0.20"),
            drop(Counter::DropNoBackend, "10.244.1.2", "10.96.0.21")
        ]
    );
    assert_eq!((events[1].tuple.sport.get(), events[1].tuple.dport.get(), events[1].tcp_flags), (40_002, 80, 2));
    assert!(events[0].time_ns > 0 && events[0].bytes > 40, "{:?}", events[0]);
}

#[test]
fn a_new_flow_is_told_once_with_its_backend() {
    stay();
    let mut bpf = open();
    let step = syn("10.244.1.2", "10.96.0.20", 40_003, 2_000);
    for _ in 0..3 {
        run::step(&bpf, &step).expect("runs");
    }
    let events = read(&mut bpf);
    let [flow] = events.as_slice() else { panic!("one event, not {events:?}") };
    assert_eq!((flow.kind, flow.tuple.dst, flow.to_port.get()), (EVENT_FLOW, v4("10.96.0.20"), 8080));
    assert!(flow.backend != 0 && flow.service != 0, "{flow:?}");
    let found = bpf.map(map::CONNECTS).expect("CONNECTS");
    let connects = Array::<&MapData, Raw<u64>>::try_from(found).expect("an array");
    assert_eq!(connects.get(&flow.service, 0).expect("the Service's").0, 1);
}

#[test]
fn a_storm_of_drops_is_held_to_the_rate_and_hides_no_flow() {
    stay();
    let mut bpf = open();
    for i in 0..20 {
        run::step(&bpf, &syn("10.244.1.99", "10.96.0.20", 41_000 + i, 3_000)).expect("runs");
    }
    run::step(&bpf, &syn("10.244.1.2", "10.96.0.20", 41_000, 3_000)).expect("runs");
    let kinds: Vec<u8> = read(&mut bpf).iter().map(|e| e.kind).collect();
    assert_eq!(kinds, [EVENT_DROP, EVENT_DROP, EVENT_DROP, EVENT_DROP, EVENT_DROP, EVENT_FLOW]);
    assert_eq!(counter(&bpf, Counter::EventSuppressed), 15);
    assert_eq!(counter(&bpf, Counter::DropSpoofed), 20, "what is not told is counted all the same");
    // The next second opens the gate again.
    run::step(&bpf, &syn("10.244.1.99", "10.96.0.20", 41_100, 3_001)).expect("runs");
    assert_eq!(read(&mut bpf).len(), 1);
}
