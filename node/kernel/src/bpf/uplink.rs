//! Load balancing at the uplink: whether XDP takes part in it, and how backends of other nodes are reached.

use std::fmt;

use super::Error;
use super::links::{Links, XdpMode};
use super::object::Object;
use crate::netlink::Link;

/// What the node's administrator wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadBalancing {
    pub xdp: UplinkXdp,
    pub mode: LbMode,
}

/// Whether packets are handled at XDP on the uplink, before tcx. What XDP cannot finish goes on to tcx in each case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UplinkXdp {
    /// In the driver of a real or paravirtual device that can; else not at all. Software devices hand over packets whose checksums are
    /// left to hardware that never comes, and some (veth) send from XDP only if their other end plays along: those are not taken
    /// without being asked for.
    #[default]
    Auto,
    /// In the driver, of any device.
    Native,
    /// In the stack, of any device: for trying things out, slower than tcx.
    Generic,
    /// Not at all.
    Off,
}

/// How connections from outside reach backends on other nodes (`abi::LB_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LbMode {
    /// With the node's address as source; answers return through the node.
    #[default]
    Snat,
    /// With the client's; the backend's node answers the client itself. The network between client and nodes must let it.
    Dsr,
}

/// What handles the uplink's packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UplinkPath {
    #[default]
    Tcx,
    XdpNative,
    XdpGeneric,
}

impl fmt::Display for UplinkPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UplinkPath::Tcx => "tcx",
            UplinkPath::XdpNative => "xdp-native",
            UplinkPath::XdpGeneric => "xdp-generic",
        })
    }
}

impl fmt::Display for LbMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LbMode::Snat => "snat",
            LbMode::Dsr => "dsr",
        })
    }
}

impl LbMode {
    /// The number that the programs know.
    pub fn number(self) -> u8 {
        match self {
            LbMode::Snat => abi::LB_SNAT,
            LbMode::Dsr => abi::LB_DSR,
        }
    }
}

/// The pinned links. A link keeps its mode, so each mode has one of its own.
const NATIVE: &str = "uplink_xdp_native";
const GENERIC: &str = "uplink_xdp_generic";

/// The largest MTU whose frames have one page, with the room that drivers want around them.
pub const ONE_PAGE_MTU: u32 = 3_400;

/// The program for an uplink of an MTU. Drivers refuse one that does not know of frames of several pages where there may be some; it is not for
/// smaller ones, because the stack copies each packet that is not of one piece for it. Generic mode makes one piece of a packet first.
pub fn program(mtu: u32, wanted: UplinkXdp) -> &'static str {
    let pages = mtu > ONE_PAGE_MTU && wanted != UplinkXdp::Generic;
    if pages { abi::program::UPLINK_FRAGS } else { abi::program::UPLINK }
}

/// Attaches the program to the uplink, in the calling thread's namespace, or brings what stands up to date; a refusal is a line in the
/// log, because tcx does all of it as well.
///
/// `tagged`: the uplink carries VLANs. Devices take tags off before XDP, which then cannot tell a VLAN's frames from the uplink's own
/// (tcx can); so XDP stays away.
pub fn attach(
    links: &Links,
    object: &Object,
    uplink: &Link,
    tagged: bool,
    wanted: UplinkXdp,
) -> Result<UplinkPath, Error> {
    if tagged && wanted != UplinkXdp::Off {
        tracing::warn!(
            uplink = uplink.name,
            "no XDP on the uplink, because it carries VLANs: tcx handles its packets alone"
        );
        return off(links);
    }
    let (name, mode, path) = match wanted {
        UplinkXdp::Native => (NATIVE, XdpMode::Driver, UplinkPath::XdpNative),
        UplinkXdp::Generic => (GENERIC, XdpMode::Generic, UplinkPath::XdpGeneric),
        UplinkXdp::Auto if uplink.kind.is_empty() => (NATIVE, XdpMode::Driver, UplinkPath::XdpNative),
        UplinkXdp::Auto => {
            tracing::info!(uplink = uplink.name, kind = uplink.kind, "no XDP on a software device unless --xdp native");
            return off(links);
        }
        UplinkXdp::Off => return off(links),
    };
    links.detach(if name == NATIVE { GENERIC } else { NATIVE })?;
    let attached = object
        .program(program(uplink.mtu, wanted))
        .and_then(|program| links.attach_xdp(name, program, uplink.index, mode));
    match attached {
        Ok(_) => Ok(path),
        Err(error) => {
            tracing::warn!(%error, uplink = uplink.name, "no XDP on the uplink: tcx handles its packets alone");
            off(links)
        }
    }
}

fn off(links: &Links) -> Result<UplinkPath, Error> {
    links.detach(NATIVE)?;
    links.detach(GENERIC)?;
    Ok(UplinkPath::Tcx)
}
