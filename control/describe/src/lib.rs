//! What the built-in kinds and their fields are for, as `kubectl explain` shows it: the texts of `k8s-openapi`, packed when this is
//! compiled.

use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::read::ZlibDecoder;

static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptions.json.z"));

/// The texts by OpenAPI name of the definition (`io.k8s.api.core.v1.Pod`), then field; the definition's own is under the
/// empty name. Some megabytes: to be dropped once the documents are written.
#[derive(Debug)]
pub struct Descriptions(BTreeMap<String, BTreeMap<String, String>>);

impl Descriptions {
    /// Unpacks them.
    ///
    /// # Panics
    /// If this was compiled wrongly.
    pub fn unpack() -> Descriptions {
        let mut json = Vec::new();
        ZlibDecoder::new(PACKED).read_to_end(&mut json).expect("packed by the build script");
        Descriptions(serde_json::from_slice(&json).expect("written by the build script"))
    }

    /// What a definition is for.
    pub fn of(&self, definition: &str) -> Option<&str> {
        self.of_field(definition, "")
    }

    /// What a field of a definition is for.
    pub fn of_field(&self, definition: &str, field: &str) -> Option<&str> {
        Some(self.0.get(definition)?.get(field)?.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_object_says_what_it_is() {
        let all = Descriptions::unpack();
        for name in ["core.v1.Pod", "core.v1.Container", "apps.v1.Deployment", "networking.v1.NetworkPolicyPeer"] {
            assert!(all.of(&format!("io.k8s.api.{name}")).is_some_and(|text| text.len() > 20), "{name}");
        }
        assert!(all.of_field("io.k8s.api.core.v1.PodSpec", "nodeName").is_some_and(|text| text.contains("node")));
        assert_eq!(all.of("io.k8s.api.core.v1.Nothing"), None);
        assert!(all.0.len() > 400, "{}", all.0.len());
    }
}
