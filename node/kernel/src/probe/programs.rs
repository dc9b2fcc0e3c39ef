//! Trials of BPF: helpers by loading programs that call them, kinds of maps by making them.
//!
//! A program that calls a helper with nothing prepared is refused; the verifier's log tells whether for the helper's sake.
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use aya_obj::generated::bpf_cmd::{BPF_MAP_CREATE, BPF_PROG_LOAD};

use super::text;
use crate::bpf::{bpf_call, bpf_owned, update_batch};

/// Of `enum bpf_prog_type` (include/uapi/linux/bpf.h).
pub const CLASSIFIER: u32 = 3;
pub const XDP: u32 = 6;
pub const SOCK_OPS: u32 = 13;
pub const SOCK_ADDR: u32 = 18;
pub const SK_LOOKUP: u32 = 30;

/// Of `enum bpf_attach_type`.
pub const CONNECT4: u32 = 10;
pub const SOCK_OPS_HOOK: u32 = 3;
pub const SK_LOOKUP_HOOK: u32 = 36;

/// Of `enum bpf_map_type`.
pub const HASH: u32 = 1;
pub const ARRAY: u32 = 2;
pub const RING_BUFFER: u32 = 27;

/// `BPF_F_MMAPABLE`, `BPF_F_XDP_HAS_FRAGS`.
pub const MAPPABLE: u32 = 1 << 10;
pub const FRAGMENTS: u32 = 1 << 5;

/// What the verifier says of a helper that is not there, or not for this kind of program (`check_helper_call`).
const REFUSED: [&str; 3] = ["invalid func", "unknown func", "cannot use helper"];

/// A prefix of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct Program {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    ifindex: u32,
    attach_type: u32,
}

#[repr(C)]
#[derive(Default)]
struct Map {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

/// Whether programs of a kind may call a helper of `enum bpf_func_id`.
pub fn helper(kind: u32, attach_type: u32, id: u32) -> Result<(), String> {
    // call id; r0 = 0; exit
    let instructions = [u64::from(id) << 32 | 0x85, 0xb7, 0x95];
    let (loaded, log) = load(kind, attach_type, 0, &instructions);
    match loaded {
        Err(e) if log.is_empty() => Err(e.to_string()),
        Err(_) if REFUSED.iter().any(|words| log.contains(words)) => {
            Err("the verifier does not know the helper".into())
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Whether a kind of program loads.
pub fn kind(kind: u32, attach_type: u32) -> Result<(), String> {
    // r0 = 1; exit
    load(kind, attach_type, 0, &[0x0000_0001_0000_00b7, 0x95]).0.map(drop).map_err(text)
}

/// An XDP program that passes every packet.
pub fn xdp(flags: u32) -> Result<OwnedFd, String> {
    // r0 = XDP_PASS (2); exit
    load(XDP, 0, flags, &[0x0000_0002_0000_00b7, 0x95]).0.map_err(text)
}

/// Whether a map can be made.
pub fn map(kind: u32, key_size: u32, value_size: u32, max_entries: u32, flags: u32) -> Result<OwnedFd, String> {
    let mut attr = Map { kind, key_size, value_size, max_entries, flags };
    bpf_call(BPF_MAP_CREATE, &mut attr).map(bpf_owned).map_err(text)
}

/// Writes two entries by one call.
pub fn batch() -> Result<(), String> {
    let map = map(HASH, 4, 4, 2, 0)?;
    update_batch(map.as_fd(), &[0, 0, 0, 0, 1, 0, 0, 0], &[0; 8], 2).map_err(text)
}

/// Whether the kernel's type information names a function; kfuncs have no other list.
pub fn kernel_function(name: &str) -> Result<(), String> {
    let btf = fs::read("/sys/kernel/btf/vmlinux").map_err(text)?;
    let here = btf.split(|byte| *byte == 0).any(|word| word == name.as_bytes());
    if here { Ok(()) } else { Err(format!("the kernel's BTF names no {name}")) }
}

fn load(kind: u32, attach_type: u32, flags: u32, instructions: &[u64]) -> (io::Result<OwnedFd>, String) {
    let mut log = vec![0_u8; 4096];
    let mut attr = Program {
        kind,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 1,
        log_size: log.len() as u32,
        log: log.as_mut_ptr() as u64,
        flags,
        attach_type,
        ..Program::default()
    };
    let loaded = bpf_call(BPF_PROG_LOAD, &mut attr).map(bpf_owned);
    let log = log.split(|byte| *byte == 0).next().map(|text| String::from_utf8_lossy(text).into_owned());
    (loaded, log.unwrap_or_default())
}
