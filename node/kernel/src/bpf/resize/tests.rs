//! Tables in a BPF file system of their own, and processes that end at every point. They need root, as a node does.

use std::path::{Path, PathBuf};

use abi::{Addr, Be16, FlowKey, IPPROTO_TCP, flow::FlowRecord};
use packet::Flow;
use packet::flows::{self, Made};

use super::{FLOW_TABLE, FOLDER, FlowTable, begin, bits, copy, exchange, finish, make};
use crate::bpf::now_s;
use crate::mount;

/// A folder of pins, gone when dropped.
struct Pins(tempfile::TempDir);

impl Pins {
    fn new() -> Pins {
        let dir = tempfile::Builder::new().prefix("gnresize").tempdir().expect("a folder");
        mount::ensure_bpffs(dir.path()).expect("a BPF file system");
        Pins(dir)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("pins")
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = mount::unmount_below(self.0.path());
    }
}

fn draft(n: u32) -> FlowRecord {
    let key = |src: u32, dst: u32, sport, dport| {
        let addr = |n: u32| Addr::v4(n.to_be_bytes());
        let (sport, dport) = (Be16::new(sport), Be16::new(dport));
        FlowKey { src: addr(src), dst: addr(dst), sport, dport, proto: IPPROTO_TCP, pad: [0; 3] }
    };
    FlowRecord { keys: [key(n, 1, 1_000, 80), key(2, n, 8_080, 1_000)], backend: n, ..FlowRecord::default() }
}

fn open(dir: &Path) -> FlowTable {
    FlowTable::open(dir, bits(dir).expect("sizes").expect("a table"), 0).expect("mapped")
}

fn open_flows(dir: &Path, numbers: std::ops::Range<u32>) {
    let table = open(dir);
    for n in numbers {
        assert_eq!(flows::make(&table, &draft(n), now_s()), Made::New);
    }
}

/// All of so many flows are in the table, and of this size it is.
fn holds(pins: &Path, size: u32, flows: u32) {
    assert_eq!(bits(pins).expect("sizes"), Some(size));
    let table = open(pins);
    for n in 1..flows {
        for key in draft(n).keys {
            let mut found = Flow::default();
            assert!(flows::look(&table, &key, &mut found), "flow {n} of {flows} is gone");
            assert_eq!(found.backend, n);
        }
    }
}

#[test]
fn nothing_stands_and_nothing_is_to_do() {
    let pins = Pins::new();
    assert_eq!(begin(&pins.path(), 10).expect("no table"), 10);
    make(&pins.path(), 10).expect("a table");
    open_flows(&pins.path(), 1..100);
    assert_eq!(begin(&pins.path(), 10).expect("as it stands"), 10);
    finish(&pins.path()).expect("nothing");
    holds(&pins.path(), 10, 100);
}

#[test]
fn what_is_opened_meanwhile_comes_along() {
    let pins = Pins::new();
    make(&pins.path(), 10).expect("a table");
    open_flows(&pins.path(), 1..100);
    assert_eq!(begin(&pins.path(), 12).expect("another"), 12);
    holds(&pins.path(), 12, 100);
    // The old programs have the old table still, which is in the folder.
    open_flows(&pins.path().join(FOLDER), 100..150);
    finish(&pins.path()).expect("copied");
    holds(&pins.path(), 12, 150);
    assert!(!pins.path().join(FOLDER).exists());
}

#[test]
fn a_process_that_ends_anywhere_loses_nothing() {
    // Made so many of the arrays, copied or not, and so many of them have changed their places; what the next process wants.
    for (made, copied, changed) in [(1, 0, 0), (3, 0, 0), (3, 1, 0), (3, 1, 1), (3, 1, 2), (3, 1, 3)] {
        for wanted in [9, 10, 12] {
            let pins = Pins::new();
            let (here, folder) = (pins.path(), pins.path().join(FOLDER));
            make(&here, 10).expect("a table");
            open_flows(&here, 1..100);
            make(&folder, 12).expect("another");
            for name in &FLOW_TABLE[made..] {
                std::fs::remove_file(folder.join(name)).expect("a pin");
            }
            if copied > 0 {
                copy(&here, &folder).expect("copied");
            }
            for name in &FLOW_TABLE[..changed] {
                exchange(&here, &folder, name).expect("changed");
            }
            if changed == 3 {
                // Some programs were replaced already, others were not.
                open_flows(&folder, 100..120);
                open_flows(&here, 120..140);
            }
            assert_eq!(begin(&here, wanted).expect("the next process"), wanted);
            finish(&here).expect("copied");
            let flows = if changed == 3 { 140 } else { 100 };
            holds(&here, wanted, flows);
            assert!(!folder.exists(), "{made} made, {changed} changed, {wanted} wanted");
        }
    }
}
