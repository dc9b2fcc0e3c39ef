//! The API server: the only writer of the store. Every request, from the TLS listener or from the in-process
//! transport, takes the same road: [`Apiserver::handle`] -> path -> who (auth) -> may they (auth::authorize, the only
//! place that decides) -> discovery or a verb of `generic` -> registry strategy -> store.
//!
//! Tasks: `api-listener` accepts connections (by [`Apiserver::serve`]); `api-connection` (one a connection) speaks
//! HTTP on it; `api-upgrade` (one an exec, attach or port-forward) copies bytes between a client and a node;
//! `api-node-connection` (one a call) drives a connection to a node; `api-watch-socket` (one a watch over
//! WebSocket) sends its events as messages; `api-events` removes expired events;
//! `api-account-tokens` fills Secrets with service account tokens; `api-node-graph` follows which objects the pods of
//! each node refer to; `api-bootstrap` keeps the objects every cluster has; `api-quotas` counts what quotas bound;
//! `api-addresses` tends IPAddresses and ServiceCIDRs. All end when the token given to `serve` is cancelled.
//! `api-definitions` settles custom resource definitions as the store tells of them.
//! Channels: `kinds` tells watches that a resource has changed.

mod admission;
mod allocate;
mod auth;
mod bootstrap;
mod config;
mod custom;
mod discovery;
mod event_ttl;
mod generic;
mod health;
mod http;
mod informed;
mod kinds;
mod metrics;
mod openapi;
mod server;
mod storage;
mod subresource;
mod webhook;

pub use auth::User;
pub use config::{Config, EVENT_TTL, Error, Extra};
pub use http::tls::{TlsError, server_config};
pub use server::Apiserver;
pub use subresource::is_proxyable;
