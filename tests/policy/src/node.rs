//! One node: it folds the fabric's deltas, keeps the policy tables at them, and judges packets.

use std::collections::BTreeMap;
use std::net::IpAddr;

use abi::{
    Addr, Config, PodValue, ROUTE_LOCAL_PODS, ROUTE_NODE, ROUTE_OVERLAY, ROUTE_THIS_NODE, RouteValue, VethValue, bank,
};
use datapath::policy::{Compiler, Observed, Step, compile, diff};
use packet::Verdict;
use packet::host::{Frame, Hook, Memory, Spec, Step as Packet, apply, v4, v6};
use wire::fabric::Delta;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
/// Of the uplink; frames to another one are not the node's.
const UPLINK_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const VNI: u32 = 1;

/// The node.
pub struct Node {
    state: datapath::State,
    compiler: Compiler,
    observed: Observed,
    /// Pods with interfaces, by name: their seats and addresses.
    attached: BTreeMap<String, (u32, Vec<IpAddr>)>,
    memory: Memory,
}

/// What became of a connection's first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    HeldAtSender,
    HeldAtReceiver,
    /// No policy of this node's pods stands in its way.
    Free,
}

impl Default for Node {
    fn default() -> Node {
        let mut memory = Memory {
            config: Some(Config {
                node4: v4("192.0.2.1"),
                node6: v6("2001:db8::1"),
                uplink_ifindex: 2,
                uplink_mac: UPLINK_MAC,
                overlay_ifindex: 3,
                vni: VNI,
                snat_min: 40_000,
                snat_max: 60_000,
                ..Config::default()
            }),
            ..Memory::default()
        };
        for (net, kind, node) in [
            ("10.244.1.0/24", ROUTE_LOCAL_PODS, Addr::ANY),
            ("10.244.2.0/24", ROUTE_OVERLAY, v4("192.0.2.2")),
            ("192.0.2.1/32", ROUTE_THIS_NODE, Addr::ANY),
            ("192.0.2.2/32", ROUTE_NODE, v4("192.0.2.2")),
            ("fd00:1::/64", ROUTE_LOCAL_PODS, Addr::ANY),
            ("fd00:2::/64", ROUTE_OVERLAY, v4("192.0.2.2")),
        ] {
            let key = datapath::route_key(net.parse().expect("a prefix"));
            memory.routes.insert(key, RouteValue { kind, node });
        }
        Node {
            state: datapath::State::default(),
            compiler: Compiler::default(),
            observed: Observed::default(),
            attached: BTreeMap::new(),
            memory,
        }
    }
}

impl Node {
    /// Folds a delta in; pods that the fabric has on this node get seats, others lose theirs. Gives each step to `watch` once it is
    /// done.
    pub fn apply(&mut self, delta: &Delta, mut watch: impl FnMut(&Node)) {
        assert_eq!(self.state.apply(delta).expect("epochs grow"), []);
        let pods = &self.state.policy.pods;
        self.attached.retain(|name, _| pods.contains_key(name));
        for (name, record) in pods {
            let taken: Vec<u32> = self.attached.values().map(|(seat, _)| *seat).collect();
            let free = (1..).find(|seat| !taken.contains(seat)).expect("there are more numbers than pods");
            self.attached.entry(name.clone()).or_insert((free, record.ips.clone())).1.clone_from(&record.ips);
        }
        self.memory.pods.clear();
        self.memory.veths.clear();
        for (seat, ips) in self.attached.values() {
            let of = |v4: bool| ips.iter().find(|ip| ip.is_ipv4() == v4).map_or(Addr::ANY, |ip| datapath::addr(*ip));
            let veth = VethValue { addr4: of(true), addr6: of(false), mac: MAC, pad: [0; 2], seat: *seat, limits: 0 };
            self.memory.veths.insert(100 + seat, veth);
            for ip in ips {
                let pod = PodValue { ifindex: 100 + seat, mac: MAC, host_mac: MAC, seat: *seat, limits: 0 };
                self.memory.pods.insert(datapath::addr(*ip), pod);
            }
        }
        let seats = self.attached.iter().map(|(name, (seat, _))| (name.clone(), *seat)).collect();
        let desired = compile(&self.state.policy, &seats, &[]);
        assert!(desired.refused.is_empty());
        assert_eq!(*self.compiler.update(&self.state.policy, &seats, &[]), desired);
        for step in diff(&desired, &self.observed) {
            self.write(&step);
            watch(self);
        }
        assert_eq!(diff(&desired, &self.observed), []);
    }

    /// What the kernel does with a step.
    fn write(&mut self, step: &Step) {
        self.observed.apply(step);
        let m = &mut self.memory;
        match *step {
            Step::Settle => {}
            Step::PutIdentity(key, value) => _ = m.identities.insert(key, value),
            Step::DeleteIdentity(key) => _ = m.identities.remove(&key),
            Step::PutRule(key, value) => _ = m.rules.insert(key, value),
            Step::DeleteRule(key) => _ = m.rules.remove(&key),
            Step::PutSeat(index, value) => _ = m.seats.insert(index, value),
            Step::Publish(generation) => m.generation = generation,
        }
    }

    /// The bank that packets see.
    pub fn bank(&self) -> u32 {
        bank(self.memory.generation)
    }

    /// Opens a connection whose first packet passes here; `None` if it does not.
    pub fn open(&self, from: IpAddr, to: IpAddr, proto: u8, port: u16) -> Option<Fate> {
        let hook = self.hook(from)?;
        self.memory.connections.borrow_mut().clear();
        self.memory.flows.clear();
        let mut spec = Spec::new(from, to, proto, 50_000, port);
        spec.tcp_flags = 2;
        spec.from_mac = MAC;
        spec.to_mac = UPLINK_MAC;
        Some(self.judge(hook, &spec))
    }

    fn hook(&self, from: IpAddr) -> Option<Hook> {
        let pod = self.memory.pods.get(&datapath::addr(from));
        let elsewhere = ["10.244.2.0/24", "fd00:2::/64", "192.0.2.2/32"];
        let elsewhere = elsewhere.iter().any(|net| net.parse::<ipnet::IpNet>().expect("a prefix").contains(&from));
        match pod {
            Some(pod) => Some(Hook::FromPod { ifindex: pod.ifindex }),
            None if elsewhere => Some(Hook::FromOverlay { node: v4("192.0.2.2"), vni: VNI }),
            None if from.is_ipv4() && from.to_string().starts_with("10.244.1.") => None,
            None if from.to_string().starts_with("fd00:1:") => None,
            None => Some(Hook::FromUplink),
        }
    }

    fn judge(&self, hook: Hook, spec: &Spec) -> Fate {
        let mut packet = Packet { hook, frame: Frame(spec.build()), now_s: 1_000 };
        match apply(&self.memory, &mut packet) {
            Verdict::Drop(abi::Counter::DropPolicyEgress) => Fate::HeldAtSender,
            Verdict::Drop(abi::Counter::DropPolicyIngress) => Fate::HeldAtReceiver,
            Verdict::Drop(_)
            | Verdict::Pass
            | Verdict::Peer { .. }
            | Verdict::Redirect { .. }
            | Verdict::Neigh { .. }
            | Verdict::Tunnel { .. }
            | Verdict::Key { .. }
            | Verdict::Hold
            | Verdict::Answer { .. } => Fate::Free,
        }
    }
}
