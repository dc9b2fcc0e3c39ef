//! Loads every program of the object on this kernel and prints `name instructions` for each, in the order of their names.

use anyhow::Result;
use kernel_tests::load::{self, Inputs};

fn main() -> Result<()> {
    let mut bpf = load::open(Inputs::Kernel)?;
    let names: Vec<String> = bpf.programs().map(|(name, _)| name.to_owned()).collect();
    let mut failed = Vec::new();
    for name in &names {
        match load::program(&mut bpf, name) {
            Ok(()) => println!("{name} {}", load::instructions(&bpf, name)?),
            Err(e) => {
                eprintln!("{e:#}");
                failed.push(name.as_str());
            }
        }
    }
    anyhow::ensure!(failed.is_empty(), "not loaded: {}", failed.join(", "));
    Ok(())
}
