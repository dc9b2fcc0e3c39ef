//! Paths beside the Kubernetes API: a node's join, and the state of the control plane.

use std::sync::Arc;

use apiserver::Extra;
use bytes::{Bytes, BytesMut};
use client::Body;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;

use crate::join::{self, JoinService};
use crate::run_fabric::Ledger;

/// Where the state of the control plane is served.
pub const STATUS_PATH: &str = "/gannet/v1/status";
/// Largest request body of these paths.
const MAX_BODY_BYTES: usize = 64 << 10;

/// Serves `/gannet/v1/join`, which everybody may ask and the token decides, and `/gannet/v1/status`, which RBAC gives to
/// administrators.
pub struct Paths {
    pub join: Arc<JoinService>,
    pub ledger: Arc<Ledger>,
}

impl Extra for Paths {
    fn handle(&self, request: Request<Body>) -> Option<BoxFuture<'static, Response<Body>>> {
        match request.uri().path() {
            join::PATH => {
                let join = self.join.clone();
                Some(async move { answer_join(&join, request).await }.boxed())
            }
            STATUS_PATH => {
                let ledger = self.ledger.clone();
                Some(async move { answer_status(&ledger) }.boxed())
            }
            _ => None,
        }
    }
}

async fn answer_join(join: &JoinService, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Some(body) = collect(body).await else {
        return respond(StatusCode::PAYLOAD_TOO_LARGE, Bytes::from_static(b"a join request is at most 64 KiB\n"));
    };
    join.answer(&Request::from_parts(head, body), process::now()).map(client::full)
}

/// The whole body, unless it is too large or breaks off.
async fn collect(mut body: Body) -> Option<Bytes> {
    let mut collected = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.ok()?.into_data() {
            if collected.len() + data.len() > MAX_BODY_BYTES {
                return None;
            }
            collected.extend_from_slice(&data);
        }
    }
    Some(collected.freeze())
}

fn answer_status(ledger: &Ledger) -> Response<Body> {
    let body = serde_json::to_vec(&serde_json::json!({ "fabric": ledger.snapshot() }))
        .expect("the ledger's snapshot has string keys");
    let mut response = respond(StatusCode::OK, body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn respond(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(client::full(body));
    *response.status_mut() = status;
    response
}
