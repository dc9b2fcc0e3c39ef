//! Writes a target's seeds into a directory: `seeds TARGET DIR`. What a fuzzer starts from. `seeds --list` names the
//! targets.

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (name, dir) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    if name == "--list" {
        inputs::TARGETS.iter().for_each(|target| println!("{}", target.name));
        return Ok(());
    }
    let Some(target) = inputs::TARGETS.iter().find(|target| target.name == name) else {
        let names: Vec<&str> = inputs::TARGETS.iter().map(|target| target.name).collect();
        eprintln!("no target {name:?}: {}", names.join(", "));
        std::process::exit(2);
    };
    std::fs::create_dir_all(&dir)?;
    for (number, seed) in target.seeds.iter().enumerate() {
        std::fs::write(std::path::Path::new(&dir).join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}
