use super::*;

fn at(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).expect("a time")
}

fn key(name: &str) -> Key {
    Key::cluster(name)
}

fn done(written: Option<u64>) -> Outcome {
    Outcome::Done { written: written.map(Revision), requeue_at: None }
}

/// Everything that is due, without finishing it.
fn drain(queue: &mut Queue, now: i64, revision: u64) -> String {
    let mut names = Vec::new();
    while let Some(key) = queue.pop(at(now), Revision(revision)) {
        names.push(key.name);
    }
    names.join(" ")
}

#[test]
fn each_key_once_in_order_of_arrival() {
    let mut queue = Queue::new(Backoff::default());
    for name in ["b", "a", "b", "c", "a"] {
        queue.add(key(name), at(0));
    }
    assert_eq!(drain(&mut queue, 0, 0), "b a c");
}

#[test]
fn a_key_is_never_worked_on_twice_at_once() {
    let mut queue = Queue::new(Backoff::default());
    queue.add(key("a"), at(0));
    assert_eq!(drain(&mut queue, 0, 0), "a");
    queue.add(key("a"), at(1));
    assert_eq!(drain(&mut queue, 1, 0), "", "it is running");
    queue.done(key("a"), done(None), at(2));
    assert_eq!(drain(&mut queue, 2, 0), "a", "it changed while it ran");
    queue.done(key("a"), done(None), at(3));
    assert_eq!(drain(&mut queue, 3, 0), "");
    assert!(queue.is_empty());
}

#[test]
fn delays_and_the_earlier_of_two() {
    let mut queue = Queue::new(Backoff::default());
    queue.add_at(key("a"), at(100));
    queue.add_at(key("b"), at(50));
    queue.add_at(key("a"), at(10));
    queue.add_at(key("b"), at(70));
    assert_eq!(queue.next_due(), Some(at(10)));
    assert_eq!(drain(&mut queue, 9, 0), "");
    assert_eq!(drain(&mut queue, 10, 0), "a");
    assert_eq!(drain(&mut queue, 50, 0), "b");
}

#[test]
fn failures_back_off_and_success_forgets_them() {
    let mut queue = Queue::new(Backoff { base: SignedDuration::from_millis(10), cap: SignedDuration::from_millis(35) });
    queue.add(key("a"), at(0));
    let mut waits = Vec::new();
    let mut now = 0;
    for _ in 0..4 {
        assert_eq!(drain(&mut queue, now, 0), "a");
        queue.done(key("a"), Outcome::Failed { written: None }, at(now));
        let due = queue.next_due().expect("it is tried again").as_millisecond();
        waits.push(due - now);
        now = due;
    }
    assert_eq!(waits, [10, 20, 35, 35]);
    assert_eq!(drain(&mut queue, now, 0), "a");
    queue.done(key("a"), done(None), at(now));
    queue.add(key("a"), at(now));
    assert_eq!(drain(&mut queue, now, 0), "a");
    queue.done(key("a"), Outcome::Failed { written: None }, at(now));
    assert_eq!(queue.next_due(), Some(at(now + 10)));
}

#[test]
fn a_change_ends_a_backoff() {
    let mut queue = Queue::new(Backoff { base: SignedDuration::from_secs(10), cap: SignedDuration::from_secs(10) });
    queue.add(key("a"), at(0));
    assert_eq!(drain(&mut queue, 0, 0), "a");
    queue.done(key("a"), Outcome::Failed { written: None }, at(0));
    queue.add(key("a"), at(5));
    assert_eq!(drain(&mut queue, 5, 0), "a");
}

#[test]
fn a_key_waits_until_the_view_has_its_own_writes() {
    let mut queue = Queue::new(Backoff::default());
    queue.add(key("a"), at(0));
    assert_eq!(drain(&mut queue, 0, 5), "a");
    queue.done(key("a"), done(Some(9)), at(1));
    // Its first write shows, and wakes it; the second does not show yet.
    queue.add(key("a"), at(2));
    queue.add(key("b"), at(2));
    assert_eq!(drain(&mut queue, 2, 8), "b", "a is held, b is not");
    assert_eq!(queue.next_due(), None, "time alone does not help a");
    queue.add(key("a"), at(3));
    assert_eq!(drain(&mut queue, 3, 8), "");
    assert_eq!(drain(&mut queue, 4, 9), "a");
}

#[test]
fn a_failed_plan_has_a_barrier_too() {
    let mut queue = Queue::new(Backoff { base: SignedDuration::from_millis(10), cap: SignedDuration::from_secs(1) });
    queue.add(key("a"), at(0));
    assert_eq!(drain(&mut queue, 0, 5), "a");
    queue.done(key("a"), Outcome::Failed { written: Some(Revision(7)) }, at(0));
    assert_eq!(drain(&mut queue, 20, 6), "");
    assert_eq!(drain(&mut queue, 20, 7), "a");
}

#[test]
fn a_look_later_gives_way_to_a_change() {
    let mut queue = Queue::new(Backoff::default());
    queue.add(key("a"), at(0));
    assert_eq!(drain(&mut queue, 0, 0), "a");
    queue.done(key("a"), Outcome::Done { written: None, requeue_at: Some(at(1000)) }, at(1));
    assert_eq!(queue.next_due(), Some(at(1000)));
    queue.add(key("a"), at(5));
    assert_eq!(drain(&mut queue, 5, 0), "a");
}

#[test]
fn conflicts_come_back_soon() {
    let mut queue = Queue::new(Backoff::default());
    queue.add(key("a"), at(0));
    for turn in 0..20 {
        let now = turn * 100;
        assert_eq!(drain(&mut queue, now, 0), "a");
        queue.done(key("a"), Outcome::Conflicted { written: None }, at(now));
        assert_eq!(queue.next_due(), Some(at(now + 5)));
    }
}
