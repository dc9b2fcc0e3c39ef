//! Tokens that live in Secrets of the type `kubernetes.io/service-account-token`: whoever makes such a Secret, naming an
//! account, gets its token in it. They hold until the Secret or the account goes.
//!
//! The task `api-account-tokens` fills Secrets, and deletes those whose account is gone.

use super::{User, authenticate::object, token};
use crate::{
    Apiserver,
    admission::Origin,
    generic::{
        delete,
        write::{self, Via, Write},
    },
};
use api::{Status, meta};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::StreamExt;
use process::Shutdown;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use store::{Backend, Event, Revision};

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
const SECRETS: &str = "/registry/core/secrets/";
const ACCOUNTS: &str = "/registry/core/serviceaccounts/";
const PAGE: usize = 500;
const RETRY: Duration = Duration::from_secs(1);

/// Checks that the Secret still holds the token's account.
pub(super) async fn confirm(server: &Apiserver, claims: &token::Claims, secret: &str) -> Result<(), Status> {
    let found = object(server, "secrets", &claims.namespace, secret).await?.ok_or_else(Status::unauthorized)?;
    let holds = is_token(&found)
        && !meta::is_deleting(&found)
        && meta::annotation(&found, ACCOUNT) == Some(claims.account.as_str())
        && meta::annotation(&found, ACCOUNT_UID) == Some(claims.account_uid.as_str())
        && found["data"]["token"].is_string();
    if holds { Ok(()) } else { Err(Status::unauthorized()) }
}

fn is_token(secret: &Value) -> bool {
    secret["type"] == TYPE
}

/// Runs until shutdown.
pub(crate) async fn run(server: Arc<Apiserver>, shutdown: Shutdown) {
    tokio::select! {
        () = follow(&server) => {}
        () = shutdown.cancelled() => {}
    }
}

async fn follow(server: &Arc<Apiserver>) {
    loop {
        if let Err(error) = once(server).await {
            tracing::debug!(%error, "service account tokens: the store is not there");
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Looks at every Secret, then at every change, until the watch ends.
async fn once(server: &Arc<Apiserver>) -> Result<(), store::Error> {
    let store = server.config.store.clone();
    let revision = all(server, store.as_ref(), SECRETS).await?;
    let mut secrets = store.watch(SECRETS, revision)?;
    let mut accounts = store.watch(ACCOUNTS, revision)?;
    loop {
        let event = tokio::select! {
            event = secrets.next() => event,
            event = accounts.next() => event,
        };
        let Some(event) = event else { return Ok(()) };
        change(server, store.as_ref(), event?.as_ref()).await?;
    }
}

async fn change(server: &Arc<Apiserver>, store: &dyn Backend, event: &Event) -> Result<(), store::Error> {
    if let Some(account) = event.key.strip_prefix(ACCOUNTS) {
        // Its first sight, or its end: what else changes in an account does not matter.
        if (event.value.is_none() || event.prev.is_none())
            && let Some((namespace, _)) = account.split_once('/')
        {
            all(server, store, &format!("{SECRETS}{namespace}/")).await?;
        }
    } else if let Some(value) = &event.value {
        look(server, value).await;
    }
    Ok(())
}

async fn all(server: &Arc<Apiserver>, store: &dyn Backend, prefix: &str) -> Result<Revision, store::Error> {
    let (mut at, mut after) = (None, None::<String>);
    loop {
        let page = store.list(prefix, after.as_deref(), Some(PAGE), at).await?;
        for entry in &page.entries {
            look(server, &entry.value).await;
        }
        at = Some(page.revision);
        match page.entries.last() {
            Some(last) if page.more => after = Some(last.key.to_string()),
            _ => return Ok(page.revision),
        }
    }
}

async fn look(server: &Arc<Apiserver>, bytes: &[u8]) {
    // Most Secrets are none of ours, and large ones are dear to parse.
    if !bytes.windows(TYPE.len()).any(|window| window == TYPE.as_bytes()) {
        return;
    }
    let Ok(secret) = serde_json::from_slice::<Value>(bytes) else { return };
    if let Err(error) = settle(server, &secret).await
        && !error.is_not_found()
        && !error.is_conflict()
    {
        tracing::warn!(secret = meta::name(&secret), %error, "cannot write a service account token");
    }
}

/// Fills the Secret, or deletes it if its account is gone.
async fn settle(server: &Arc<Apiserver>, secret: &Value) -> Result<(), Status> {
    if !is_token(secret) || meta::is_deleting(secret) {
        return Ok(());
    }
    let (namespace, name) = (meta::namespace(secret), meta::name(secret));
    let account_name = meta::annotation(secret, ACCOUNT).unwrap_or_default();
    let account = object(server, "serviceaccounts", namespace, account_name).await?;
    let uid = account.as_ref().map(meta::uid).unwrap_or_default();
    let known = meta::annotation(secret, ACCOUNT_UID).unwrap_or_default();
    let user = User::gannet();
    let resource = registry::find("", "v1", "secrets").expect("the table has secrets");
    let origin = Origin::default();
    let write = Write::own(server, &user, resource, (namespace, name), Via::Server, &origin);
    if account.is_none() || !known.is_empty() && known != uid {
        let options = delete::Options::from_value(&json!({"preconditions": {"uid": meta::uid(secret)}}))?;
        return delete::delete_one(&write, &options).await.map(drop);
    }
    let ca = STANDARD.encode(&server.config.client_ca_pem);
    let filled = |secret: &Value| {
        secret["data"]["token"].is_string()
            && secret["data"]["ca.crt"].is_string()
            && secret["data"]["namespace"].is_string()
    };
    if filled(secret) && known == uid {
        return Ok(());
    }
    let signed = token::sign_legacy(&server.signer, (namespace, account_name, uid), name)?;
    write::modify(&write, |old| {
        let mut new = old.value.clone();
        if meta::annotation(&new, ACCOUNT) != Some(account_name) || meta::uid(&new) != meta::uid(secret) {
            return Ok(new);
        }
        meta::set_annotation(&mut new, ACCOUNT_UID, uid);
        let entries = meta::child_mut(&mut new, "data");
        entries.entry("token").or_insert_with(|| json!(STANDARD.encode(&signed)));
        entries.entry("ca.crt").or_insert_with(|| json!(ca));
        entries.entry("namespace").or_insert_with(|| json!(STANDARD.encode(namespace)));
        Ok(new)
    })
    .await
    .map(drop)
}
