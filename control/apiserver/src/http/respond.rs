//! Answers.

use api::Status;
use bytes::Bytes;
use client::{Body, full};
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

/// The JSON media type.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Bytes of JSON with a code.
pub(crate) fn json_bytes(code: u16, bytes: Bytes) -> Response<Body> {
    bytes_of(code, JSON, bytes)
}

/// Bytes of any type.
pub(crate) fn bytes_of(code: u16, content_type: HeaderValue, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(full(bytes));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// Anything that serializes.
pub(crate) fn json(code: u16, body: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(body) {
        Ok(bytes) => json_bytes(code, bytes.into()),
        Err(error) => status(&Status::internal(error)),
    }
}

/// A Status, with `Retry-After` where it says so.
pub(crate) fn status(status: &Status) -> Response<Body> {
    let bytes = serde_json::to_vec(status).expect("a Status is plain JSON");
    let mut response = json_bytes(status.code, bytes.into());
    if let Some(seconds) =
        status.details.as_ref().map(|details| details.retry_after_seconds).filter(|seconds| *seconds > 0)
    {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Plain text.
pub(crate) fn text(code: u16, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = bytes_of(code, HeaderValue::from_static("text/plain; charset=utf-8"), body.into());
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}
