//! Runs seeds: those that once found something, a range of others, and one of your choice.

use sim::{Bug, Plan, run};

/// Fresh seeds of each manner in every run.
const SEEDS: u64 = 8;
const STEPS: usize = 1500;

fn plan(faults: bool) -> Plan {
    Plan { steps: STEPS, faults, bug: None }
}

/// Runs all and says how many failed, with the first failure in full.
fn check(seeds: impl Iterator<Item = (u64, bool)>) {
    let (mut runs, mut writes, mut crashes, mut losses, mut failures) = (0, 0, 0, 0, Vec::new());
    for (seed, faults) in seeds {
        runs += 1;
        match run(seed, plan(faults)) {
            Ok(report) => {
                writes += report.writes;
                crashes += report.crashes;
                losses += report.losses;
            }
            Err(failure) => failures.push(failure),
        }
    }
    eprintln!("{runs} seeds, {writes} writes, {crashes} crashes, {losses} lost messages, {} failures", failures.len());
    let others: Vec<String> =
        failures.iter().skip(1).map(|f| format!("seed {} faults {}: {}", f.seed, f.plan.faults, f.what)).collect();
    assert!(failures.is_empty(), "\n{}\n{}", failures[0], others.join("\n"));
}

#[test]
fn seeds_that_once_failed() {
    let lines = include_str!("../seeds.txt").lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    check(lines.map(|line| {
        let mut words = line.split_whitespace().peekable();
        let calm = words.next_if_eq(&"calm").is_some();
        (words.next().and_then(|word| word.parse().ok()).expect("a seed"), !calm)
    }));
}

#[test]
fn with_faults() {
    check((1..=SEEDS).map(|seed| (seed, true)));
}

#[test]
fn rolling_updates_keep_deployments_available() {
    check((1..=SEEDS).map(|seed| (seed, false)));
}

#[test]
fn the_same_seed_takes_the_same_way() {
    let first = run(5, plan(true)).unwrap_or_else(|failure| panic!("{failure}"));
    let second = run(5, plan(true)).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
}

#[test]
fn planted_bugs_are_found() {
    for bug in Bug::ALL {
        let found = (1..=SEEDS).find_map(|seed| run(seed, Plan { bug: Some(bug), ..plan(true) }).err());
        let found = found.unwrap_or_else(|| panic!("{bug:?} was not found in {SEEDS} seeds"));
        eprintln!("{bug:?}: seed {}: {}", found.seed, found.what);
    }
}

/// `GANNET_SIM_SEED=<n> cargo test -p sim --test seeds one_seed -- --nocapture`
#[test]
fn one_seed() {
    let Some(seed) = std::env::var("GANNET_SIM_SEED").ok().and_then(|seed| seed.parse().ok()) else { return };
    let calm = std::env::var_os("GANNET_SIM_CALM").is_some();
    match run(seed, plan(!calm)) {
        Ok(report) => eprintln!("seed {seed}: {report:?}"),
        Err(failure) => panic!("\n{failure}"),
    }
}
