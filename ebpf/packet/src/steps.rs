//! Where a program may be cut into functions.
//!
//! The verifier follows every path through what is inlined; a function of its own it follows once. The steps here are the ones
//! with many paths and little in common with what comes after. They talk through [`Scratch`] and
//! answer with a number.

use crate::{
    Buffer, Scratch, Tables, bandwidth,
    fragment::{self, Ports, Waiting},
    icmp, parse,
    pipeline::{self, First, Origin},
    policy::{self, Direction},
};

/// The steps of the pipeline that an implementation may put elsewhere. It must end up in the function named.
pub trait Steps<T: Tables>: Buffer + Sized {
    /// [`parse::parse`].
    #[inline(always)]
    fn parse(&mut self, s: &mut Scratch) -> bool {
        parse::parse(self, s)
    }

    /// [`fragment::ports`].
    #[inline(always)]
    fn ports(&mut self, t: &T, s: &mut Scratch, at: u32) -> Ports {
        fragment::ports(self, t, s, at)
    }

    /// [`fragment::hold`].
    #[inline(always)]
    fn hold(&mut self, t: &T, s: &mut Scratch) -> Waiting {
        fragment::hold(self, t, s)
    }

    /// [`fragment::take`].
    #[inline(always)]
    fn take(&mut self, t: &T, s: &mut Scratch, slot: u32, now_s: u32) -> bool {
        fragment::take(t, s, slot, now_s)
    }

    /// Whether an address of this node's own interfaces is the packet's destination, by the kernel's routes.
    fn is_local(&mut self, t: &T, s: &mut Scratch) -> bool;

    /// Copies the packet into a slot of [`abi::map::HELD`]. `false` if it is too large.
    fn keep(&mut self, t: &T, slot: u32) -> bool;

    /// Puts the packet's bytes aside, so that copies of it may carry others. `false` if it is too large; it is as it was.
    fn set_aside(&mut self) -> bool;

    /// Sends a copy of the packet with the bytes of a slot, as [`Scratch::hold`] describes it, into the interface where the packet came
    /// in. The packet's own bytes are undefined from here until [`Steps::put_back`].
    fn send_again(&mut self, t: &T, slot: u32) -> bool;

    /// Makes the packet again what it was at [`Steps::set_aside`].
    fn put_back(&mut self) -> bool;

    /// [`icmp::error`].
    #[inline(always)]
    fn error(&mut self, t: &T, s: &mut Scratch) -> bool {
        icmp::error(self, t, s)
    }

    /// [`pipeline::rewrite`].
    #[inline(always)]
    fn rewrite(&mut self, t: &T, s: &mut Scratch) -> bool {
        pipeline::rewrite(self, t, s)
    }

    /// [`pipeline::choose`].
    #[inline(always)]
    fn choose(&mut self, t: &T, s: &mut Scratch, origin: Origin) -> First {
        pipeline::choose(t, s, origin)
    }

    /// [`pipeline::open`], and whatever is to be told of it.
    #[inline(always)]
    fn open(&mut self, t: &T, s: &mut Scratch, _origin: Origin) -> First {
        pipeline::open(t, s)
    }

    /// [`bandwidth::admit`].
    #[inline(always)]
    fn pay(&mut self, t: &T, seat: u32, egress: bool) -> bool {
        bandwidth::admit(self, t, seat, egress)
    }

    /// [`policy::judge`].
    #[inline(always)]
    fn judge(&mut self, t: &T, s: &mut Scratch, direction: Direction) -> bool {
        policy::judge(t, s, direction)
    }
}
