//! `bench`: builds and runs the measuring programs of the bench crate; `bench/README.md` holds their figures.

use std::ffi::OsString;
use std::path::{Path, PathBuf, absolute};

use clap::{Args, Subcommand};

use crate::build::{self, BPF_OBJECT};
use crate::run::stream;

/// What to measure.
#[derive(Subcommand)]
pub enum What {
    /// Nanoseconds a packet in the programs, by BPF_PROG_TEST_RUN
    Packet(Options),
    /// Nanoseconds a packet in the layer-4 balancer, by BPF_PROG_TEST_RUN
    Balance(BalanceOptions),
    /// Nanoseconds a packet in XDP on a cluster's uplink, by BPF_PROG_TEST_RUN
    Uplink(Options),
    /// Nanoseconds a use of the flow table beside an LRU hash map, by BPF_PROG_TEST_RUN
    Flows(Options),
    /// Connections a second and throughput through a ClusterIP against the pod itself
    Service(ServiceOptions),
    /// From a changed endpoint in the API to the first packet at the new backend (`-- --help` for more)
    Change(PassedOn),
    /// The API under load: memory, start, creates, renewals, reads, lists, watches (`-- --help` for more)
    Api(PassedOn),
}

/// What a measurement that runs the product is told.
#[derive(Args)]
pub struct PassedOn {
    /// Options of the measurement, such as --json; for `api` --smoke, --only create,watch, --etcd, --upstream, --kubeconfig FILE
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// How to print.
#[derive(Args)]
pub struct Options {
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
}

/// How to print, and what to measure beside it.
#[derive(Args)]
pub struct BalanceOptions {
    #[command(flatten)]
    print: Options,
    /// An object of Katran's, compiled as bench/README.md says
    #[arg(long)]
    katran: Option<PathBuf>,
}

/// How to print, and what.
#[derive(Args)]
pub struct ServiceOptions {
    #[command(flatten)]
    print: Options,
    /// Only a part: connections, calls or programming
    #[arg(long)]
    only: Option<String>,
}

pub fn run(what: &What) -> anyhow::Result<()> {
    let (binary, Options { json }, more) = match what {
        What::Packet(options) => ("packet", options, None),
        What::Balance(BalanceOptions { print, katran }) => {
            ("balance", print, katran.as_deref().map(beside).transpose()?)
        }
        What::Flows(options) => ("flows", options, None),
        What::Uplink(options) => ("uplink", options, None),
        What::Service(ServiceOptions { print, only }) => {
            ("service", print, only.as_ref().map(|part| format!("--only={part}").into()))
        }
        What::Change(options) => return with_gannet("change", options),
        What::Api(options) => return with_gannet("api", options),
    };
    let object = build::bpf_object_quietly()?;
    let mut bench = build::inner_cargo();
    bench.env(BPF_OBJECT, object).args(["run", "--quiet", "--release", "--package", "bench", "--bin", binary, "--"]);
    if *json {
        bench.arg("--json");
    }
    bench.args(more);
    stream(&mut bench)
}

/// `--katran`, with a path that holds in the directory of the measurement, too.
fn beside(katran: &Path) -> anyhow::Result<OsString> {
    let mut option = OsString::from("--katran=");
    option.push(absolute(katran)?);
    Ok(option)
}

fn with_gannet(binary: &str, PassedOn { options }: &PassedOn) -> anyhow::Result<()> {
    let object = build::bpf_object_quietly()?;
    let mut gannet = build::inner_cargo();
    stream(gannet.env(BPF_OBJECT, &object).args(["build", "--quiet", "--release", "--package", "gannet"]))?;
    let mut bench = build::inner_cargo();
    bench
        .env(BPF_OBJECT, &object)
        .env("GANNET_BIN", build::binary(build::Profile::Release))
        .args(["run", "--quiet", "--release", "--package", "bench", "--bin", binary, "--"])
        .args(options);
    stream(&mut bench)
}
