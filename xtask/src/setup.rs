//! `setup`: everything a fresh Debian with only Rust needs, one line a step, each step a no-op when it is done.

mod apt;
mod bpf_linker;
mod rust_src;
pub mod suite;

use anyhow::bail;

use crate::paths;
use crate::run::{command, step, succeeds};

/// What a step did.
pub enum Done {
    /// It was there already.
    Ok,
    /// It is there now.
    Installed,
}

/// One thing the machine needs.
struct Step {
    name: &'static str,
    run: fn() -> anyhow::Result<Done>,
    /// The command that mends it by hand.
    fix: &'static str,
}

/// Packages that compile: a C compiler and libbpf's headers for user space, LLVM for the BPF linker, protoc and the
/// well-known types for the etcd client.
const BUILD_PACKAGES: &[&str] = &[
    "gcc",
    "libc6-dev",
    "make",
    "pkg-config",
    "libelf-dev",
    "zlib1g-dev",
    "libzstd-dev",
    "llvm-22-dev",
    "libpolly-22-dev",
    "protobuf-compiler",
    "libprotobuf-dev",
];
/// Packages that run a cluster.
const RUN_PACKAGES: &[&str] = &["containerd", "runc", "busybox-static"];
/// Packages that only tests call.
const TEST_PACKAGES: &[&str] = &["iproute2", "nftables", "iptables", "bsdutils", "procps", "etcd-server"];
/// Packages that boot other kernels.
const VM_PACKAGES: &[&str] = &["qemu-system-x86"];

const STEPS: &[Step] = &[
    Step {
        name: "build packages",
        run: || apt::install(BUILD_PACKAGES),
        fix: "apt-get update && apt-get install gcc make pkg-config libelf-dev zlib1g-dev libzstd-dev llvm-22-dev libpolly-22-dev protobuf-compiler libprotobuf-dev",
    },
    Step {
        name: "containerd, runc, static busybox",
        run: || apt::install(RUN_PACKAGES),
        fix: "apt-get update && apt-get install containerd runc busybox-static",
    },
    Step {
        name: "test programs",
        run: || apt::install(TEST_PACKAGES),
        fix: "apt-get update && apt-get install iproute2 nftables iptables bsdutils procps etcd-server",
    },
    Step {
        name: "qemu, which boots other kernels",
        run: || apt::install(VM_PACKAGES),
        fix: "apt-get update && apt-get install --no-install-recommends qemu-system-x86",
    },
    Step { name: "kubectl", run: kubectl, fix: "apt-get install kubernetes-client, or put a kubectl on PATH" },
    Step {
        name: "rust-src",
        run: rust_src::install,
        fix: "rustup component add rust-src, or unpack the toolchain's library/ into $(rustc --print sysroot)/lib/rustlib/src/rust",
    },
    Step {
        name: "bpf-linker",
        run: bpf_linker::install,
        fix: "LLVM_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker --version 0.13.0 --no-default-features --features llvm-22",
    },
    Step { name: "kernel", run: kernel, fix: "run a kernel 6.6 or newer with CONFIG_BPF_SYSCALL, BTF and cgroup v2" },
];

/// Runs every step; all of them, so that one run names everything that is missing.
pub fn run() -> anyhow::Result<()> {
    let mut failed = 0;
    for Step { name, run, fix } in STEPS {
        match run() {
            Ok(Done::Ok) => step("ok", name),
            Ok(Done::Installed) => step("installed", name),
            Err(error) => {
                failed += 1;
                step("failed", format_args!("{name}: {error:#}; fix: {fix}"));
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} setup steps failed; mend them and run `cargo xtask setup` again", STEPS.len());
    }
    Ok(())
}

fn kubectl() -> anyhow::Result<Done> {
    if paths::find("kubectl").is_some() {
        return Ok(Done::Ok);
    }
    apt::install(&["kubernetes-client"])
}

fn kernel() -> anyhow::Result<Done> {
    if !succeeds(command("test").args(["-r", "/sys/kernel/btf/vmlinux"])) {
        bail!("/sys/kernel/btf/vmlinux is missing: this kernel carries no BTF");
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    if !mounts.lines().any(|line| line.split(' ').nth(2) == Some("cgroup2")) {
        bail!("no cgroup2 file system is mounted");
    }
    Ok(Done::Ok)
}
