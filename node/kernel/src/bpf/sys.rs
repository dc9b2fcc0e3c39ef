//! The bpf(2) calls that aya does not offer in the form needed: batches, links by descriptor, object information.
//!
//! Each call has its own argument struct, the prefix of `union bpf_attr` (include/uapi/linux/bpf.h) that it uses; the
//! kernel takes the rest as zero.
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya_obj::generated::bpf_cmd::{self, *};
use aya_obj::generated::{bpf_link_info, bpf_map_info, bpf_prog_info};
use nix::libc;

#[repr(C)]
#[derive(Default)]
struct Elem {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
}

#[repr(C)]
#[derive(Default)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct Obj {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct Info {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

#[repr(C)]
#[derive(Default)]
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct LinkUpdate {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
}

/// bpf(2) with a prefix of `union bpf_attr`; any pointers in it are live for the call.
pub fn bpf<T>(cmd: bpf_cmd, attr: &mut T) -> io::Result<i64> {
    // SAFETY: `attr` is a live repr(C) prefix of union bpf_attr of the given size; pointers in it are live for the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, cmd as u32, std::ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The descriptor that a call has just made.
pub fn owned(fd: i64) -> OwnedFd {
    // SAFETY: the call that returned it made it for us alone.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

fn cstring(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

pub fn lookup(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
    let mut attr =
        Elem { map_fd: raw(map), key: key.as_ptr() as u64, value: value.as_mut_ptr() as u64, ..Elem::default() };
    present(bpf(BPF_MAP_LOOKUP_ELEM, &mut attr))
}

pub fn update(map: BorrowedFd<'_>, key: &[u8], value: &[u8]) -> io::Result<()> {
    let mut attr = Elem { map_fd: raw(map), key: key.as_ptr() as u64, value: value.as_ptr() as u64, ..Elem::default() };
    bpf(BPF_MAP_UPDATE_ELEM, &mut attr).map(drop)
}

pub fn delete(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<bool> {
    let mut attr = Elem { map_fd: raw(map), key: key.as_ptr() as u64, ..Elem::default() };
    present(bpf(BPF_MAP_DELETE_ELEM, &mut attr))
}

fn present(result: io::Result<i64>) -> io::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(e) => Err(e),
    }
}

/// How many CPUs a per-CPU map has values for: all possible ones.
fn possible_cpus() -> io::Result<usize> {
    let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last = possible.trim().rsplit([',', '-']).next().and_then(|n| n.parse::<usize>().ok());
    Ok(last.ok_or(io::ErrorKind::InvalidData)? + 1)
}

/// The words of one entry of a per-CPU array, one CPU's after another's. Values are of `size` bytes, whole words.
pub fn lookup_cpus(map: BorrowedFd<'_>, index: u32, size: usize) -> io::Result<Vec<u64>> {
    let mut values = vec![0_u8; possible_cpus()? * size];
    lookup(map, &index.to_ne_bytes(), &mut values)?;
    let chunks = values.chunks_exact(size_of::<u64>());
    Ok(chunks.map(|c| u64::from_ne_bytes(c.try_into().expect("chunks have eight bytes"))).collect())
}

/// Sum over all CPUs of one u64 entry of a per-CPU array.
pub fn lookup_per_cpu(map: BorrowedFd<'_>, index: u32) -> io::Result<u64> {
    Ok(lookup_cpus(map, index, size_of::<u64>())?.into_iter().sum())
}

/// Clears one entry of a per-CPU array, whose values are of `size` bytes, whole words.
pub fn clear_per_cpu(map: BorrowedFd<'_>, index: u32, size: usize) -> io::Result<()> {
    update(map, &index.to_ne_bytes(), &vec![0_u8; possible_cpus()? * size])
}

/// Room for the cursor of a batched lookup: the kernel stores a key or a bucket number.
pub const CURSOR: usize = 64;

/// Reads up to `count` entries after `cursor`; returns how many, and whether more may follow.
pub fn lookup_batch(
    map: BorrowedFd<'_>,
    cursor: &mut [u8; CURSOR],
    first: bool,
    keys: &mut [u8],
    values: &mut [u8],
    count: u32,
) -> io::Result<(u32, bool)> {
    let mut next = [0_u8; CURSOR];
    let mut attr = Batch {
        in_batch: if first { 0 } else { cursor.as_ptr() as u64 },
        out_batch: next.as_mut_ptr() as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count,
        map_fd: raw(map),
        ..Batch::default()
    };
    let more = present(bpf(BPF_MAP_LOOKUP_BATCH, &mut attr))?;
    *cursor = next;
    Ok((attr.count, more))
}

/// Writes `count` entries; keys and values lie one after another.
pub fn update_batch(map: BorrowedFd<'_>, keys: &[u8], values: &[u8], count: u32) -> io::Result<()> {
    let mut attr = Batch {
        keys: keys.as_ptr() as u64,
        values: values.as_ptr() as u64,
        count,
        map_fd: raw(map),
        ..Batch::default()
    };
    bpf(BPF_MAP_UPDATE_BATCH, &mut attr).map(drop)
}

/// Makes an array that processes may map.
pub fn mappable_array(name: &str, value_size: usize, entries: u32) -> io::Result<OwnedFd> {
    const ARRAY: u32 = 2;
    const BPF_F_MMAPABLE: u32 = 1 << 10;
    let mut attr = MapCreate {
        map_type: ARRAY,
        key_size: size_of::<u32>() as u32,
        value_size: value_size as u32,
        max_entries: entries,
        map_flags: BPF_F_MMAPABLE,
        ..MapCreate::default()
    };
    // The last byte stays zero.
    let room = attr.map_name.len() - 1;
    attr.map_name.iter_mut().take(room).zip(name.bytes()).for_each(|(to, from)| *to = from);
    bpf(BPF_MAP_CREATE, &mut attr).map(owned)
}

pub fn pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = cstring(path)?;
    let mut attr = Obj { pathname: path.as_ptr() as u64, bpf_fd: raw(fd), ..Obj::default() };
    bpf(BPF_OBJ_PIN, &mut attr).map(drop)
}

pub fn get(path: &Path) -> io::Result<OwnedFd> {
    let path = cstring(path)?;
    let mut attr = Obj { pathname: path.as_ptr() as u64, ..Obj::default() };
    bpf(BPF_OBJ_GET, &mut attr).map(owned)
}

/// Attaches a program to an interface (tcx, XDP: `target` is its index) or a cgroup (`target` is a descriptor).
pub fn link_create(prog: BorrowedFd<'_>, target: u32, attach_type: u32) -> io::Result<OwnedFd> {
    link_create_flagged(prog, target, attach_type, 0)
}

/// [`link_create`] with flags of the attach type.
pub fn link_create_flagged(prog: BorrowedFd<'_>, target: u32, attach_type: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attr = LinkCreate { prog_fd: raw(prog), target, attach_type, flags };
    bpf(BPF_LINK_CREATE, &mut attr).map(owned)
}

/// Replaces a link's program in one step: no packet sees neither.
pub fn link_update(link: BorrowedFd<'_>, prog: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = LinkUpdate { link_fd: raw(link), new_prog_fd: raw(prog), ..LinkUpdate::default() };
    bpf(BPF_LINK_UPDATE, &mut attr).map(drop)
}

/// Ends a link's attachment before its last reference goes.
pub fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = raw(link);
    bpf(BPF_LINK_DETACH, &mut attr).map(drop)
}

pub fn prog_by_id(id: u32) -> io::Result<OwnedFd> {
    let mut attr = ById { id, ..ById::default() };
    bpf(BPF_PROG_GET_FD_BY_ID, &mut attr).map(owned)
}

pub fn map_info(fd: BorrowedFd<'_>) -> io::Result<bpf_map_info> {
    info(fd)
}

pub fn prog_info(fd: BorrowedFd<'_>) -> io::Result<bpf_prog_info> {
    info(fd)
}

pub fn link_info(fd: BorrowedFd<'_>) -> io::Result<bpf_link_info> {
    info(fd)
}

/// What a program is: the tag of its instructions, and its maps. `is_state` tells the names of pinned maps.
pub fn prog_identity(fd: BorrowedFd<'_>, is_state: impl Fn(&[u8]) -> bool) -> io::Result<([u8; 8], Vec<MapIdentity>)> {
    let counted: bpf_prog_info = info(fd)?;
    let mut ids = vec![0_u32; counted.nr_map_ids as usize];
    // SAFETY: all zeroes is a valid bpf_prog_info.
    let mut request: bpf_prog_info = unsafe { std::mem::zeroed() };
    request.nr_map_ids = ids.len() as u32;
    request.map_ids = ids.as_mut_ptr() as u64;
    fill(fd, &mut request)?;
    let mut maps = ids.into_iter().map(|id| map_identity(id, &is_state)).collect::<io::Result<Vec<_>>>()?;
    maps.sort();
    Ok((request.tag, maps))
}

/// A map that a program uses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MapIdentity {
    /// One of the pinned maps: it must be the very same.
    State(u32),
    /// Constants are in a map of their own a load: equal contents are as good.
    Constants(Vec<u8>),
    /// Working space that holds nothing between packets: name, bytes of a value.
    Scratch([libc::c_char; 16], u32),
}

fn map_identity(id: u32, is_state: impl Fn(&[u8]) -> bool) -> io::Result<MapIdentity> {
    /// `BPF_F_RDONLY_PROG`: programs cannot write it.
    const READ_ONLY: u32 = 1 << 7;
    let fd = bpf(BPF_MAP_GET_FD_BY_ID, &mut ById { id, ..ById::default() }).map(owned)?;
    let info = map_info(fd.as_fd())?;
    let name: Vec<u8> = info.name.iter().map(|c| *c as u8).take_while(|c| *c != 0).collect();
    if is_state(&name) {
        return Ok(MapIdentity::State(id));
    }
    if info.map_flags & READ_ONLY == 0 || info.max_entries != 1 {
        return Ok(MapIdentity::Scratch(info.name, info.value_size));
    }
    let mut value = vec![0_u8; info.value_size as usize];
    lookup(fd.as_fd(), &0_u32.to_ne_bytes(), &mut value)?;
    Ok(MapIdentity::Constants(value))
}

/// Loads a tcx program that does nothing; for probing.
pub fn load_empty_classifier() -> io::Result<OwnedFd> {
    const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
    // r0 = TCX_NEXT (-1); exit
    let instructions: [u64; 2] = [0xffff_ffff_0000_00b7, 0x0000_0000_0000_0095];
    let mut attr = ProgLoad {
        prog_type: BPF_PROG_TYPE_SCHED_CLS,
        insn_cnt: instructions.len() as u32,
        insns: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
    };
    bpf(BPF_PROG_LOAD, &mut attr).map(owned)
}

fn info<T>(fd: BorrowedFd<'_>) -> io::Result<T> {
    // SAFETY: T is one of the kernel's plain information structs, for which all zeroes is valid.
    let mut out: T = unsafe { std::mem::zeroed() };
    fill(fd, &mut out)?;
    Ok(out)
}

fn fill<T>(fd: BorrowedFd<'_>, out: &mut T) -> io::Result<()> {
    let mut attr = Info { bpf_fd: raw(fd), info_len: size_of::<T>() as u32, info: std::ptr::from_mut(out) as u64 };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr).map(drop)
}

/// Waits for an RCU grace period: every program that was running has ended. membarrier(2) with MEMBARRIER_CMD_GLOBAL
/// is synchronize_rcu() (kernel/sched/membarrier.c).
pub fn grace_period() -> io::Result<()> {
    const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;
    // SAFETY: takes no pointers.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `SO_NETNS_COOKIE` of the calling thread's network namespace.
pub fn netns_cookie() -> io::Result<u64> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let probe = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: value and length are live and of the sizes said.
    let result = unsafe {
        libc::getsockopt(
            probe.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            std::ptr::from_mut(&mut cookie).cast(),
            &mut length,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(cookie) }
}
