//! Developer tasks: set up the machine, build, start and stop a local cluster, test, measure, check the house rules.
//! `cargo xtask help` lists them; each prints one line a step and exits non-zero when something failed.

mod bench;
mod build;
mod ci;
mod codegen;
mod ebpf;
mod fuzz;
mod images;
mod paths;
mod run;
mod setup;
mod test;
mod tidy;
mod up;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Gannet's developer tasks", disable_version_flag = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what building, running and testing need; idempotent
    Setup,
    /// Compile the BPF programs, load them on this kernel, check the verifier's budget
    Ebpf,
    /// Build the BPF object and the `gannet` binary
    Build {
        /// Without optimisation, as tests build it
        #[arg(long)]
        dev: bool,
    },
    /// Build the archive of images that examples and tests run
    Images,
    /// Start a cluster on this machine and serve examples/hello.yaml
    Up {
        /// Number of nodes, each in a network namespace of its own
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
        nodes: u8,
    },
    /// Stop that cluster and remove everything it made
    Down,
    /// Run every test
    Test {
        /// More cases, longer runs, and other kernels under qemu
        #[arg(long)]
        long: bool,
    },
    /// Boot Debian's kernels under qemu, load every BPF program there, compare them packet by packet with the host
    Vm(vm::Arguments),
    /// Measure: nanoseconds a packet, connections through a Service, or the API under load
    Bench {
        /// What to measure
        #[command(subcommand)]
        what: bench::What,
    },
    /// Run one entry point of tests/inputs under libFuzzer
    Fuzz {
        /// Which; "all": one after the other
        target: String,
        /// For how long
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Check import rules, purity, file sizes and words
    Tidy,
    /// What continuous integration runs
    Ci,
    /// Derive the API's schema tables anew from Kubernetes' documents
    Codegen,
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<()> {
    match task {
        Task::Setup => setup::run(),
        Task::Ebpf => build::ebpf().map(drop),
        Task::Build { dev } => {
            let profile = if dev { build::Profile::Dev } else { build::Profile::Release };
            let binary = build::gannet(profile)?;
            println!("{}", binary.display());
            Ok(())
        }
        Task::Images => images::build().map(drop),
        Task::Up { nodes } => up::up(nodes),
        Task::Down => up::down(),
        Task::Test { long } => test::run(if long { test::Extent::Long } else { test::Extent::Usual }),
        Task::Vm(arguments) => vm::run(&arguments),
        Task::Bench { what } => bench::run(&what),
        Task::Fuzz { target, seconds } => fuzz::run(&target, seconds),
        Task::Tidy => tidy::run(),
        Task::Ci => ci::run(),
        Task::Codegen => codegen::run(),
    }
}
