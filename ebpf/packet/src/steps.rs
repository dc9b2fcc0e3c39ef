//! Where a program may be cut into functions.
//!
//! The verifier follows every path through what is inlined; a function of its own it follows once. The steps here are the ones
//! with many paths and little in common with what comes after. They talk through [`Scratch`] and
//! answer with a number.

use crate::{
    Buffer, Scratch, Tables, bandwidth, icmp, parse,
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
