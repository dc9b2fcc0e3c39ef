//! What the measurements of the flow table run: each run of the program is one use of the table, for another flow.

use abi::{
    Addr, Be16, FlowKey, IPPROTO_TCP,
    flow::{FlowRun, RUN_ESTABLISH, RUN_HASH_LOOK, RUN_HASH_MAKE, RUN_LOOK, RUN_MAKE, STATE_REPLIED, STATE_SURE},
};
use aya_ebpf::{
    bindings::xdp_action,
    macros::{map, xdp},
    maps::{Array, LruHashMap},
    programs::XdpContext,
};
use packet::{
    conntrack::REFRESH_S,
    flows::{self, Made},
};

use crate::{steps, tables::Maps};

#[map]
static FLOW_RUN: Array<FlowRun> = Array::with_max_entries(1, 0);
/// What the table is measured beside: the kernel's own hash table, a key a direction.
#[map]
static FLOW_RUN_HASH: LruHashMap<FlowKey, [u32; 6]> = LruHashMap::with_max_entries(1, 0);

/// One use of the table; [`FlowRun::good`] counts those that did what was asked.
#[xdp]
pub fn flow_run(_ctx: XdpContext) -> u32 {
    let Some(run) = FLOW_RUN.get_ptr_mut(0) else { return xdp_action::XDP_ABORTED };
    // SAFETY: the element is this program's, and measurements run on one CPU.
    let run = unsafe { &mut *run };
    let number = scatter(run.next, run);
    run.next = run.next.wrapping_add(1);
    let Some(s) = steps::borrowed() else { return xdp_action::XDP_ABORTED };
    fill(&mut s.draft.keys[0], number, 0);
    fill(&mut s.draft.keys[1], number, 1);
    fill(&mut s.key, number, number & run.ways);
    let good = match run.what {
        RUN_LOOK => {
            let good = steps::look(&s.key, &mut s.to);
            if good && flows::age_s(s.to.state, run.now_s) >= REFRESH_S {
                flows::touch(&Maps { now_s: 0 }, &mut s.to, 0, run.now_s);
            }
            good
        }
        // SAFETY: the value is copied at once.
        RUN_HASH_LOOK => unsafe { FLOW_RUN_HASH.get(&s.key) }.is_some_and(|value| value[0] == number),
        RUN_MAKE => is_made(steps::make(&s.draft, run.now_s)),
        RUN_ESTABLISH => {
            let good = is_made(steps::make(&s.draft, run.now_s)) && steps::look(&s.key, &mut s.to);
            if good {
                flows::touch(&Maps { now_s: 0 }, &mut s.to, STATE_REPLIED | STATE_SURE, run.now_s);
            }
            good
        }
        RUN_HASH_MAKE => {
            let value = [number; 6];
            let [opener, other] = &s.draft.keys;
            FLOW_RUN_HASH.insert(opener, value, 0).is_ok() && FLOW_RUN_HASH.insert(other, value, 0).is_ok()
        }
        _ => s.key.proto == IPPROTO_TCP,
    };
    run.good = run.good.wrapping_add(good as u32);
    xdp_action::XDP_PASS
}

#[inline(always)]
fn is_made(made: Made) -> bool {
    matches!(made, Made::New | Made::Replaced)
}

/// The number of the run's flow.
#[inline(always)]
fn scatter(number: u32, run: &FlowRun) -> u32 {
    if run.flows == 0 {
        return number;
    }
    // MurmurHash3's finalizer: another number for each, and any of them after any other.
    let mut n = number.wrapping_mul(0x9e37_79b9);
    n = (n ^ n >> 16).wrapping_mul(0x85eb_ca6b);
    n = (n ^ n >> 13).wrapping_mul(0xc2b2_ae35);
    n ^= n >> 16;
    ((n as u64).wrapping_mul(run.flows as u64) >> 32) as u32
}

/// A tuple of the flow.
#[inline(always)]
fn fill(key: &mut FlowKey, number: u32, way: u32) {
    let client = Addr::v4([10, (number >> 16) as u8, (number >> 8) as u8, number as u8]);
    let port = Be16::new(1_024 + (number >> 24) as u16);
    key.proto = IPPROTO_TCP;
    if way == 0 {
        key.src = client;
        key.dst = Addr::v4([10, 96, 0, 1]);
        key.sport = port;
        key.dport = Be16::new(80);
    } else {
        key.src = Addr::v4([10, 244, 0, 2]);
        key.dst = client;
        key.sport = Be16::new(8_080);
        key.dport = port;
    }
}
