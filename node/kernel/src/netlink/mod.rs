//! Links, addresses, routes and neighbours of one network namespace, over a route netlink socket.
//!
//! Calls are synchronous and take microseconds; async callers wrap a batch of them in a blocking task. The socket
//! belongs to the namespace it was made in, whichever thread uses it.
mod address;
mod link;
mod offload;
mod route;

use std::io;
use std::path::Path;
use std::sync::Mutex;

use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

pub use link::{Link, Mac, PeerPlace, Veth};
pub use offload::compute_checksums;
pub use route::{Neighbour, Route};

use crate::netns;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("open a route netlink socket: {0}")]
    Open(#[source] io::Error),
    #[error("{what}: {source}")]
    Kernel { what: String, source: io::Error },
    #[error("{what}: the kernel's answer is not understood ({reason})")]
    Answer { what: String, reason: String },
    #[error("network interface {0} does not exist here")]
    NoLink(String),
    #[error(transparent)]
    Netns(#[from] netns::Error),
}

impl Error {
    /// The errno of the kernel's answer, if it was one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Kernel { source, .. } => source.raw_os_error(),
            Error::Open(_) | Error::Answer { .. } | Error::NoLink(_) | Error::Netns(_) => None,
        }
    }
}

/// A handle on one namespace's network configuration.
pub struct Netlink {
    channel: Mutex<Channel>,
}

struct Channel {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// In the calling thread's network namespace.
    pub fn here() -> Result<Netlink, Error> {
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(Error::Open)?;
        socket.bind_auto().map_err(Error::Open)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(Error::Open)?;
        Ok(Netlink { channel: Mutex::new(Channel { socket, sequence: 0 }) })
    }

    /// In the namespace at `path` (for example [`netns::path`] of a name, or `/proc/<pid>/ns/net`).
    pub fn in_netns(path: &Path) -> Result<Netlink, Error> {
        netns::run_in(path, Netlink::here)?
    }

    /// Sends a change and waits for the kernel's acknowledgement.
    fn change(&self, what: &str, message: RouteNetlinkMessage, flags: u16) -> Result<(), Error> {
        self.exchange(what, message, NLM_F_ACK | flags).map(drop)
    }

    /// Asks for everything of a kind.
    fn dump(&self, what: &str, message: RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, Error> {
        self.exchange(what, message, NLM_F_DUMP)
    }

    fn exchange(
        &self,
        what: &str,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, Error> {
        let kernel = |source| Error::Kernel { what: what.to_owned(), source };
        let mut channel = self.channel.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        channel.sequence = channel.sequence.wrapping_add(1);
        let sequence = channel.sequence;

        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        request.header.sequence_number = sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        channel.socket.send(&bytes, 0).map_err(kernel)?;

        let mut answers = Vec::new();
        loop {
            let (datagram, _) = channel.socket.recv_from_full().map_err(kernel)?;
            let mut rest = datagram.as_slice();
            while rest.len() >= 16 {
                let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(|e| Error::Answer { what: what.to_owned(), reason: e.to_string() })?;
                let length = (answer.header.length as usize).next_multiple_of(4);
                if length == 0 {
                    break;
                }
                let ours = answer.header.sequence_number == sequence;
                match answer.payload {
                    _ if !ours => {}
                    NetlinkPayload::Error(error) => {
                        return match error.code {
                            None => Ok(answers),
                            Some(code) => Err(kernel(io::Error::from_raw_os_error(code.get().abs()))),
                        };
                    }
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::InnerMessage(inner) => {
                        answers.push(inner);
                        if flags & (NLM_F_ACK | NLM_F_DUMP) == 0 {
                            return Ok(answers);
                        }
                    }
                    // Noop, overrun and whatever is added later carry nothing to collect.
                    _ => {}
                }
                rest = rest.get(length..).unwrap_or_default();
            }
        }
    }
}
