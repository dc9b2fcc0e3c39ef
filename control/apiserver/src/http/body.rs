//! Reading a request body within its limit.

use api::Status;
use bytes::{Bytes, BytesMut};
use client::Body;
use http_body::Body as _;
use http_body_util::BodyExt;
use std::time::Duration;

/// Longest request body. Kubernetes' limit.
pub(crate) const REQUEST_LIMIT: usize = 3 << 20;
/// What is read of a longer body and thrown away, so that its sender gets to read the answer.
const DISCARD_LIMIT: usize = 128 << 20;
/// Longest time for one body.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest time for throwing one away.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a request's body; 413 beyond [`REQUEST_LIMIT`].
pub(crate) async fn read(body: Body) -> Result<Bytes, Status> {
    match tokio::time::timeout(READ_TIMEOUT, read_all(body)).await {
        Ok(read) => read,
        Err(_) => Err(Status::timeout("request did not complete within the allotted timeout")),
    }
}

async fn read_all(mut body: Body) -> Result<Bytes, Status> {
    let too_long = || Status::too_large(&format!("limit is {REQUEST_LIMIT}"));
    let announced = body.size_hint().lower();
    if announced > REQUEST_LIMIT as u64 {
        discard(body).await;
        return Err(too_long());
    }
    let mut all = BytesMut::with_capacity(usize::try_from(announced).unwrap_or_default());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::bad_request(format!("the request body broke off: {error}")))?;
        if let Ok(chunk) = frame.into_data() {
            if all.len() + chunk.len() > REQUEST_LIMIT {
                discard(body).await;
                return Err(too_long());
            }
            all.extend_from_slice(&chunk);
        }
    }
    Ok(all.freeze())
}

async fn discard(mut body: Body) {
    let all = async {
        let mut left = DISCARD_LIMIT;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    // Whoever takes longer reads the answer or not.
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, all).await;
}
