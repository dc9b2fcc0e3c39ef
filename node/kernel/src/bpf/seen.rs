//! What stands in the kernel, for people who look: tables, how full they are, programs and how often they ran. Reads only,
//! from the pins, so that looking never waits for the owner of the data plane.
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use abi::map;
use aya_obj::generated::{bpf_link_info, bpf_map_info};
use packet::{
    flows,
    host::{FlowMemory, FlowWords, Memory},
};

use super::links::Links;
use super::table::{Plain, Table};
use super::{EdgeTable, Edges, Error, Mapped, object, resize, services, sys};
use crate::netns;

/// Types of maps (include/uapi/linux/bpf.h) whose entries can be counted.
const HASH: u32 = 1;
const ARRAY: u32 = 2;
const LRU_HASH: u32 = 9;
const LPM_TRIE: u32 = 11;
/// A flag of arrays that processes may map.
const BPF_F_MMAPABLE: u32 = 1 << 10;
/// `BPF_LINK_TYPE_XDP` and `BPF_LINK_TYPE_TCX`, and `BPF_XDP` of the attach types, which an XDP link does not tell.
const LINK_XDP: u32 = 6;
const LINK_TCX: u32 = 11;
const ATTACH_XDP: u32 = 37;
/// Entries read by one call when counting.
const BATCH: u32 = 4096;

/// The pinned objects of one node.
#[derive(Clone, Debug)]
pub struct Seen {
    pins: PathBuf,
}

/// How full a map is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapFill {
    pub name: String,
    /// Entries in use: of an array those that are not all zero; `None` for a kind that cannot be counted.
    pub entries: Option<u64>,
    /// Most entries, or bytes of a ring buffer.
    pub limit: u32,
    /// Memory the kernel charged for it.
    pub bytes: u64,
}

/// An attached program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramUse {
    /// Name of the pinned link.
    pub link: String,
    pub program: String,
    pub program_id: u32,
    /// `BPF_XDP`, `BPF_TCX_*` or `BPF_CGROUP_*` number of the attach type.
    pub attach_type: u32,
    /// Interface, for tcx and XDP.
    pub ifindex: Option<u32>,
    /// Runs and nanoseconds in them: zero unless `kernel.bpf_stats_enabled` is 1.
    pub runs: u64,
    pub run_ns: u64,
    pub verified_instructions: u32,
}

impl Seen {
    /// Those below `pin_dir` ([`super::Options::pin_dir`]).
    pub fn new(pin_dir: &Path) -> Seen {
        Seen { pins: pin_dir.join(abi::SCHEMA) }
    }

    /// Every pinned map, by name.
    pub fn maps(&self) -> Result<Vec<MapFill>, Error> {
        let mut names: Vec<String> =
            self.files()?.into_iter().filter(|name| name != "links" && name != resize::FOLDER).collect();
        names.sort();
        names.into_iter().map(|name| self.fill(name)).collect()
    }

    /// Every pinned attachment with its program.
    pub fn programs(&self) -> Result<Vec<ProgramUse>, Error> {
        let dir = self.pins.join("links");
        let links = Links::new(dir.clone());
        let mut names = links.names()?;
        names.sort();
        let read = |name: &str| {
            let link: bpf_link_info = sys::link_info(sys::get(&dir.join(name))?.as_fd())?;
            let program = sys::prog_info(sys::prog_by_id(link.prog_id)?.as_fd())?;
            // SAFETY: the union holds plain integers; which of them count follows from the link's type.
            let (ifindex, attach_type) = unsafe {
                if link.type_ == LINK_XDP {
                    (Some(link.__bindgen_anon_1.xdp.ifindex), ATTACH_XDP)
                } else if link.type_ == LINK_TCX {
                    let tcx = link.__bindgen_anon_1.tcx;
                    (Some(tcx.ifindex), tcx.attach_type)
                } else {
                    (None, link.__bindgen_anon_1.cgroup.attach_type)
                }
            };
            Ok(ProgramUse {
                link: name.to_owned(),
                program: text(&program.name),
                program_id: link.prog_id,
                attach_type,
                ifindex,
                runs: program.run_cnt,
                run_ns: program.run_time_ns,
                verified_instructions: program.verified_insns,
            })
        };
        let fail = |name: &str| {
            let name = name.to_owned();
            move |source| Error::Link { what: "inspect", name, source }
        };
        names.iter().map(|name| read(name).map_err(fail(name))).collect()
    }

    /// The counters by their number in `abi::Counter`, summed over CPUs.
    pub fn counters(&self) -> Result<Vec<u64>, Error> {
        let map = object::open_map(&self.pins, map::COUNTERS)?;
        let fail = |source| Error::Map { what: "read", map: map::COUNTERS, source };
        (0..abi::COUNTERS).map(|index| sys::lookup_per_cpu(map.as_fd(), index).map_err(fail)).collect()
    }

    /// Connections that each Service port gave to a backend since its number was first used, by `ServiceValue::id`.
    pub fn connects(&self, ids: impl IntoIterator<Item = u32>) -> Result<Vec<u64>, Error> {
        let table = self.table::<u32, u64>(map::CONNECTS)?;
        ids.into_iter().map(|id| Ok(table.get(&id)?.unwrap_or(0))).collect()
    }

    /// The node's configuration, once it is written.
    pub fn config(&self) -> Result<Option<abi::Config>, Error> {
        self.table::<u32, abi::Config>(map::CONFIG)?.get(&0)
    }

    /// Who talked to which Service.
    pub fn edges(&self) -> Result<EdgeTable, Error> {
        Edges::open(&self.pins)?.read()
    }

    /// The Service table, sorted.
    pub fn frontends(&self) -> Result<Vec<(abi::ServiceKey, abi::ServiceValue)>, Error> {
        let (found, _) = services::open(&self.pins)?.entries();
        let mut found: Vec<_> = found.into_iter().map(|(_, key, value)| (key, value)).collect();
        found.sort_unstable_by_key(|(key, _)| *key);
        Ok(found)
    }

    /// A copy of the live tables, for the packet code to run on.
    pub fn tables(&self) -> Result<Memory, Error> {
        // In the order in which a look-up reads them: the flows before what they lead to.
        let flows = self.flows()?;
        Ok(Memory { flows, ..self.tables_but_flows()? })
    }

    /// The same with an empty flow table: a million connections are more than most questions are about.
    pub fn tables_but_flows(&self) -> Result<Memory, Error> {
        let used = |entries: Vec<(u32, abi::Backend)>| {
            entries.into_iter().filter(|(_, backend)| *backend != abi::Backend::default()).collect()
        };
        let slots = self.table::<u32, u32>(map::SLOTS)?.entries()?;
        Ok(Memory {
            config: self.config()?,
            services: self.frontends()?.into_iter().collect(),
            slots: slots.into_iter().filter(|(_, id)| *id != 0).collect(),
            backends: used(self.table(map::BACKENDS)?.entries()?),
            affinity: std::cell::RefCell::new(self.table(map::AFFINITY)?.entries()?.into_iter().collect()),
            pods: self.table(map::PODS)?.entries()?.into_iter().collect(),
            veths: self.table(map::VETHS)?.entries()?.into_iter().collect(),
            routes: self.table(map::ROUTES)?.entries()?.into_iter().collect(),
            sources: self
                .table::<abi::SourceKey, u32>(map::SOURCES)?
                .entries()?
                .into_iter()
                .map(|(key, _)| key)
                .collect(),
            generation: self.table::<u32, u32>(map::GENERATION)?.get(&0)?.unwrap_or_default(),
            seats: self.table(map::SEATS)?.entries()?.into_iter().collect(),
            identities: self.table(map::IDENTITIES)?.entries()?.into_iter().collect(),
            rules: self.table(map::RULES)?.entries()?.into_iter().collect(),
            connections: std::cell::RefCell::new(self.table(map::CONNECTIONS)?.entries()?.into_iter().collect()),
            ..Memory::default()
        })
    }

    /// A copy of the flow table. Flows that packets open or end meanwhile may be torn, which their states tell.
    fn flows(&self) -> Result<FlowMemory, Error> {
        let words = |name| -> Result<Vec<u64>, Error> {
            let lines = self.table::<u32, object::Line>(name)?.entries()?;
            Ok(lines.into_iter().flat_map(|(_, line)| line).collect())
        };
        // In the order in which a look-up reads them.
        let index = words(map::FLOW_INDEX)?;
        let records = self.table::<u32, abi::flow::FlowRecord>(map::FLOWS)?.entries()?;
        let states = words(map::FLOW_STATES)?;
        let records = records.into_iter().map(|(_, record)| record).collect();
        let malformed = || Error::Map { what: "understand", map: map::FLOWS, source: ErrorKind::InvalidData.into() };
        FlowMemory::of_words(&FlowWords { records, states, index }, 0).ok_or_else(malformed)
    }

    fn table<K: Plain, V: Plain>(&self, name: &'static str) -> Result<Table<K, V>, Error> {
        Ok(Table::new(name, object::open_map(&self.pins, name)?))
    }

    fn files(&self) -> Result<Vec<String>, Error> {
        let fail = |source| Error::Directory { path: self.pins.clone(), source };
        let entries = fs::read_dir(&self.pins).map_err(fail)?;
        Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
    }

    /// Flows that are not over.
    fn living_flows(&self) -> std::io::Result<u64> {
        let (fd, now_s) = (sys::get(&self.pins.join(map::FLOW_STATES))?, now_s());
        let mut living = 0;
        let is_living = |state: u64| state & abi::flow::STATE_USED != 0 && !flows::is_over(state, now_s);
        values(fd.as_fd(), &sys::map_info(fd.as_fd())?, |line| {
            let words = line.chunks_exact(8).filter_map(|word| Some(u64::from_ne_bytes(word.try_into().ok()?)));
            living += words.filter(|state| is_living(*state)).count() as u64;
        })?;
        Ok(living)
    }

    fn fill(&self, name: String) -> Result<MapFill, Error> {
        let read = || {
            let fd = sys::get(&self.pins.join(&name))?;
            let info = sys::map_info(fd.as_fd())?;
            let told = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
            let bytes = told.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok());
            // The three arrays of the flow table are one table.
            let entries = match name.as_str() {
                map::FLOWS => Some(self.living_flows()?),
                map::FLOW_STATES | map::FLOW_INDEX => None,
                // Rows that were in use are not empty.
                map::SERVICES => {
                    let rows = services::open(&self.pins).map_err(std::io::Error::other)?;
                    Some(rows.entries().0.len() as u64)
                }
                _ => count(fd.as_fd(), &info)?,
            };
            // Twice as many rows as entries.
            let limit = if name == map::SERVICES { abi::MAX_SERVICES } else { info.max_entries };
            Ok(MapFill { name: name.clone(), entries, limit, bytes: bytes.unwrap_or(0) })
        };
        read().map_err(|source| Error::Map { what: "inspect a", map: "pinned", source })
    }
}

/// Entries in use.
fn count(map: BorrowedFd<'_>, info: &bpf_map_info) -> std::io::Result<Option<u64>> {
    if ![HASH, ARRAY, LRU_HASH, LPM_TRIE].contains(&info.type_) {
        return Ok(None);
    }
    let mut used = 0;
    values(map, info, |value| used += u64::from(info.type_ != ARRAY || value.iter().any(|byte| *byte != 0)))?;
    Ok(Some(used))
}

/// Shows every value's bytes.
fn values(map: BorrowedFd<'_>, info: &bpf_map_info, mut show: impl FnMut(&[u8])) -> std::io::Result<()> {
    if info.map_flags & BPF_F_MMAPABLE != 0 {
        return mapped_values(map, info, show);
    }
    let mut keys = vec![0_u8; (BATCH * info.key_size) as usize];
    let mut values = vec![0_u8; (BATCH * info.value_size) as usize];
    let mut cursor = [0; sys::CURSOR];
    let (mut first, mut more) = (true, true);
    while more {
        let got;
        (got, more) = sys::lookup_batch(map, &mut cursor, first, &mut keys, &mut values, BATCH)?;
        first = false;
        values.chunks_exact(info.value_size as usize).take(got as usize).for_each(&mut show);
    }
    Ok(())
}

/// The same of an array that processes may map: a hundredth of what copies by the kernel cost.
fn mapped_values(map: BorrowedFd<'_>, info: &bpf_map_info, mut show: impl FnMut(&[u8])) -> std::io::Result<()> {
    let words = (info.value_size as usize).div_ceil(size_of::<u64>());
    let array = Mapped::<u64>::new(map, words * info.max_entries as usize)?;
    let mut value = Vec::with_capacity(words * size_of::<u64>());
    for first in (0..array.len()).step_by(words) {
        value.clear();
        (first..first + words).filter_map(|at| array.get(at)).for_each(|word| value.extend(word.to_ne_bytes()));
        show(&value[..info.value_size as usize]);
    }
    Ok(())
}

fn text(name: &[std::ffi::c_char]) -> String {
    name.iter().map(|c| *c as u8 as char).take_while(|c| *c != '\0').collect()
}

/// Seconds of the clock that the programs read.
pub fn now_s() -> u32 {
    // SAFETY: the call fills the struct that it is given.
    let now = unsafe {
        let mut now: nix::libc::timespec = std::mem::zeroed();
        nix::libc::clock_gettime(nix::libc::CLOCK_MONOTONIC_COARSE, &raw mut now);
        now
    };
    now.tv_sec as u32
}

/// Which addresses the namespaces bound in a folder have, by their cookies: events of socket calls name a namespace only.
pub fn namespaces(dir: &Path) -> Vec<(u64, Vec<IpAddr>)> {
    let look = |path: PathBuf| {
        let found = netns::run_in(&path, || {
            let addresses = nix::ifaddrs::getifaddrs().ok()?.filter_map(|one| {
                let address = one.address?;
                let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
                v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip()))).filter(|ip| !ip.is_loopback())
            });
            Some((sys::netns_cookie().ok()?, addresses.collect()))
        });
        // It may end while one looks.
        found.ok().flatten()
    };
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries.filter_map(|entry| look(entry.ok()?.path())).collect()
}
