//! `cargo xtask bench balance [--json]`.

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
struct Options {
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let report = bench::balance::run()?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", bench::balance::table(&report));
    }
    Ok(())
}
