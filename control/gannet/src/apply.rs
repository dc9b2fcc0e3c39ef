//! `gannet apply`: creates the objects of a file, or brings them to what the file says. A small sibling of kubectl's:
//! fields that an earlier file had and this one has not stay as they are.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use api::Gvr;
use client::{Client, Patch};
use serde_json::{Value, json};

use crate::cli::ApplyArguments;
use crate::site::command_runtime;

/// What kubectl compares a later file with.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Largest file.
const MAX_FILE_BYTES: u64 = 16 << 20;

pub fn run(arguments: &ApplyArguments) -> anyhow::Result<()> {
    let objects = read(&arguments.file)?;
    let site = arguments.site.site()?;
    let client = site.client()?;
    command_runtime()?.block_on(async {
        let mut kinds = Kinds::default();
        for object in objects {
            let line = apply(&client, &mut kinds, object, &arguments.namespace).await?;
            println!("{line}");
        }
        Ok(())
    })
}

/// The documents of a file; lists are taken apart.
fn read(path: &Path) -> anyhow::Result<Vec<Value>> {
    let shown = path.display();
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(MAX_FILE_BYTES).read_to_string(&mut text)?;
    } else {
        let file = std::fs::File::open(path).with_context(|| format!("cannot open {shown}"))?;
        file.take(MAX_FILE_BYTES).read_to_string(&mut text).with_context(|| format!("cannot read {shown}"))?;
    }
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).map_err(|error| anyhow::anyhow!("{shown} is no YAML: {error}"))?;
    let mut objects = Vec::new();
    for document in documents {
        match document {
            Value::Null => {}
            Value::Object(mut list) if list.get("kind").is_some_and(|kind| kind == "List") => {
                objects.extend(list.remove("items").and_then(|items| items.as_array().cloned()).unwrap_or_default());
            }
            object => objects.push(object),
        }
    }
    if objects.is_empty() {
        bail!("{shown} holds no object");
    }
    Ok(objects)
}

/// Kind to resource, from the server's own discovery.
#[derive(Default)]
struct Kinds {
    versions: BTreeMap<String, Value>,
}

struct Served {
    gvr: Gvr,
    namespaced: bool,
}

impl Kinds {
    async fn find(&mut self, client: &Client, api_version: &str, kind: &str) -> anyhow::Result<Served> {
        if !self.versions.contains_key(api_version) {
            let path =
                if api_version.contains('/') { format!("/apis/{api_version}") } else { format!("/api/{api_version}") };
            let body = client.get_bytes(&path).await;
            let body = body.with_context(|| format!("the server does not serve {api_version}"))?;
            self.versions.insert(api_version.to_owned(), serde_json::from_slice(&body)?);
        }
        let resources = self.versions[api_version]["resources"].as_array();
        let is_kind =
            |resource: &&Value| resource["kind"] == kind && !resource["name"].as_str().unwrap_or("/").contains('/');
        let resource = resources.into_iter().flatten().find(is_kind);
        let resource = resource.with_context(|| format!("the server knows no kind {kind} in {api_version}"))?;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Ok(Served {
            gvr: Gvr {
                group: group.to_owned(),
                version: version.to_owned(),
                resource: resource["name"].as_str().unwrap_or_default().to_owned(),
            },
            namespaced: resource["namespaced"] == true,
        })
    }
}

async fn apply(client: &Client, kinds: &mut Kinds, mut object: Value, namespace: &str) -> anyhow::Result<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let (Some(api_version), Some(kind), Some(name)) =
        (text(&object["apiVersion"]), text(&object["kind"]), text(&object["metadata"]["name"]))
    else {
        bail!("a document without apiVersion, kind or metadata.name");
    };
    let Served { gvr, namespaced } = kinds.find(client, &api_version, &kind).await?;
    let namespace = match (namespaced, text(&object["metadata"]["namespace"])) {
        (false, _) => String::new(),
        (true, Some(own)) => own,
        (true, None) => namespace.to_owned(),
    };
    if namespaced {
        object["metadata"]["namespace"] = json!(namespace);
    }
    let applied = serde_json::to_string(&object)?;
    object["metadata"]["annotations"][LAST_APPLIED] = json!(applied);
    let shown = format!(
        "{}/{name}",
        if gvr.group.is_empty() { gvr.resource.clone() } else { format!("{}.{}", gvr.resource, gvr.group) }
    );
    // Looked up first: a create of what exists is not always answered with "already exists" (a Service's own node port
    // is taken, a quota is used up).
    let before = match client.get_value(&gvr, &namespace, &name).await {
        Ok(before) => before,
        Err(error) if error.is_not_found() => match client.create_value(&gvr, &namespace, &object).await {
            Ok(_) => return Ok(format!("{shown} created")),
            // Somebody else created it in between.
            Err(error) if error.is_already_exists() => client.get_value(&gvr, &namespace, &name).await?,
            Err(error) => return Err(error).with_context(|| format!("cannot create {shown}")),
        },
        Err(error) => return Err(error).with_context(|| format!("cannot look up {shown}")),
    };
    let after = client
        .patch_value(&gvr, &namespace, &name, None, Patch::Strategic(object))
        .await
        .with_context(|| format!("cannot change {shown}"))?;
    let same = before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"];
    let done = if same { "unchanged" } else { "configured" };
    Ok(format!("{shown} {done}"))
}
