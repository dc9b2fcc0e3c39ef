//! The client of the API: one trait [`Transport`], two implementations. [`HttpTransport`] speaks HTTPS (HTTP/2
//! first); the API server builds the in-process one. Everything above is the same code: typed and untyped verbs and
//! a self-healing list+watch.
//!
//! Tasks: none of its own. hyper's connection pool drives its connections on the caller's runtime.

mod body;
mod error;
mod http_transport;
mod kubeconfig;
mod object;
mod params;
mod path;
mod tls;
mod tls_connection;
mod verbs;
mod watch;

pub use body::{Body, BodyError, collect, empty, full};
pub use error::Error;
pub use http_transport::HttpTransport;
pub use kubeconfig::Kubeconfig;
pub use object::Object;
pub use params::{DeleteParams, ListParams, Patch, Precondition, Propagation};
pub use path::{collection_path, object_path};
pub use tls::{Identity, TlsError, client_config};
pub use tls_connection::TlsConnection;
pub use verbs::{Client, List};
pub use watch::Watched;

use bytes::Bytes;
use futures::future::BoxFuture;

/// Carries one request to the API server and brings the response head back; the body streams behind it.
///
/// The request's URI is a path with a query (no scheme, no authority): the transport knows where the server is.
pub trait Transport: Send + Sync + 'static {
    /// Sends the request. An HTTP error status is an `Ok` here; `Err` means that no response came.
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'static, Result<http::Response<Body>, Error>>;
}
