//! The parts of the process that have an answer to check.

use std::time::Duration;

use crate::simulation::Simulation;

#[test]
fn suffix_has_length_and_alphabet() {
    let suffix = crate::random_suffix(500);
    assert_eq!(suffix.len(), 500);
    assert!(suffix.chars().all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c)), "{suffix}");
    assert_ne!(crate::random_suffix(20), crate::random_suffix(20));
}

#[test]
fn uuids_are_version_four() {
    let id = crate::uuid();
    assert_eq!(id.len(), 36);
    assert_eq!(id.as_bytes()[14], b'4', "{id}");
}

#[test]
fn simulation_replaces_clock_and_entropy_of_its_thread() {
    let start: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let run = |seed| {
        let simulation = Simulation::start(seed, start);
        let first = (crate::now(), crate::random_suffix(8), crate::uuid());
        simulation.advance(Duration::from_secs(5));
        assert_eq!(crate::now(), start.checked_add(Duration::from_secs(5)).unwrap());
        first
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).1, run(8).1);
    assert_ne!(crate::now(), start, "gone with the guard");
}

#[test]
fn metrics_render_as_text() {
    crate::metrics::counter("test_events", "Events of the test").inc();
    let text = crate::metrics::text();
    assert!(text.contains("gannet_test_events_total 1"), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[tokio::test]
async fn spawned_tasks_return_their_output() {
    assert_eq!(crate::spawn("answer", async { 42 }).await.unwrap(), 42);
    assert_eq!(crate::spawn_blocking("answer", || 42).await.unwrap(), 42);
}
