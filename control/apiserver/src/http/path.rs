//! What a request's path asks for.

use api::Status;
use http::Method;

/// The parts of a resource path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// Empty for the core group.
    pub(crate) group: String,
    pub(crate) version: String,
    /// Empty for cluster-scoped kinds and for all namespaces.
    pub(crate) namespace: String,
    pub(crate) resource: String,
    /// Empty for the collection.
    pub(crate) name: String,
    /// Empty for the object itself.
    pub(crate) subresource: String,
    /// What follows the subresource `proxy`, with a slash before it; else empty.
    pub(crate) tail: String,
}

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Path {
    /// A collection, an object or a subresource.
    Resource(Target),
    /// Anything else: discovery, health, documents. Decoded segments.
    Other(Vec<String>),
}

/// Longest path.
const PATH_LIMIT: usize = 4096;

/// Takes a path apart. Segments are decoded once and must not hold `/`, `%`, `.` or `..` alone, nor be empty: a path
/// has one spelling, so that nothing behind this sees another object than authorization did.
pub(crate) fn parse(path: &str) -> Result<Path, Status> {
    if path.len() > PATH_LIMIT {
        return Err(Status::bad_request("the path is too long"));
    }
    let trimmed = path.strip_prefix('/').unwrap_or(path);
    let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
    if trimmed.is_empty() {
        return Ok(Path::Other(Vec::new()));
    }
    let segments: Vec<String> = trimmed.split('/').map(segment).collect::<Result<_, _>>()?;
    Ok(match resource(&segments) {
        Some(target) => Path::Resource(target),
        None => Path::Other(segments),
    })
}

/// A path of the old form `/api/v1/watch/...` is a watch of what it is without `watch`.
pub(crate) fn without_watch(path: &str) -> Option<String> {
    let rest = path.strip_prefix("/api/").or_else(|| path.strip_prefix("/apis/"))?;
    let root = &path[..path.len() - rest.len()];
    let parts = if root == "/api/" { 1 } else { 2 };
    let mut segments: Vec<&str> = rest.split('/').collect();
    if segments.get(parts) != Some(&"watch") || segments.get(parts + 1).is_none_or(|next| next.is_empty()) {
        return None;
    }
    segments.remove(parts);
    Some(format!("{root}{}", segments.join("/")))
}

fn segment(raw: &str) -> Result<String, Status> {
    let bad = || Status::bad_request(format!("the path segment {raw:?} is not valid"));
    let decoded = decode(raw, false).ok_or_else(bad)?;
    let tricky = decoded.is_empty()
        || decoded == "."
        || decoded == ".."
        || decoded.contains(['/', '%', '\\'])
        || decoded.chars().any(char::is_control);
    if tricky { Err(bad()) } else { Ok(decoded) }
}

fn resource(segments: &[String]) -> Option<Target> {
    let (group, version, rest) = match segments {
        [api, version, rest @ ..] if api == "api" => ("", version, rest),
        [apis, group, version, rest @ ..] if apis == "apis" => (group.as_str(), version, rest),
        _ => return None,
    };
    let mut target = Target { group: group.to_owned(), version: version.clone(), ..Target::default() };
    let rest = match rest {
        [] => return None,
        // /namespaces/NAME and its own subresources; anything deeper is inside the namespace.
        [namespaces, name, sub] if namespaces == "namespaces" && matches!(sub.as_str(), "status" | "finalize") => {
            target.resource = namespaces.clone();
            target.name = name.clone();
            target.subresource = sub.clone();
            return Some(target);
        }
        [namespaces, namespace, rest @ ..] if namespaces == "namespaces" && !rest.is_empty() => {
            target.namespace = namespace.clone();
            rest
        }
        rest => rest,
    };
    target.resource = rest[0].clone();
    target.name = rest.get(1).cloned().unwrap_or_default();
    match rest.get(2..) {
        // Whatever is proxied, the right to proxy decides.
        Some([proxy, tail @ ..]) if proxy == "proxy" => {
            target.subresource = proxy.clone();
            target.tail = tail.iter().map(|segment| format!("/{segment}")).collect();
        }
        Some(sub) => target.subresource = sub.join("/"),
        None => {}
    }
    Some(target)
}

/// The verb that authorization knows.
pub(crate) fn verb(method: &Method, target: &Target, watch: bool) -> Option<&'static str> {
    Some(match (method.as_str(), target.name.is_empty()) {
        ("GET" | "HEAD", true) if watch => "watch",
        ("GET" | "HEAD", true) => "list",
        ("GET" | "HEAD", false) if watch && target.subresource.is_empty() => "watch",
        ("GET" | "HEAD", false) => "get",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "deletecollection",
        ("DELETE", false) => "delete",
        _ => return None,
    })
}

/// Percent-decodes; `None` if it is damaged or no UTF-8.
pub(crate) fn decode(raw: &str, plus_is_blank: bool) -> Option<String> {
    if !raw.contains(['%', '+']) {
        return Some(raw.to_owned());
    }
    let mut bytes = raw.bytes();
    let mut out = Vec::with_capacity(raw.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                out.push(u8::try_from(high * 16 + low).expect("two hex digits make a byte"));
            }
            b'+' if plus_is_blank => out.push(b' '),
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests;
