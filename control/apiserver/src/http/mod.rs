//! HTTP: what a path means, what a client accepts, bodies in and out, TLS and the listener.

pub(crate) mod body;
pub(crate) mod gzip;
pub(crate) mod listener;
pub(crate) mod negotiate;
pub(crate) mod path;
pub(crate) mod query;
pub(crate) mod respond;
pub mod tls;
pub(crate) mod websocket;
