//! `cargo xtask bench uplink [--json]`.

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
    let report = bench::uplink::run()?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", bench::uplink::table(&report));
    }
    Ok(())
}
