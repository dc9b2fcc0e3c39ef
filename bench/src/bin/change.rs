//! `cargo xtask bench change [--json]`.

use std::path::PathBuf;

use anyhow::Result;
use bench::change::{self, Sizes};
use clap::Parser;

#[derive(Parser)]
struct Options {
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
    /// Services in the cluster
    #[arg(long, default_value_t = 10_000)]
    services: usize,
    /// Changes
    #[arg(long, default_value_t = 1_000)]
    turns: usize,
    /// The gannet binary
    #[arg(long, env = "GANNET_BIN", default_value = "gannet")]
    gannet: PathBuf,
}

fn main() -> Result<()> {
    let Options { json, services, turns, gannet } = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = runtime.block_on(change::run(&gannet, Sizes { services, turns }))?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", change::table(&report));
    }
    Ok(())
}
