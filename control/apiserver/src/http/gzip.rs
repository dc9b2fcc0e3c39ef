//! gzip of long answers, at the fastest level: what it costs must stay below what the wire saves.

use api::Status;
use bytes::Bytes;
use client::Body;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::Body as _;
use std::io::Write as _;

/// Shorter answers are sent as they are. Kubernetes' limit.
pub(crate) const LEAST: usize = 128 << 10;

/// Whether the client takes gzip.
pub(crate) fn accepted(headers: &HeaderMap) -> bool {
    let ranges = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    ranges.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let zero =
            |part: &str| part.strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|quality| quality <= 0.0));
        matches!(parts.next(), Some("gzip" | "*")) && !parts.any(zero)
    })
}

/// Says that a body is packed.
pub(crate) fn mark(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
}

/// Packs a stream.
pub(crate) struct Packer(GzEncoder<Vec<u8>>);

impl Packer {
    pub(crate) fn new() -> Self {
        Self(GzEncoder::new(Vec::new(), Compression::fast()))
    }

    /// What comes out when these bytes go in; everything that is left after the last ones.
    pub(crate) fn pack(&mut self, bytes: &[u8], last: bool) -> Vec<u8> {
        self.0.write_all(bytes).expect("memory takes all that is written");
        if last {
            self.0.try_finish().expect("memory takes all that is written");
        }
        std::mem::take(self.0.get_mut())
    }
}

/// Packs an answer whose whole body is at hand and long enough.
pub(crate) async fn wrap(response: Response<Body>, accepted: bool) -> Result<Response<Body>, Status> {
    let length = response.body().size_hint().exact().and_then(|length| usize::try_from(length).ok());
    if !accepted
        || length.is_none_or(|length| length < LEAST)
        || response.headers().contains_key(header::CONTENT_ENCODING)
    {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let bytes: Bytes = client::collect(body).await.map_err(Status::internal)?;
    let packed = Packer::new().pack(&bytes, true);
    let mut response = Response::from_parts(parts, client::full(packed));
    mark(&mut response);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn who_takes_gzip() {
        for (value, want) in
            [("gzip", true), ("deflate, gzip;q=0.5", true), ("gzip;q=0", false), ("br", false), ("*", true)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, value.parse().unwrap());
            assert_eq!(accepted(&headers), want, "{value}");
        }
    }

    #[test]
    fn a_stream_is_one_member() {
        let mut packer = Packer::new();
        let mut packed = packer.pack(&[b'x'; 100_000], false);
        packed.extend(packer.pack(&[b'y'; 100_000], true));
        let mut out = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut out).unwrap();
        assert_eq!((out.len(), out[99_999], out[100_000]), (200_000, b'x', b'y'));
        assert!(packed.len() < 4_000);
    }
}
