//! Paths above the group versions, each a document of its own in v3: the lists of groups and versions, the server's
//! version, and what service account tokens are checked with.

use super::{
    paths::{MEDIA, camel, document, group_tag},
    schemas::Dialect,
};
use serde_json::Value;

const VERSIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.APIVersions";
const GROUPS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.APIGroupList";
const GROUP: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.APIGroup";
const INFO: &str = "io.k8s.apimachinery.pkg.version.Info";
const JSON: &[&str] = &["application/json"];

/// One path.
pub(super) struct Root {
    /// The v3 document, below `/openapi/v3/`; the path is the same between slashes.
    pub(super) document: String,
    tag: String,
    id: String,
    /// What is read; text if none.
    pub(super) schema: Option<&'static str>,
    media: &'static [&'static str],
}

impl Root {
    fn new(document: &str, tag: &str, id: &str, schema: Option<&'static str>, media: &'static [&'static str]) -> Self {
        Self { document: document.to_owned(), tag: tag.to_owned(), id: id.to_owned(), schema, media }
    }

    pub(super) fn path(&self) -> String {
        format!("/{}/", self.document)
    }

    pub(super) fn item(&self, dialect: Dialect) -> Value {
        document(&self.tag, &self.id, self.schema, self.media, dialect)
    }
}

/// All of them; of groups, those given.
pub(super) fn all<'a>(groups: impl Iterator<Item = &'a str>) -> Vec<Root> {
    let mut roots = vec![
        Root::new(
            ".well-known/openid-configuration",
            "WellKnown",
            "getServiceAccountIssuerOpenIDConfiguration",
            None,
            JSON,
        ),
        Root::new("api", "core", "getCoreAPIVersions", Some(VERSIONS), &MEDIA),
        Root::new("apis", "apis", "getAPIVersions", Some(GROUPS), &MEDIA),
        Root::new(
            "openid/v1/jwks",
            "openid",
            "getServiceAccountIssuerOpenIDKeyset",
            None,
            &["application/jwk-set+json"],
        ),
        Root::new("version", "version", "getCodeVersion", Some(INFO), JSON),
    ];
    roots.extend(groups.filter(|group| !group.is_empty()).map(|group| {
        let id = format!("get{}APIGroup", camel(group, ""));
        Root::new(&format!("apis/{group}"), &group_tag(group), &id, Some(GROUP), &MEDIA)
    }));
    roots
}
