//! kill -9 of a process that writes: everything it was told is written is there, and the revision goes on.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use bytes::Bytes;
use store::{Expect, Op, Revision};

/// Set in the child: the store's file.
const FILE: &str = "GANNET_TEST_STORE_FILE";
/// Kills in a row, each on the file that the one before left.
const ROUNDS: usize = 6;
/// What two of the writers rewrite: every 60 such writes or so the file is compacted, so kills meet that, too.
const REWRITTEN_BYTES: usize = 256 * 1024;

/// Not a test of its own: what the killed process runs.
#[test]
fn child() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let store = store::embedded(path.as_ref()).unwrap();
    let start = store.revision();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = store.clone();
            runtime.spawn(async move {
                for count in 0.. {
                    let key = format!("/{start}/{writer}/{count}");
                    let value = Bytes::from(key.clone());
                    let Ok(revision) = store.commit(&key, Expect::Absent, Op::Put(value)).await else { return };
                    // One write call a line: lines of several writers do not mix.
                    let line = format!("ack {key} {revision}\n");
                    if std::io::stdout().write_all(line.as_bytes()).is_err() {
                        return;
                    }
                }
            })
        })
        .collect();
    for writer in 0..2 {
        let store = store.clone();
        runtime.spawn(async move {
            let value = Bytes::from(vec![b'x'; REWRITTEN_BYTES]);
            while store.commit(&format!("/rewritten/{writer}"), Expect::Any, Op::Put(value.clone())).await.is_ok() {}
        });
    }
    for writer in writers {
        let _ = runtime.block_on(writer);
    }
}

#[test]
fn kill_9_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let mut acknowledged: Vec<(String, u64)> = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(FILE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        while let Some(Ok(line)) = lines.next() {
            // The harness writes its own lines too, and a killed writer may leave half of one.
            let words: Vec<&str> = line.split_whitespace().skip_while(|word| *word != "ack").collect();
            if let ["ack", key, revision] = words[..]
                && let Ok(revision) = revision.parse::<u64>()
            {
                acknowledged.push((key.to_owned(), revision));
                seen += 1;
            }
            if seen == 40 + 350 * round {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= 40, "the child wrote");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let store = store::embedded(&path).unwrap();
        for (key, revision) in &acknowledged {
            let entry = runtime.block_on(store.get(key)).unwrap().unwrap_or_else(|| panic!("{key} is lost"));
            assert_eq!((entry.value.as_ref(), entry.modified), (key.as_bytes(), Revision(*revision)));
        }
        assert!(store.revision().0 >= acknowledged.iter().map(|(_, revision)| *revision).max().unwrap());
    }
    eprintln!("{ROUNDS} kills, {} acknowledged writes, 0 lost", acknowledged.len());
}
