//! `ebpf/prog/verifier.txt`: what the programs cost each kernel's verifier, and how much of that a change may add.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, bail};

/// The kernel goes through at most so many instructions of one program (BPF_COMPLEXITY_LIMIT_INSNS of include/linux/bpf.h).
const LIMIT: u32 = 1_000_000;
/// Percent of the limit that a program may take, so that another kernel's verifier has room.
const BUDGET_PERCENT: u32 = 25;
/// Percent by which a program may grow over what is recorded for a kernel, and instructions that are too few to matter.
const GROWTH_PERCENT: u32 = 10;
const GROWTH_FREE: u32 = 100;
/// Set, it records this kernel's counts instead of comparing them.
const BLESS: &str = "GANNET_BLESS";

/// What one program costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Instructions that the verifier goes through.
    pub instructions: u32,
    /// Bytes along the deepest chain of calls, of 512; the same on every kernel.
    pub stack: u32,
}

/// What the programs cost on one kernel, by their names.
pub type Costs = BTreeMap<String, Cost>;

/// What to do with new counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Compare,
    Bless,
}

/// The file's contents.
pub struct Budget {
    path: PathBuf,
    /// By kernel series (`6.12`).
    kernels: BTreeMap<Series, Costs>,
}

/// `6.1` before `6.12` before `6.18`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series(u32, u32);

impl Series {
    /// Of a release such as `6.18.44-cloud-amd64`.
    pub fn of(release: &str) -> anyhow::Result<Self> {
        let mut numbers = release.trim().split(['.', '-', '+']).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok(Self(major, minor)),
            _ => bail!("{release:?} is no kernel release"),
        }
    }

    /// Of the running kernel.
    pub fn here() -> anyhow::Result<Self> {
        Self::of(&fs::read_to_string("/proc/sys/kernel/osrelease").context("cannot read the kernel's version")?)
    }
}

impl std::fmt::Display for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&format!("{}.{}", self.0, self.1))
    }
}

impl Mode {
    /// What the environment asks for.
    pub fn from_environment() -> Self {
        if env::var_os(BLESS).is_some() { Self::Bless } else { Self::Compare }
    }
}

/// Reads `name instructions stack` a line, as kernel-tests' `verify` prints it.
pub fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> anyhow::Result<Costs> {
    let mut costs = Costs::new();
    for line in lines {
        let mut words = line.split_whitespace();
        let name = words.next().with_context(|| format!("not `name instructions stack`: {line:?}"))?;
        let mut number = || words.next().and_then(|word| word.parse().ok());
        let (Some(instructions), Some(stack)) = (number(), number()) else {
            bail!("not `name instructions stack`: {line:?}")
        };
        costs.insert(name.to_owned(), Cost { instructions, stack });
    }
    if costs.is_empty() {
        bail!("the BPF object holds no program");
    }
    Ok(costs)
}

impl Budget {
    /// The recorded counts; none if there is no file yet.
    pub fn read(repo: &Path) -> anyhow::Result<Self> {
        let path = repo.join("ebpf/prog/verifier.txt");
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let kernels = table(&text).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { path, kernels })
    }

    /// Compares counts with the limits and with what is recorded for the kernel, or records them: a line for each fault.
    pub fn take(&mut self, kernel: Series, costs: &Costs, mode: Mode) -> Vec<String> {
        let before = self.kernels.get(&kernel);
        let mut faults = Vec::new();
        for (name, Cost { instructions, .. }) in costs {
            if *instructions > LIMIT / 100 * BUDGET_PERCENT {
                faults.push(format!(
                    "{name} on {kernel}: {instructions} instructions, over {BUDGET_PERCENT} % of {LIMIT}"
                ));
            }
            let recorded = before.and_then(|costs| costs.get(name)).map(|cost| cost.instructions);
            let most = recorded.map(|count| count + count / 100 * GROWTH_PERCENT + GROWTH_FREE);
            if let (Mode::Compare, Some(recorded), true) =
                (mode, recorded, most.is_some_and(|most| *instructions > most))
            {
                faults.push(format!(
                    "{name} on {kernel}: {instructions} instructions, {recorded} before ({BLESS}=1 accepts it)"
                ));
            }
        }
        if mode == Mode::Bless && faults.is_empty() {
            self.kernels.insert(kernel, costs.clone());
        }
        faults
    }

    /// Drops what is recorded for other kernels than these.
    pub fn retain(&mut self, kernels: &BTreeSet<Series>) {
        self.kernels.retain(|kernel, _| kernels.contains(kernel));
    }

    /// Writes the file.
    pub fn write(&self) -> anyhow::Result<()> {
        fs::write(&self.path, render(&self.kernels)).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// The table of `render`.
fn table(text: &str) -> anyhow::Result<BTreeMap<Series, Costs>> {
    let mut kernels: BTreeMap<Series, Costs> = BTreeMap::new();
    let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let Some(head) = lines.next() else { return Ok(kernels) };
    let columns = head.split_whitespace().skip(2).map(Series::of).collect::<Result<Vec<_>, _>>()?;
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, stack, counts @ ..] = words.as_slice() else { bail!("not a program's line: {line:?}") };
        let stack = stack.parse().with_context(|| format!("no stack: {line:?}"))?;
        for (kernel, count) in columns.iter().zip(counts).filter(|(_, count)| **count != "-") {
            let instructions = count.parse().with_context(|| format!("no count: {line:?}"))?;
            kernels.entry(*kernel).or_default().insert((*name).to_owned(), Cost { instructions, stack });
        }
    }
    Ok(kernels)
}

fn render(kernels: &BTreeMap<Series, Costs>) -> String {
    let mut text = format!(
        "# Bytes of stack (limit 512), then instructions that each kernel's verifier goes through: limit {LIMIT}, budget\n\
         # {BUDGET_PERCENT} %, growth {GROWTH_PERCENT} %. `{BLESS}=1 cargo xtask ebpf` writes this kernel's column, `cargo xtask vm --bless` all of them.\n"
    );
    text.push_str(&costs_table(kernels));
    text
}

/// A line a program, a column a kernel.
pub fn costs_table(kernels: &BTreeMap<Series, Costs>) -> String {
    let mut programs: BTreeMap<&str, u32> = BTreeMap::new();
    for (name, cost) in kernels.values().flatten() {
        let stack = programs.entry(name).or_default();
        *stack = (*stack).max(cost.stack);
    }
    let width = programs.keys().map(|name| name.len()).max().unwrap_or(0).max("program".len());
    let mut text = format!("{:width$}  stack", "program");
    for kernel in kernels.keys() {
        // Writing to a string cannot fail.
        let _ = write!(text, "  {kernel:>7}");
    }
    text.push('\n');
    for (name, stack) in programs {
        let _ = write!(text, "{name:width$}  {stack:>5}");
        for costs in kernels.values() {
            let count = costs.get(name).map_or_else(|| "-".to_owned(), |cost| cost.instructions.to_string());
            let _ = write!(text, "  {count:>7}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
