//! pods/eviction: a delete that a disruption budget may refuse.

use crate::{
    admission,
    generic::{
        Context,
        decode::decode,
        delete::{self, Options},
        dry_run, encode,
        write::{self, FieldValidation, Via, Write},
    },
    storage,
};
use api::{Gvk, Gvr, Outcome, Reason, Status, meta, time};
use bytes::Bytes;
use client::Body;
use http::Response;
use registry::policy::eviction::{self, Refusal, Verdict};
use serde_json::{Value, json};

/// Attempts of an eviction that others keep overtaking.
const ATTEMPTS: usize = 16;
/// What a client that was refused because a controller is behind is told to wait.
const RETRY_S: u32 = 10;

pub(super) async fn evict(context: &mut Context<'_>, body: &Bytes) -> Result<Response<Body>, Status> {
    let decoded = decode(body, context.content_type.as_ref())?;
    let gvk = Gvk::new("policy", "v1", "Eviction");
    let validation = FieldValidation::of(context.query.get("fieldValidation"))?;
    let mut eviction = write::conform(&gvk, decoded, validation, context.warnings)?;
    if !["", &context.target.name].contains(&meta::name(&eviction)) {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let options = Options::from_value(&eviction["deleteOptions"])?;
    let dry = eviction["deleteOptions"]["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let dry = dry_run(dry)? || context.dry_run()?;
    admission::post(&context.write(Via::Server, dry), &gvk, "eviction", &mut eviction).await?;
    // What the caller wants the pod to be is not for us to look up anew.
    let pinned = eviction["deleteOptions"]["preconditions"].as_object().is_some_and(|wanted| !wanted.is_empty());
    for attempt in 1.. {
        let pod = super::pod(context.server, &context.target).await?;
        if !eviction::is_free(&pod) {
            ask(context, &pod, dry).await?;
        }
        let write = context.write(Via::Server, dry);
        let deleted = async {
            mark(&write, &pod).await?;
            delete::delete_one(&write, &options).await
        };
        match deleted.await {
            Ok(_) => break,
            // Somebody wrote the pod meanwhile: what was decided may no longer hold.
            Err(status) if status.is_conflict() && attempt < ATTEMPTS && !pinned => {}
            Err(status) => return Err(status),
        }
    }
    let success =
        Status { status: Outcome::Success, code: 201, reason: Reason::Unknown, message: String::new(), details: None };
    encode::media(context, 201, storage::write(&serde_json::json!(success)))
}

/// Asks the pod's budget, and books the disruption.
async fn ask(context: &Context<'_>, pod: &Value, dry_run: bool) -> Result<(), Status> {
    let budgets = budgets(context, pod).await?;
    let budget = match &budgets[..] {
        [] => return Ok(()),
        [one] => one,
        _ => {
            let what =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(Status::failure(500, Reason::Unknown, what));
        }
    };
    let name = meta::name(budget);
    let resource = registry::find("policy", "v1", "poddisruptionbudgets").expect("the table has budgets");
    let place = (context.target.namespace.as_str(), name);
    let own = Write::own(context.server, &context.user, resource, place, Via::Server, context.origin);
    let write = Write { dry_run, ..own };
    // The check and the count are one write: of two evictions for one free place, one is refused.
    let booked = write::modify(&write, |old| match eviction::judge(&old.value, pod, process::now()) {
        Verdict::Free => Ok(old.value.clone()),
        Verdict::Refuse(refusal) => Err(refused(&refusal)),
        Verdict::Spend(status) => {
            let mut new = old.value.clone();
            new["status"] = status;
            Ok(new)
        }
    });
    match booked.await {
        Ok(_) => Ok(()),
        // Gone meanwhile: there is nobody to ask.
        Err(status) if status.is_not_found() => Ok(()),
        Err(status) if status.is_conflict() => {
            Err(Status::timeout(&format!("couldn't update PodDisruptionBudget {name:?} due to conflicts")))
        }
        Err(status) => Err(status),
    }
}

/// The budgets that are about a pod.
async fn budgets(context: &Context<'_>, pod: &Value) -> Result<Vec<Value>, Status> {
    let resource = registry::find("policy", "v1", "poddisruptionbudgets").expect("the table has budgets");
    let prefix = storage::key(resource, &context.target.namespace, "");
    let listing = context.server.config.store.list(&prefix, None, None, None).await.map_err(storage::unavailable)?;
    let mut found = Vec::new();
    for entry in &listing.entries {
        let budget = storage::parse(&entry.value)?;
        if eviction::covers(&budget, pod) {
            found.push(budget);
        }
    }
    Ok(found)
}

/// Tells in the pod's status why it goes.
async fn mark(write: &Write<'_>, pod: &Value) -> Result<(), Status> {
    if write.dry_run || matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
        return Ok(());
    }
    let condition = json!({
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
        "lastTransitionTime": time::format(process::now()),
    });
    write::modify(write, |old| {
        let mut new = old.value.clone();
        if meta::uid(&new) != meta::uid(pod) {
            return Err(Status::modified(&write.resource.gvr(), write.name));
        }
        let status = meta::child_mut(&mut new, "status");
        let conditions = status.entry("conditions").or_insert_with(|| json!([]));
        if let Some(list) = conditions.as_array_mut()
            && !list.iter().any(|c| c["type"] == "DisruptionTarget" && c["status"] == "True")
        {
            list.retain(|c| c["type"] != "DisruptionTarget");
            list.push(condition.clone());
        }
        Ok(new)
    })
    .await?;
    Ok(())
}

fn refused(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::Negative { name } | Refusal::TooMany { name } => {
            Status::forbidden(&Gvr::new("policy", "v1", "poddisruptionbudget"), name, &refusal.cause())
        }
        Refusal::NotObserved { .. } => {
            Status::too_many_requests(refusal.message(), RETRY_S).with_cause("DisruptionBudget", &refusal.cause(), "")
        }
        // No time is known at which it would go: clients ask again when they think fit.
        Refusal::Exhausted { .. } => {
            Status::too_many_requests(refusal.message(), 0).with_cause("DisruptionBudget", &refusal.cause(), "")
        }
    }
}
