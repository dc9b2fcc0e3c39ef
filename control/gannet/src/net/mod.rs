//! `gannet net flows|drops|top|services|maps|progs|trace|verify`: what the data plane of every node does and holds.
//!
//! Each node answers for itself, through the API server's way to its API; the names are added here, from the API's objects.

mod events;
mod names;
mod tables;
mod trace;
mod verify;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use client::Client;
use http::{Method, Request};
use serde_json::Value;

use crate::cli::NetVerb;
use crate::site::command_runtime;
use names::Names;

/// Runs a verb; the value is whether all is well.
pub fn run(verb: &NetVerb) -> anyhow::Result<bool> {
    let site = match verb {
        NetVerb::Test(arguments) => return crate::net_test::run(arguments).map(|()| true),
        NetVerb::Flows(arguments) | NetVerb::Drops(arguments) => &arguments.site,
        NetVerb::Top(arguments) => &arguments.look.site,
        NetVerb::Services(arguments) | NetVerb::Maps(arguments) | NetVerb::Progs(arguments) => &arguments.site,
        NetVerb::Trace(arguments) => &arguments.site,
        NetVerb::Verify(arguments) => &arguments.site,
    }
    .site()?;
    command_runtime()?.block_on(async {
        let cluster = Cluster::open(site.client()?).await?;
        match verb {
            NetVerb::Test(_) => Ok(true),
            NetVerb::Flows(arguments) => events::run(&cluster, "flow", arguments).await,
            NetVerb::Drops(arguments) => events::run(&cluster, "drop", arguments).await,
            NetVerb::Top(arguments) => tables::top(&cluster, arguments).await,
            NetVerb::Services(arguments) => tables::services(&cluster, arguments).await,
            NetVerb::Maps(arguments) => tables::maps(&cluster, arguments).await,
            NetVerb::Progs(arguments) => tables::programs(&cluster, arguments).await,
            NetVerb::Trace(arguments) => trace::run(&cluster, arguments).await,
            NetVerb::Verify(arguments) => verify::run(&cluster, arguments).await,
        }
    })
}

/// A cluster with its names.
struct Cluster {
    client: Client,
    names: Names,
}

impl Cluster {
    async fn open(client: Client) -> anyhow::Result<Cluster> {
        let names = Names::read(&client).await.context("the API server does not answer; `gannet status` says more")?;
        Ok(Cluster { client, names })
    }

    /// The nodes that are meant: one, or all.
    fn nodes(&self, one: Option<&str>) -> anyhow::Result<Vec<String>> {
        let all: Vec<String> = self.names.nodes().map(str::to_owned).collect();
        match one {
            None => Ok(all),
            Some(name) if all.iter().any(|node| node == name) => Ok(vec![name.to_owned()]),
            Some(name) => bail!("there is no node {name}; `kubectl get nodes` names them: {}", all.join(", ")),
        }
    }

    /// What a node says at a path of its API.
    async fn ask(&self, node: &str, method: Method, path: &str) -> anyhow::Result<Value> {
        let uri = format!("/api/v1/nodes/{node}/proxy/net/{path}");
        let answer = async {
            if method == Method::GET {
                return Ok(self.client.get_bytes(&uri).await?);
            }
            let request = Request::builder().method(method).uri(&uri).body(Bytes::new())?;
            let response = self.client.raw(request).await?;
            let good = response.status().is_success();
            let body = http_body_util::BodyExt::collect(response.into_body()).await;
            let bytes = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
            if !good {
                bail!("{}", String::from_utf8_lossy(&bytes));
            }
            Ok(bytes)
        };
        let bytes = answer.await.with_context(|| {
            format!("node {node} does not say; is it Ready (`gannet status`), and of this version of gannet?")
        })?;
        serde_json::from_slice(&bytes).with_context(|| format!("node {node} answered with what is no JSON"))
    }

    /// What each of the nodes says, all asked at once.
    async fn ask_all(&self, one: Option<&str>, path: &str) -> anyhow::Result<Vec<(String, Value)>> {
        let asked = self.nodes(one)?.into_iter().map(|node| async move {
            let answer = self.ask(&node, Method::GET, path).await?;
            Ok((node, answer))
        });
        futures::future::join_all(asked).await.into_iter().collect()
    }
}

/// A list below a key.
fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A text, empty if there is none.
fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_default()
}
