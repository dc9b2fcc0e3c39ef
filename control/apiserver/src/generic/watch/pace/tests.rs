use super::*;

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_sends_at_once_and_a_busy_one_waits_for_its_turn() {
    let mut pace = Pace::new(Arc::default());
    let start = process::instant();
    pace.turn().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    pace.sent();
    pace.turn().await;
    assert_eq!(start.elapsed(), GATHER_LEAST);
    pace.rest();
    pace.turn().await;
    assert_eq!(start.elapsed(), GATHER_LEAST);
}

#[tokio::test(start_paused = true)]
async fn the_more_are_busy_the_longer_events_gather_up_to_a_limit() {
    let busy = Arc::new(Busy::default());
    let mut watches: Vec<Pace> = (0..1000).map(|_| Pace::new(busy.clone())).collect();
    watches.iter_mut().for_each(Pace::sent);
    assert_eq!(busy.gather(), TURN * 1000);
    watches.iter_mut().for_each(Pace::sent);
    assert_eq!(busy.gather(), TURN * 1000, "a watch counts once");
    watches.extend((0..1000).map(|_| Pace::new(busy.clone())));
    watches.iter_mut().for_each(Pace::sent);
    assert_eq!(busy.gather(), GATHER_MOST);
    watches.iter_mut().take(100).for_each(Pace::rest);
    drop(watches);
    assert_eq!(busy.0.load(Ordering::Relaxed), 0, "whoever leaves is not busy");
}
