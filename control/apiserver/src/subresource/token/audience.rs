//! Which audiences a node may ask for: those that its pod's volumes name, themselves or through the storage driver
//! behind them (KEP-740's restriction of nodes, on since Kubernetes 1.32), and those that a role grants it.

use crate::{
    auth::authorize::{Attributes, Object, may},
    generic::Context,
    http::path::Target,
    storage,
};
use api::{Status, meta};
use serde_json::Value;

/// The verb by which a role grants audiences.
const VERB: &str = "request-serviceaccounts-token-audience";

/// Refuses a node tokens for an audience that its pod does not name. None asked for is the server's own.
pub(super) async fn check(context: &Context<'_>, pod: &Value, audiences: &[String]) -> Result<(), Status> {
    let forbid = |what: &str| Err(Status::forbidden(&context.resource.gvr(), &context.target.name, what));
    let asked = match audiences {
        [] => "",
        [one] => one.as_str(),
        _ => return forbid("node may only request 0 or 1 audiences"),
    };
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        if projects(volume, asked) || drives(context, pod, volume, asked).await? {
            return Ok(());
        }
    }
    let target = Target {
        group: String::new(),
        version: "v1".to_owned(),
        namespace: context.target.namespace.clone(),
        resource: asked.to_owned(),
        name: context.target.name.clone(),
        subresource: String::new(),
        tail: String::new(),
    };
    let attributes = Attributes { verb: VERB, object: Object::Resource { target: &target, field_selector: "" } };
    if may(context.server, &context.user, &attributes).await?.is_allowed() {
        return Ok(());
    }
    let who = &context.user.name;
    forbid(&format!(
        "audience {asked:?} not found in pod spec volume, {who:?} is not authorized to request tokens for this audience"
    ))
}

/// Whether the volume projects a token for the audience.
fn projects(volume: &Value, audience: &str) -> bool {
    let sources = volume["projected"]["sources"].as_array().into_iter().flatten();
    let mut tokens = sources.map(|source| &source["serviceAccountToken"]).filter(|token| token.is_object());
    tokens.any(|token| token["audience"].as_str().unwrap_or_default() == audience)
}

/// Whether the driver of the volume wants tokens for the audience.
async fn drives(context: &Context<'_>, pod: &Value, volume: &Value, audience: &str) -> Result<bool, Status> {
    let driver = if let Some(driver) = volume["csi"]["driver"].as_str() {
        driver.to_owned()
    } else {
        let claim = if volume["ephemeral"]["volumeClaimTemplate"].is_object() {
            format!("{}-{}", meta::name(pod), volume["name"].as_str().unwrap_or_default())
        } else {
            volume["persistentVolumeClaim"]["claimName"].as_str().unwrap_or_default().to_owned()
        };
        if claim.is_empty() {
            return Ok(false);
        }
        let claim = read(context, "", "persistentvolumeclaims", meta::namespace(pod), &claim).await?;
        let Some(name) = claim["spec"]["volumeName"].as_str().filter(|name| !name.is_empty()) else { return Ok(false) };
        let volume = read(context, "", "persistentvolumes", "", name).await?;
        volume["spec"]["csi"]["driver"].as_str().unwrap_or_default().to_owned()
    };
    if driver.is_empty() {
        return Ok(false);
    }
    let driver = read(context, "storage.k8s.io", "csidrivers", "", &driver).await?;
    let mut requests = driver["spec"]["tokenRequests"].as_array().into_iter().flatten();
    Ok(requests.any(|request| request["audience"].as_str().unwrap_or_default() == audience))
}

/// The object; null if it is not there.
async fn read(
    context: &Context<'_>,
    group: &str,
    resource: &str,
    namespace: &str,
    name: &str,
) -> Result<Value, Status> {
    let resource = registry::find(group, "v1", resource).ok_or_else(Status::no_such_resource)?;
    let entry = context.server.config.store.get(&storage::key(resource, namespace, name)).await;
    let entry = entry.map_err(storage::unavailable)?;
    entry.map_or(Ok(Value::Null), |entry| storage::parse(&entry.value))
}
