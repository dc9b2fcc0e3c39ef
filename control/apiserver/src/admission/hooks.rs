//! Admission webhooks: which of them a request concerns, and the calls to them.

mod matched;
mod review;
mod rules;

use super::{Call, conditions::Conditions};
use crate::{
    generic::{
        decode::Decoded,
        write::{FieldValidation, conform},
    },
    informed::{Kind, Snapshot},
    webhook::{CallError, ClientConfig},
};
use api::{LabelSelector, Revision, Status};
use matched::{Seen, Shown};
use rules::Rule;
use serde_json::Value;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Kubernetes' limits and default for `timeoutSeconds`.
const TIMEOUT_S: std::ops::RangeInclusive<u64> = 1..=30;
const DEFAULT_TIMEOUT_S: u64 = 10;
/// Kinds no webhook may see: a bad webhook could not be removed any more.
const EXEMPT_GROUP: &str = "admissionregistration.k8s.io";
const EXEMPT: [&str; 8] = [
    "validatingwebhookconfigurations",
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "validatingadmissionpolicystatus",
    "mutatingadmissionpolicystatus",
];

/// One webhook of a configuration.
struct Hook {
    name: String,
    client: Result<ClientConfig, CallError>,
    rules: Vec<Rule>,
    /// `matchPolicy: Equivalent`.
    equivalent: bool,
    namespaces: Option<LabelSelector>,
    objects: Option<LabelSelector>,
    conditions: Conditions,
    timeout: Duration,
    on_failure: OnFailure,
    reinvoked: bool,
    dry_run: bool,
}

/// `failurePolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnFailure {
    Fail,
    Ignore,
}

/// The parsed webhooks, as of a revision of their configurations.
#[derive(Default)]
pub(crate) struct Hooks {
    mutating: Parsed,
    validating: Parsed,
}

#[derive(Default)]
struct Parsed {
    at: Mutex<(Revision, Arc<Vec<Hook>>)>,
}

impl Parsed {
    fn of(&self, kind: Kind, snapshot: &Snapshot) -> Arc<Vec<Hook>> {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = snapshot.changed(kind);
        if at.0 != changed {
            let hooks = snapshot.all(kind).flat_map(|object| {
                object.value["webhooks"].as_array().into_iter().flatten().map(read).collect::<Vec<_>>()
            });
            *at = (changed, Arc::new(hooks.collect()));
        }
        at.1.clone()
    }
}

fn read(hook: &Value) -> Hook {
    let selector = |field: &str| {
        let selector = &hook[field];
        selector.as_object().filter(|fields| !fields.is_empty()).and_then(|_| LabelSelector::from_json(selector).ok())
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let seconds = hook["timeoutSeconds"].as_u64().unwrap_or(DEFAULT_TIMEOUT_S);
    Hook {
        name: text(&hook["name"]),
        client: ClientConfig::read(&hook["clientConfig"]),
        rules: hook["rules"].as_array().into_iter().flatten().map(Rule::read).collect(),
        equivalent: hook["matchPolicy"] != "Exact",
        namespaces: selector("namespaceSelector"),
        objects: selector("objectSelector"),
        conditions: Conditions::read(&hook["matchConditions"]),
        timeout: Duration::from_secs(seconds.clamp(*TIMEOUT_S.start(), *TIMEOUT_S.end())),
        on_failure: if hook["failurePolicy"] == "Ignore" { OnFailure::Ignore } else { OnFailure::Fail },
        reinvoked: hook["reinvocationPolicy"] == "IfNeeded",
        dry_run: hook["sideEffects"] == "None" || hook["sideEffects"] == "NoneOnDryRun",
    }
}

/// Calls the mutating webhooks one after the other. True if one of them changed the object.
pub(super) async fn mutate(call: &Call<'_>, snapshot: &Snapshot, object: &mut Value) -> Result<bool, Status> {
    if snapshot.is_empty(Kind::MutatingWebhooks) || is_exempt(call) {
        return Ok(false);
    }
    let hooks = call.write.server.admission.mutating.of(Kind::MutatingWebhooks, snapshot);
    let mut changed = false;
    // Those called, and whether somebody changed the object after them.
    let mut called: Vec<(&Hook, bool)> = Vec::new();
    for hook in hooks.iter() {
        let Some(seen) = hook.concerns(call, snapshot, Some(object)).await? else { continue };
        let did = hook.mutate(call, &seen, object).await?;
        if did {
            called.iter_mut().for_each(|(_, stale)| *stale = true);
        }
        called.push((hook, false));
        changed |= did;
    }
    if !changed {
        return Ok(false);
    }
    let before = object.clone();
    if call.operation != super::Operation::Delete {
        super::mutate_built_in(call, snapshot, object).await?;
    }
    let mut again = before != *object;
    for (hook, stale) in called {
        if (stale || again)
            && hook.reinvoked
            && let Some(seen) = hook.concerns(call, snapshot, Some(object)).await?
        {
            again |= hook.mutate(call, &seen, object).await?;
        }
    }
    Ok(changed)
}

/// Calls the validating webhooks, all at once. `object` is absent in a delete.
pub(super) async fn validate(call: &Call<'_>, snapshot: &Snapshot, object: Option<&Value>) -> Result<(), Status> {
    if snapshot.is_empty(Kind::ValidatingWebhooks) || is_exempt(call) {
        return Ok(());
    }
    let hooks = call.write.server.admission.validating.of(Kind::ValidatingWebhooks, snapshot);
    let mut calls = Vec::new();
    for hook in hooks.iter() {
        if let Some(seen) = hook.concerns(call, snapshot, object).await? {
            calls.push(async move {
                let shown = seen.show(call, object).await?;
                hook.ask(call, &seen, &shown).await.map(drop)
            });
        }
    }
    futures::future::join_all(calls).await.into_iter().collect()
}

fn is_exempt(call: &Call<'_>) -> bool {
    let resource = call.write.resource;
    resource.group == EXEMPT_GROUP && EXEMPT.contains(&resource.resource.as_str())
}

impl Hook {
    /// Asks, and puts the webhook's patch into the object. True if that changed it.
    async fn mutate(&self, call: &Call<'_>, seen: &Seen, object: &mut Value) -> Result<bool, Status> {
        let deletes = call.operation == super::Operation::Delete;
        let shown = seen.show(call, (!deletes).then_some(&*object)).await?;
        let Some(patch) = self.ask(call, seen, &shown).await? else { return Ok(false) };
        let Some(before) = shown.object else { return Ok(false) };
        let patched = api::patch::json::apply(&before, &patch).map_err(|error| Status::internal(error.message))?;
        if patched == *before {
            return Ok(false);
        }
        let patched = seen.convert_back(call, patched).await?;
        let decoded = Decoded::of(patched);
        let patched = conform(call.kind, decoded, FieldValidation::Ignore, &mut Vec::new())
            .map_err(|error| Status::internal(error.message))?;
        let changed = patched != *object;
        *object = patched;
        Ok(changed)
    }

    /// Calls the webhook: a refusal is an error, a patch the answer.
    async fn ask(&self, call: &Call<'_>, seen: &Seen, shown: &Shown<'_>) -> Result<Option<Vec<u8>>, Status> {
        let server = call.write.server;
        let uid = process::uuid();
        let body = review::whole(review::request(call, seen, shown, &uid));
        let answer = match &self.client {
            Ok(client) => server.webhooks.call(client, &body, self.timeout).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let answer = answer.map_err(|error| format!("failed to call webhook: {error}"));
        let read = answer.and_then(|answer| {
            review::read(&answer, &uid).map_err(|error| format!("received invalid webhook response: {error}"))
        });
        match (read, self.on_failure) {
            (Ok(answer), _) => {
                for warning in answer.warnings {
                    call.write.origin.warn(warning);
                }
                match answer.refusal {
                    None => Ok(answer.patch),
                    Some(result) => Err(review::refusal(&self.name, &result)),
                }
            }
            (Err(error), OnFailure::Ignore) => {
                tracing::warn!(webhook = self.name, error, "a webhook failed, and may");
                Ok(None)
            }
            (Err(error), OnFailure::Fail) => {
                Err(Status::internal(format!("failed calling webhook {:?}: {error}", self.name)))
            }
        }
    }
}
