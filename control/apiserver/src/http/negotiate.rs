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
    Protobuf,
}

/// The version of `meta.k8s.io` that tables and metadata are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetaVersion {
    V1,
    V1Beta1,
}

/// What is written, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accept {
    pub(crate) form: Form,
    pub(crate) media: Media,
    pub(crate) version: MetaVersion,
}

/// What can be answered beside JSON and YAML of objects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    /// Whole objects have a protobuf form.
    pub(crate) protobuf: bool,
    /// Objects have tables and metadata.
    pub(crate) forms: bool,
    /// The answer is a stream of events.
    pub(crate) stream: bool,
    /// Plain text may be asked for (a subresource).
    pub(crate) text: bool,
}

impl Media {
    /// The media type.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Media::Json => "application/json",
            Media::Yaml => "application/yaml",
            Media::Protobuf => api::protobuf::MEDIA_TYPE,
        }
    }
}

impl MetaVersion {
    /// `meta.k8s.io/v1`.
    pub(crate) fn api_version(self) -> &'static str {
        match self {
            MetaVersion::V1 => "meta.k8s.io/v1",
            MetaVersion::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

impl Accept {
    /// What a client gets that asks for nothing.
    pub(crate) const PLAIN: Accept = Accept { form: Form::Object, media: Media::Json, version: MetaVersion::V1 };
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

/// Ranges in one header.
const RANGE_LIMIT: usize = 32;

/// Whether a client takes a document (discovery, OpenAPI) as JSON or YAML; 406 if it does not.
pub(crate) fn accept(headers: &HeaderMap) -> Result<Accept, Status> {
    choose(headers, Offer { protobuf: false, forms: true, stream: false, text: false })
}

/// Picks the form and medium of a resource's answer; 406 if there is none.
pub(crate) fn choose(headers: &HeaderMap, offer: Offer) -> Result<Accept, Status> {
    if !headers.contains_key(header::ACCEPT) {
        return Ok(Accept::PLAIN);
    }
    let ranges = ranges(headers);
    let mut media = vec![Media::Json];
    if !offer.stream {
        media.push(Media::Yaml);
    }
    if offer.protobuf {
        media.push(Media::Protobuf);
    }
    let accepted: Vec<&str> = media.into_iter().map(Media::name).collect();
    let refused = || Status::not_acceptable(&accepted);
    if ranges.is_empty() {
        // A header with nothing in it is no header.
        let blank = headers.get_all(header::ACCEPT).iter().all(|value| value.as_bytes().trim_ascii().is_empty());
        return if blank { Ok(Accept::PLAIN) } else { Err(refused()) };
    }
    ranges.iter().find_map(|range| choice(range, offer)).ok_or_else(refused)
}

/// The medium of an error for a client that accepts this.
pub(crate) fn error_media(headers: &HeaderMap) -> Media {
    let known = |range: &Range<'_>| match range.media {
        "application/json" | "application/*" | "*/*" => Some(Media::Json),
        "application/yaml" => Some(Media::Yaml),
        api::protobuf::MEDIA_TYPE => Some(Media::Protobuf),
        _ => None,
    };
    ranges(headers).iter().find_map(known).unwrap_or(Media::Json)
}

fn choice(range: &Range<'_>, offer: Offer) -> Option<Accept> {
    let media = match range.media {
        "application/json" | "application/*" | "*/*" => Media::Json,
        "text/plain" | "text/*" if offer.text => Media::Json,
        "application/yaml" if !offer.stream => Media::Yaml,
        api::protobuf::MEDIA_TYPE => Media::Protobuf,
        _ => return None,
    };
    if range.parameter("stream").is_some_and(|stream| stream != "watch") {
        return None;
    }
    let Some(form) = range.parameter("as") else {
        let plain = Accept { media, ..Accept::PLAIN };
        return (media != Media::Protobuf || offer.protobuf).then_some(plain);
    };
    let version = match (range.parameter("g"), range.parameter("v")) {
        (Some("meta.k8s.io"), Some("v1")) => MetaVersion::V1,
        (Some("meta.k8s.io"), Some("v1beta1")) => MetaVersion::V1Beta1,
        _ => return None,
    };
    let form = match form {
        // Tables have no protobuf form.
        "Table" if offer.forms && media != Media::Protobuf => Form::Table,
        "PartialObjectMetadata" | "PartialObjectMetadataList" if offer.forms => Form::Metadata,
        _ => return None,
    };
    Some(Accept { form, media, version })
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
    let wild = |range: &Range<'_>| match range.media {
        "*/*" => 2,
        media if media.ends_with("/*") => 1,
        _ => 0,
    };
    ranges.sort_by(|a, b| b.quality.total_cmp(&a.quality).then(wild(a).cmp(&wild(b))));
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

    const BUILT_IN: Offer = Offer { protobuf: true, forms: true, stream: false, text: false };
    const CUSTOM: Offer = Offer { protobuf: false, ..BUILT_IN };
    const WATCH: Offer = Offer { stream: true, ..BUILT_IN };

    fn check(offer: Offer, accept_header: &str, want: Option<(Form, Media)>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept_header.parse().unwrap());
        let got = choose(&headers, offer).ok().map(|accept| (accept.form, accept.media));
        assert_eq!(got, want, "{accept_header}");
    }

    #[test]
    fn forms() {
        use Form::{Metadata, Object, Table};
        use Media::{Json, Protobuf, Yaml};
        let protobuf = "application/vnd.kubernetes.protobuf";
        check(BUILT_IN, "", Some((Object, Json)));
        check(BUILT_IN, "*/*", Some((Object, Json)));
        check(BUILT_IN, "*/*, application/yaml", Some((Object, Yaml)));
        check(BUILT_IN, "application/json;as=Table;v=v1;g=meta.k8s.io, application/json", Some((Table, Json)));
        check(BUILT_IN, "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json", Some((Table, Json)));
        check(BUILT_IN, "application/json;as=Table;v=v2;g=meta.k8s.io,application/json", Some((Object, Json)));
        check(BUILT_IN, "application/json;as=Table", None);
        check(BUILT_IN, "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", Some((Metadata, Json)));
        check(BUILT_IN, &format!("{protobuf},application/json"), Some((Object, Protobuf)));
        check(BUILT_IN, &format!("{protobuf};q=0.2,application/json;q=0.9"), Some((Object, Json)));
        check(BUILT_IN, &format!("{protobuf};as=Table;v=v1;g=meta.k8s.io"), None);
        check(BUILT_IN, "application/json;q=0.5,application/yaml", Some((Object, Yaml)));
        check(BUILT_IN, "application/json;q=0", None);
        check(BUILT_IN, "image/png", None);
        check(CUSTOM, &format!("{protobuf},application/json"), Some((Object, Json)));
        check(CUSTOM, protobuf, None);
        check(CUSTOM, &format!("{protobuf};as=PartialObjectMetadata;v=v1;g=meta.k8s.io"), Some((Metadata, Protobuf)));
        check(WATCH, &format!("{protobuf};stream=watch"), Some((Object, Protobuf)));
        check(WATCH, "application/json;stream=nothing", None);
        check(WATCH, "application/yaml", None);
    }
}
