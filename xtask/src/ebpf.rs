//! The BPF programs: compiled from Rust by the pinned toolchain, loaded on this kernel, held to a budget.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, bail};

use crate::build::{BPF_OBJECT, inner_cargo};
use crate::run::{capture, cargo, stream};

/// The kernel goes through at most so many instructions of one program (BPF_COMPLEXITY_LIMIT_INSNS of include/linux/bpf.h).
const LIMIT: u32 = 1_000_000;
/// Percent of the limit that a program may take, so that another kernel's verifier has room.
const BUDGET_PERCENT: u32 = 25;
/// Percent by which a program may grow over what `verifier.txt` has for this kernel.
const GROWTH_PERCENT: u32 = 20;
/// Set, it writes this kernel's counts into `verifier.txt` instead of comparing them.
const BLESS: &str = "GANNET_BLESS";

/// Compiles `ebpf/prog` and returns the object.
pub fn build(repo: &Path, target: &Path) -> anyhow::Result<PathBuf> {
    let output = target.join("bpf");
    // `cargo rustc` gives the linker its argument for this crate alone: in RUSTFLAGS it would also make another `core`.
    stream(
        cargo()
            .current_dir(repo)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_DIR", &output)
            .env("CARGO_ENCODED_RUSTFLAGS", "--cfg=bpf_target_arch=\"x86_64\"\x1f-Cdebuginfo=2\x1f-Ctarget-cpu=v3")
            .envs([
                // The BTF of maps and functions comes from the debug information; one unit makes the counts repeatable.
                ("CARGO_PROFILE_RELEASE_DEBUG", "2"),
                ("CARGO_PROFILE_RELEASE_STRIP", "none"),
                ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
            ])
            .args(["rustc", "--quiet", "--release", "--package", "prog", "--bin", "prog", "-Z", "build-std=core"])
            .args(["--target", "bpfel-unknown-none", "--", "-C", "link-arg=--btf"])
            // Else LLVM leaves memset and memmove as calls to byte loops: twice the instructions to verify, a fifth more time.
            .args(["-C", "link-arg=--disable-expand-memcpy-in-order"]),
    )
    .context("cannot compile ebpf/prog (does `bpf-linker --version` answer? `cargo xtask setup` installs it)")?;
    Ok(output.join("bpfel-unknown-none/release/prog"))
}

/// Loads every program on this kernel and compares the verifier's counts with `ebpf/prog/verifier.txt`.
pub fn verify(repo: &Path, object: &Path) -> anyhow::Result<()> {
    let mut loader = inner_cargo();
    loader.args(["run", "--quiet", "--package", "kernel-tests", "--bin", "verify"]);
    verify_with(repo, object, loader)
}

/// The same with a command that runs kernel-tests' `verify`, for a caller that has compiled it already.
pub fn verify_with(repo: &Path, object: &Path, mut loader: Command) -> anyhow::Result<()> {
    let output = capture(loader.env(BPF_OBJECT, object)).context("the BPF programs do not load on this kernel")?;
    let counts = parse(&output).context("what `verify` printed")?;
    if counts.is_empty() {
        bail!("the BPF object holds no program");
    }
    let kernel = kernel_series()?;
    let path = repo.join("ebpf/prog/verifier.txt");
    let mut recorded = read(&path)?;
    let mut faults = String::new();
    for (name, count) in &counts {
        if *count > LIMIT / 100 * BUDGET_PERCENT {
            writeln!(faults, "{name}: {count} instructions, over {BUDGET_PERCENT} % of {LIMIT}")?;
        }
        let before = recorded.get(&(kernel.clone(), name.clone())).copied();
        if let Some(before) = before.filter(|_| env::var_os(BLESS).is_none())
            && *count > before + before / 100 * GROWTH_PERCENT + 100
        {
            writeln!(faults, "{name}: {count} instructions, {before} before ({BLESS}=1 accepts it)")?;
        }
    }
    if !faults.is_empty() {
        bail!("the verifier's budget on kernel {kernel}:\n{faults}");
    }
    if env::var_os(BLESS).is_some() {
        recorded.retain(|(series, _), _| *series != kernel);
        recorded.extend(counts.into_iter().map(|(name, count)| ((kernel.clone(), name), count)));
        fs::write(&path, render(&recorded)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// `name count` a line.
fn parse(text: &str) -> anyhow::Result<BTreeMap<String, u32>> {
    text.lines()
        .map(|line| {
            let (name, count) = line.split_once(' ').with_context(|| format!("not `name count`: {line}"))?;
            Ok((name.to_owned(), count.trim().parse().with_context(|| format!("no count: {line}"))?))
        })
        .collect()
}

/// The recorded counts by kernel series and program; empty if there is no file yet.
fn read(path: &Path) -> anyhow::Result<BTreeMap<(String, String), u32>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
    };
    let mut counts = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        if let (Some(kernel), Some(name), Some(count)) = (words.next(), words.next(), words.next()) {
            let count = count.parse().with_context(|| format!("{}: {line}", path.display()))?;
            counts.insert((kernel.to_owned(), name.to_owned()), count);
        }
    }
    Ok(counts)
}

fn render(counts: &BTreeMap<(String, String), u32>) -> String {
    let mut text = format!(
        "# Instructions the verifier goes through: kernel, program, count. Limit {LIMIT}; budget {BUDGET_PERCENT} %, growth {GROWTH_PERCENT} %.\n\
         # `{BLESS}=1 cargo xtask ebpf` writes this kernel's lines.\n"
    );
    for ((kernel, name), count) in counts {
        text.push_str(&format!("{kernel} {name} {count}\n"));
    }
    text
}

/// `6.18` of `6.18.44-debian`.
fn kernel_series() -> anyhow::Result<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("cannot read the kernel's version")?;
    Ok(release.trim().split('.').take(2).collect::<Vec<_>>().join("."))
}
