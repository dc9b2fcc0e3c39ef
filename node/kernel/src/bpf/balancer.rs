//! The layer-4 balancer's program, its tables and its attachment, all pinned below one directory: packets flow on while no
//! process of ours runs, and the next one finds what stands.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::{fs, io};

use abi::balance::{Backend, Config, SLOTS_AN_ELEMENT, Traffic, Vip, map};
use abi::{FlowKey, FragmentKey, FragmentValue};
use aya::programs::{ProgramFd, Xdp};
use aya::{Ebpf, EbpfLoader};
use datapath::balancer::{Content, VipKey, Write};
use nix::libc;

use super::links::{Links, XdpMode};
use super::object::{self, OBJECT, SHAPES};
use super::table::Table;
use super::{Error, Mapped, sys, uplink};
use crate::mount;
use crate::netlink::Netlink;

/// The pinned link.
const LINK: &str = "xdp";
/// Folders below the directory.
const LINKS: &str = "links";

/// Slots of one element of the table.
type Pair = [u32; SLOTS_AN_ELEMENT as usize];

/// The tables, as another process may read them and one may write them.
pub struct BalancerTables {
    config: Table<u32, Config>,
    vips: Mapped<Vip>,
    slots: Mapped<Pair>,
    backends: Mapped<Backend>,
    changed: Mapped<u32>,
    flows: Table<FlowKey, u32>,
    traffic: OwnedFd,
    counters: OwnedFd,
}

/// The balancer on this machine.
pub struct Balancer {
    pub tables: BalancerTables,
    links: Links,
    /// For frames of one page, and of several.
    programs: [ProgramFd; 2],
    /// Holds the programs' remaining resources.
    _ebpf: Ebpf,
}

/// Room of the tables that are not of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Slots of all rings.
    pub slots: u32,
    /// Records of flows.
    pub flows: u32,
}

impl Balancer {
    /// Loads the program with the tables pinned below `dir`, which are made if absent; those that stand keep their room. A BPF
    /// file system is mounted there. Nothing is attached yet.
    ///
    /// # Errors
    /// Without privileges, or if another version's tables are pinned.
    pub fn open(dir: &Path, room: Room) -> Result<Balancer, Error> {
        if OBJECT.is_empty() {
            return Err(Error::NoObject);
        }
        mount::ensure_bpffs(dir)?;
        let link_dir = dir.join(LINKS);
        fs::create_dir_all(&link_dir).map_err(|source| Error::Directory { path: link_dir.clone(), source })?;
        let mut loader = EbpfLoader::new();
        // The node's tables are not for this program.
        for (name, ..) in SHAPES.iter().filter(|shape| ![abi::map::COUNTERS, abi::map::SOCKETS].contains(&shape.0)) {
            loader.map_max_entries(name, 1);
        }
        for name in map::ALL.into_iter().chain([abi::map::COUNTERS]) {
            loader.map_pin_path(name, dir.join(name));
        }
        let elements = [(map::SLOTS, room.slots.div_ceil(SLOTS_AN_ELEMENT)), (map::FLOWS, room.flows)];
        for (name, wanted) in elements {
            loader.map_max_entries(name, standing_entries(dir, name)?.unwrap_or(wanted).max(1));
        }
        check(dir)?;
        let mut ebpf = loader.load(OBJECT).map_err(Error::Load)?;
        let programs = [program(&mut ebpf, abi::balance::PROGRAM)?, program(&mut ebpf, abi::balance::PROGRAM_FRAGS)?];
        let tables = BalancerTables::open(dir)?;
        Ok(Balancer { tables, links: Links::new(link_dir), programs, _ebpf: ebpf })
    }

    /// Attaches the program to an interface of the calling thread's namespace, or brings the attachment that stands up to date
    /// without a gap. Returns how it is attached, or `None` if it was before.
    ///
    /// # Errors
    /// If the interface does not take it; with [`XdpMode::Auto`] only if it takes it in neither way.
    pub fn attach(&self, index: u32, mode: XdpMode) -> Result<Option<XdpMode>, Error> {
        let mtu = Netlink::here()?.links()?.into_iter().find(|link| link.index == index).map_or(0, |link| link.mtu);
        let [one, several] = &self.programs;
        let program = if mtu > uplink::ONE_PAGE_MTU { several } else { one };
        self.links.attach_xdp(LINK, program.as_fd(), index, mode)
    }
}

/// Loads a program.
fn program(ebpf: &mut Ebpf, name: &'static str) -> Result<ProgramFd, Error> {
    let fail = |source| Error::Program { name: name.to_owned(), source };
    let program = ebpf.program_mut(name).ok_or(Error::Missing(name))?;
    let program: &mut Xdp = program.try_into().map_err(fail)?;
    program.load().map_err(fail)?;
    program.fd().and_then(|fd| fd.try_clone().map_err(Into::into)).map_err(fail)
}

/// Takes away the attachment and the tables below `dir`. Absent is fine.
///
/// # Errors
/// Those of the file system.
pub fn remove_balancer(dir: &Path) -> Result<(), Error> {
    Links::new(dir.join(LINKS)).remove(LINK)?;
    for name in map::ALL.into_iter().chain([abi::map::COUNTERS]) {
        match fs::remove_file(dir.join(name)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(Error::Map { what: "unpin", map: name, source });
            }
            Ok(()) | Err(_) => {}
        }
    }
    mount::unmount_below(dir)?;
    Ok(())
}

impl BalancerTables {
    /// The tables pinned below `dir`.
    ///
    /// # Errors
    /// If there are none, or of another version.
    pub fn open(dir: &Path) -> Result<BalancerTables, Error> {
        check(dir)?;
        Ok(BalancerTables {
            config: Table::new(map::CONFIG, object::open_map(dir, map::CONFIG)?),
            vips: mapped(dir, map::VIPS)?,
            slots: mapped(dir, map::SLOTS)?,
            backends: mapped(dir, map::BACKENDS)?,
            changed: mapped(dir, map::CHANGED)?,
            flows: Table::new(map::FLOWS, object::open_map(dir, map::FLOWS)?),
            traffic: object::open_map(dir, map::TRAFFIC)?,
            counters: object::open_map(dir, abi::map::COUNTERS)?,
        })
    }

    /// What they hold.
    pub fn content(&self) -> Content {
        let rows: Vec<(u32, Vip)> = used(&self.vips).collect();
        let number = |vip: &Vip| Some((vip.number, self.changed.get(vip.number as usize)?));
        Content {
            changed_s: rows.iter().filter_map(|(_, vip)| number(vip)).collect(),
            rows,
            slots: (0..self.slots.len()).filter_map(|i| self.slots.get(i)).flatten().collect(),
            backends: used(&self.backends).collect(),
        }
    }

    /// The configuration that stands.
    ///
    /// # Errors
    /// Those of bpf(2).
    pub fn config(&self) -> Result<Config, Error> {
        Ok(self.config.get(&0)?.unwrap_or_default())
    }

    /// Replaces the configuration if it differs.
    ///
    /// # Errors
    /// Those of bpf(2).
    pub fn set_config(&self, config: &Config) -> Result<(), Error> {
        if self.config()? == *config { Ok(()) } else { self.config.put(&0, config) }
    }

    /// Stores, in order.
    ///
    /// # Errors
    /// Of those that are calls: waiting for readers, deleting records, clearing counters.
    pub fn apply(&mut self, writes: &[Write]) -> Result<(), Error> {
        for write in writes {
            let fits = match *write {
                Write::Backend(id, backend) => self.backends.set(id as usize, &backend),
                Write::Changed(number, second) => self.changed.set(number as usize, &second),
                Write::Slot(index, value) => self.set_slot(index, value),
                Write::Row(row, vip) => self.vips.set(row as usize, &vip),
                Write::Ring(row, ring) => self.vips.set_word(row as usize, std::mem::offset_of!(Vip, ring), ring),
                Write::ClearTraffic(number) => {
                    sys::clear_per_cpu(self.traffic.as_fd(), number, size_of::<Traffic>())
                        .map_err(failed(map::TRAFFIC))?;
                    true
                }
                Write::Barrier => {
                    sys::grace_period().map_err(Error::GracePeriod)?;
                    true
                }
                Write::Forget(key) => {
                    self.forget(&key)?;
                    true
                }
            };
            debug_assert!(fits, "{write:?} is beyond its table");
        }
        Ok(())
    }

    /// Packets and bytes of the virtual address of a number, over all CPUs.
    ///
    /// # Errors
    /// Those of bpf(2).
    pub fn traffic(&self, number: u32) -> Result<Traffic, Error> {
        let words =
            sys::lookup_cpus(self.traffic.as_fd(), number, size_of::<Traffic>()).map_err(failed(map::TRAFFIC))?;
        let sum = |at: usize| words.iter().skip(at).step_by(2).sum();
        Ok(Traffic { packets: sum(0), bytes: sum(1) })
    }

    /// A counter of `abi::Counter`, over all CPUs.
    ///
    /// # Errors
    /// Those of bpf(2).
    pub fn counter(&self, counter: abi::Counter) -> Result<u64, Error> {
        sys::lookup_per_cpu(self.counters.as_fd(), counter as u32).map_err(failed(abi::map::COUNTERS))
    }

    /// Records of flows, and the backend of each.
    ///
    /// # Errors
    /// Those of bpf(2).
    pub fn flows(&self) -> Result<Vec<(FlowKey, u32)>, Error> {
        self.flows.entries()
    }

    fn set_slot(&mut self, index: u32, value: u32) -> bool {
        let at = (index / SLOTS_AN_ELEMENT) as usize;
        let Some(mut pair) = self.slots.get(at) else { return false };
        pair[(index % SLOTS_AN_ELEMENT) as usize] = value;
        self.slots.set(at, &pair)
    }

    fn forget(&self, key: &VipKey) -> Result<(), Error> {
        let is_of = |flow: &FlowKey| flow.dst == key.addr && flow.dport == key.port && flow.proto == key.proto;
        for (flow, _) in self.flows.entries()?.iter().filter(|(flow, _)| is_of(flow)) {
            self.flows.remove(flow)?;
        }
        Ok(())
    }
}

/// Seconds of the clock that the program reads, computed as it does (`prog::tables::seconds`).
pub fn balancer_now_s() -> u32 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut time) };
    let ns = time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
    ((ns >> 20).wrapping_mul(1_125_900) >> 30) as u32
}

/// Elements that are not all zeroes.
fn used<T: super::Plain + Default + PartialEq>(array: &Mapped<T>) -> impl Iterator<Item = (u32, T)> {
    let element = |i: usize| Some((i as u32, array.get(i)?));
    (0..array.len()).filter_map(element).filter(|(_, value)| *value != T::default())
}

fn failed(map: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Map { what: "read or clear", map, source }
}

fn mapped<T: super::Plain>(dir: &Path, name: &'static str) -> Result<Mapped<T>, Error> {
    let fd = object::open_map(dir, name)?;
    let fail = |source| Error::Map { what: "map into memory", map: name, source };
    let info = sys::map_info(fd.as_fd()).map_err(fail)?;
    Mapped::new(fd, info.max_entries as usize).map_err(fail)
}

/// Entries of a pinned map, if there is one.
fn standing_entries(dir: &Path, name: &'static str) -> Result<Option<u32>, Error> {
    let fail = |what| move |source| Error::Map { what, map: name, source };
    match sys::get(&dir.join(name)) {
        Ok(fd) => Ok(Some(sys::map_info(fd.as_fd()).map_err(fail("inspect"))?.max_entries)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(fail("open the pin of")(source)),
    }
}

/// Fails if something else than what this version reads is pinned.
fn check(dir: &Path) -> Result<(), Error> {
    use abi::balance::{Gate, MAX_BACKENDS, MAX_FRAGMENTS, MAX_ROWS, MAX_VIPS};
    let of_any_size = |name| standing_entries(dir, name).map(|entries| entries.unwrap_or(0));
    let shapes: [object::Shape; 10] = [
        (map::CONFIG, 4, size_of::<Config>(), 1),
        (map::VIPS, 4, size_of::<Vip>(), MAX_ROWS),
        (map::SLOTS, 4, size_of::<Pair>(), of_any_size(map::SLOTS)?),
        (map::BACKENDS, 4, size_of::<Backend>(), MAX_BACKENDS),
        (map::CHANGED, 4, 4, MAX_VIPS),
        (map::FLOWS, size_of::<FlowKey>(), 4, of_any_size(map::FLOWS)?),
        (map::FRAGMENTS, size_of::<FragmentKey>(), size_of::<FragmentValue>(), MAX_FRAGMENTS),
        (map::GATES, 4, size_of::<Gate>(), abi::balance::GATES),
        (map::TRAFFIC, 4, size_of::<Traffic>(), MAX_VIPS),
        (abi::map::COUNTERS, 4, 8, abi::COUNTERS),
    ];
    shapes.iter().try_for_each(|shape| object::check(shape, &PathBuf::from(dir).join(shape.0)))
}
