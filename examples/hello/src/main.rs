//! The test server of the examples: HTTP that says which pod answered, and echoes over TCP and UDP.
//!
//! | port | answers |
//! |---|---|
//! | 8080/tcp | HTTP: `/` pod, node and client; `/slow?MS` the same after a wait; `/healthz`; `/version` |
//! | 7000/tcp | every byte back |
//! | 7000/udp | every datagram back |
//!
//! SIGTERM: `/healthz` turns to 503, connections that are open are served on until they end or the drain time is over.

mod echo;
mod http;

use std::env;
use std::net::{Ipv6Addr, TcpListener, UdpSocket};
use std::process::exit;
use std::sync::Arc;
use std::thread;

use nix::sys::signal::{SigSet, Signal};

/// Where HTTP listens; one socket for both address families.
const HTTP_PORT: u16 = 8080;
/// Where the echoes listen.
const ECHO_PORT: u16 = 7000;

fn main() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    // Before the first thread: they inherit the mask, and `wait` below gets the signal.
    signals.thread_block().expect("a set of known signals can be blocked");

    let site = Arc::new(http::Site::new(http::Identity {
        pod: variable("POD_NAME").or_else(|| variable("HOSTNAME")).unwrap_or_else(|| "unknown".to_owned()),
        node: variable("NODE_NAME").unwrap_or_else(|| "unknown".to_owned()),
        version: variable("HELLO_VERSION").unwrap_or_else(|| "0".to_owned()),
    }));
    let web = bind(HTTP_PORT, "HTTP", TcpListener::bind((Ipv6Addr::UNSPECIFIED, HTTP_PORT)));
    let tcp = bind(ECHO_PORT, "TCP echo", TcpListener::bind((Ipv6Addr::UNSPECIFIED, ECHO_PORT)));
    let udp = bind(ECHO_PORT, "UDP echo", UdpSocket::bind((Ipv6Addr::UNSPECIFIED, ECHO_PORT)));
    println!("hello {} on {}: HTTP {HTTP_PORT}, echo {ECHO_PORT}", site.identity().pod, site.identity().node);

    let serving = site.clone();
    thread::spawn(move || http::serve(&web, &serving));
    thread::spawn(move || echo::tcp(&tcp));
    thread::spawn(move || echo::udp(&udp));

    let signal = signals.wait().expect("the blocked signals can be waited for");
    println!("{signal}: draining");
    site.drain();
    println!("bye");
}

fn bind<T>(port: u16, what: &str, bound: std::io::Result<T>) -> T {
    bound.unwrap_or_else(|error| {
        eprintln!("hello: cannot listen on port {port} for {what}: {error}");
        exit(1)
    })
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
