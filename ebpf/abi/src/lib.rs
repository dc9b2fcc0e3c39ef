//! The bytes that the BPF programs and user space share: map names, keys, values, limits.
//!
//! Every struct is `repr(C)`, padded by hand, and its size is asserted at compile time. No logic lives here beyond
//! conversions of representation. A change of any layout changes [`SCHEMA`], which is part of the pin path.
#![no_std]

pub mod balance;
pub mod edge;
pub mod event;
pub mod flow;
pub mod fragment;
mod policy;
mod rate;
pub mod service;

pub use fragment::{FragmentKey, FragmentValue, Hold, MAX_FRAGMENTS};
pub use rate::{LIMIT_EGRESS, LIMIT_INGRESS, MAX_RATES, RATE_SCALE_BITS, Rate, rate_index};

pub use policy::{
    CONNECTION_DENIED, CONNECTION_EGRESS, Connection, DIRECTION_EGRESS, DIRECTION_INGRESS, IDENTITY_ANY, IdentityKey,
    MAX_CONNECTIONS, MAX_IDENTITIES, MAX_RULES, MAX_SEATS, RULE_ALLOW, RULE_ANY_PORT, RULE_ANY_PROTOCOL, RULE_DENY,
    RULE_ONE_PORT, RuleKey, SEAT_EGRESS, SEAT_INGRESS, SeatValue, bank,
};

/// Version of every layout in this crate; maps are pinned under a folder of this name.
pub const SCHEMA: &str = "v6";

/// An IPv4 or IPv6 address: 16 bytes in network order held as four words exactly as they lie in memory.
/// IPv4 is stored v4-mapped (`::ffff:a.b.c.d`, RFC 4291 section 2.5.5.2), so that one key type serves both families.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addr(pub [u32; 4]);

impl Addr {
    /// The unspecified address of IPv6; in a [`ServiceKey`] of scope [`SCOPE_NODE_PORT`] it means any IPv6 address of this node.
    pub const ANY: Addr = Addr([0; 4]);
    /// The unspecified address of IPv4; in a [`ServiceKey`] of scope [`SCOPE_NODE_PORT`] any IPv4 address of this node.
    pub const ANY_V4: Addr = Addr::v4([0; 4]);

    /// From the four bytes of an IPv4 address in network order.
    #[inline(always)]
    pub const fn v4(octets: [u8; 4]) -> Addr {
        Addr([0, 0, 0xffff_u32.to_be(), u32::from_ne_bytes(octets)])
    }

    /// From the sixteen bytes of an IPv6 address in network order.
    #[inline(always)]
    pub const fn v6(o: [u8; 16]) -> Addr {
        Addr([
            u32::from_ne_bytes([o[0], o[1], o[2], o[3]]),
            u32::from_ne_bytes([o[4], o[5], o[6], o[7]]),
            u32::from_ne_bytes([o[8], o[9], o[10], o[11]]),
            u32::from_ne_bytes([o[12], o[13], o[14], o[15]]),
        ])
    }

    /// The unspecified address of the same family.
    #[inline(always)]
    pub const fn any_like(other: &Addr) -> Addr {
        if other.is_v4() { Addr::ANY_V4 } else { Addr::ANY }
    }

    /// Whether this is a v4-mapped address.
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == 0xffff_u32.to_be()
    }

    /// The last four bytes in network order: the IPv4 address when [`Addr::is_v4`].
    #[inline(always)]
    pub const fn v4_octets(&self) -> [u8; 4] {
        self.0[3].to_ne_bytes()
    }
}

/// A port number in network byte order.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Be16(pub u16);

impl Be16 {
    /// From a host-order number.
    #[inline(always)]
    pub const fn new(host: u16) -> Be16 {
        Be16(host.to_be())
    }

    /// The host-order number.
    #[inline(always)]
    pub const fn get(self) -> u16 {
        u16::from_be(self.0)
    }
}

/// IP protocol numbers (IANA).
pub const IPPROTO_ICMP: u8 = 1;
pub const IPPROTO_TCP: u8 = 6;
pub const IPPROTO_UDP: u8 = 17;
pub const IPPROTO_ICMPV6: u8 = 58;
pub const IPPROTO_SCTP: u8 = 132;

/// Scope of a service key: a ClusterIP, externalIP or load-balancer address.
pub const SCOPE_CLUSTER: u8 = 0;
/// Scope of a service key: a NodePort; the address is [`Addr::ANY_V4`] or [`Addr::ANY`].
pub const SCOPE_NODE_PORT: u8 = 1;
/// Scope of a service key: an externalIP or load-balancer address seen from outside the cluster (its slots obey
/// externalTrafficPolicy); looked up by the uplink before [`SCOPE_CLUSTER`].
pub const SCOPE_EXTERNAL: u8 = 2;

/// Names of the maps, as declared by `prog` and opened by `kernel`.
pub mod map {
    pub const CONFIG: &str = "CONFIG";
    pub const SERVICES: &str = "SERVICES";
    pub const SLOTS: &str = "SLOTS";
    pub const BACKENDS: &str = "BACKENDS";
    pub const FLOWS: &str = "FLOWS";
    pub const FLOW_STATES: &str = "FLOW_STATES";
    pub const FLOW_INDEX: &str = "FLOW_INDEX";
    pub const AFFINITY: &str = "AFFINITY";
    pub const FRAGMENTS: &str = "FRAGMENTS";
    pub const HOLD_ROWS: &str = "HOLD_ROWS";
    pub const HOLDS: &str = "HOLDS";
    pub const HELD: &str = "HELD";
    pub const PODS: &str = "PODS";
    pub const VETHS: &str = "VETHS";
    pub const ROUTES: &str = "ROUTES";
    pub const COUNTERS: &str = "COUNTERS";
    pub const PEERS: &str = "PEERS";
    pub const SOCKETS: &str = "SOCKETS";
    pub const EVENTS: &str = "EVENTS";
    pub const CONNECTS: &str = "CONNECTS";
    pub const EDGES: &str = "EDGES";
    pub const TRAFFIC: &str = "TRAFFIC";
    pub const SOURCES: &str = "SOURCES";
    pub const GENERATION: &str = "GENERATION";
    pub const SEATS: &str = "SEATS";
    pub const IDENTITIES: &str = "IDENTITIES";
    pub const RULES: &str = "RULES";
    pub const CONNECTIONS: &str = "CONNECTIONS";
    /// Inputs and outcome of a test run of [`super::program::UPLINK`]; not pinned.
    pub const UPLINK_RUN: &str = "UPLINK_RUN";
    pub const RATES: &str = "RATES";
}

/// Names of the programs, as declared by `prog` and attached by `kernel`.
pub mod program {
    /// tcx ingress of a pod's host-side veth: packets leaving the pod.
    pub const FROM_POD: &str = "from_pod";
    /// tcx egress of a pod's host-side veth: packets the node's stack sends to the pod.
    pub const TO_POD: &str = "to_pod";
    /// XDP on the uplink, before tcx: what it can send on by itself.
    pub const UPLINK: &str = "uplink";
    /// The same for frames of several pages.
    pub const UPLINK_FRAGS: &str = "uplink_frags";
    /// tcx ingress of the uplink.
    pub const FROM_UPLINK: &str = "from_uplink";
    /// tcx egress of the uplink.
    pub const TO_UPLINK: &str = "to_uplink";
    /// tcx ingress of the VXLAN device (external mode).
    pub const FROM_OVERLAY: &str = "from_overlay";
    /// tcx egress of the VXLAN device: sets the tunnel key of what the node's own stack routes there.
    pub const TO_OVERLAY: &str = "to_overlay";
    /// Does nothing: what the measuring harness costs by itself. Attached nowhere.
    pub const EMPTY: &str = "empty";
    pub const CONNECT4: &str = "connect4";
    pub const CONNECT6: &str = "connect6";
    pub const SENDMSG4: &str = "sendmsg4";
    pub const SENDMSG6: &str = "sendmsg6";
    pub const RECVMSG4: &str = "recvmsg4";
    pub const RECVMSG6: &str = "recvmsg6";
    pub const GETPEERNAME4: &str = "getpeername4";
    pub const GETPEERNAME6: &str = "getpeername6";
    pub const SOCK_RELEASE: &str = "sock_release";
}

/// Entries of [`map::SERVICES`], whose rows [`service`] describes: 100,000 Services of one port, or 10,000 with several ports and scopes each.
pub const MAX_SERVICES: u32 = 131_072;
/// Entries of [`map::CONNECTS`] (ARRAY of u64, index = [`ServiceValue::id`]): connections that were given a backend.
pub const MAX_CONNECTS: u32 = MAX_SERVICES;
/// Entries of [`map::SLOTS`] (ARRAY, mapped): rings of 2,039 slots for 500 ports, or lists of a few for each entry.
pub const MAX_SLOTS: u32 = 1_048_576;
/// Entries of [`map::BACKENDS`] (ARRAY, mapped); index 0 is never a backend.
pub const MAX_BACKENDS: u32 = 262_144;
/// Entries of [`map::AFFINITY`] (LRU_HASH).
pub const MAX_AFFINITY: u32 = 65_536;
/// Entries of [`map::PODS`] (HASH) and [`map::VETHS`] (HASH): the pods of one node.
pub const MAX_PODS: u32 = 4_096;
/// Entries of [`map::ROUTES`] (LPM_TRIE, which takes memory for what is in it): ranges and addresses of nodes and pods, and Services' own
/// addresses outside of the cluster's range.
pub const MAX_ROUTES: u32 = 131_072;
/// Entries of [`map::SOURCES`] (LPM_TRIE); a range that finds no room stays shut.
pub const MAX_SOURCES: u32 = 16_384;

/// Key of an entry of [`map::SERVICES`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    pub addr: Addr,
    pub port: Be16,
    pub proto: u8,
    pub scope: u8,
}

/// What an entry of [`map::SERVICES`] leads to, packed as [`service::ServiceRow`] has it. Slots `base .. base + len` of [`map::SLOTS`] hold the backends that take new
/// connections; `len` 0 means the Service has none (reject).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceValue {
    /// Node-local number of the Service port, stable while it lives; never 0.
    pub id: u32,
    pub base: u32,
    pub len: u32,
    /// Session affinity in seconds; 0 for none.
    pub affinity_s: u32,
    /// `SERVICE_*` bits.
    pub flags: u32,
}

/// externalTrafficPolicy Local: the client address is kept (no source NAT), the slots hold only local backends.
pub const SERVICE_LOCAL: u32 = 1;
/// A packet's slot is a random one, not that of its hash.
pub const SERVICE_RANDOM: u32 = 4;
/// The slots are a Maglev ring, and the hash is the same on all nodes: of the client's address alone with session affinity, else of
/// address and port.
pub const SERVICE_MAGLEV: u32 = 8;
/// With session affinity: a client keeps its backend only if that is on this node.
pub const SERVICE_NEAR: u32 = 16;
/// loadBalancerSourceRanges: only the clients that [`map::SOURCES`] has for the entry may open a connection.
pub const SERVICE_RANGES: u32 = 2;

/// Value of [`map::BACKENDS`], index = backend id. All zero: free.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Backend {
    pub addr: Addr,
    pub port: Be16,
    pub proto: u8,
    /// `BACKEND_*` bits.
    pub flags: u8,
}

/// The backend exists (established flows may use it).
pub const BACKEND_ALIVE: u8 = 1;
/// The backend runs on this node.
pub const BACKEND_LOCAL: u8 = 2;
/// Terminating: established flows only.
pub const BACKEND_DRAINING: u8 = 4;
/// Nobody wants it any more, and it is cleared after a grace period: established flows leave it now, and who picked it from a slot that
/// is just being replaced may still use it.
pub const BACKEND_GONE: u8 = 8;

/// A transport five-tuple as it stands in the packet. For ICMP echo both ports hold the identifier.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    pub src: Addr,
    pub dst: Addr,
    pub sport: Be16,
    pub dport: Be16,
    pub proto: u8,
    pub pad: [u8; 3],
}

/// Key of [`map::AFFINITY`]. For sockets `client` holds the network namespace's cookie in its first two words, 1 for an IPv4
/// address of the Service in the third, and zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AffinityKey {
    pub client: Addr,
    pub service: u32,
}

/// Value of [`map::AFFINITY`]: the backend of the last connection and when it was made.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AffinityValue {
    pub backend: u32,
    pub seen_s: u32,
}

/// Value of [`map::PODS`], keyed by the pod's [`Addr`]: where a local pod is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodValue {
    /// Host-side veth.
    pub ifindex: u32,
    /// MAC of the pod's own interface.
    pub mac: [u8; 6],
    /// MAC of the host-side veth.
    pub host_mac: [u8; 6],
    /// Where [`map::SEATS`] has the pod's policy; never 0.
    pub seat: u32,
    /// `LIMIT_*` bits.
    pub limits: u32,
}

/// Value of [`map::VETHS`], keyed by the host-side ifindex (u32): what the pod may send from. ANY: family not assigned.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VethValue {
    pub addr4: Addr,
    pub addr6: Addr,
    pub mac: [u8; 6],
    pub pad: [u8; 2],
    /// As in [`PodValue`].
    pub seat: u32,
    /// As in [`PodValue`].
    pub limits: u32,
}

/// Key of [`map::ROUTES`] (LPM trie): `prefix_len` counts bits of the 16-byte form (IPv4 /24 is 96 + 24).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKey {
    pub prefix_len: u32,
    pub addr: Addr,
}

/// Value of [`map::ROUTES`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteValue {
    /// `ROUTE_*`.
    pub kind: u32,
    /// Underlay address of the node that owns the prefix, for [`ROUTE_OVERLAY`] and [`ROUTE_NODE`].
    pub node: Addr,
}

impl RouteValue {
    /// Whether another node owns the prefix, however it is reached.
    #[inline(always)]
    pub const fn is_of_node(&self) -> bool {
        let kind = self.kind & !ROUTE_NATIVE;
        kind == ROUTE_OVERLAY || kind == ROUTE_NODE
    }
}

/// With [`ROUTE_OVERLAY`] or [`ROUTE_NODE`]: the network between the nodes carries pods' addresses, so no tunnel is needed.
pub const ROUTE_NATIVE: u32 = 0x100;
/// Pods of another node, reached through the VXLAN device.
pub const ROUTE_OVERLAY: u32 = 1;
/// Pods of this node; an address of it that [`map::PODS`] lacks is dropped.
pub const ROUTE_LOCAL_PODS: u32 = 2;
/// An address of this node: delivered to the node's own stack.
pub const ROUTE_THIS_NODE: u32 = 3;
/// A load-balancer or external address of a Service that is in no other range. Packets go there as anywhere outside, but what comes in
/// by the uplink for no port of a Service does not go back.
pub const ROUTE_SERVICE_ADDRESS: u32 = 6;
/// An address of another node: by the overlay from a pod (its address is kept), by the uplink from this node's own address.
/// The node's stack routes pod ranges of other nodes to the VXLAN device with the node's address as preferred source.
pub const ROUTE_NODE: u32 = 5;
/// Service range: an address of it that [`map::SERVICES`] lacks is rejected.
pub const ROUTE_SERVICE_RANGE: u32 = 4;

/// Key of [`map::SOURCES`] (LPM trie; the value is 1): `prefix_len` counts all bits of the Service's key, then those of the client's
/// 16-byte form.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceKey {
    pub prefix_len: u32,
    pub source: Source,
}

/// A client, and the Service that it wants.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    pub service: ServiceKey,
    pub client: Addr,
}

/// [`Config::lb_mode`]: with this node's address as source, so that answers return here.
pub const LB_SNAT: u8 = 0;
/// [`Config::lb_mode`]: with the client's address; the backend's node answers the client itself.
pub const LB_DSR: u8 = 1;

/// The only value of [`map::CONFIG`] (ARRAY of one).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Config {
    /// Source of masqueraded traffic, v4; also the address NodePorts answer on.
    pub node4: Addr,
    /// The same for v6, ANY if the node has none.
    pub node6: Addr,
    pub uplink_ifindex: u32,
    pub overlay_ifindex: u32,
    pub vni: u32,
    /// First and last source port for masquerade (host order).
    pub snat_min: u16,
    pub snat_max: u16,
    /// MAC of the uplink.
    pub uplink_mac: [u8; 6],
    /// How connections from outside reach backends on other nodes: `LB_*`.
    pub lb_mode: u8,
    pub pad: u8,
    /// `SO_NETNS_COOKIE` of the node's own network namespace: sockets there have no veth in their path.
    pub node_cookie: u64,
    /// Seed of the hash that picks backends and ports; any number.
    pub seed: u32,
    /// Records that a CPU may write to [`map::EVENTS`] in a second, of each kind; 0 for none.
    pub events_per_s: u32,
    /// Largest packet that the VXLAN device takes, where pods may send larger ones; else 0.
    pub overlay_mtu: u32,
    pub rest: u32,
    /// First address of this node's range of IPv6 pods, ANY if it has none: what is said of a pod beside a packet leaves its
    /// first bytes out.
    pub pods6: Addr,
}

/// Entries of [`map::PEERS`] (ARRAY, index = the socket's cookie modulo this); a power of two. A socket whose place another one holds has
/// its entry in [`map::SOCKETS`], which costs its first call some 400 ns.
pub const MAX_PEERS: u32 = 131_072;
/// Entries of one socket in [`SocketValue`]: with its place an unconnected socket may talk to one Service more at once.
pub const SOCKET_ENTRIES: usize = 4;

/// A translation that a socket hook made, so that the socket's user sees the Service address. All zero: free.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketEntry {
    pub backend: Addr,
    pub service: Addr,
    pub backend_port: Be16,
    pub service_port: Be16,
    pub backend_id: u32,
}

/// Value of [`map::PEERS`]: a translation of the socket that has the place until it is closed. All zero: free.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// `SO_COOKIE` of the socket; never 0.
    pub cookie: u64,
    pub entry: SocketEntry,
}

/// Value of [`map::SOCKETS`] (SK_STORAGE): the translations of a socket that [`map::PEERS`] has no room for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketValue {
    pub entries: [SocketEntry; SOCKET_ENTRIES],
    /// Entry to overwrite next.
    pub next: u32,
}

/// The only value of [`map::UPLINK_RUN`] (ARRAY of one).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UplinkRun {
    /// Coarse monotonic seconds.
    pub now_s: u32,
    /// Whether there is a next hop by the uplink; not 0 if there is.
    pub reachable: u32,
    /// Its MAC, and that of the uplink.
    pub to: [u8; 6],
    pub from: [u8; 6],
    /// [`Counter`] of a drop, written by the program.
    pub reason: u32,
}

/// UDP port of VXLAN (RFC 7348 section 8).
pub const VXLAN_PORT: Be16 = Be16::new(4789);

/// Indexes of [`map::COUNTERS`] (PERCPU_ARRAY of u64).
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counter {
    #[default]
    Forwarded = 0,
    Delivered = 1,
    NewFlow = 2,
    DropMalformed = 3,
    DropSpoofed = 4,
    DropNoPod = 5,
    DropNoBackend = 6,
    DropNoNatPort = 7,
    DropFragment = 8,
    DropNoRoute = 9,
    DropTtl = 10,
    DropNotReady = 11,
    SocketTranslated = 12,
    /// A protocol or address that has no path here: not IP, multicast, a rewrite that the protocol does not allow.
    DropUnsupported = 13,
    /// From the overlay, but not of our VNI or not from the node that owns the source.
    DropOverlay = 14,
    /// A packet for the node's own stack.
    Passed = 15,
    SocketNoBackend = 16,
    /// A TCP segment of a flow whose backend is gone.
    DropBackendGone = 17,
    /// The kernel refused an operation on the packet (set a tunnel key, enlarge the linear part).
    DropKernel = 18,
    /// The flow table took no record: all that it may use are of living connections.
    DropFlowTable = 19,
    /// No policy of the receiving pod allows it.
    DropPolicyIngress = 20,
    /// No policy of the sending pod allows it.
    DropPolicyEgress = 21,
    /// A new flow took the record of one that nobody had answered: the table is full, or flooded.
    FlowReplaced = 22,
    /// The client is in none of the Service's source ranges.
    DropSource = 31,
    /// Beyond the pod's bandwidth.
    DropBandwidth = 27,
    /// Larger than the path after the outer header was added, and not to be fragmented.
    DropTooBig = 28,
    /// An event that the rate held back.
    EventSuppressed = 29,
    /// An event for which the ring buffer had no room.
    EventLost = 30,
    /// A fragment that waits for the first one of its datagram. It is counted again when that lets it go; more of these than of
    /// [`Counter::FragmentReleased`] are fragments whose first one did not come in time.
    FragmentHeld = 32,
    /// A fragment that waited and is at its hook again.
    FragmentReleased = 33,
    /// To a load-balancer or external address, for no port of a Service: it would go back to the router that sent it.
    DropNoPort = 34,
    /// An echo request to such an address, answered.
    Answered = 35,
}

/// Entries of [`map::COUNTERS`].
pub const COUNTERS: u32 = 48;

const _: () = {
    assert!(size_of::<Addr>() == 16);
    assert!(size_of::<ServiceKey>() == 20);
    assert!(size_of::<ServiceValue>() == 20);
    assert!(size_of::<Backend>() == 20);
    assert!(size_of::<FlowKey>() == 40);
    assert!(size_of::<AffinityKey>() == 20);
    assert!(size_of::<AffinityValue>() == 8);
    assert!(size_of::<PodValue>() == 24);
    assert!(size_of::<VethValue>() == 48);
    assert!(size_of::<RouteKey>() == 20);
    assert!(size_of::<RouteValue>() == 20);
    assert!(size_of::<SourceKey>() == 40);
    assert!(size_of::<Config>() == 96);
    assert!(size_of::<UplinkRun>() == 24);
    assert!(size_of::<SocketEntry>() == 40);
    assert!(size_of::<Peer>() == 48);
    assert!(MAX_PEERS.is_power_of_two());
    assert!(size_of::<SocketValue>() == 164);
    assert!(size_of::<Rate>() == 24);
};
