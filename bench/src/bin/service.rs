//! `cargo xtask bench service [--json]`.

use anyhow::Result;
use bench::service::Ways;
use clap::Parser;

#[derive(Parser)]
struct Options {
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
    /// Only what changes cost to plan and to write, no connections
    #[arg(long)]
    programming: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let ways = if options.programming { Ways::None } else { Ways::All };
    let report = bench::service::run(ways)?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", bench::service::table(&report));
    }
    Ok(())
}
