//! `cargo xtask bench balance [--json] [--katran OBJECT]`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
struct Options {
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
    /// An object of Katran's to measure beside it; bench/README.md says how to compile it
    #[arg(long)]
    katran: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let report = bench::balance::run(options.katran.as_deref())?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", bench::balance::table(&report));
    }
    Ok(())
}
