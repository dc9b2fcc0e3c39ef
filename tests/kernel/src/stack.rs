//! Bytes of stack that a program takes at most, counted in its instructions as the verifier does: each frame rounded up,
//! summed along the deepest chain of calls (`check_max_stack_depth` of kernel/bpf/verifier.c). The limit is 512.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context as _, Result};
use aya_obj::Object;
use aya_obj::generated::bpf_insn;

/// The kernel counts frames in steps of so many bytes.
const ROUND: u32 = 32;
/// Calls of calls that the kernel allows (MAX_CALL_FRAMES).
const MAX_FRAMES: u32 = 8;

/// The register that points to the end of the frame.
const R10: u8 = 10;
/// Instruction codes of include/uapi/linux/bpf.h: `call`, 64-bit register move, 64-bit add of a constant, wide load.
const CALL: u8 = 0x85;
const MOVE: u8 = 0xbf;
const ADD: u8 = 0x07;
const WIDE: u8 = 0x18;
/// `src_reg` of a call and of a wide load whose operand is a function of the program.
const PSEUDO_CALL: u8 = 1;
const PSEUDO_FUNC: u8 = 4;

/// Stack bytes of every program of the object.
pub fn depths(object: &[u8]) -> Result<BTreeMap<String, u32>> {
    let mut object = Object::parse(object).context("the BPF object does not parse")?;
    let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    object.relocate_calls(&sections).context("the BPF object's calls lead nowhere")?;
    let mut depths = BTreeMap::new();
    for (name, program) in &object.programs {
        let function = object.functions.get(&program.function_key()).with_context(|| format!("{name} has no code"))?;
        depths.insert(name.clone(), deepest(&function.instructions, 0, MAX_FRAMES));
    }
    Ok(depths)
}

/// The stack of the function at `start` and of what it calls.
fn deepest(code: &[bpf_insn], start: usize, frames: u32) -> u32 {
    let starts: HashSet<usize> = code.iter().enumerate().filter_map(|(at, insn)| callee(at, insn)).collect();
    let end = (start + 1..code.len()).find(|at| starts.contains(at)).unwrap_or(code.len());
    let own = frame(&code[start..end]).max(1).next_multiple_of(ROUND);
    let called = (start..end).filter_map(|at| callee(at, &code[at])).filter(|at| *at < code.len());
    let below = if frames > 1 { called.map(|at| deepest(code, at, frames - 1)).max().unwrap_or(0) } else { 0 };
    own + below
}

/// The function of the program that an instruction calls or passes on.
fn callee(at: usize, insn: &bpf_insn) -> Option<usize> {
    let by =
        (insn.code == CALL && insn.src_reg() == PSEUDO_CALL) || (insn.code == WIDE && insn.src_reg() == PSEUDO_FUNC);
    if by { (at as i64 + i64::from(insn.imm) + 1).try_into().ok() } else { None }
}

/// How far below `r10` a function reaches: by loads and stores, and by the addresses that it makes for helpers.
fn frame(code: &[bpf_insn]) -> u32 {
    let mut copies = [false; 11];
    let mut lowest = 0_i32;
    for insn in code {
        let (to, from) = (usize::from(insn.dst_reg()), insn.src_reg());
        // Classes 1, 2, 3 of the low three bits: load, store of a constant, store of a register.
        let base = match insn.code & 7 {
            1 => Some(from),
            2 | 3 => Some(insn.dst_reg()),
            _ => None,
        };
        if base == Some(R10) {
            lowest = lowest.min(i32::from(insn.off));
        }
        if insn.code == MOVE {
            copies[to] = from == R10;
        } else if insn.code == ADD {
            if copies[to] {
                lowest = lowest.min(insn.imm);
            }
            copies[to] = false;
        }
    }
    lowest.unsigned_abs()
}
