//! One packet through one program: BPF_PROG_TEST_RUN with the inputs and the verdict in `skb->cb`.

use abi::{Addr, program};
use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf, TestRun as _,
    programs::{SchedClassifier, TestRunOptions},
};
use packet::{
    Verdict,
    host::{Hook, Step, is_local},
};

/// Size of `struct __sk_buff`, and where `cb` lies in it (include/uapi/linux/bpf.h).
const CONTEXT: usize = 192;
const CB: usize = 48;

/// What a program did, as `ebpf/prog` notes it in `cb`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Verdict, and up to three words that belong to it.
    pub words: [u32; 4],
    pub frame: Vec<u8>,
}

/// The same words for a verdict of the host's.
pub fn words(verdict: Verdict) -> [u32; 4] {
    match verdict {
        Verdict::Pass => [0, 0, 0, 0],
        Verdict::Drop(counter) => [1, counter as u32, 0, 0],
        Verdict::Peer { ifindex } => [2, ifindex, 0, 0],
        Verdict::Redirect { ifindex } => [6, ifindex, 0, 0],
        Verdict::Neigh { ifindex } => [3, ifindex, 0, 0],
        Verdict::Tunnel { ifindex, node, vni } => [4, ifindex, node.0[3], vni],
        Verdict::Key { node, vni } => [5, 0, node.0[3], vni],
        Verdict::Hold => [7, 0, 0, 0],
        Verdict::Answer { ifindex } => [8, ifindex, 0, 0],
    }
}

/// The code that the kernel acts on for each of them (TC_ACT_OK, TC_ACT_SHOT, TC_ACT_REDIRECT).
fn code(verdict: u32) -> u32 {
    match verdict {
        1 | 7 => 2,
        2..=4 | 6 | 8 => 7,
        _ => 0,
    }
}

/// The program of a hook.
pub fn name(hook: Hook) -> &'static str {
    match hook {
        Hook::FromPod { .. } => program::FROM_POD,
        Hook::ToPod => program::TO_POD,
        Hook::FromUplink => program::FROM_UPLINK,
        Hook::ToUplink => program::TO_UPLINK,
        Hook::FromOverlay { .. } => program::FROM_OVERLAY,
        Hook::ToOverlay => program::TO_OVERLAY,
    }
}

/// The destination of an IP packet.
fn destination(frame: &[u8]) -> Option<Addr> {
    match frame.get(12..14)? {
        [8, 0] => Some(Addr::v4(frame.get(30..34)?.try_into().ok()?)),
        [0x86, 0xdd] => Some(Addr::v6(frame.get(38..54)?.try_into().ok()?)),
        _ => None,
    }
}

/// Runs a step in the kernel. The object must have been opened with [`crate::load::Inputs::TestRun`].
pub fn step(bpf: &Ebpf, step: &Step) -> Result<Outcome> {
    let name = name(step.hook);
    let program: &SchedClassifier = bpf.program(name).with_context(|| format!("no program {name}"))?.try_into()?;
    let given: [u32; 2] = match step.hook {
        Hook::FromPod { ifindex } => [ifindex, 0],
        Hook::FromOverlay { node: Addr(words), vni } => [words[3], vni],
        Hook::FromUplink => [u32::from(destination(&step.frame.0).is_some_and(|addr| is_local(&addr))), 0],
        Hook::ToPod | Hook::ToUplink | Hook::ToOverlay => [0, 0],
    };
    let mut context = [0; CONTEXT];
    for (i, word) in [step.now_s, given[0], given[1]].into_iter().enumerate() {
        context[CB + 4 * i..CB + 4 * i + 4].copy_from_slice(&word.to_ne_bytes());
    }
    let mut frame = vec![0; step.frame.0.len() + 64];
    let mut left = [0; CONTEXT];
    let result = program
        .test_run(TestRunOptions {
            data_in: Some(&step.frame.0),
            data_out: Some(&mut frame),
            ctx_in: Some(&context),
            ctx_out: Some(&mut left),
            ..TestRunOptions::new()
        })
        .with_context(|| format!("test run of {name}"))?;
    frame.truncate(result.data_size_out as usize);
    let mut words = [0; 4];
    for (i, word) in words.iter_mut().enumerate() {
        *word = u32::from_ne_bytes(left[CB + 4 * i..CB + 4 * i + 4].try_into()?);
    }
    if result.return_value != code(words[0]) {
        bail!("{name} returned {} for verdict {words:?}", result.return_value);
    }
    Ok(Outcome { words, frame })
}
