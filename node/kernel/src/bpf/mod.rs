//! The eBPF data plane of one node: programs, pinned maps and links, the devices they hang on.
//!
//! Everything here outlives the process: maps and links are pinned, so packets flow while no process of ours runs, and
//! opening again finds them, checks them, and replaces only what differs.
mod balancer;
mod device;
mod edges;
mod events;
mod flow_table;
mod links;
mod mapped;
mod object;
mod pod;
mod policy;
mod resize;
mod seen;
mod services;
mod standing;
mod sys;
mod table;
mod uplink;

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fs, io};

use abi::{RouteKey, RouteValue, map};
use datapath::{Observed, Plan, Step};

pub use balancer::{Balancer, BalancerTables, Room, balancer_now_s, remove_balancer};
pub use device::{OVERLAY, SNAT_FIRST, remove};
pub use edges::{Edge, EdgeTable, Edges};
pub use events::{Events, event_of};
pub use flow_table::{FlowTable, default_flow_bits, flow_bits};
pub use links::{PinnedLink, XdpMode};
pub use mapped::Mapped;
pub use pod::{Attached, Bandwidth, PodLink};
pub use seen::{MapFill, ProgramUse, Seen, namespaces, now_s};
pub use services::Services;
pub use table::{Plain, Raw};
pub use uplink::{LbMode, LoadBalancing, UplinkPath, UplinkXdp};

use crate::netlink::{self, Netlink};
use crate::{cgroup, mount, netns, sysctl};
use links::Links;
use object::Object;
use table::Table;

pub(crate) use sys::{
    bpf as bpf_call, link_create, link_update, load_empty_classifier, owned as bpf_owned, update_batch,
};

/// Why the data plane could not do something.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this binary was built without the BPF programs; build it with `cargo xtask build`")]
    NoObject,
    #[error("load the BPF programs: {0}")]
    Load(#[source] aya::EbpfError),
    #[error("load BPF program {name}: {source}")]
    Program { name: String, source: aya::programs::ProgramError },
    #[error("BPF program {name} is of kind {kind}, which has no place here")]
    Kind { name: String, kind: String },
    #[error("the BPF object has no program {0}")]
    Missing(&'static str),
    #[error(
        "map {map} pinned at {path} has (key, value, entries) {have:?} but this version needs {want:?}; it was left by another version: take the node down and delete the pin"
    )]
    PinMismatch { map: &'static str, path: PathBuf, have: (usize, usize, u32), want: (usize, usize, u32) },
    #[error("{what} BPF map {map}: {source}")]
    Map { what: &'static str, map: &'static str, source: io::Error },
    #[error("{what} BPF link {name}: {source}")]
    Link { what: &'static str, name: String, source: io::Error },
    #[error("cgroup {path} for socket programs: {source}")]
    Cgroup { path: PathBuf, source: io::Error },
    #[error("create directory {path}: {source}")]
    Directory { path: PathBuf, source: io::Error },
    #[error("wait for running BPF programs: {0}")]
    GracePeriod(#[source] io::Error),
    #[error("read the network namespace's cookie: {0}")]
    Cookie(#[source] io::Error),
    #[error("interface {name} has MTU {mtu}, too small for pods behind VXLAN")]
    Mtu { name: String, mtu: u32 },
    #[error("interface {0} exists already and is no device of ours")]
    Foreign(String),
    #[error(transparent)]
    Netlink(#[from] netlink::Error),
    #[error(transparent)]
    Netns(#[from] netns::Error),
    #[error(transparent)]
    Mount(#[from] mount::Error),
    #[error(transparent)]
    Sysctl(#[from] sysctl::Error),
    #[error(transparent)]
    ControlGroup(#[from] cgroup::Error),
}

/// Where the data plane of a node lives.
#[derive(Clone, Debug)]
pub struct Options {
    /// A BPF file system is mounted here; pins go below a folder named by `abi::SCHEMA`.
    pub pin_dir: PathBuf,
    /// The v2 cgroup of the node's processes and pods; created if absent.
    pub cgroup: PathBuf,
    /// The node's network namespace; `/proc/self/ns/net` for the process's own.
    pub netns: PathBuf,
    /// Interface to the other nodes and the outside.
    pub uplink: String,
    /// Addresses of the node on the uplink; the first of a family masquerades, the first of all is the tunnels' end.
    pub node_ips: Vec<IpAddr>,
    /// Pods of nodes that say the same are reached without a tunnel, and pods have the uplink's MTU.
    pub native: bool,
    /// Addresses on `lo`, at most one of each family, that pods have as gateway and where the node's DNS listens.
    pub gateways: Vec<IpAddr>,
    pub load_balancing: LoadBalancing,
    /// Logarithm of the translated connections that the node has room for; [`default_flow_bits`] says one. A table of another size that
    /// stands is replaced, and its connections go on.
    pub flow_bits: u32,
}

/// The tables and attachments of one node.
pub struct Datapath {
    options: Options,
    netlink: Netlink,
    object: Object,
    links: Links,
    config: abi::Config,
    pod_mtu: u32,
    uplink_path: UplinkPath,
    config_table: Table<u32, abi::Config>,
    /// Written by stores, as are the next two.
    services: Mutex<Services>,
    slots: Mutex<Mapped<u32>>,
    backends: Mutex<Mapped<abi::Backend>>,
    affinity: Table<abi::AffinityKey, abi::AffinityValue>,
    routes: Table<RouteKey, RouteValue>,
    sources: Table<abi::SourceKey, u32>,
    pods: Table<abi::Addr, abi::PodValue>,
    veths: Table<u32, abi::VethValue>,
    rates: Table<u32, abi::Rate>,
    policy: policy::Tables,
}

/// Pods of a node that is reached without a tunnel.
const NATIVE_PODS: u32 = abi::ROUTE_OVERLAY | abi::ROUTE_NATIVE;

impl Datapath {
    /// Opens the data plane: mounts the pin folder, makes the devices, loads the programs and brings every attachment
    /// up to date, without a gap for those that stand. Table contents are left as they are.
    pub fn open(options: Options) -> Result<Datapath, Error> {
        mount::ensure_bpffs(&options.pin_dir)?;
        let pins = options.pin_dir.join(abi::SCHEMA);
        let link_dir = pins.join("links");
        fs::create_dir_all(&link_dir).map_err(|source| Error::Directory { path: link_dir.clone(), source })?;
        fs::create_dir_all(&options.cgroup)
            .map_err(|source| Error::Directory { path: options.cgroup.clone(), source })?;

        let flow_bits = resize::begin(&pins, options.flow_bits)?;
        let netlink = Netlink::in_netns(&options.netns)?;
        let object = Object::load(
            &pins,
            flow_bits,
            uplink::program(netlink.link(&options.uplink)?.mtu, options.load_balancing.xdp),
        )?;
        let devices = netns::run_in(&options.netns, || device::prepare(&netlink, &options))??;
        let config_table = Table::new(map::CONFIG, object::open_map(&pins, map::CONFIG)?);
        let config = devices.config(&options, config_table.get(&0)?.unwrap_or_default());
        if config_table.get(&0)? != Some(config) {
            config_table.put(&0, &config)?;
        }
        let mut datapath = Datapath {
            links: Links::new(link_dir),
            pod_mtu: devices.pod_mtu,
            uplink_path: UplinkPath::Tcx,
            config_table,
            config,
            services: Mutex::new(services::open(&pins)?),
            slots: mapped(&pins, map::SLOTS, abi::MAX_SLOTS)?,
            backends: mapped(&pins, map::BACKENDS, abi::MAX_BACKENDS)?,
            affinity: Table::new(map::AFFINITY, object::open_map(&pins, map::AFFINITY)?),
            routes: Table::new(map::ROUTES, object::open_map(&pins, map::ROUTES)?),
            sources: Table::new(map::SOURCES, object::open_map(&pins, map::SOURCES)?),
            pods: Table::new(map::PODS, object::open_map(&pins, map::PODS)?),
            veths: Table::new(map::VETHS, object::open_map(&pins, map::VETHS)?),
            rates: Table::new(map::RATES, object::open_map(&pins, map::RATES)?),
            policy: policy::Tables::open(&pins)?,
            object,
            netlink,
            options,
        };
        datapath.uplink_path = netns::run_in(&datapath.options.netns, || datapath.attach(&devices))??;
        resize::finish(&pins)?;
        datapath.restore_routes()?;
        datapath.links.attach_cgroup(&datapath.options.cgroup, |name| datapath.object.program(name))?;
        Ok(datapath)
    }

    /// What [`Datapath::open`] wrote to the configuration table; part of the desired tables.
    pub fn config(&self) -> abi::Config {
        self.config
    }

    /// What handles the packets that come in by the uplink first.
    pub fn uplink_path(&self) -> UplinkPath {
        self.uplink_path
    }

    /// MTU of pods' interfaces.
    pub fn pod_mtu(&self) -> u32 {
        self.pod_mtu
    }

    /// Reads every table.
    pub fn observe(&self) -> Result<Observed, Error> {
        let mut slots: Vec<u32> = elements(&lock(&self.slots)).map(|(_, id)| id).collect();
        slots.truncate(slots.iter().rposition(|id| *id != 0).map_or(0, |last| last + 1));
        let (services, strays) = lock(&self.services).entries();
        let mut observed = Observed {
            config: self.config_table.get(&0)?,
            rows: services.iter().map(|(row, key, _)| (*key, *row)).collect(),
            services: services.into_iter().map(|(_, key, value)| (key, value)).collect(),
            strays: strays.into_iter().collect(),
            slots,
            backends: elements(&lock(&self.backends))
                .filter(|(_, backend)| *backend != abi::Backend::default())
                .collect(),
            routes: self.routes.entries()?.into_iter().collect(),
            sources: self.sources.entries()?.into_iter().map(|(key, _)| key).collect(),
            pods: self.pods.entries()?.into_iter().collect(),
            veths: self.veths.entries()?.into_iter().collect(),
            cursors: datapath::Cursors::default(),
        };
        observed.recover_cursors();
        Ok(observed)
    }

    /// Every pinned attachment.
    pub fn links(&self) -> Result<Vec<PinnedLink>, Error> {
        self.links.describe()
    }

    /// The counters by their number in `abi::Counter`, summed over CPUs.
    pub fn counters(&self) -> Result<Vec<u64>, Error> {
        let pins = self.options.pin_dir.join(abi::SCHEMA);
        let map = object::open_map(&pins, map::COUNTERS)?;
        let fail = |source| Error::Map { what: "read", map: map::COUNTERS, source };
        (0..abi::COUNTERS).map(|index| sys::lookup_per_cpu(map.as_fd(), index).map_err(fail)).collect()
    }

    /// The rows that count who talks to which Service, for their one owner.
    pub fn edges(&self) -> Result<Edges, Error> {
        Edges::open(&self.options.pin_dir.join(abi::SCHEMA))
    }

    /// Executes a plan in order.
    pub fn apply(&self, plan: &Plan) -> Result<(), Error> {
        for step in &plan.steps {
            match step {
                Step::SetConfig(config) => self.config_table.put(&0, config)?,
                Step::PutBackend(id, backend) | Step::RetireBackend(id, backend) => self.put_backend(*id, backend),
                Step::ClearBackend(id) => self.put_backend(*id, &abi::Backend::default()),
                Step::PutSlots { first, ids } => self.put_slots(*first, ids.iter().copied()),
                Step::ClearSlots { first, count } => self.put_slots(*first, (0..*count).map(|_| 0)),
                Step::PutRoute(key, value) => self.put_route(key, value)?,
                Step::DeleteRoute(key) => self.delete_route(key)?,
                Step::PutSource(key) => self.sources.put(key, &1)?,
                Step::DeleteSource(key) => self.sources.remove(key)?,
                Step::PutService { row, key, value } => lock(&self.services).put(*row, key, value),
                Step::DeleteService { row, .. } => lock(&self.services).delete(*row),
                Step::Barrier => grace_period()?,
                Step::ForgetAffinity(forget) => self.forget_affinity(forget)?,
            }
        }
        Ok(())
    }

    fn forget_affinity(&self, forget: &datapath::Forget) -> Result<(), Error> {
        let known = self.affinity.entries()?;
        let gone = known.into_iter().filter(|(key, value)| forget.concerns(key.service, value.backend));
        self.affinity.remove_all(&gone.map(|(key, _)| key).collect::<Vec<_>>())
    }

    /// Plans name no element beyond the end.
    fn put_backend(&self, id: u32, backend: &abi::Backend) {
        let within = lock(&self.backends).set(id as usize, backend);
        debug_assert!(within, "backend {id}");
    }

    fn put_slots(&self, first: u32, ids: impl Iterator<Item = u32>) {
        let mut slots = lock(&self.slots);
        for (index, id) in (first as usize..).zip(ids) {
            let within = slots.set(index, &id);
            debug_assert!(within, "slot {index}");
        }
    }

    /// Writes a route, and the stack's own beside it.
    fn put_route(&self, key: &RouteKey, value: &RouteValue) -> Result<(), Error> {
        let before = self.routes.get(key)?.and_then(|old| self.stack_route(key, &old));
        self.routes.put(key, value)?;
        let after = self.stack_route(key, value);
        if let Some(old) = before.filter(|old| after.as_ref().is_none_or(|new| new.dev != old.dev)) {
            self.netlink.delete_route(&old)?;
        }
        after.map_or(Ok(()), |route| self.route_stack(&route))
    }

    fn delete_route(&self, key: &RouteKey) -> Result<(), Error> {
        let before = self.routes.get(key)?.and_then(|old| self.stack_route(key, &old));
        self.routes.remove(key)?;
        before.map_or(Ok(()), |route| Ok(self.netlink.delete_route(&route)?))
    }

    /// Routes of the stack that the table has but the namespace lost.
    fn restore_routes(&self) -> Result<(), Error> {
        let standing = self.netlink.routes()?;
        for (key, value) in self.routes.entries()? {
            let Some(wanted) = self.stack_route(&key, &value) else { continue };
            if !standing.iter().any(|route| route.to == wanted.to && route.dev == wanted.dev) {
                self.route_stack(&wanted)?;
            }
        }
        Ok(())
    }

    /// A node that is not on the uplink's own link is behind routers, which then know its pods' range: the default route leads there.
    fn route_stack(&self, route: &netlink::Route) -> Result<(), Error> {
        match self.netlink.replace_route(route) {
            Err(e) if route.via.is_some() && e.errno() == Some(nix::libc::ENETUNREACH) => {
                tracing::debug!(to = %route.to, via = ?route.via, "the next hop is not on the link");
                Ok(())
            }
            other => Ok(other?),
        }
    }

    /// The route by which the node's own stack reaches what the table's leads to: other nodes' pods by the overlay, or by their node
    /// where no tunnel is needed; virtual addresses by the overlay's device, whose program translates them.
    fn stack_route(&self, key: &RouteKey, value: &RouteValue) -> Option<netlink::Route> {
        let to = datapath::prefix(*key)?;
        let route = match value.kind {
            abi::ROUTE_OVERLAY | abi::ROUTE_SERVICE_RANGE => netlink::Route::on_link(to, OVERLAY),
            NATIVE_PODS => netlink::Route::through(to, datapath::ip(value.node), &self.options.uplink),
            _ => return None,
        };
        Some(netlink::Route { source: self.source(to.addr()), ..route })
    }

    /// The node's own address of the destination's family.
    fn source(&self, to: IpAddr) -> Option<IpAddr> {
        self.options.node_ips.iter().copied().find(|ip| ip.is_ipv4() == to.is_ipv4())
    }
}

/// Waits until every BPF program that runs now has ended (an RCU grace period): some milliseconds.
///
/// # Errors
/// Those of membarrier(2).
pub fn grace_period() -> Result<(), Error> {
    sys::grace_period().map_err(Error::GracePeriod)
}

fn mapped<T: Plain>(pins: &Path, name: &'static str, entries: u32) -> Result<Mutex<Mapped<T>>, Error> {
    let array = Mapped::new(object::open_map(pins, name)?, entries as usize);
    array.map(Mutex::new).map_err(|source| Error::Map { what: "map", map: name, source })
}

/// An element is whole or half written whoever panicked, and the tables are read again after a failure.
fn lock<T>(array: &Mutex<T>) -> MutexGuard<'_, T> {
    array.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The elements of an array with their indexes.
fn elements<T: Plain>(array: &Mapped<T>) -> impl Iterator<Item = (u32, T)> {
    (0..array.len()).filter_map(|index| Some((index as u32, array.get(index)?)))
}
