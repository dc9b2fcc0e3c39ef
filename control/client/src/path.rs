//! Paths of the API.

use api::Gvr;

/// `/api/v1/namespaces/default/pods`; `namespace` is empty for cluster-scoped kinds and for all namespaces.
pub fn collection_path(gvr: &Gvr, namespace: &str) -> String {
    let mut path = if gvr.group.is_empty() {
        format!("/api/{}", gvr.version)
    } else {
        format!("/apis/{}/{}", gvr.group, gvr.version)
    };
    if !namespace.is_empty() {
        path.push_str("/namespaces/");
        escape(namespace, &mut path);
    }
    path.push('/');
    path.push_str(&gvr.resource);
    path
}

/// The collection's path with the object's name, and the subresource's.
pub fn object_path(gvr: &Gvr, namespace: &str, name: &str, subresource: Option<&str>) -> String {
    let mut path = collection_path(gvr, namespace);
    path.push('/');
    escape(name, &mut path);
    if let Some(subresource) = subresource {
        path.push('/');
        path.push_str(subresource);
    }
    path
}

/// Appends `?key=value` or `&key=value`, percent-encoded.
pub(crate) fn push_query(path: &mut String, key: &str, value: &str) {
    path.push(if path.contains('?') { '&' } else { '?' });
    path.push_str(key);
    path.push('=');
    escape(value, path);
}

fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}
