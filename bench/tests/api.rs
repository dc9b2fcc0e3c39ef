//! The API's measurement works and every watcher saw every update in order; the figures of so short a run mean nothing.

use bench::api::{self, Kind, Only, Sizes};

#[test]
fn api_measurement_works() {
    let Some(binary) = std::env::var_os("GANNET_BIN") else {
        eprintln!("skipped: GANNET_BIN names no gannet binary");
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let report = runtime.block_on(api::run(Kind::Gannet(binary.into()), &Sizes::smoke(), &Only::default())).unwrap();
    eprintln!("{}", api::table(&report));
    for row in &report.figures.loads {
        assert_eq!(row.outcome.errors, 0, "{}: {:?}", row.what, row.outcome.first_error);
        assert!(row.outcome.requests > 0, "{}", row.what);
    }
    for fan_out in &report.figures.fan_out {
        assert_eq!(fan_out.wrong, 0, "{fan_out:?}");
        assert_eq!(fan_out.deliveries, (fan_out.watchers * fan_out.updates) as u64);
    }
    assert!(report.figures.life.unwrap().restart_after_kill_ms.is_some());
}
