//! Which requests a webhook wants to see, and as what.

use super::{Hook, OnFailure, review};
use crate::{
    admission::{Call, is},
    custom::convert,
    informed::{Kind, Snapshot},
};
use api::{Gvk, Gvr, LabelSelector, Status, meta};
use registry::Resource;
use serde_json::Value;
use std::{borrow::Cow, sync::Arc};

/// A resource as a webhook is told of it.
pub(super) struct Seen {
    pub(super) gvk: Gvk,
    pub(super) gvr: Gvr,
    /// Another version than the request's: objects are converted.
    pub(super) resource: Option<Arc<Resource>>,
}

/// Both objects in the version that a webhook sees.
pub(super) struct Shown<'a> {
    pub(super) object: Option<Cow<'a, Value>>,
    pub(super) old: Option<Cow<'a, Value>>,
}

impl Seen {
    pub(super) async fn show<'a>(&self, call: &Call<'a>, object: Option<&'a Value>) -> Result<Shown<'a>, Status> {
        let object = match object {
            Some(object) => Some(self.convert(call, object).await?),
            None => None,
        };
        let old = match call.old {
            Some(old) => Some(self.convert(call, old).await?),
            None => None,
        };
        Ok(Shown { object, old })
    }

    async fn convert<'a>(&self, call: &Call<'_>, object: &'a Value) -> Result<Cow<'a, Value>, Status> {
        match &self.resource {
            // An object of a subresource's own kind is the same in every version.
            Some(other) if self.gvk == other.gvk() => {
                convert::shown(call.write.server, call.write.resource, other, object).await.map(Cow::Owned)
            }
            Some(_) | None => Ok(Cow::Borrowed(object)),
        }
    }

    /// An object that the webhook has made, in the request's version.
    pub(super) async fn convert_back(&self, call: &Call<'_>, object: Value) -> Result<Value, Status> {
        match &self.resource {
            Some(other) if self.gvk == other.gvk() => {
                convert::shown(call.write.server, other, call.write.resource, &object).await
            }
            Some(_) | None => Ok(object),
        }
    }
}

impl Hook {
    /// As what the webhook wants to see the request, if it does.
    pub(super) async fn concerns(
        &self,
        call: &Call<'_>,
        snapshot: &Snapshot,
        object: Option<&Value>,
    ) -> Result<Option<Seen>, Status> {
        let Some(seen) = self.matched(call) else { return Ok(None) };
        let sides = || object.into_iter().chain(call.old);
        if let Some(selector) = &self.objects
            && !sides().any(|object| selector.matches(&meta::labels(object)))
        {
            return Ok(None);
        }
        if let Some(selector) = &self.namespaces
            && !in_selected_namespace(selector, call, snapshot, object)?
        {
            return Ok(None);
        }
        if !self.conditions.is_empty() && !self.conditions_hold(call, &seen, object).await? {
            return Ok(None);
        }
        if call.write.dry_run && !self.dry_run {
            return Err(Status::bad_request(format!("admission webhook {:?} does not support dry run", self.name)));
        }
        Ok(Some(seen))
    }

    /// The request's own resource by any rule, else the first other version of it that a rule names.
    fn matched(&self, call: &Call<'_>) -> Option<Seen> {
        let resource = call.write.resource;
        let gvr = resource.gvr();
        if self.rules.iter().any(|rule| rule.fits(call, &gvr)) {
            return Some(Seen { gvk: call.kind.clone(), gvr, resource: None });
        }
        if !self.equivalent {
            return None;
        }
        let kinds = call.write.server.kinds.snapshot();
        let others: Vec<(&Arc<Resource>, Gvr)> = kinds
            .resources
            .iter()
            .filter(|other| other.storage == resource.storage)
            .map(|other| (other, other.gvr()))
            .filter(|(_, other)| *other != gvr)
            .collect();
        let named = |rule: &super::Rule| others.iter().find(|(_, other)| rule.fits(call, other));
        let (other, gvr) = self.rules.iter().find_map(named)?;
        let gvk = if *call.kind == resource.gvk() { other.gvk() } else { call.kind.clone() };
        Some(Seen { gvk, gvr: gvr.clone(), resource: Some((*other).clone()) })
    }

    async fn conditions_hold(&self, call: &Call<'_>, seen: &Seen, object: Option<&Value>) -> Result<bool, Status> {
        let shown = seen.show(call, object).await?;
        let request = review::request(call, seen, &shown, "");
        match (self.conditions.hold(&request), self.on_failure) {
            (Ok(holds), _) => Ok(holds),
            (Err(_), OnFailure::Ignore) => Ok(false),
            (Err(error), OnFailure::Fail) => {
                let name = object.or(call.old).map_or(call.write.name, meta::name);
                Err(Status::forbidden(&call.write.resource.gvr(), name, &error))
            }
        }
    }
}

/// The namespace's labels are the Namespace's own where it is the object.
fn in_selected_namespace(
    selector: &LabelSelector,
    call: &Call<'_>,
    snapshot: &Snapshot,
    object: Option<&Value>,
) -> Result<bool, Status> {
    let resource = call.write.resource;
    if is(resource, "", "namespaces") {
        let labels = object.or(call.old).map(meta::labels).unwrap_or_default();
        return Ok(selector.matches(&labels));
    }
    if !resource.namespaced {
        return Ok(true);
    }
    let namespace = snapshot.get(Kind::Namespaces, "", call.write.namespace);
    let namespace =
        namespace.ok_or_else(|| Status::not_found(&Gvr::new("", "v1", "namespaces"), call.write.namespace))?;
    Ok(selector.matches(&meta::labels(&namespace.value)))
}
