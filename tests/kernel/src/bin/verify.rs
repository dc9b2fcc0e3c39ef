//! Loads every program of the object on this kernel and prints `name instructions stack` for each, in the order of their
//! names: instructions that the verifier went through, bytes of stack. Of a program that does not load it prints `name refused`,
//! and the verifier's log on standard error.

use anyhow::Result;
use kernel_tests::load::{self, Inputs};
use kernel_tests::stack;

fn main() -> Result<()> {
    let mut bpf = load::open(Inputs::Kernel)?;
    let mut names: Vec<String> = bpf.programs().map(|(name, _)| name.to_owned()).collect();
    let depths = stack::depths(&load::object()?)?;
    names.sort();
    let mut failed = Vec::new();
    for name in &names {
        match load::program(&mut bpf, name) {
            Ok(()) => println!("{name} {} {}", load::instructions(&bpf, name)?, depths[name]),
            Err(e) => {
                println!("{name} refused");
                eprintln!("{e:#}");
                failed.push(name.as_str());
            }
        }
    }
    anyhow::ensure!(failed.is_empty(), "not loaded: {}", failed.join(", "));
    Ok(())
}
