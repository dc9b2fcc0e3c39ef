//! The book of hooks and maps in ARCHITECTURE.md is complete: who reads the name of a program or a map in `gannet net progs` or
//! `gannet net maps` finds there what it is for.

use kernel_tests::load::{self, Inputs};

#[test]
fn each_program_and_map_is_in_the_book() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ARCHITECTURE.md");
    let text = std::fs::read_to_string(path).expect("ARCHITECTURE.md reads");
    let (_, book) = text.split_once("## Hooks and maps").expect("the section stands");
    let book = book.split("\n## ").next().expect("it has a text");
    let bpf = load::open(Inputs::Kernel).expect("the object opens");
    // The compiler's own sections are no maps of ours.
    let maps = bpf.maps().map(|(name, _)| name).filter(|name| !name.starts_with('.'));
    let names: Vec<&str> = bpf.programs().map(|(name, _)| name).chain(maps).collect();
    assert!(names.len() > 40, "programs and maps are found: {names:?}");
    let missing: Vec<&&str> = names.iter().filter(|name| !book.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "not in \"Hooks and maps\" of ARCHITECTURE.md: {missing:?}");
}
