//! Trials of rights, file systems, control groups and sockets.
use std::fs;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;

use nix::libc;

use super::text;
use crate::{cgroup, mount};

/// Whether this process has a capability of capabilities(7), by its bit.
pub fn capability(bit: u32) -> Result<(), String> {
    let status = fs::read_to_string("/proc/self/status").map_err(text)?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    if effective & (1 << bit) == 0 { Err("this process does not have it".to_owned()) } else { Ok(()) }
}

pub fn btf() -> Result<(), String> {
    let path = "/sys/kernel/btf/vmlinux";
    if Path::new(path).exists() { Ok(()) } else { Err(format!("{path} is absent")) }
}

/// The kernel knows a file system without loading a module, or with.
pub fn file_system(name: &str) -> Result<(), String> {
    let known = fs::read_to_string("/proc/filesystems").map_err(text)?;
    let here = known.lines().any(|line| line.split_whitespace().next_back() == Some(name));
    if here { Ok(()) } else { Err("not in /proc/filesystems".to_owned()) }
}

pub fn bpffs_mounted() -> Result<(), String> {
    match mount::is_mounted(Path::new("/sys/fs/bpf"), "bpf") {
        Ok(true) => Ok(()),
        Ok(false) => Err("nothing is mounted at /sys/fs/bpf".to_owned()),
        Err(e) => Err(e.to_string()),
    }
}

pub fn cgroup_v2() -> Result<(), String> {
    cgroup::v2_mount().map(drop).map_err(text)
}

pub fn cgroup_v2_controllers() -> Result<(), String> {
    match cgroup::v2_has_controllers() {
        Ok(true) => Ok(()),
        Ok(false) => Err("the v2 hierarchy has no controllers: v1 hierarchies hold them".to_owned()),
        Err(e) => Err(e.to_string()),
    }
}

/// Limits of pods need a controller, of either version.
pub fn controller(name: &str) -> Result<(), String> {
    let of_v2 = cgroup::v2_mount().and_then(|mount| {
        let path = mount.join("cgroup.controllers");
        fs::read_to_string(&path).map_err(|source| cgroup::Error::Io { what: "read", path, source })
    });
    let in_v2 = of_v2.is_ok_and(|names| names.split_whitespace().any(|found| found == name));
    let in_v1 = cgroup::v1_mounts().is_ok_and(|mounts| {
        let names = mounts.iter().filter_map(|mount| mount.file_name()).map(|file| file.to_string_lossy().into_owned());
        names.flat_map(|names| names.split(',').map(str::to_owned).collect::<Vec<_>>()).any(|found| found == name)
    });
    if in_v2 || in_v1 { Ok(()) } else { Err("in no mounted hierarchy".to_owned()) }
}

pub fn jit() -> Result<(), String> {
    match fs::read_to_string("/proc/sys/net/core/bpf_jit_enable") {
        Ok(value) if value.trim() == "0" => Err("net.core.bpf_jit_enable is 0".to_owned()),
        // Kernels that always compile have no such file.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A stream socket of SCTP.
pub fn sctp() -> Result<(), String> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, libc::IPPROTO_SCTP) };
    if fd < 0 {
        return Err(text(std::io::Error::last_os_error()));
    }
    // SAFETY: the call above made it for us alone.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(())
}
