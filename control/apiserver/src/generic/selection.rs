//! Which objects a list, watch or deletecollection is about.

use crate::{http::query::Query, storage};
use api::{FieldSelector, LabelSelector, Status, meta, selector::FieldTerm};
use bytes::Bytes;
use registry::Resource;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Parsed selectors. Empty ones are `None`, so that nothing needs to be parsed for them.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    labels: Option<LabelSelector>,
    fields: Option<FieldSelector>,
    /// The one name that can match, if the field selector demands one.
    pub(crate) name: Option<String>,
}

/// Longest selector text.
const SELECTOR_LIMIT: usize = 64 << 10;

impl Selection {
    /// Reads `labelSelector` and `fieldSelector`; 400 for one that cannot be read or names an unknown field.
    pub(crate) fn of(resource: &Resource, query: &Query) -> Result<Self, Status> {
        let text = |key: &str| match query.get(key) {
            Some(text) if text.len() > SELECTOR_LIMIT => Err(Status::bad_request(format!("{key} is too long"))),
            other => Ok(other),
        };
        let labels = text("labelSelector")?
            .map(|text| LabelSelector::parse(text).map_err(|error| Status::bad_request(error.to_string())))
            .transpose()?;
        let fields = text("fieldSelector")?
            .map(|text| FieldSelector::parse(text).map_err(|error| Status::bad_request(error.to_string())))
            .transpose()?;
        let mut name = None;
        if let Some(fields) = &fields {
            if let Some(unknown) = fields.terms.iter().find(|term| !resource.selects_by(&term.field)) {
                return Err(Status::bad_request(format!("field label not supported: {}", unknown.field)));
            }
            name = fields.required("metadata.name").map(str::to_owned);
        }
        Ok(Self { labels, fields, name })
    }

    /// Everything matches.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_none() && self.fields.is_none()
    }

    /// Does the object match?
    pub(crate) fn matches(&self, resource: &Resource, object: &Value) -> bool {
        self.labels.as_ref().is_none_or(|labels| labels.matches(&meta::labels(object)))
            && self.matches_fields(resource, object)
    }

    /// [`Selection::matches`] on what was read once for all watches.
    pub(crate) fn matches_facts(&self, resource: &Resource, facts: &Facts) -> bool {
        self.labels.as_ref().is_none_or(|labels| labels.matches(&facts.labels))
            && self.matches_fields(resource, &facts.object)
    }

    fn matches_fields(&self, resource: &Resource, object: &Value) -> bool {
        let terms = self.fields.as_ref().map_or(&[][..], |fields| &fields.terms);
        terms.iter().all(|term| {
            let is = match term.field.as_str() {
                "metadata.name" => meta::name(object) == term.value,
                "metadata.namespace" => meta::namespace(object) == term.value,
                other => resource.strategy.field(object, other).unwrap_or_default() == term.value,
            };
            is != term.negated
        })
    }

    /// [`Selection::matches`] on stored bytes, of which as little is parsed as the selectors need.
    pub(crate) fn matches_bytes(&self, resource: &Resource, bytes: &Bytes) -> bool {
        if self.is_everything() {
            return true;
        }
        let Ok(bytes) = storage::view(resource, bytes) else { return false };
        if self.fields.is_some() {
            return serde_json::from_slice(&bytes).is_ok_and(|object| self.matches(resource, &object));
        }
        let labels = self.labels.as_ref();
        serde_json::from_slice::<Labelled>(&bytes)
            .is_ok_and(|head| labels.is_none_or(|labels| labels.matches(&head.metadata.labels)))
    }
}

/// What selectors ask of an object.
#[derive(Debug)]
pub(crate) struct Facts {
    labels: BTreeMap<String, String>,
    pub(crate) object: Value,
}

impl Facts {
    pub(crate) fn of(object: Value) -> Self {
        Self { labels: meta::labels(&object), object }
    }
}

/// The labels of stored bytes.
#[derive(Deserialize)]
struct Labelled {
    #[serde(default)]
    metadata: LabelledMetadata,
}

#[derive(Deserialize, Default)]
struct LabelledMetadata {
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl Selection {
    /// Narrows to one name (a watch of a single object).
    pub(crate) fn require_name(&mut self, name: &str) {
        let terms = &mut self.fields.get_or_insert_default().terms;
        terms.push(FieldTerm { field: "metadata.name".to_owned(), value: name.to_owned(), negated: false });
        self.name = Some(name.to_owned());
    }
}
