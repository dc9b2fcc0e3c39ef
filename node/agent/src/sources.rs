//! ConfigMaps, Secrets and Services that containers and volumes refer to.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Client, ListParams, Watched};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use pod::env::{Needs, Sources};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Fetches what is needed from the namespace; what does not exist is left out, and the user of the sources decides
/// whether that is an error.
pub(crate) async fn fetch(
    client: &Client,
    namespace: &str,
    needs: &Needs,
    services: &watch::Receiver<Arc<Vec<Service>>>,
) -> Result<Sources, client::Error> {
    let mut sources = Sources { services: services.borrow().as_ref().clone(), ..Sources::default() };
    for name in &needs.config_maps {
        if let Some(map) = client.get_opt::<ConfigMap>(namespace, name).await? {
            sources.config_maps.insert(name.clone(), map);
        }
    }
    for name in &needs.secrets {
        if let Some(secret) = client.get_opt::<Secret>(namespace, name).await? {
            sources.secrets.insert(name.clone(), secret);
        }
    }
    Ok(sources)
}

/// Starts the task `services`, which keeps the list of all Services current.
pub(crate) fn watch_services(client: &Client, shutdown: CancellationToken) -> watch::Receiver<Arc<Vec<Service>>> {
    let (sender, receiver) = watch::channel(Arc::default());
    let mut stream = client.watch::<Service>("", &ListParams::all());
    process::spawn("services", async move {
        let mut known = BTreeMap::new();
        let key = |s: &Service| (s.metadata.namespace.clone(), s.metadata.name.clone());
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => return,
                event = stream.next() => event,
            };
            match event {
                Some(Watched::Restarted(all, _)) => known = all.into_iter().map(|s| (key(&s), s)).collect(),
                Some(Watched::Applied(service)) => drop(known.insert(key(&service), service)),
                Some(Watched::Deleted(service)) => drop(known.remove(&key(&service))),
                Some(Watched::Bookmark(_)) => continue,
                None => return,
            }
            sender.send_replace(Arc::new(known.values().cloned().collect()));
        }
    });
    receiver
}
