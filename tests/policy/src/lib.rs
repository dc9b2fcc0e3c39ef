//! Network policy from end to end, without a kernel: random clusters are compiled by `fabric`, their deltas folded and laid out by
//! `datapath`, and packets judged by `packet`; [`reference`] says from the objects themselves what had to come out.

pub mod cluster;
pub mod node;
pub mod reference;
