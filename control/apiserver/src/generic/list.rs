//! list: a page or all of a collection at one revision. Bytes are copied from the store, not encoded anew.

use super::{Context, encode, selection::Selection, table};
use crate::{
    http::{negotiate::Form, respond},
    storage,
};
use api::{Revision, Status};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use client::Body;
use http::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::Entry;

/// Entries fetched at once when a selector picks from them.
const CHUNK: usize = 500;

/// What the client carries from page to page. Opaque to it.
#[derive(Serialize, Deserialize)]
struct Token {
    #[serde(rename = "v")]
    version: String,
    /// Revision of the first page; 0: now (after a 410).
    #[serde(rename = "rv")]
    revision: u64,
    /// The last key seen, below the collection's prefix.
    #[serde(rename = "start")]
    start: String,
}

const TOKEN_VERSION: &str = "gannet/v1";

/// Which state a list shows.
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    pub(crate) revision: Revision,
    /// The key to go on after.
    after: Option<String>,
    remaining: Option<usize>,
}

pub(crate) async fn list(context: &Context<'_>) -> Result<Response<Body>, Status> {
    let selection = Selection::of(&context.resource, &context.query)?;
    let prefix = storage::key(&context.resource, &context.target.namespace, "");
    let page = match page(context, &selection, &prefix).await {
        Ok(page) => page,
        Err(Refused::Status(status)) => return Err(status),
        Err(Refused::Expired { start }) => return Ok(expired(&start)),
    };
    let form = context.accept.form;
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if let Some(after) = &page.after {
        metadata["continue"] = json!(encode_token(page.revision.0, after.strip_prefix(&prefix).unwrap_or(after)));
        if selection.is_everything()
            && let Some(remaining) = page.remaining
        {
            metadata["remainingItemCount"] = json!(remaining);
        }
    }
    let mut out = Vec::with_capacity(page.entries.iter().map(|entry| entry.value.len() + 64).sum::<usize>() + 256);
    if form == Form::Table {
        let (include, now) = (table::Include::of(&context.query)?, process::now());
        let rows = page
            .entries
            .iter()
            .map(|entry| {
                let object = encode::versioned(&context.resource, &entry.value, entry.modified)?;
                Ok(table::row(&context.resource, &object, include, now))
            })
            .collect::<Result<Vec<Value>, Status>>()?;
        table::write(&mut out, &context.resource, true, &metadata, &rows);
    } else {
        let (kind, api_version) = match form {
            Form::Metadata => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
            Form::Object | Form::Table => (context.resource.list_kind.clone(), context.resource.gvr().api_version()),
        };
        let head = format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{metadata},"items":["#);
        out.extend_from_slice(head.as_bytes());
        for (index, entry) in page.entries.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            match form {
                Form::Object if context.resource.conversion.is_none() => {
                    api::meta::splice_revision_into(&mut out, &entry.value, entry.modified)
                }
                Form::Object | Form::Metadata | Form::Table => {
                    out.extend_from_slice(&encode::item(&context.resource, form, &entry.value, entry.modified)?);
                }
            }
        }
        out.extend_from_slice(b"]}");
    }
    encode::media(context, 200, out.into())
}

/// The entries a list shows, by its `limit`, `continue`, `resourceVersion` and `resourceVersionMatch`.
async fn page(context: &Context<'_>, selection: &Selection, prefix: &str) -> Result<Page, Refused> {
    let query = &context.query;
    let limit = match query.number("limit")?.unwrap_or(0) {
        negative if negative < 0 => return Err(Status::bad_request("limit must not be negative").into()),
        0 => None,
        limit => Some(usize::try_from(limit).unwrap_or(usize::MAX)),
    };
    let token = query.get("continue").map(decode_token).transpose()?;
    let at = revision_wanted(context, limit.is_some(), token.is_some())?;
    let (mut start, at) = match &token {
        Some(token) => {
            (Some(format!("{prefix}{}", token.start)), (token.revision > 0).then_some(Revision(token.revision)))
        }
        None => (None, at),
    };
    if let (Some(name), None, None) = (&selection.name, at, &token)
        && context.target.namespace.is_empty() != context.resource.namespaced
    {
        return Ok(single(context, selection, &format!("{prefix}{name}")).await?);
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut at = at;
    loop {
        let want = if selection.is_everything() {
            limit.map(|limit| limit - entries.len())
        } else {
            limit.map(|limit| limit.max(CHUNK))
        };
        let listing = context
            .server
            .config
            .store
            .list(prefix, start.as_deref(), want, at)
            .await
            .map_err(|error| failed(error, token.as_ref(), at))?;
        at = Some(listing.revision);
        let total = listing.entries.len();
        for (index, entry) in listing.entries.into_iter().enumerate() {
            start = Some(entry.key.to_string());
            if selection.matches_bytes(&context.resource, &entry.value) {
                entries.push(entry);
            }
            if limit.is_some_and(|limit| entries.len() >= limit) {
                let rest = total - index - 1;
                let more = rest > 0 || listing.more;
                let remaining = more.then_some(rest + listing.remaining);
                let after = if more { start } else { None };
                return Ok(Page { entries, revision: listing.revision, after, remaining });
            }
        }
        if !listing.more {
            return Ok(Page { entries, revision: listing.revision, after: None, remaining: None });
        }
    }
}

/// A list that can show one object at most.
async fn single(context: &Context<'_>, selection: &Selection, key: &str) -> Result<Page, Status> {
    // The revision first: what is read after it is at least as new.
    let revision = context.server.config.store.revision();
    let entry = context.server.config.store.get(key).await.map_err(storage::unavailable)?;
    let revision = entry.as_ref().map_or(revision, |entry| revision.max(entry.modified));
    let entries = entry.into_iter().filter(|entry| selection.matches_bytes(&context.resource, &entry.value)).collect();
    Ok(Page { entries, revision, after: None, remaining: None })
}

/// The exact revision to list at; `None` is now. 400 for combinations that mean nothing, 504 for the future.
fn revision_wanted(context: &Context<'_>, limited: bool, continued: bool) -> Result<Option<Revision>, Status> {
    let query = &context.query;
    let wanted = query.get("resourceVersion");
    let rule = query.get("resourceVersionMatch");
    let forbidden = |text: &str| Err(Status::bad_request(format!("resourceVersionMatch: Forbidden: {text}")));
    if continued && wanted.is_some_and(|wanted| wanted != "0") {
        return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
    }
    match (rule, wanted) {
        (None, None) => Ok(None),
        (Some(_), _) if continued => forbidden("resourceVersionMatch is forbidden when continue is provided"),
        (Some(_), None) => forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided"),
        (Some("Exact"), Some("0")) => {
            forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")
        }
        (Some(other), _) if other != "Exact" && other != "NotOlderThan" => Err(Status::bad_request(format!(
            "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\""
        ))),
        (rule, Some(wanted)) => {
            let wanted: Revision =
                wanted.parse().map_err(|_| Status::bad_request(format!("invalid resource version: {wanted:?}")))?;
            let current = context.server.config.store.revision();
            if wanted > current {
                return Err(Status::too_large_resource_version(wanted.0, current.0));
            }
            // A limit without a rule means Exact; that is how clients paged before there were rules.
            let exact = rule == Some("Exact") || rule.is_none() && limited && wanted.0 > 0;
            Ok(exact.then_some(wanted))
        }
    }
}

/// Why there is no page.
enum Refused {
    Status(Status),
    /// The continue token's revision is gone; the rest can be had from `start` as it is now.
    Expired {
        start: String,
    },
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Refused::Status(status)
    }
}

fn failed(error: store::Error, token: Option<&Token>, at: Option<Revision>) -> Refused {
    match (error, token) {
        (store::Error::Compacted { .. }, Some(token)) => Refused::Expired { start: token.start.clone() },
        (store::Error::Compacted { compacted }, None) => Refused::Status(Status::expired(format!(
            "The resourceVersion for the provided list is too old: {} ({compacted})",
            at.unwrap_or_default()
        ))),
        (store::Error::Future { current }, _) => {
            Refused::Status(Status::too_large_resource_version(at.unwrap_or_default().0, current.0))
        }
        (error, _) => Refused::Status(storage::unavailable(error)),
    }
}

/// 410 with a token to go on with, as the rest is now.
fn expired(start: &str) -> Response<Body> {
    let status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
         results. Continuing with the provided token results in an inconsistent list - objects that were created, \
         modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    let mut value = serde_json::to_value(&status).expect("a Status is plain JSON");
    value["metadata"] = json!({"continue": encode_token(0, start)});
    respond::json(status.code, &value)
}

fn encode_token(revision: u64, start: &str) -> String {
    let token = Token { version: TOKEN_VERSION.to_owned(), revision, start: start.to_owned() };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).expect("a token is plain JSON"))
}

fn decode_token(text: &str) -> Result<Token, Status> {
    let bad = || Status::bad_request("continue key is not valid: it must be a token that a list returned");
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| bad())?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    let sane = token.version == TOKEN_VERSION && !token.start.starts_with('/') && !token.start.contains("..");
    if sane { Ok(token) } else { Err(bad()) }
}
