//! A program that looks a Service up while user space changes the table finds its entry as it was or as it will be, never another one and
//! never none.

use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use abi::service::{SERVICE_ROWS, home};
use abi::{Addr, Be16, IPPROTO_TCP, SCOPE_CLUSTER, ServiceKey, ServiceValue, map, program};
use aya::maps::Map;
use datapath::service_rows::Places;
use kernel::bpf::{Services, grace_period};
use kernel_tests::{
    load::{self, Inputs},
    run, tables,
};
use packet::host::{Dice, Frame, Hook, Memory, Spec, Step, pod_mac, v4, world};

const VIP: &str = "10.96.0.77";
/// Connections opened while the table changes.
const PACKETS: u16 = 30_000;
/// Slots that lead to a pod of this node, to one of another, and out of the cluster.
const HERE: u32 = 1_000;
const THERE: u32 = 1_001;
const WRONG: u32 = 1_002;
/// Verdicts by [`run::words`].
const PEER: u32 = 2;
const TUNNEL: u32 = 4;

fn key(addr: Addr, port: u16) -> ServiceKey {
    ServiceKey { addr, port: Be16::new(port), proto: IPPROTO_TCP, scope: SCOPE_CLUSTER }
}

/// Keys whose homes are those of the watched one and around it.
fn neighbours(watched: &ServiceKey) -> Vec<ServiceKey> {
    let near = |key: &ServiceKey| home(key).wrapping_sub(home(watched)).wrapping_add(2) & (SERVICE_ROWS - 1) < 4;
    let all = (0..64_u8).flat_map(|i| (1..=u16::MAX).map(move |port| key(Addr::v4([10, 96, i, 9]), port)));
    all.filter(near).take(40).collect()
}

fn tables_of_the_test() -> Memory {
    let mut memory = world();
    for (slot, server) in [(HERE, "10.244.1.3"), (THERE, "10.244.2.5"), (WRONG, "203.0.113.9")] {
        let is_it = |backend: &abi::Backend| backend.addr == v4(server) && backend.proto == IPPROTO_TCP;
        let id = memory.backends.iter().find(|(_, backend)| is_it(backend)).map(|(id, _)| *id);
        memory.slots.insert(slot, id.expect("the world has these backends"));
    }
    memory
}

fn open(packet: u16) -> Step {
    let from = "10.244.1.2".parse().expect("an address");
    let to = VIP.parse().expect("an address");
    let syn = Spec { tcp_flags: 2, from_mac: pod_mac(2), ..Spec::new(from, to, IPPROTO_TCP, 2_000 + packet, 80) };
    Step { hook: Hook::FromPod { ifindex: 12 }, frame: Frame(syn.build()), now_s: 1_000 }
}

/// Changes the table until told to stop. Rows come free when a grace period is over, which a thread waits for.
fn churn(mut services: Services, watched: ServiceKey, others: &[ServiceKey], mut places: Places, stop: &AtomicBool) {
    let mut dice = Dice(1);
    let (mut dead, mut waiting): (Vec<ServiceKey>, Vec<ServiceKey>) = (Vec::new(), Vec::new());
    let mut grace: Option<thread::JoinHandle<Result<(), kernel::bpf::Error>>> = None;
    let value = |id, base| ServiceValue { id, base, len: 1, affinity_s: 0, flags: 0 };
    while !stop.load(Ordering::Relaxed) {
        let base = if dice.below(2) == 0 { HERE } else { THERE };
        services.put(places.take(&watched).expect("it has a row"), &watched, &value(1, base));
        let other = others[dice.below(others.len())];
        let Some(row) = places.take(&other) else { continue };
        if dice.below(2) == 0 {
            dead.retain(|one| *one != other);
            waiting.retain(|one| *one != other);
            services.put(row, &other, &value(2, WRONG));
        } else {
            services.delete(row);
            dead.push(other);
        }
        match grace.take() {
            Some(thread) if !thread.is_finished() => grace = Some(thread),
            Some(thread) => {
                thread.join().expect("the thread ends").expect("membarrier");
                waiting.drain(..).for_each(|key| places.free(&key));
            }
            None => {
                waiting = std::mem::take(&mut dead);
                grace = Some(thread::spawn(grace_period));
            }
        }
    }
}

#[test]
fn a_running_program_meets_old_or_new() {
    let mut bpf = load::open(Inputs::TestRun).expect("the object opens");
    load::program(&mut bpf, program::FROM_POD).expect("the program loads");
    let mut memory = tables_of_the_test();
    memory.services.clear();
    tables::fill(&mut bpf, &memory).expect("the maps take the tables");
    let Some(Map::Array(data)) = bpf.map(map::SERVICES) else { panic!("the table is an array") };
    let mut services = Services::new(data.fd().as_fd()).expect("the table maps");
    let (watched, mut places) = (key(v4(VIP), 80), Places::default());
    let others = neighbours(&watched);
    // Others have its home and the next rows, so that it stands some way off.
    for other in others.iter().take(6) {
        let row = places.take(other).expect("the table is empty");
        services.put(row, other, &ServiceValue { id: 2, base: WRONG, len: 1, affinity_s: 0, flags: 0 });
    }
    let row = places.take(&watched).expect("the table is nearly empty");
    services.put(row, &watched, &ServiceValue { id: 1, base: HERE, len: 1, affinity_s: 0, flags: 0 });
    let stop = AtomicBool::new(false);
    let met = thread::scope(|scope| {
        scope.spawn(|| churn(services, watched, &others, places, &stop));
        let verdicts: Vec<[u32; 4]> =
            (0..PACKETS).map(|packet| run::step(&bpf, &open(packet)).expect("the program runs").words).collect();
        stop.store(true, Ordering::Relaxed);
        verdicts
    });
    let bad: Vec<_> = met.iter().filter(|words| ![PEER, TUNNEL].contains(&words[0])).collect();
    assert!(bad.is_empty(), "{} of {PACKETS} packets met neither backend: {:?}", bad.len(), bad.first());
    println!("here: {}", met.iter().filter(|words| words[0] == PEER).count());
}
