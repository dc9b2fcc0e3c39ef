//! The compiled programs, part of the binary, and their maps, pinned by name so that they outlive every process.
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use abi::{edge, flow, map};
use aya::programs::{Program, ProgramFd};
use aya::{Ebpf, EbpfLoader};

use super::{Error, sys};

/// The programs; empty if the build had none.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/gannet.bpf.o"));

/// A line of the flow table's words.
pub type Line = [u64; flow::FLOW_LINE as usize];

/// What a map must look like: name, key bytes, value bytes, entries.
pub type Shape = (&'static str, usize, usize, u32);

/// The node's pinned maps.
pub const SHAPES: [Shape; 29] = [
    (map::CONFIG, 4, size_of::<abi::Config>(), 1),
    (map::SERVICES, 4, size_of::<abi::service::ServiceRow>(), abi::service::SERVICE_ROWS),
    (map::SLOTS, 4, 4, abi::MAX_SLOTS),
    (map::BACKENDS, 4, size_of::<abi::Backend>(), abi::MAX_BACKENDS),
    (map::FLOWS, 4, size_of::<flow::FlowRecord>(), flow::flow_records(flow::FLOW_BITS)),
    (map::FLOW_STATES, 4, size_of::<Line>(), flow::flow_state_lines(flow::FLOW_BITS)),
    (map::FLOW_INDEX, 4, size_of::<Line>(), flow::flow_buckets(flow::FLOW_BITS)),
    (map::AFFINITY, size_of::<abi::AffinityKey>(), size_of::<abi::AffinityValue>(), abi::MAX_AFFINITY),
    (map::FRAGMENTS, size_of::<abi::FragmentKey>(), size_of::<abi::FragmentValue>(), abi::MAX_FRAGMENTS),
    (map::HOLD_ROWS, 4, 8, abi::fragment::HOLD_ROWS),
    (map::HOLDS, 4, size_of::<abi::Hold>(), abi::fragment::MAX_HOLDS),
    (map::HELD, 4, abi::fragment::HELD_BYTES as usize, abi::fragment::MAX_HOLDS),
    (map::PODS, size_of::<abi::Addr>(), size_of::<abi::PodValue>(), abi::MAX_PODS),
    (map::VETHS, 4, size_of::<abi::VethValue>(), abi::MAX_PODS),
    (map::ROUTES, size_of::<abi::RouteKey>(), size_of::<abi::RouteValue>(), abi::MAX_ROUTES),
    (map::SOURCES, size_of::<abi::SourceKey>(), 4, abi::MAX_SOURCES),
    (map::COUNTERS, 4, 8, abi::COUNTERS),
    (map::PEERS, 4, size_of::<abi::Peer>(), abi::MAX_PEERS),
    (map::SOCKETS, 4, size_of::<abi::SocketValue>(), 0),
    (map::EVENTS, 0, 0, abi::event::EVENTS_BYTES),
    (map::CONNECTS, 4, 8, abi::MAX_CONNECTS),
    (map::EDGES, 4, size_of::<edge::EdgeRow>(), edge::MAX_EDGES),
    (map::TRAFFIC, 4, size_of::<edge::EdgeTraffic>(), edge::MAX_EDGES),
    (map::GENERATION, 4, 4, 1),
    (map::SEATS, 4, size_of::<abi::SeatValue>(), abi::MAX_SEATS),
    (map::IDENTITIES, size_of::<abi::IdentityKey>(), 4, abi::MAX_IDENTITIES),
    (map::RULES, size_of::<abi::RuleKey>(), 4, abi::MAX_RULES),
    (map::CONNECTIONS, size_of::<abi::FlowKey>(), size_of::<abi::Connection>(), abi::MAX_CONNECTIONS),
    (map::RATES, size_of::<u32>(), size_of::<abi::Rate>(), abi::MAX_RATES),
];

/// The three arrays of the flow table, in the order in which a table of another size takes their place.
pub const FLOW_TABLE: [&str; 3] = [map::FLOWS, map::FLOW_STATES, map::FLOW_INDEX];

/// The shape with a flow table of 2^`bits` records.
pub fn at_size(shape: &Shape, bits: u32) -> Shape {
    let (name, key, value, entries) = *shape;
    let entries = match name {
        map::FLOWS => flow::flow_records(bits),
        map::FLOW_STATES => flow::flow_state_lines(bits),
        map::FLOW_INDEX => flow::flow_buckets(bits),
        _ => entries,
    };
    (name, key, value, entries)
}

/// Loaded programs and the descriptors of their maps.
pub struct Object {
    programs: BTreeMap<String, ProgramFd>,
    /// Holds the programs' remaining resources.
    _ebpf: Ebpf,
}

impl Object {
    /// Loads every program, of those for the uplink the one named `uplink`, with a flow table of 2^`flow_bits` records; maps pinned in `pins` are
    /// used again after a check, others are made and pinned there.
    pub fn load(pins: &Path, flow_bits: u32, uplink: &'static str) -> Result<Object, Error> {
        if OBJECT.is_empty() {
            return Err(Error::NoObject);
        }
        let shapes = SHAPES.map(|shape| at_size(&shape, flow_bits));
        let mut loader = EbpfLoader::new();
        for shape in &shapes {
            let path = pins.join(shape.0);
            check(shape, &path)?;
            loader.map_pin_path(shape.0, path);
            if FLOW_TABLE.contains(&shape.0) {
                loader.map_max_entries(shape.0, shape.3);
            }
        }
        loader.override_global("FLOW_TABLE_BITS", &flow_bits, true);
        // The balancer's tables are for `gannet lb` alone.
        for name in abi::balance::map::ALL {
            loader.map_max_entries(name, 1);
        }
        let mut ebpf = loader.load(OBJECT).map_err(Error::Load)?;
        let mut programs = BTreeMap::new();
        for (name, program) in ebpf.programs_mut() {
            let fail = |source| Error::Program { name: name.to_owned(), source };
            match program {
                Program::SchedClassifier(p) => p.load().map_err(fail)?,
                Program::CgroupSockAddr(p) => p.load().map_err(fail)?,
                Program::CgroupSock(p) => p.load().map_err(fail)?,
                Program::Xdp(p) if name == uplink => {
                    // A node can do without it, and says so when it wants to attach it.
                    if let Err(error) = p.load() {
                        tracing::warn!(%error, "the XDP program of the uplink does not load");
                        continue;
                    }
                }
                // The balancer's are for `gannet lb` alone.
                Program::Xdp(_) => continue,
                other => return Err(Error::Kind { name: name.to_owned(), kind: format!("{:?}", other.prog_type()) }),
            }
            let fd = program.fd().and_then(|fd| fd.try_clone().map_err(Into::into)).map_err(fail)?;
            programs.insert(name.to_owned(), fd);
        }
        for shape in &shapes {
            check(shape, &pins.join(shape.0))?;
        }
        Ok(Object { programs, _ebpf: ebpf })
    }

    /// A program by its name in `abi::program`.
    pub fn program(&self, name: &'static str) -> Result<BorrowedFd<'_>, Error> {
        self.programs.get(name).map(|fd| fd.as_fd()).ok_or(Error::Missing(name))
    }
}

/// Whether a map of this name holds state and is pinned.
pub fn is_state(name: &[u8]) -> bool {
    let mut pinned = SHAPES.iter().map(|shape| shape.0).chain(abi::balance::map::ALL);
    pinned.any(|pinned| pinned.as_bytes() == name)
}

/// Opens a pinned map.
pub fn open_map(pins: &Path, name: &'static str) -> Result<OwnedFd, Error> {
    sys::get(&pins.join(name)).map_err(|source| Error::Map { what: "open", map: name, source })
}

/// Fails if something else than the map we expect is pinned at the path. Nothing there is fine.
pub fn check(shape: &Shape, path: &Path) -> Result<(), Error> {
    let (name, key, value, entries) = *shape;
    let fd = match sys::get(path) {
        Ok(fd) => fd,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::Map { what: "open the pin of", map: name, source }),
    };
    let info = sys::map_info(fd.as_fd()).map_err(|source| Error::Map { what: "inspect", map: name, source })?;
    let have = (info.key_size as usize, info.value_size as usize, info.max_entries);
    if have == (key, value, entries) {
        return Ok(());
    }
    Err(Error::PinMismatch { map: name, path: path.to_owned(), have, want: (key, value, entries) })
}
