//! The XDP hook of the layer-4 balancer, its maps, and what the measurements run. See `packet::balance`.

use core::arch::asm;

use abi::{
    Counter, FlowKey, FragmentKey, FragmentValue,
    balance::{
        Backend, Config, GATES, Gate, MAX_BACKENDS, MAX_FLOWS, MAX_FRAGMENTS, MAX_ROWS, MAX_SLOTS, MAX_VIPS,
        SLOTS_AN_ELEMENT, Traffic, Vip,
    },
};
use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, xdp_action, xdp_md},
    helpers::{bpf_ktime_get_coarse_ns, bpf_xdp_adjust_head, bpf_xdp_adjust_tail},
    macros::{map, xdp},
    maps::{Array, LruHashMap, PerCpuArray},
    programs::XdpContext,
};
use packet::{
    Buffer, Tables as _,
    balance::{self, Balancer, Cold, Fate, Frame},
    parse::{L3, Packet},
};

use crate::{is_test_run, tables, xdp::Xdp};

#[map]
static LB_CONFIG: Array<Config> = Array::with_max_entries(1, 0);
#[map]
static LB_VIPS: Array<Vip> = Array::with_max_entries(MAX_ROWS, BPF_F_MMAPABLE);
#[map]
static LB_SLOTS: Array<[u32; SLOTS_AN_ELEMENT as usize]> = Array::with_max_entries(MAX_SLOTS, BPF_F_MMAPABLE);
#[map]
static LB_BACKENDS: Array<Backend> = Array::with_max_entries(MAX_BACKENDS, BPF_F_MMAPABLE);
#[map]
static LB_CHANGED: Array<u32> = Array::with_max_entries(MAX_VIPS, BPF_F_MMAPABLE);
#[map]
static LB_FLOWS: LruHashMap<FlowKey, u32> = LruHashMap::with_max_entries(MAX_FLOWS, 0);
#[map]
static LB_FRAGMENTS: LruHashMap<FragmentKey, FragmentValue> = LruHashMap::with_max_entries(MAX_FRAGMENTS, 0);
#[map]
static LB_GATES: PerCpuArray<Gate> = PerCpuArray::with_max_entries(GATES, 0);
#[map]
static LB_TRAFFIC: PerCpuArray<Traffic> = PerCpuArray::with_max_entries(MAX_VIPS, 0);
/// Of the measurements: the number of the next packet, and the masks that make it one of so many flows to one of so many
/// addresses.
#[map]
static LB_BENCH: Array<[u32; 4]> = Array::with_max_entries(1, 0);

#[xdp]
pub fn balance(ctx: XdpContext) -> u32 {
    run(ctx.ctx)
}

/// The same for interfaces whose frames may have several pages.
#[xdp(frags)]
pub fn balance_frags(ctx: XdpContext) -> u32 {
    run(ctx.ctx)
}

/// Measured in place of [`balance`]: each run makes the packet one of another flow, balances it and takes the outer header off, so
/// that one buffer serves any number of runs.
#[xdp]
pub fn balance_bench(ctx: XdpContext) -> u32 {
    let mut frame = Xdp::new(ctx.ctx);
    if next_flow(&mut frame).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    let action = run(ctx.ctx);
    if action == xdp_action::XDP_TX && undo(&mut frame).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    action
}

/// What [`balance_bench`] does around the balancer, to be taken off.
#[xdp]
pub fn balance_base(ctx: XdpContext) -> u32 {
    let mut frame = Xdp::new(ctx.ctx);
    if next_flow(&mut frame).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    xdp_action::XDP_TX
}

/// [`balance_base`], and a header put on and taken off.
#[xdp]
pub fn balance_twice(ctx: XdpContext) -> u32 {
    let mut frame = Xdp::new(ctx.ctx);
    if next_flow(&mut frame).is_none() || frame.push::<20>().is_none() || undo(&mut frame).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    xdp_action::XDP_TX
}

#[inline(always)]
fn run(ctx: *mut xdp_md) -> u32 {
    match balance::balance(&mut Xdp::new(ctx), &Maps) {
        Fate::Pass => xdp_action::XDP_PASS,
        Fate::Send => xdp_action::XDP_TX,
        Fate::Drop(counter) => {
            Maps.count(counter);
            xdp_action::XDP_DROP
        }
    }
}

/// Which flow the next packet is of.
#[inline(always)]
pub fn next_number() -> Option<u32> {
    let state = LB_BENCH.get_ptr_mut(0)?;
    // SAFETY: measurements run on one CPU.
    let (number, mask) = unsafe { ((*state)[0], (*state)[1]) };
    // SAFETY: as above.
    unsafe { (*state)[0] = number.wrapping_add(1) };
    Some(number.wrapping_mul(0x9e37_79b1) & mask)
}

#[inline(always)]
pub fn next_flow(frame: &mut Xdp) -> Option<()> {
    let flow = next_number()?;
    let vips = LB_BENCH.get(0)?[2];
    frame.set_word(L3 + 12, u32::from_ne_bytes([198, 18, (flow >> 24) as u8, (flow >> 16) as u8]))?;
    let vip = flow & vips;
    frame.set_word(L3 + 16, u32::from_ne_bytes([10, 0, (vip >> 8) as u8, vip as u8]))?;
    frame.set_half(L3 + 20, flow as u16)
}

#[inline(always)]
fn undo(frame: &mut Xdp) -> Option<()> {
    // SAFETY: the context is valid for the whole program.
    if unsafe { bpf_xdp_adjust_head(frame.ctx, 20) } != 0 {
        return None;
    }
    frame.set_words::<3>(0, [0; 3])?;
    frame.set_half(12, 0x0800_u16.to_be())
}

impl Frame for Xdp {
    #[inline(always)]
    fn push<const N: usize>(&mut self) -> Option<()> {
        // SAFETY: the context is valid for the whole program; the helper checks the room.
        if unsafe { bpf_xdp_adjust_head(self.ctx, -(N as i32)) } == 0 { Some(()) } else { None }
    }

    #[inline(always)]
    fn set_front<const N: usize>(
        &mut self,
        ethernet: [u32; 3],
        kind: u16,
        words: impl FnOnce(u16) -> [u32; N],
    ) -> Option<()> {
        self.set_front_at_once(ethernet, kind, words)
    }

    #[inline(always)]
    fn len(&self) -> usize {
        // SAFETY: the context is valid for the whole program.
        let (data, end) = unsafe { ((*self.ctx).data as usize, (*self.ctx).data_end as usize) };
        let len: usize;
        // Assembly, because the verifier knows the difference of these two and of nothing derived from them.
        // SAFETY: subtracts two registers.
        unsafe { asm!("{0} -= {1}", inlateout(reg) end => len, in(reg) data, options(pure, nomem, nostack)) };
        len
    }

    #[inline(always)]
    fn cut(&mut self, len: usize) -> Option<()> {
        let more = Frame::len(self).wrapping_sub(len);
        // SAFETY: the context is valid for the whole program; the helper checks the length.
        if unsafe { bpf_xdp_adjust_tail(self.ctx, -(more as i32)) } == 0 { Some(()) } else { None }
    }
}

/// A [`Packet`] as the verifier is to see it in a signature: so many bytes.
#[repr(C)]
pub struct Memory([u64; size_of::<Packet>().div_ceil(8)]);

/// # Safety
/// `memory` is null or points to a `Packet` that nothing else uses until the function returns.
#[inline(always)]
unsafe fn packet<'a>(memory: *mut Memory) -> Option<&'a mut Packet> {
    // SAFETY: by the contract above.
    unsafe { memory.cast::<Packet>().as_mut() }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn balance_error(ctx: *mut xdp_md, memory: *mut Memory) -> u32 {
    // SAFETY: the callers below pass a Packet that they hold exclusively.
    let Some(p) = (unsafe { packet(memory) }) else { return 0 };
    balance::of_error(&Xdp::new(ctx), p) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn balance_fragment(memory: *mut Memory) -> u32 {
    // SAFETY: as in `balance_error`.
    let Some(p) = (unsafe { packet(memory) }) else { return 0 };
    balance::complete(&Maps, p) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn balance_choose(memory: *mut Memory, slot: u32, changed_s: u32) -> u32 {
    // SAFETY: as in `balance_error`.
    let Some(p) = (unsafe { packet(memory) }) else { return 0 };
    balance::choose(&Maps, p, slot, changed_s)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn balance_echo(ctx: *mut xdp_md, memory: *mut Memory) -> u32 {
    // SAFETY: as in `balance_error`.
    let Some(p) = (unsafe { packet(memory) }) else { return 0 };
    balance::answer::echo(&mut Xdp::new(ctx), &Maps, p) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn balance_too_big(ctx: *mut xdp_md, memory: *mut Memory, most: u32) -> u32 {
    // SAFETY: as in `balance_error`.
    let Some(p) = (unsafe { packet(memory) }) else { return 0 };
    balance::answer::too_big(&mut Xdp::new(ctx), &Maps, p, most) as u32
}

impl Cold<Maps> for Xdp {
    #[inline(always)]
    fn echo(&mut self, _t: &Maps, p: &mut Packet) -> bool {
        balance_echo(self.ctx, (&raw mut *p).cast()) != 0
    }

    #[inline(always)]
    fn too_big(&mut self, _t: &Maps, p: &mut Packet, most: u32) -> bool {
        balance_too_big(self.ctx, (&raw mut *p).cast(), most) != 0
    }

    #[inline(always)]
    fn of_error(&mut self, p: &mut Packet) -> bool {
        balance_error(self.ctx, (&raw mut *p).cast()) != 0
    }

    #[inline(always)]
    fn complete(&mut self, _t: &Maps, p: &mut Packet) -> bool {
        balance_fragment((&raw mut *p).cast()) != 0
    }

    #[inline(always)]
    fn choose(&mut self, _t: &Maps, p: &Packet, slot: u32, changed_s: u32) -> u32 {
        balance_choose((&raw const *p).cast_mut().cast(), slot, changed_s)
    }
}

/// The maps above. Keys are copied to the stack: they come from a function's argument, from where kernels before 6.4 take none.
struct Maps;

impl Balancer for Maps {
    #[inline(always)]
    fn config(&self) -> Option<&Config> {
        let config = LB_CONFIG.get(0)?;
        if config.ready == 0 { None } else { Some(config) }
    }

    #[inline(always)]
    fn now_s(&self) -> u32 {
        if is_test_run() {
            return LB_CONFIG.get(0).map_or(0, |config| config.test_now_s);
        }
        // SAFETY: the helper has no preconditions.
        tables::seconds(unsafe { bpf_ktime_get_coarse_ns() })
    }

    #[inline(always)]
    fn count(&self, counter: Counter) {
        tables::Maps { now_s: 0 }.count(counter);
    }

    #[inline(always)]
    fn vip(&self, row: u32) -> Option<&Vip> {
        LB_VIPS.get(row)
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<u32> {
        let pair = LB_SLOTS.get(index / SLOTS_AN_ELEMENT)?;
        // Without a computed address, which would need another bound.
        Some(if index % SLOTS_AN_ELEMENT == 0 { pair[0] } else { pair[1] })
    }

    #[inline(always)]
    fn backend(&self, id: u32) -> Option<&Backend> {
        LB_BACKENDS.get(id)
    }

    #[inline(always)]
    fn changed_s(&self, number: u32) -> u32 {
        LB_CHANGED.get(number).copied().unwrap_or(0)
    }

    #[inline(always)]
    fn flow(&self, key: &FlowKey) -> Option<u32> {
        let key = *key;
        // SAFETY: copied at once.
        unsafe { LB_FLOWS.get(&key) }.copied()
    }

    #[inline(always)]
    fn set_flow(&self, key: &FlowKey, backend: u32) {
        // A flow without a record is judged again at its next packet.
        let _ = LB_FLOWS.insert(*key, backend, 0);
    }

    #[inline(always)]
    fn fragment(&self, key: &FragmentKey) -> Option<FragmentValue> {
        let key = *key;
        // SAFETY: copied at once.
        unsafe { LB_FRAGMENTS.get(&key) }.copied()
    }

    #[inline(always)]
    fn set_fragment(&self, key: &FragmentKey, value: &FragmentValue) {
        // A full table evicts; later fragments of that datagram are dropped and counted.
        let _ = LB_FRAGMENTS.insert(*key, value, 0);
    }

    #[inline(always)]
    fn gate(&self, number: u32) -> Option<Gate> {
        LB_GATES.get(number).copied()
    }

    #[inline(always)]
    fn set_gate(&self, number: u32, gate: &Gate) {
        if let Some(value) = LB_GATES.get_ptr_mut(number) {
            // SAFETY: the element is this CPU's own.
            unsafe { *value = *gate };
        }
    }

    #[inline(always)]
    fn account(&self, number: u32, traffic: Traffic) {
        if let Some(value) = LB_TRAFFIC.get_ptr_mut(number) {
            // SAFETY: the element is this CPU's own, and the verifier knows its bounds.
            unsafe {
                (*value).packets = (*value).packets.wrapping_add(traffic.packets);
                (*value).bytes = (*value).bytes.wrapping_add(traffic.bytes);
            }
        }
    }
}
