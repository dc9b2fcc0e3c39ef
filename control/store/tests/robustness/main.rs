//! Linearizability of create, update, delete, get and list, and six properties of watches (ordered, unique, reliable,
//! atomic, resumable, bookmarkable), checked on recorded histories: the embedded engine under kill -9, etcd with one
//! member and with three under kill -9 of members, both with compaction every 200 ms, slow readers and resumed watches.
//! Power cuts with torn writes are in `embedded/tests.rs`, which sees the disk.
//!
//! `GANNET_TEST_ROBUSTNESS_S` is how long each engine is tormented; `cargo xtask test` asks for two minutes beside its
//! other tests, `--long` for more.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod check;
mod record;
#[path = "../../src/etcd/tests/servers.rs"]
#[expect(dead_code, reason = "the engine's own tests use the rest")]
mod servers;
mod workload;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use check::Summary;
use record::{Log, Record};
use servers::{Servers, block_on};
pub(crate) use store::{EtcdConfig, EtcdTls};

/// Set in the child: the store's file.
const FILE: &str = "GANNET_TEST_ROBUSTNESS_FILE";
/// How long each engine is tormented, in seconds.
const SECONDS: &str = "GANNET_TEST_ROBUSTNESS_S";
const DEFAULT_SECONDS: u64 = 8;

fn duration() -> Duration {
    let seconds = std::env::var(SECONDS).ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(DEFAULT_SECONDS))
}

/// xorshift64*: enough to draw pauses from.
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % limit
    }
}

/// Not a test of its own: what the killed process runs.
#[test]
fn child() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let log = Log::Stdout(Mutex::default());
    block_on(async {
        let store = store::embedded(path.as_ref()).unwrap();
        workload::run(&[store], Arc::new(log), Duration::MAX).await;
    });
}

#[test]
fn embedded_is_linearizable_under_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
    let started = process::instant();
    let (mut total, mut lives) = (Summary::default(), 0);
    let mut before: Option<Vec<Record>> = None;
    while started.elapsed() < duration() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(FILE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || {
            // The harness writes its own lines too, and a killed process may leave half of one.
            output.lines().map_while(Result::ok).filter_map(|line| Record::parse(&line)).collect::<Vec<_>>()
        });
        block_on(workload::pause(Duration::from_millis(150 + rng.below(900))));
        child.kill().unwrap();
        child.wait().unwrap();
        let records = reader.join().unwrap();
        if !records.iter().any(|record| matches!(record, Record::Opened { .. })) {
            continue;
        }
        if let Some(before) = &before {
            check::survived(before, &records).unwrap_or_else(|error| panic!("life {lives}: {error}"));
        }
        total += check::life(&records).unwrap_or_else(|error| panic!("life {lives}: {error}"));
        before = Some(records);
        lives += 1;
    }
    eprintln!("embedded: {lives} lives, {total}, 0 violations");
    assert!(lives > 3 && total.writes > 300 && total.events > 300, "{lives} lives, {total}");
}

#[test]
fn one_etcd_member_is_linearizable_under_kill_9() {
    etcd(1);
}

#[test]
fn three_etcd_members_are_linearizable_under_kill_9() {
    etcd(3);
}

/// Two replicas on one cluster whose members are killed.
fn etcd(members: usize) {
    let log = Arc::new(Log::Memory(Mutex::default()));
    let mut servers = Servers::start(members, &[]);
    let mut kills = 0;
    block_on(async {
        let mut replicas = Vec::new();
        for _ in 0..2 {
            replicas.push(store::etcd(servers.config(), store::Config::default()).await.unwrap());
        }
        let torment = async {
            let mut rng = Rng(0x2545_f491_4f6c_dd1d + members as u64);
            let started = process::instant();
            while started.elapsed() + Duration::from_secs(4) < duration() {
                workload::pause(Duration::from_millis(1500 + rng.below(1500))).await;
                let member = servers.kill_leader().await;
                kills += 1;
                workload::pause(Duration::from_millis(rng.below(800))).await;
                servers.restart(member);
            }
        };
        futures::join!(workload::run(&replicas, log.clone(), duration()), torment);
    });
    let records = log.take();
    let total = check::life(&records).unwrap_or_else(|error| panic!("{error}"));
    eprintln!("etcd with {members}: {kills} kills, {total}, 0 violations");
    assert!(kills > 0 && total.writes > 100 && total.events > 100, "{kills} kills, {total}");
}

#[test]
fn the_checker_sees_violations() {
    check::sees_violations();
}
