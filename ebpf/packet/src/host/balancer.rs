//! The balancer's tables in memory, and traffic for them.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use abi::{
    Addr, BACKEND_ALIVE, Be16, Counter, FlowKey, FragmentKey, FragmentValue, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP,
    IPPROTO_UDP,
    balance::{
        Backend, Config, Gate, MAX_ROWS, Traffic, VIP_BY_CLIENT, VIP_LIVE, VIP_USED, Vip, outer_sum, row_of, slot,
    },
};

use super::{Dice, Fragment, Frame, Spec, icmp_error};
use crate::balance::{self, Balancer, Cold, Fate};

impl balance::Frame for Frame {
    fn push<const N: usize>(&mut self) -> Option<()> {
        self.0.splice(0..0, [0; N]);
        Some(())
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn cut(&mut self, len: usize) -> Option<()> {
        self.0.truncate(len);
        Some(())
    }
}

impl<T: Balancer> Cold<T> for Frame {}

/// The tables; those that the program writes have interior mutability, which stands in for maps that all CPUs share.
#[derive(Clone, Debug, Default)]
pub struct BalancerMemory {
    pub config: Option<Config>,
    pub now_s: Cell<u32>,
    pub vips: BTreeMap<u32, Vip>,
    pub slots: Vec<u32>,
    pub backends: BTreeMap<u32, Backend>,
    pub changed_s: BTreeMap<u32, u32>,
    pub flows: RefCell<BTreeMap<FlowKey, u32>>,
    pub fragments: RefCell<BTreeMap<FragmentKey, FragmentValue>>,
    pub gates: RefCell<BTreeMap<u32, Gate>>,
    pub traffic: RefCell<BTreeMap<u32, Traffic>>,
    pub counters: RefCell<BTreeMap<Counter, u64>>,
}

static NO_VIP: Vip = Vip { addr: Addr::ANY, port: Be16(0), proto: 0, state: 0, number: 0, ring: 0 };
static NO_BACKEND: Backend = Backend { addr: Addr::ANY, sum: 0, flags: 0, pad: [0; 11] };

impl Balancer for BalancerMemory {
    fn config(&self) -> Option<&Config> {
        self.config.as_ref().filter(|config| config.ready != 0)
    }

    fn now_s(&self) -> u32 {
        self.now_s.get()
    }

    fn count(&self, counter: Counter) {
        *self.counters.borrow_mut().entry(counter).or_default() += 1;
    }

    fn vip(&self, row: u32) -> Option<&Vip> {
        (row < MAX_ROWS).then(|| self.vips.get(&row).unwrap_or(&NO_VIP))
    }

    fn slot(&self, index: u32) -> Option<u32> {
        Some(self.slots.get(index as usize).copied().unwrap_or(0))
    }

    fn backend(&self, id: u32) -> Option<&Backend> {
        (id < abi::balance::MAX_BACKENDS).then(|| self.backends.get(&id).unwrap_or(&NO_BACKEND))
    }

    fn changed_s(&self, number: u32) -> u32 {
        self.changed_s.get(&number).copied().unwrap_or(0)
    }

    fn flow(&self, key: &FlowKey) -> Option<u32> {
        self.flows.borrow().get(key).copied()
    }

    fn set_flow(&self, key: &FlowKey, backend: u32) {
        self.flows.borrow_mut().insert(*key, backend);
    }

    fn fragment(&self, key: &FragmentKey) -> Option<FragmentValue> {
        self.fragments.borrow().get(key).copied()
    }

    fn set_fragment(&self, key: &FragmentKey, value: &FragmentValue) {
        self.fragments.borrow_mut().insert(*key, *value);
    }

    fn gate(&self, number: u32) -> Option<Gate> {
        Some(self.gates.borrow().get(&number).copied().unwrap_or_default())
    }

    fn set_gate(&self, number: u32, gate: &Gate) {
        self.gates.borrow_mut().insert(number, *gate);
    }

    fn account(&self, number: u32, traffic: Traffic) {
        let mut all = self.traffic.borrow_mut();
        let sum = all.entry(number).or_default();
        sum.packets += traffic.packets;
        sum.bytes += traffic.bytes;
    }
}

/// Runs a packet through the balancer; the frame is rewritten in place.
pub fn run(m: &BalancerMemory, frame: &mut Frame) -> Fate {
    let fate = balance::balance(frame, m);
    if let Fate::Drop(counter) = fate {
        m.count(counter);
    }
    fate
}

/// Address `i` of the small world's virtual addresses, whose last octet is also their number.
pub fn vip_address(i: u8, v6: bool) -> IpAddr {
    if v6 {
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(i)))
    } else {
        IpAddr::V4(Ipv4Addr::new(203, 0, 113, i))
    }
}

fn addr(ip: IpAddr) -> Addr {
    match ip {
        IpAddr::V4(ip) => Addr::v4(ip.octets()),
        IpAddr::V6(ip) => Addr::v6(ip.octets()),
    }
}

/// A balancer with five addresses (port 80, both families and protocols) and four backends of both families, one of them dead. The
/// second address has slots that have changed, the third goes by client, the fourth has no backend, the fifth was removed.
pub fn balancer_world() -> BalancerMemory {
    let mut m = BalancerMemory::default();
    let config = Config {
        source4: Addr::v4([192, 0, 2, 1]),
        source6: addr("2001:db8:ffff::1".parse().expect("an address")),
        gateway_mac: [2, 0, 0, 0, 0, 9],
        own_mac: [2, 0, 0, 0, 0, 1],
        mtu: 1_500,
        seed: 7,
        ready: 1,
        test_now_s: 0,
        gate_per_s: 40,
    };
    m.config = Some(config);
    for (id, ip) in [(1, "192.0.2.11"), (2, "192.0.2.12"), (3, "2001:db8:ffff::3"), (4, "192.0.2.14")] {
        let address = addr(ip.parse().expect("an address"));
        let sum = if address.is_v4() { outer_sum(&config.source4, &address) } else { 0 };
        let flags = if id == 4 { 0 } else { BACKEND_ALIVE };
        m.backends.insert(id, Backend { addr: address, sum, flags, pad: [0; 11] });
    }
    m.slots = vec![0; 8];
    let steady: Vec<u32> = (0..13).map(|i| slot(i % 3 + 1, 0)).collect();
    let changed = (0..13).map(|i| slot(i % 3 + 1, if i % 2 == 0 { i % 4 + 1 } else { 0 }));
    m.slots.extend(steady);
    m.slots.extend(changed);
    let mut number = 0;
    for v6 in [false, true] {
        let icmp = if v6 { IPPROTO_ICMPV6 } else { IPPROTO_ICMP };
        for proto in [IPPROTO_TCP, IPPROTO_UDP, icmp] {
            for i in 1..=5 {
                number += 1;
                let (ring, bits) = match i {
                    2 => (Vip::pack_ring(21, 13), VIP_LIVE),
                    3 => (Vip::pack_ring(8, 13), VIP_LIVE | VIP_BY_CLIENT),
                    4 => (Vip::pack_ring(8, 0), VIP_LIVE),
                    5 => (Vip::pack_ring(8, 13), 0),
                    _ => (Vip::pack_ring(8, 13), VIP_LIVE),
                };
                // An address answers echoes by a row without port and backends.
                let (addr, port) = (addr(vip_address(i, v6)), Be16::new(if proto == icmp { 0 } else { 80 }));
                let ring = if proto == icmp { Vip::pack_ring(8, 0) } else { ring };
                let mut row = row_of(&addr, port, proto) & (MAX_ROWS - 1);
                while m.vips.contains_key(&row) {
                    row = (row + 1) & (MAX_ROWS - 1);
                }
                m.vips.insert(row, Vip { addr, port, proto, state: VIP_USED | bits, number, ring });
                m.changed_s.insert(number, 1_000);
            }
        }
    }
    m
}

/// A packet for the small world: mostly for its addresses, some in fragments, too large, quoted in errors, or cut short.
pub fn balancer_frame(dice: &mut Dice) -> Frame {
    let v6 = dice.once_in(3);
    let client = if v6 {
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, dice.below(40) as u16))
    } else {
        IpAddr::V4(Ipv4Addr::new(198, 18, 0, dice.below(40) as u8))
    };
    let vip = vip_address(dice.below(6) as u8 + 1, v6);
    let icmp = if v6 { IPPROTO_ICMPV6 } else { IPPROTO_ICMP };
    let proto = dice.pick(&[IPPROTO_TCP, IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDP, icmp]);
    let port = if dice.once_in(12) { 81 } else { 80 };
    let mut spec = Spec::new(client, vip, proto, 1_000 + dice.below(20) as u16, port);
    spec.tcp_flags = dice.pick(&[2, 0x10, 0x10, 0x10, 0x11, 0x12]);
    if dice.once_in(8) {
        spec.options = dice.below(4) as u8;
    }
    if dice.once_in(8) {
        let offset = if dice.once_in(2) { 0 } else { 16 };
        spec.fragment = Some(Fragment { id: dice.below(8) as u32, offset, more: offset == 0 || dice.once_in(2) });
    }
    if dice.once_in(16) {
        spec.payload = vec![7; 1_380 + dice.below(120)];
    }
    let mut frame = spec.build();
    if dice.once_in(10) {
        let answer = Spec::new(vip, client, proto, port, spec.sport).build();
        frame = icmp_error(client, vip, &answer);
    }
    if dice.once_in(20) {
        // The kernel's test run takes no less than an Ethernet header.
        frame.truncate(14 + dice.below(frame.len() - 14));
    }
    Frame(frame)
}
