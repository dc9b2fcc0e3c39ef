//! A frame at the uplink's XDP hook, in memory.

use crate::{
    Buffer, Scratch,
    uplink::{self, Wire},
    verdict::Fate,
};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use abi::{IPPROTO_UDP, ROUTE_NODE, VXLAN_PORT};

use super::traffic::{damage, follow, fresh};
use super::{Dice, Fragment, Frame, Hook, Memory, Spec, VNI};

/// The frame, where the view begins, and the next hop that the kernel's routes would name: MACs of the neighbour and of the uplink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cable {
    pub frame: Frame,
    pub hop: Option<([u8; 6], [u8; 6])>,
    from: usize,
}

impl Cable {
    pub fn new(frame: Vec<u8>, hop: Option<([u8; 6], [u8; 6])>) -> Cable {
        Cable { frame: Frame(frame), hop, from: 0 }
    }
}

/// Runs a frame through [`uplink::uplink`]; it is rewritten in place.
pub fn at_uplink(m: &Memory, cable: &mut Cable, now_s: u32) -> Fate {
    m.now_s.set(now_s);
    uplink::uplink(cable, m, &mut Scratch::default())
}

/// Draws the next frame at the uplink of a node in state `m`: from outside, or VXLAN of another node.
pub fn cable(m: &Memory, dice: &mut Dice) -> Cable {
    let mut bytes = if dice.once_in(2) { follow(m, dice) } else { None };
    let tunnelled = dice.once_in(2);
    let other = Hook::FromOverlay { node: super::v4("192.0.2.2"), vni: VNI };
    let hook = if tunnelled { other } else { Hook::FromUplink };
    let inner = bytes.take().unwrap_or_else(|| fresh(dice, hook));
    let mut bytes = if tunnelled { tunnel(m, dice, &inner) } else { inner };
    if !dice.once_in(10)
        && let Some(config) = m.config
    {
        bytes[..6].copy_from_slice(&config.uplink_mac);
    }
    damage(dice, &mut bytes);
    let hop = (!dice.once_in(8)).then_some(([2, 0, 0, 0, 0, 7], [2, 0, 0, 0, 0, 9]));
    Cable::new(bytes, hop)
}

/// VXLAN around a frame, as a node's kernel sends it, now and then as none does.
pub fn tunnel(m: &Memory, dice: &mut Dice, inner: &[u8]) -> Vec<u8> {
    let six = m.routes.values().any(|route| route.kind == ROUTE_NODE && !route.node.is_v4());
    let address = |number: u8| -> IpAddr {
        if six {
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()).into()
        } else {
            Ipv4Addr::new(192, 0, 2, number).into()
        }
    };
    let node = address(dice.pick(&[2, 2, 2, 3, 9]));
    let own = address(if dice.once_in(30) { 4 } else { 1 });
    let mut spec = Spec::new(node, own, IPPROTO_UDP, 50_000, VXLAN_PORT.get());
    spec.no_checksum = !dice.once_in(20);
    spec.options = u8::from(dice.once_in(30));
    if dice.once_in(30) {
        spec.fragment = Some(Fragment { id: 1, offset: 0, more: true });
    }
    let vni = if dice.once_in(20) { VNI + 1 } else { VNI };
    spec.payload = [&[8, 0, 0, 0][..], &(vni << 8).to_be_bytes(), inner].concat();
    spec.build()
}

impl Buffer for Cable {
    fn size(&self) -> usize {
        self.frame.0.len()
    }

    fn rest(&self) -> usize {
        self.frame.0.len().saturating_sub(self.from)
    }

    fn byte(&self, off: usize) -> Option<u8> {
        self.frame.byte(self.from + off)
    }

    fn half(&self, off: usize) -> Option<u16> {
        self.frame.half(self.from + off)
    }

    fn words<const N: usize>(&self, off: usize) -> Option<[u32; N]> {
        self.frame.words(self.from + off)
    }

    fn set_byte(&mut self, off: usize, value: u8) -> Option<()> {
        self.frame.set_byte(self.from + off, value)
    }

    fn set_half(&mut self, off: usize, value: u16) -> Option<()> {
        self.frame.set_half(self.from + off, value)
    }

    fn set_words<const N: usize>(&mut self, off: usize, value: [u32; N]) -> Option<()> {
        self.frame.set_words(self.from + off, value)
    }

    fn fix_transport(&mut self, off: usize, pseudo: u32, rest: u32, udp: bool) -> Option<()> {
        self.frame.fix_transport(self.from + off, pseudo, rest, udp)
    }
}

impl Wire<Memory> for Cable {
    fn view_inner(&mut self, s: &mut Scratch) {
        self.from = s.outer;
    }

    fn view_all(&mut self) {
        self.from = 0;
    }

    fn push(&mut self, bytes: usize) -> Option<()> {
        self.frame.0.splice(0..0, std::iter::repeat_n(0, bytes));
        Some(())
    }

    fn pull(&mut self, bytes: usize) -> Option<()> {
        self.frame.0.drain(..bytes);
        Some(())
    }

    fn next_hop(&mut self, s: &mut Scratch) -> bool {
        let Some((to, from)) = self.hop else { return false };
        (s.next_hop.to, s.next_hop.from) = (to, from);
        true
    }
}
