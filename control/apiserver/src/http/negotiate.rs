//! What form of an answer the client accepts.

use api::Status;
use http::{HeaderMap, header};

/// The form an object is answered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The object itself.
    Object,
    /// A server-side table (`;as=Table`).
    Table,
    /// Its metadata alone (`;as=PartialObjectMetadata` and `;as=PartialObjectMetadataList`).
    Metadata,
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    Json,
    Yaml,
}

/// What is written, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accept {
    pub(crate) form: Form,
    pub(crate) media: Media,
}

/// One range of an Accept header.
pub(crate) struct Range<'a> {
    /// `type/subtype`.
    pub(crate) media: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl Range<'_> {
    pub(crate) fn parameter(&self, key: &str) -> Option<&str> {
        self.parameters.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }
}

const ACCEPTED: [&str; 2] = ["application/json", "application/yaml"];

/// Ranges in one header.
const RANGE_LIMIT: usize = 32;

/// Picks the form and medium of a resource's answer; 406 if there is none.
pub(crate) fn accept(headers: &HeaderMap) -> Result<Accept, Status> {
    let ranges = ranges(headers);
    if ranges.is_empty() {
        return Ok(Accept { form: Form::Object, media: Media::Json });
    }
    ranges.iter().find_map(choice).ok_or_else(|| Status::not_acceptable(&ACCEPTED))
}

fn choice(range: &Range<'_>) -> Option<Accept> {
    let media = match range.media {
        "application/json" | "application/*" | "*/*" | "text/plain" => Media::Json,
        "application/yaml" => Media::Yaml,
        _ => return None,
    };
    let meta_v1 = || {
        range.parameter("g").is_none_or(|group| group == "meta.k8s.io")
            && range.parameter("v").is_none_or(|version| version == "v1")
    };
    let form = match range.parameter("as") {
        None => Form::Object,
        Some("Table") if meta_v1() => Form::Table,
        Some("PartialObjectMetadata" | "PartialObjectMetadataList") if meta_v1() => Form::Metadata,
        Some(_) => return None,
    };
    // A stream of frames (`;stream=watch`) is the same JSON.
    Some(Accept { form, media })
}

/// The header's ranges, best first; those of equal quality stay in their order.
pub(crate) fn ranges(headers: &HeaderMap) -> Vec<Range<'_>> {
    let mut ranges: Vec<Range<'_>> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .take(RANGE_LIMIT)
        .filter_map(range)
        .collect();
    ranges.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    ranges
}

fn range(text: &str) -> Option<Range<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().filter(|media| !media.is_empty())?;
    let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
    let quality =
        parameters.iter().find(|(key, _)| *key == "q").and_then(|(_, value)| value.parse().ok()).unwrap_or(1.0);
    (quality > 0.0).then_some(Range { media, parameters, quality })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept_header: &str, want: Option<(Form, Media)>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept_header.parse().unwrap());
        assert_eq!(accept(&headers).ok().map(|accept| (accept.form, accept.media)), want, "{accept_header}");
    }

    #[test]
    fn forms() {
        check("", Some((Form::Object, Media::Json)));
        check("*/*", Some((Form::Object, Media::Json)));
        check("application/json;as=Table;v=v1;g=meta.k8s.io, application/json", Some((Form::Table, Media::Json)));
        check("application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", Some((Form::Object, Media::Json)));
        check("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", Some((Form::Metadata, Media::Json)));
        check("application/vnd.kubernetes.protobuf,application/json", Some((Form::Object, Media::Json)));
        check("application/json;q=0.5,application/yaml", Some((Form::Object, Media::Yaml)));
        check("application/vnd.kubernetes.protobuf", None);
        check("image/png", None);
    }
}
