//! `vm`: Debian's kernels under qemu. Each loads every BPF program, tells what its verifier counted, tries the features that
//! `gannet doctor` knows, and runs packets through the programs beside the host's functions.
#![expect(clippy::disallowed_methods, reason = "a guest's limits are by the clock")]

mod initramfs;
mod kernels;
mod machine;
mod modules;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::Value;

use crate::build::{self, BPF_OBJECT};
use crate::ebpf::budget::{self, Budget, Costs, Mode, Series};
use crate::run::{capture, command, step};
use crate::{paths, setup};
use initramfs::Step;
use machine::Accelerator;

/// What `vm` is asked for.
#[derive(Args)]
pub struct Arguments {
    /// Only the kernel of this Debian suite; several times for several
    #[arg(long = "suite", value_parser = kernels::SUITES)]
    suites: Vec<String>,
    /// Record what the verifiers count in ebpf/prog/verifier.txt
    #[arg(long)]
    bless: bool,
    /// Download the suites' newest kernels, even if there are some in the cache
    #[arg(long)]
    update: bool,
}

/// Modules that the features need, where they are modules.
const MODULES: [&str; 10] =
    ["veth", "vxlan", "geneve", "wireguard", "dummy", "sch_fq", "sctp", "overlay", "netkit", "sch_ingress"];

/// Programs of kernel-tests that run in a guest, and the test that does.
const PROGRAMS: [&str; 2] = ["verify", "features"];
const DIFFERENTIAL: &str = "differential";
/// Of the differential test's seeds, so many: a translated guest is some twenty times slower than this machine.
const SEEDS: u32 = 4;

/// A guest that is not done after so long is ended; a whole run takes a quarter of it.
const GUEST_LIMIT: Duration = Duration::from_secs(180);

/// What one kernel showed.
struct Outcome {
    series: Series,
    features: Vec<Feature>,
    /// Of the programs that load.
    costs: Costs,
    refused: Vec<String>,
}

/// A feature that was tried.
struct Feature {
    name: String,
    /// Gannet does not run without it.
    needed: bool,
    present: bool,
}

/// [`run`] with every kernel, as a test.
pub fn every_kernel() -> anyhow::Result<()> {
    run(&Arguments { suites: Vec::new(), bless: false, update: false })
}

/// Boots the kernels, prints what they showed, and fails if one refuses a program, decides otherwise than the host, or
/// exceeds the budget.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    setup::run()?;
    let object = build::bpf_object()?;
    let guest = Guest::build(&object)?;
    let mut outcomes = vec![guest.natively().context("this machine's kernel")?];
    let mut faults = Vec::new();
    let mut accelerator = Accelerator::candidate();
    for suite in kernels::SUITES {
        if !arguments.suites.is_empty() && !arguments.suites.iter().any(|wanted| wanted == suite) {
            continue;
        }
        if arguments.update {
            kernels::forget(suite)?;
        }
        match guest.boot(suite, &mut accelerator) {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => faults.push(format!("the kernel of {suite}: {error:#}")),
        }
    }
    outcomes.sort_by_key(|outcome| outcome.series);
    print!("\n{}\n", feature_table(&outcomes));
    let costs = outcomes.iter().map(|outcome| (outcome.series, outcome.costs.clone())).collect();
    println!("{}", budget::costs_table(&costs));

    let mode = if arguments.bless { Mode::Bless } else { Mode::from_environment() };
    let mut recorded = Budget::read(&paths::repo())?;
    if mode == Mode::Bless && arguments.suites.is_empty() && faults.is_empty() {
        recorded.retain(&outcomes.iter().map(|outcome| outcome.series).collect::<BTreeSet<_>>());
    }
    for outcome in &outcomes {
        faults.extend(recorded.take(outcome.series, &outcome.costs, mode));
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    if mode == Mode::Bless {
        recorded.write()?;
    }
    step("ok", format_args!("{} kernels within verifier.txt", outcomes.len()));
    Ok(())
}

/// What goes into every guest.
struct Guest {
    object: PathBuf,
    /// Static builds of [`PROGRAMS`] and of the differential test.
    programs: Vec<PathBuf>,
    folder: PathBuf,
}

impl Guest {
    fn build(object: &Path) -> anyhow::Result<Self> {
        let folder = paths::target().join("vm");
        fs::create_dir_all(&folder)?;
        let mut programs = Vec::new();
        for (name, built) in build::static_kernel_tests(&PROGRAMS, DIFFERENTIAL)? {
            let program = folder.join(name);
            fs::copy(&built, &program).with_context(|| format!("cannot copy {}", built.display()))?;
            programs.push(program);
        }
        step("built", "static programs for guests");
        Ok(Self { object: object.to_owned(), programs, folder })
    }

    /// The same programs on the running kernel; packets are left to `cargo xtask test`.
    fn natively(&self) -> anyhow::Result<Outcome> {
        let run = |name| capture(command(self.folder.join(name)).env(BPF_OBJECT, &self.object));
        let (costs, refused) = loads(run("verify")?.lines())?;
        let outcome =
            Outcome { series: Series::here()?, features: features(run("features")?.lines())?, costs, refused };
        step("ok", format_args!("{} here: {} programs load", outcome.series, outcome.costs.len()));
        Ok(outcome)
    }

    fn boot(&self, suite: &str, accelerator: &mut Accelerator) -> anyhow::Result<Outcome> {
        let kernel = kernels::fetch(suite)?;
        let modules = modules::gather(&kernel.modules, &MODULES)?;
        let initramfs = self.folder.join(format!("{suite}.cpio.gz"));
        let object = self.object.file_name().context("the object has a name")?.to_string_lossy();
        let steps = [
            Step { name: "features", limit_s: 30, command: "features".to_owned() },
            Step { name: "verify", limit_s: 60, command: format!("{BPF_OBJECT}=/{object} verify") },
            Step {
                name: DIFFERENTIAL,
                limit_s: 90,
                command: format!("{BPF_OBJECT}=/{object} GANNET_TEST_SEEDS={SEEDS} {DIFFERENTIAL} --nocapture"),
            },
        ];
        initramfs::write(&initramfs, &self.programs, std::slice::from_ref(&self.object), &modules, &steps)?;
        let begun = Instant::now();
        let transcript = machine::boot(&kernel.image, &initramfs, GUEST_LIMIT, accelerator)?;
        for line in &transcript.rest {
            if line.starts_with("cannot load module") {
                step("warning", format_args!("{suite}: {line}"));
            }
        }
        let lines = |name| transcript.lines(name).iter().map(String::as_str);
        let (costs, refused) = loads(lines("verify"))?;
        transcript.succeeded("features")?;
        let outcome =
            Outcome { series: Series::of(&kernel.release)?, features: features(lines("features"))?, costs, refused };
        let total = outcome.costs.len() + outcome.refused.len();
        let loaded = format!("{} of {total} programs load", outcome.costs.len());
        let how = format!("{} of {suite} ({accelerator:?}, {:.0} s)", kernel.release, begun.elapsed().as_secs_f32());
        let lacking = outcome.lacking();
        if lacking.is_empty() {
            transcript.succeeded("verify")?;
            transcript.succeeded(DIFFERENTIAL)?;
            step("ok", format_args!("{how}: {loaded}, kernel and host agree on packets"));
        } else {
            // Gannet says so and does not start: what loads here is good to know, no more.
            step("ok", format_args!("{how}: {loaded}; no kernel for Gannet, without {}", lacking.join(", ")));
        }
        Ok(outcome)
    }
}

impl Outcome {
    /// What Gannet needs that this kernel has not.
    fn lacking(&self) -> Vec<&str> {
        let absent = self.features.iter().filter(|feature| feature.needed && !feature.present);
        absent.map(|feature| feature.name.as_str()).collect()
    }
}

/// Reads what kernel-tests' `verify` prints, among lines of the verifier's: costs of the programs that load, names of the others.
fn loads<'a>(lines: impl Iterator<Item = &'a str>) -> anyhow::Result<(Costs, Vec<String>)> {
    let (mut loaded, mut refused) = (Vec::new(), Vec::new());
    for line in lines {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            [name, "refused"] => refused.push((*name).to_owned()),
            [_, instructions, stack] if instructions.parse::<u32>().is_ok() && stack.parse::<u32>().is_ok() => {
                loaded.push(line);
            }
            _ => {}
        }
    }
    Ok((budget::parse(loaded)?, refused))
}

/// Reads the lines of kernel-tests' `features`.
fn features<'a>(lines: impl Iterator<Item = &'a str>) -> anyhow::Result<Vec<Feature>> {
    let feature = |line: &str| {
        let value: Value = serde_json::from_str(line).with_context(|| format!("not a feature: {line}"))?;
        let name = value["feature"].as_str().with_context(|| format!("not a feature: {line}"))?.to_owned();
        Ok(Feature { name, needed: value["needed"] == true, present: value["absent"].is_null() })
    };
    lines.map(feature).collect()
}

/// A line a feature, a column a kernel. Every kernel was asked for the same features.
fn feature_table(outcomes: &[Outcome]) -> String {
    let Some(first) = outcomes.first() else { return String::new() };
    let width = first.features.iter().map(|feature| feature.name.len() + 1).max().unwrap_or(0);
    let mut text = format!("{:width$}", "(* needed)");
    for outcome in outcomes {
        text.push_str(&format!("  {:>6}", outcome.series));
    }
    for (row, Feature { name, needed, .. }) in first.features.iter().enumerate() {
        let star = if *needed { "*" } else { "" };
        text.push_str(&format!("\n{:width$}", format!("{name}{star}")));
        for outcome in outcomes {
            let present = outcome.features.get(row).is_some_and(|feature| feature.present);
            text.push_str(&format!("  {:>6}", if present { "yes" } else { "-" }));
        }
    }
    text.push('\n');
    text
}
