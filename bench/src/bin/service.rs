//! `cargo xtask bench service [--json]`.

use anyhow::Result;
use bench::service::Part;
use clap::Parser;

#[derive(Parser)]
struct Options {
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
    /// Only a part
    #[arg(long, value_enum, default_value = "all")]
    only: Part,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let report = bench::service::run(options.only)?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", bench::service::table(&report));
    }
    Ok(())
}
