//! `bench`: builds and runs the measuring programs of the bench crate; `bench/README.md` holds their figures.

use clap::{Args, Subcommand};

use crate::build::{self, BPF_OBJECT};
use crate::run::stream;

/// What to measure.
#[derive(Subcommand)]
pub enum What {
    /// Nanoseconds a packet in the programs, by BPF_PROG_TEST_RUN
    Packet(Options),
    /// Connections a second and throughput through a ClusterIP against the pod itself
    Service(Options),
}

/// How to print.
#[derive(Args)]
pub struct Options {
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
}

pub fn run(what: &What) -> anyhow::Result<()> {
    let (binary, Options { json }) = match what {
        What::Packet(options) => ("packet", options),
        What::Service(options) => ("service", options),
    };
    let object = build::bpf_object_quietly()?;
    let mut bench = build::inner_cargo();
    bench.env(BPF_OBJECT, object).args(["run", "--quiet", "--release", "--package", "bench", "--bin", binary, "--"]);
    if *json {
        bench.arg("--json");
    }
    stream(&mut bench)
}
