//! The cgroup hooks on socket calls.
//!
//! Storage that the kernel allocates for a socket costs its connect(2) more than everything else here together, so what is remembered lies in
//! an array instead, where a socket has the place of its cookie until it is closed, if that is free.

use core::ptr::{read_volatile, write_volatile};

use abi::{
    Addr, Be16, Counter, Peer, SocketEntry,
    event::{EVENT_DROP, EVENT_FLOW, HOOK_CONNECT, HOOK_SENDMSG},
};
use aya_ebpf::{
    EbpfContext as _,
    bindings::bpf_sock_addr,
    helpers::{bpf_get_netns_cookie, bpf_get_prandom_u32, bpf_get_socket_cookie, bpf_set_retval},
    macros::{cgroup_sock, cgroup_sock_addr},
    programs::{SockAddrContext, SockContext},
};
use packet::{
    Tables as _,
    socket::{self, Call, Caller, Choice, Known},
};

use crate::{
    access::compare_exchange,
    event,
    maps::{PEERS, SOCKETS},
    tables::Maps,
};

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

/// A socket is closed: its place is free.
#[cgroup_sock(sock_release)]
pub fn sock_release(ctx: SockContext) -> i32 {
    // SAFETY: the helper takes the context of this kind of program.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    if let Some(peer) = own_place(cookie) {
        // SAFETY: the place is this socket's, and nobody can use the socket any more. The cookie goes last: who takes the place finds no
        // peer in it.
        unsafe {
            write_volatile(&raw mut (*peer).entry, SocketEntry::default());
            write_volatile(&raw mut (*peer).cookie, 0);
        }
    }
    ALLOW
}

/// The place of a cookie's sockets.
#[inline(always)]
fn place(cookie: u64) -> Option<*mut Peer> {
    PEERS.get_ptr_mut(cookie as u32 & (abi::MAX_PEERS - 1))
}

/// The same if this cookie's socket has it.
#[inline(always)]
fn own_place(cookie: u64) -> Option<*mut Peer> {
    let peer = place(cookie)?;
    // SAFETY: the element lives as long as the program runs.
    if unsafe { read_volatile(&raw const (*peer).cookie) } == cookie { Some(peer) } else { None }
}

#[inline(always)]
fn cookie(ctx: &SockAddrContext) -> u64 {
    // SAFETY: the helper takes the context of this kind of program.
    unsafe { bpf_get_socket_cookie(ctx.as_ptr()) }
}

/// What the socket remembers.
#[inline(always)]
fn known<'a>(ctx: &SockAddrContext) -> Known<'a> {
    // SAFETY: place and storage belong to this socket, whose call this is. Another thread's call may change them meanwhile: then one
    // datagram goes to another backend, or shows it.
    unsafe {
        let peer = own_place(cookie(ctx)).map(|peer| &(*peer).entry);
        Known { peer, more: SOCKETS.get_ptr_mut(ctx).as_ref() }
    }
}

/// Remembers an entry with the socket: in its place, or where that is another's or is full, in its storage.
#[inline(always)]
fn remember(ctx: &SockAddrContext, entry: &SocketEntry, proto: u8) {
    let cookie = cookie(ctx);
    if let Some(peer) = place(cookie) {
        // SAFETY: the cookie is eight aligned bytes. Once it is this socket's, so is the place.
        unsafe {
            let owner = read_volatile(&raw const (*peer).cookie);
            let taken = owner == 0 && compare_exchange((&raw mut (*peer).cookie).cast(), 0, cookie) == 0;
            if (taken || owner == cookie) && socket::is_room(&(*peer).entry, entry, proto) {
                (*peer).entry = *entry;
                return;
            }
        }
    }
    // SAFETY: as in `known`; without storage the socket would show the backend, which is harmless.
    if let Some(known) = unsafe { SOCKETS.get_or_insert_ptr_mut(ctx, None).as_mut() } {
        socket::remember(known, entry);
    }
}

/// The socket of a call.
struct Socket<'a>(&'a SockAddrContext);

impl Caller for Socket<'_> {
    #[inline(always)]
    fn netns(&self) -> u64 {
        // SAFETY: the helper takes the context of this kind of program.
        unsafe { bpf_get_netns_cookie(self.0.as_ptr()) }
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_get_prandom_u32() }
    }
}

#[inline(always)]
fn connect(ctx: &SockAddrContext, v6: bool) -> i32 {
    let maps = Maps { now_s: 0 };
    let call = call(ctx, v6);
    act(ctx, &maps, v6, HOOK_CONNECT, &call, socket::connect(&maps, &Socket(ctx), &call))
}

#[inline(always)]
fn send(ctx: &SockAddrContext, v6: bool) -> i32 {
    let maps = Maps { now_s: 0 };
    let call = call(ctx, v6);
    act(ctx, &maps, v6, HOOK_SENDMSG, &call, socket::send(&maps, &Socket(ctx), &call, || known(ctx)))
}

#[inline(always)]
fn reveal(ctx: &SockAddrContext, v6: bool) -> i32 {
    let (addr, port) = peer(ctx, v6);
    if let Some((addr, port)) = socket::reveal(known(ctx), &addr, port) {
        set_peer(ctx, v6, &addr, port);
    }
    ALLOW
}

#[inline(always)]
fn act(ctx: &SockAddrContext, maps: &Maps, v6: bool, hook: u8, call: &Call, choice: Choice) -> i32 {
    match choice {
        Choice::Keep => ALLOW,
        Choice::Refuse => {
            maps.count(Counter::SocketNoBackend);
            event::call(event::what(EVENT_DROP, hook, Counter::SocketNoBackend as u32), call, &Socket(ctx), None);
            // SAFETY: the helper takes any error number.
            unsafe { bpf_set_retval(-ECONNREFUSED) };
            DENY
        }
        // An IPv4 socket cannot reach an IPv6 backend.
        Choice::Translate(entry) if !v6 && !entry.backend.is_v4() => ALLOW,
        Choice::Translate(entry) => {
            remember(ctx, &entry, call.proto);
            maps.count(Counter::SocketTranslated);
            if hook == HOOK_CONNECT {
                event::call(event::what(EVENT_FLOW, hook, 0), call, &Socket(ctx), Some(&entry));
            }
            set_peer(ctx, v6, &entry.backend, entry.backend_port);
            ALLOW
        }
        Choice::Again(entry) => {
            maps.count(Counter::SocketTranslated);
            set_peer(ctx, v6, &entry.backend, entry.backend_port);
            ALLOW
        }
    }
}

#[inline(always)]
fn call(ctx: &SockAddrContext, v6: bool) -> Call {
    let (addr, port) = peer(ctx, v6);
    // SAFETY: the context is valid for the whole program.
    let proto = unsafe { read_volatile(&raw const (*ctx.sock_addr).protocol) } as u8;
    Call { addr, port, proto }
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
