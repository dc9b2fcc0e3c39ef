//! `cargo xtask bench flows [--json] [--bits 16,20]`.

use anyhow::Result;
use clap::Parser;

#[derive(Parser)]
struct Options {
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
    /// Logarithms of the tables' sizes
    #[arg(long, value_delimiter = ',', default_values_t = [16, 20])]
    bits: Vec<u32>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let report = bench::flows::run(&options.bits)?;
    if options.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", bench::flows::table(&report));
    }
    Ok(())
}
