//! Reading a request body within its limit.

use api::Status;
use bytes::{Bytes, BytesMut};
use client::Body;

use http_body_util::BodyExt;

/// Longest request body. Kubernetes' limit.
pub(crate) const REQUEST_LIMIT: usize = 3 << 20;

/// Reads a request's body; 413 beyond [`REQUEST_LIMIT`].
pub(crate) async fn read(mut body: Body) -> Result<Bytes, Status> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::bad_request(format!("the request body broke off: {error}")))?;
        if let Ok(chunk) = frame.into_data() {
            if all.len() + chunk.len() > REQUEST_LIMIT {
                return Err(Status::too_large(&format!("limit is {REQUEST_LIMIT}")));
            }
            all.extend_from_slice(&chunk);
        }
    }
    Ok(all.freeze())
}
