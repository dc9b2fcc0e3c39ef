//! Service account tokens bound to a pod.

use std::collections::BTreeMap;

use client::Client;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use pod::volume::{Part, Source, Token, Volume};

/// Share of a token's life after which it is replaced, in percent.
const REFRESH_PERCENT: i64 = 80;

/// The tokens of one pod, with when each is to be replaced.
#[derive(Default)]
pub(crate) struct Tokens {
    held: BTreeMap<Token, (String, Timestamp)>,
}

impl Tokens {
    /// Requests what is missing or due at `now`.
    pub(crate) async fn refresh(
        &mut self,
        client: &Client,
        pod: &Pod,
        volumes: &[Volume],
        now: Timestamp,
    ) -> Result<(), client::Error> {
        for token in wanted(volumes) {
            if self.held.get(token).is_some_and(|(_, due)| now < *due) {
                continue;
            }
            let (text, expires) = request(client, pod, token).await?;
            let life = expires.duration_since(now).as_secs().max(0);
            let due = now.saturating_add(SignedDuration::from_secs(life * REFRESH_PERCENT / 100));
            self.held.insert(token.clone(), (text, due.unwrap_or(expires)));
        }
        Ok(())
    }

    /// The tokens' texts.
    pub(crate) fn texts(&self) -> BTreeMap<Token, String> {
        self.held.iter().map(|(token, (text, _))| (token.clone(), text.clone())).collect()
    }
}

fn wanted(volumes: &[Volume]) -> impl Iterator<Item = &Token> {
    volumes
        .iter()
        .flat_map(|volume| match &volume.source {
            Source::Files(files) => files.parts.as_slice(),
            Source::EmptyDir { .. } | Source::HostPath { .. } => &[],
        })
        .filter_map(|part| match part {
            Part::Token(token) => Some(token),
            Part::ConfigMap { .. } | Part::Secret { .. } | Part::Downward { .. } => None,
        })
}

async fn request(client: &Client, pod: &Pod, token: &Token) -> Result<(String, Timestamp), client::Error> {
    let account = pod::spec::spec(pod).service_account_name.as_deref().filter(|name| !name.is_empty());
    let account = account.unwrap_or("default");
    let body = TokenRequest {
        spec: Some(TokenRequestSpec {
            // None: the server's own, which a node may ask for in no other way.
            audiences: token.audience.clone().map(|audience| vec![audience]),
            expiration_seconds: Some(token.expiration_seconds),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
        }),
        ..TokenRequest::default()
    };
    let namespace = pod::spec::text(&pod.metadata.namespace);
    let answer: TokenRequest =
        client.create_subresource::<ServiceAccount, _, _>(namespace, account, "token", &body).await?;
    let status = answer.status.unwrap_or_default();
    let expires = status.expiration_timestamp.map_or_else(process::now, |time| time.0);
    Ok((status.token.unwrap_or_default(), expires))
}
