//! The one binary. Its verbs start and stop a cluster (`up`, `control`, `node`, `down`, `dev`), serve containerd as
//! CNI plugin (`cni`, or called as `gannet-cni`), speak to a cluster (`status`, `apply`, `image`, `net`), look at the
//! machine (`doctor`), and balance packets without a cluster (`lb`).
//!
//! Every error ends as one line on standard error, with the cause and the fix; the exit code is the truth.

mod apply;
mod balancer;
mod cli;
mod control;
mod dev;
mod doctor;
mod down;
mod image;
mod join;
mod lock;
mod net;
mod net_test;
mod node;
mod settings;
mod site;
mod status;
mod store_place;
mod supervise;
mod teardown;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, DevVerb, ImageVerb, Verb};

/// A request is hundreds of small blocks, many of them freed by another thread than took them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The names under which containerd calls the CNI plugin.
const CNI_NAMES: [&str; 2] = [cni::PLUGIN, cni::LOOPBACK];

/// Exit code of a daemon that cannot start as it was told to; a supervisor does not try again.
pub const CANNOT_START: u8 = 69;

fn main() -> ExitCode {
    let called_as = std::env::args_os().next().unwrap_or_default();
    if Path::new(&called_as).file_name().is_some_and(|name| CNI_NAMES.iter().any(|cni| name == *cni)) {
        return exit_code(cni::main());
    }
    let cli = Cli::parse();
    let cannot_start = matches!(cli.verb, Verb::Control(_) | Verb::Node(_) | Verb::Lb(_));
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("gannet: {}", one_line(&error));
            if cannot_start { ExitCode::from(CANNOT_START) } else { ExitCode::FAILURE }
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.verb {
        Verb::Cni => return Ok(exit_code(cni::main())),
        Verb::Up(arguments) => supervise::up(&arguments)?,
        Verb::Control(arguments) => control::run(&arguments)?,
        Verb::Node(arguments) => node::run(&arguments)?,
        Verb::Down(arguments) => down::run(&arguments)?,
        Verb::Dev(DevVerb::Create(arguments)) => dev::create(&arguments)?,
        Verb::Dev(DevVerb::Delete(arguments)) => dev::delete(&arguments)?,
        Verb::Dev(DevVerb::List) => dev::list()?,
        Verb::Image(ImageVerb::Load(arguments)) => image::load(&arguments)?,
        Verb::Status(arguments) => return status::run(&arguments),
        Verb::Doctor(arguments) => return doctor::run(&arguments),
        Verb::Apply(arguments) => apply::run(&arguments)?,
        Verb::Lb(arguments) => balancer::run(&arguments)?,
        Verb::Net(verb) => return Ok(if net::run(&verb)? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        Verb::Kubeconfig(arguments) => site::print_kubeconfig(&arguments)?,
        Verb::Token(arguments) => site::print_token(&arguments)?,
        Verb::Version => println!("gannet {} (serves Kubernetes v1.36.0)", env!("CARGO_PKG_VERSION")),
    }
    Ok(ExitCode::SUCCESS)
}

/// The error and its causes, each said once: many an error's own text tells its cause already.
fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !line.contains(&cause) {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&cause);
        }
    }
    line
}

fn exit_code(code: i32) -> ExitCode {
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}
