//! The cgroup hooks on socket calls.

use core::ptr::{read_volatile, write_volatile};

use abi::{
    Addr, Be16, Counter,
    event::{EVENT_DROP, EVENT_FLOW, HOOK_CONNECT, HOOK_SENDMSG},
};
use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_sock_addr,
    helpers::{bpf_get_netns_cookie, bpf_get_prandom_u32, bpf_set_retval},
    macros::cgroup_sock_addr,
    programs::SockAddrContext,
};
use packet::{
    Tables as _,
    socket::{self, Call, Choice},
};

use crate::{event, maps::SOCKETS, tables::Maps};

/// The call goes on.
const ALLOW: i32 = 1;
/// The call fails, with EPERM or what `bpf_set_retval` says.
const DENY: i32 = 0;
const ECONNREFUSED: i32 = 111;

#[cgroup_sock_addr(connect4)]
pub fn connect4(ctx: SockAddrContext) -> i32 {
    connect(&ctx, false)
}

#[cgroup_sock_addr(connect6)]
pub fn connect6(ctx: SockAddrContext) -> i32 {
    connect(&ctx, true)
}

#[cgroup_sock_addr(sendmsg4)]
pub fn sendmsg4(ctx: SockAddrContext) -> i32 {
    send(&ctx, false)
}

#[cgroup_sock_addr(sendmsg6)]
pub fn sendmsg6(ctx: SockAddrContext) -> i32 {
    send(&ctx, true)
}

#[cgroup_sock_addr(recvmsg4)]
pub fn recvmsg4(ctx: SockAddrContext) -> i32 {
    reveal(&ctx, false)
}

#[cgroup_sock_addr(recvmsg6)]
pub fn recvmsg6(ctx: SockAddrContext) -> i32 {
    reveal(&ctx, true)
}

#[cgroup_sock_addr(getpeername4)]
pub fn getpeername4(ctx: SockAddrContext) -> i32 {
    reveal(&ctx, false)
}

#[cgroup_sock_addr(getpeername6)]
pub fn getpeername6(ctx: SockAddrContext) -> i32 {
    reveal(&ctx, true)
}

#[inline(always)]
fn connect(ctx: &SockAddrContext, v6: bool) -> i32 {
    let maps = Maps { now_s: 0 };
    let call = call(ctx, v6);
    act(ctx, &maps, v6, HOOK_CONNECT, &call, socket::connect(&maps, &call))
}

#[inline(always)]
fn send(ctx: &SockAddrContext, v6: bool) -> i32 {
    let maps = Maps { now_s: 0 };
    let call = call(ctx, v6);
    // SAFETY: the storage belongs to this socket, whose call this is.
    let known = unsafe { SOCKETS.get_ptr_mut(ctx).as_ref() };
    act(ctx, &maps, v6, HOOK_SENDMSG, &call, socket::send(&maps, &call, known))
}

#[inline(always)]
fn reveal(ctx: &SockAddrContext, v6: bool) -> i32 {
    // SAFETY: as in `send`.
    if let Some(known) = unsafe { SOCKETS.get_ptr_mut(ctx).as_ref() } {
        let (addr, port) = peer(ctx, v6);
        if let Some((addr, port)) = socket::reveal(known, &addr, port) {
            set_peer(ctx, v6, &addr, port);
        }
    }
    ALLOW
}

#[inline(always)]
fn act(ctx: &SockAddrContext, maps: &Maps, v6: bool, hook: u8, call: &Call, choice: Choice) -> i32 {
    match choice {
        Choice::Keep => ALLOW,
        Choice::Refuse => {
            maps.count(Counter::SocketNoBackend);
            event::call(event::what(EVENT_DROP, hook, Counter::SocketNoBackend as u32), call, None);
            // SAFETY: the helper takes any error number.
            unsafe { bpf_set_retval(-ECONNREFUSED) };
            DENY
        }
        Choice::Translate(entry) => {
            // An IPv4 socket cannot reach an IPv6 backend.
            if !v6 && !entry.backend.is_v4() {
                return ALLOW;
            }
            // SAFETY: as in `send`; without storage the socket would show the backend, which is harmless.
            if let Some(known) = unsafe { SOCKETS.get_or_insert_ptr_mut(ctx, None).as_mut() } {
                socket::remember(known, &entry);
            }
            maps.count(Counter::SocketTranslated);
            if hook == HOOK_CONNECT {
                event::call(event::what(EVENT_FLOW, hook, 0), call, Some(&entry));
            }
            set_peer(ctx, v6, &entry.backend, entry.backend_port);
            ALLOW
        }
    }
}

#[inline(always)]
fn call(ctx: &SockAddrContext, v6: bool) -> Call {
    let (addr, port) = peer(ctx, v6);
    // SAFETY: the context is valid for the whole program; the helpers have no preconditions.
    unsafe {
        Call {
            addr,
            port,
            proto: read_volatile(&raw const (*ctx.sock_addr).protocol) as u8,
            netns: bpf_get_netns_cookie(ctx.as_ptr()),
            random: bpf_get_prandom_u32(),
        }
    }
}

/// The address of the call. Volatile: the verifier wants each word read on its own.
#[inline(always)]
fn peer(ctx: &SockAddrContext, v6: bool) -> (Addr, Be16) {
    let sa: *mut bpf_sock_addr = ctx.sock_addr;
    // SAFETY: the context is valid for the whole program.
    unsafe {
        let port = Be16(read_volatile(&raw const (*sa).user_port) as u16);
        let addr = if v6 {
            Addr([
                read_volatile(&raw const (*sa).user_ip6[0]),
                read_volatile(&raw const (*sa).user_ip6[1]),
                read_volatile(&raw const (*sa).user_ip6[2]),
                read_volatile(&raw const (*sa).user_ip6[3]),
            ])
        } else {
            Addr([0, 0, 0xffff_u32.to_be(), read_volatile(&raw const (*sa).user_ip4)])
        };
        (addr, port)
    }
}

#[inline(always)]
fn set_peer(ctx: &SockAddrContext, v6: bool, addr: &Addr, port: Be16) {
    let sa: *mut bpf_sock_addr = ctx.sock_addr;
    // SAFETY: the context is valid for the whole program.
    unsafe {
        write_volatile(&raw mut (*sa).user_port, port.0 as u32);
        if v6 {
            write_volatile(&raw mut (*sa).user_ip6[0], addr.0[0]);
            write_volatile(&raw mut (*sa).user_ip6[1], addr.0[1]);
            write_volatile(&raw mut (*sa).user_ip6[2], addr.0[2]);
            write_volatile(&raw mut (*sa).user_ip6[3], addr.0[3]);
        } else {
            write_volatile(&raw mut (*sa).user_ip4, addr.0[3]);
        }
    }
}
