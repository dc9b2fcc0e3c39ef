//! An operator written with kube-rs, as its users write them: a custom resource in two versions with a conversion
//! webhook, a mutating and a validating webhook, a controller that owns ConfigMaps. It runs unchanged against Gannet.

#[path = "operator/webhooks.rs"]
mod webhooks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::Plane;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind, ObjectMeta};
use kube::runtime::controller::Action;
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{Controller, WatchStreamExt as _, watcher};
use kube::{Client, CustomResource, Resource as _, ResourceExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use webhooks::Webhooks;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(30);
const GROUP: &str = "widgets.example.com";

#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(group = "widgets.example.com", version = "v2", kind = "Widget", namespaced, status = "WidgetStatus")]
struct WidgetSpec {
    replicas: i64,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
struct WidgetStatus {
    made: i64,
}

fn definition(webhooks: &Webhooks) -> Result<CustomResourceDefinition> {
    let version = |name: &str, field: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage, "subresources": {"status": {}},
            "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": format!(".spec.{field}")}],
            "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {
                "spec": {"type": "object", "required": [field], "properties": {
                    field: {"type": "integer", "minimum": 0},
                    "colour": {"type": "string", "default": "grey", "enum": ["grey", "red"]},
                }, "x-kubernetes-validations": [
                    {"rule": format!("self.{field} != 7"), "message": "seven is unlucky"}]},
                "status": {"type": "object", "properties": {"made": {"type": "integer"}}},
            }}},
        })
    };
    Ok(serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [version("v1", "size", false), version("v2", "replicas", true)],
            "conversion": {"strategy": "Webhook", "webhook": {
                "conversionReviewVersions": ["v1"],
                "clientConfig": {"url": format!("{}/convert", webhooks.url), "caBundle": webhooks.ca}}},
        },
    }))?)
}

async fn register(client: &Client, webhooks: &Webhooks) -> Result<()> {
    for (kind, plural, path) in [
        ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", "mutate"),
        ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", "validate"),
    ] {
        let gvk = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&gvk, plural));
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "widgets"},
            "webhooks": [{
                "name": format!("{path}.{GROUP}"), "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": {"url": format!("{}/{path}", webhooks.url), "caBundle": webhooks.ca},
                "rules": [{"apiGroups": [GROUP], "apiVersions": ["v2"], "operations": ["CREATE", "UPDATE"], "resources": ["widgets"]}],
            }],
        }))?;
        api.create(&PostParams::default(), &object).await?;
    }
    Ok(())
}

/// The controller's whole business: a ConfigMap that says what the Widget wants, and the Widget's status.
async fn reconcile(widget: Arc<Widget>, client: Arc<Client>) -> Result<Action, kube::Error> {
    let namespace = widget.namespace().unwrap_or_default();
    let maps: Api<ConfigMap> = Api::namespaced((*client).clone(), &namespace);
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(widget.name_any()),
            owner_references: widget.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([("replicas".to_owned(), widget.spec.replicas.to_string())])),
        ..ConfigMap::default()
    };
    let apply = PatchParams::apply("widgets").force();
    maps.patch(&widget.name_any(), &apply, &Patch::Apply(&map)).await?;
    let widgets: Api<Widget> = Api::namespaced((*client).clone(), &namespace);
    let status =
        json!({"apiVersion": "widgets.example.com/v2", "kind": "Widget", "status": {"made": widget.spec.replicas}});
    widgets.patch_status(&widget.name_any(), &apply, &Patch::Apply(&status)).await?;
    Ok(Action::await_change())
}

/// Looks until it is so.
async fn until<T, F: Future<Output = Result<Option<T>>>>(what: &str, mut look: impl FnMut() -> F) -> Result<T> {
    tokio::time::timeout(LIMIT, async {
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .with_context(|| format!("{what}: not within {} s", LIMIT.as_secs()))?
}

async fn client_of(plane: &Plane) -> Result<Client> {
    // Another copy may have been installed by another test of this process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig())?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_runs_unchanged() -> Result<()> {
    let plane = tokio::task::spawn_blocking(Plane::start).await??;
    let client = client_of(&plane).await?;
    let webhooks = Webhooks::start().await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.create(&PostParams::default(), &definition(&webhooks)?).await?;
    let established = await_condition(definitions, "widgets.widgets.example.com", conditions::is_crd_established());
    tokio::time::timeout(LIMIT, established).await??;
    register(&client, &webhooks).await?;

    let widgets: Api<Widget> = Api::namespaced(client.clone(), "default");
    let controller = Controller::new(widgets.clone(), watcher::Config::default())
        .owns(Api::<ConfigMap>::namespaced(client.clone(), "default"), watcher::Config::default())
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_secs(1)), Arc::new(client.clone()))
        .for_each(|_| futures::future::ready(()));
    let controller = tokio::spawn(controller);

    // Admission: mutated, warned about, defaulted; refused by rule, by schema, by webhook.
    let made = widgets.create(&PostParams::default(), &Widget::new("one", WidgetSpec { replicas: 2 })).await?;
    ensure!(
        made.annotations().get("widgets.example.com/seen").is_some_and(|seen| seen == "yes"),
        "not mutated: {made:?}"
    );
    for (replicas, wanted) in [
        (11, "admission webhook \"validate.widgets.example.com\" denied the request: 11 widgets are too many"),
        (7, "seven is unlucky"),
        (-1, "spec.replicas in body should be greater than or equal to 0"),
    ] {
        let refused = widgets.create(&PostParams::default(), &Widget::new("bad", WidgetSpec { replicas })).await;
        let said = refused.err().map(|error| error.to_string()).unwrap_or_default();
        ensure!(said.contains(wanted), "{replicas}: {said:?}");
    }

    // The controller sees it, makes the ConfigMap, and writes the status.
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let holds = |wanted: &'static str| {
        let maps = maps.clone();
        move || {
            let maps = maps.clone();
            async move {
                let map = maps.get_opt("one").await?;
                Ok(map.filter(|map| {
                    map.data.as_ref().is_some_and(|data| data.get("replicas").is_some_and(|r| r == wanted))
                }))
            }
        }
    };
    until("the ConfigMap", holds("2")).await?;
    until("the status", || async { Ok(widgets.get("one").await?.status.filter(|status| status.made == 2)) }).await?;

    // The other version, through the conversion webhook: read, written, listed, watched.
    let gvk = GroupVersionKind::gvk(GROUP, "v1", "Widget");
    let older: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), "default", &ApiResource::from_gvk_with_plural(&gvk, "widgets"));
    let one = older.get("one").await?;
    ensure!(one.data["spec"] == json!({"size": 2, "colour": "grey"}), "as v1: {:?}", one.data);
    older.patch("one", &PatchParams::default(), &Patch::Merge(json!({"spec": {"size": 3}}))).await?;
    until("the change through v1", holds("3")).await?;
    let listed = older.list(&ListParams::default()).await?;
    ensure!(listed.items.len() == 1 && listed.items[0].data["spec"]["size"] == 3, "listed as v1: {listed:?}");
    let mut seen = watcher(older.clone(), watcher::Config::default().streaming_lists()).applied_objects().boxed();
    let first = tokio::time::timeout(LIMIT, seen.next()).await?.context("the watch ended")??;
    ensure!(first.data["spec"]["size"] == 3, "watched as v1: {:?}", first.data);

    // Metadata alone, and deletion with what is owned.
    let metadata = widgets.get_metadata("one").await?;
    ensure!(metadata.types.as_ref().is_some_and(|types| types.kind == "PartialObjectMetadata"), "{metadata:?}");
    widgets.delete("one", &DeleteParams::background()).await?;
    until("the ConfigMap goes with its owner", || async { Ok(maps.get_opt("one").await?.is_none().then_some(())) })
        .await?;
    controller.abort();
    ensure!(Widget::kind(&()) == "Widget", "the derived kind");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_is_installed_upgraded_and_rolled_back() -> Result<()> {
    let plane = tokio::task::spawn_blocking(Plane::start).await??;
    let client = client_of(&plane).await?;
    let discovered = kube::discovery::Discovery::new(client.clone()).run_aggregated().await?;
    let releases: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(client.clone(), "default");
    let chart = |image: &str, replicas: i64| -> Vec<Value> {
        let labels = json!({"app.kubernetes.io/managed-by": "Helm", "app": "shop"});
        vec![
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "shop", "labels": labels}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop", "labels": labels}, "data": {"image": image}}),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop", "labels": labels},
                "spec": {"selector": {"app": "shop"}, "ports": [{"port": 80, "name": "http"}]}}),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "shop", "labels": labels},
                "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]}),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop", "labels": labels}, "spec": {
                "replicas": replicas, "selector": {"matchLabels": {"app": "shop"}},
                "template": {"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [{"name": "shop", "image": image}]}}}}),
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "shop", "labels": labels}, "spec": {
                "rules": [{"host": "shop.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix",
                    "backend": {"service": {"name": "shop", "port": {"number": 80}}}}]}}]}}),
            json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "shop", "labels": labels},
                "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "shop"}}}}),
        ]
    };
    let api_of = |object: &Value| -> Result<Api<DynamicObject>> {
        let (version, kind) =
            (object["apiVersion"].as_str().unwrap_or_default(), object["kind"].as_str().unwrap_or_default());
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let gvk = GroupVersionKind::gvk(group, version, kind);
        let (resource, _) = discovered.resolve_gvk(&gvk).with_context(|| format!("{gvk:?} is not discovered"))?;
        Ok(Api::namespaced_with(client.clone(), "default", &resource))
    };
    let release = |revision: u32, status: &str| -> Result<k8s_openapi::api::core::v1::Secret> {
        Ok(serde_json::from_value(json!({
            "metadata": {"name": format!("sh.helm.release.v1.shop.v{revision}"),
                "labels": {"owner": "helm", "name": "shop", "status": status, "version": revision.to_string()}},
            "type": "helm.sh/release.v1", "data": {"release": "SDRzSUFBQUE="},
        }))?)
    };
    // Installed: each object created by the manager helm, the release recorded.
    let helm = PostParams { field_manager: Some("helm".to_owned()), ..PostParams::default() };
    releases.create(&helm, &release(1, "pending-install")?).await?;
    for object in chart("shop:1", 2) {
        let name = format!("{} {}", object["kind"], object["metadata"]["name"]);
        let parsed: DynamicObject = serde_json::from_value(object.clone())?;
        api_of(&object)?.create(&helm, &parsed).await.context(name)?;
    }
    let deployed = json!({"metadata": {"labels": {"status": "deployed"}}});
    releases.patch("sh.helm.release.v1.shop.v1", &PatchParams::default(), &Patch::Merge(&deployed)).await?;
    let listed = releases.list(&ListParams::default().labels("owner=helm,status=deployed")).await?;
    ensure!(listed.items.len() == 1 && listed.items[0].type_.as_deref() == Some("helm.sh/release.v1"), "{listed:?}");

    // Somebody scales it; an upgrade of the image leaves that alone, as a three-way merge does.
    let deployments = api_of(&chart("", 0)[4])?;
    deployments.patch("shop", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 5}}))).await?;
    let image = |image: &str| {
        json!({"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "shop"}], "containers": [{"name": "shop", "image": image}]}}}})
    };
    let manager = PatchParams { field_manager: Some("helm".to_owned()), ..PatchParams::default() };
    for (revision, tag) in [(2, "shop:2"), (3, "shop:1")] {
        releases.create(&helm, &release(revision, "deployed")?).await?;
        let changed = deployments.patch("shop", &manager, &Patch::Strategic(image(tag))).await?;
        ensure!(changed.data["spec"]["template"]["spec"]["containers"][0]["image"] == tag, "{:?}", changed.data);
        ensure!(changed.data["spec"]["replicas"] == 5, "the scale of others is lost: {:?}", changed.data);
    }
    let history = releases.list(&ListParams::default().labels("owner=helm,name=shop")).await?;
    ensure!(history.items.len() == 3, "{} revisions", history.items.len());

    // Uninstalled.
    for object in chart("shop:1", 2).iter().rev() {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        api_of(object)?.delete(name, &DeleteParams::background()).await?;
    }
    releases.delete_collection(&DeleteParams::default(), &ListParams::default().labels("owner=helm,name=shop")).await?;
    let left = releases.list(&ListParams::default().labels("owner=helm")).await?;
    ensure!(left.items.is_empty(), "left: {left:?}");
    Ok(())
}
