//! list: a page or all of a collection at one revision. The body is written while the client reads it, from a snapshot of
//! the store; bytes are copied from it, not encoded anew, and never held as a whole.

use super::{
    Context,
    encode::Style,
    revision,
    selection::Selection,
    token::Token,
    writer::{self, Source, Writer},
};
use crate::{
    custom::convert,
    http::{gzip, negotiate::Media, respond},
    storage,
};
use api::{Revision, Status};
use client::Body;
use http::Response;
use serde_json::{Value, json};
use store::Entry;

/// Entries looked at between two chances for other requests.
const BATCH: usize = 500;

pub(crate) async fn list(context: &Context<'_>) -> Result<Response<Body>, Status> {
    let selection = Selection::of(&context.resource, &context.query)?;
    let style = Style::of(context)?;
    let prefix = storage::key(&context.resource, &context.target.namespace, "");
    let page = match page(context, &selection, &prefix).await {
        Ok(page) => page,
        Err(Refused::Status(status)) => return Err(status),
        Err(Refused::Expired(token)) => return respond::in_media(410, context.accept.media, expired(&token)),
    };
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if let Some(token) = &page.next {
        metadata["continue"] = token.write().into();
        if selection.is_everything() {
            metadata["remainingItemCount"] = page.remaining.into();
        }
    }
    let writer = Writer::new(context.resource.clone(), style, selection, page.source, &metadata);
    match style.accept.media {
        Media::Json => writer::respond(writer, context.gzip).await,
        Media::Protobuf => writer::respond(writer.measured().await?, context.gzip).await,
        Media::Yaml => {
            let json = writer.whole().await?;
            gzip::wrap(respond::in_media(200, Media::Yaml, json)?, context.gzip).await
        }
    }
}

/// Which objects a list shows.
struct Page {
    source: Source,
    revision: Revision,
    next: Option<Token>,
    /// Entries after the page's last.
    remaining: usize,
}

/// The entries a list shows, by its `limit`, `continue`, `resourceVersion` and `resourceVersionMatch`.
async fn page(context: &Context<'_>, selection: &Selection, prefix: &str) -> Result<Page, Refused> {
    let store = context.server.config.store.as_ref();
    let limit = match context.query.number("limit")?.unwrap_or(0) {
        negative if negative < 0 => return Err(Status::bad_request("limit must not be negative").into()),
        0 => None,
        limit => Some(usize::try_from(limit).unwrap_or(usize::MAX)),
    };
    let token = context.query.get("continue").map(Token::read).transpose()?;
    let wanted = wanted(context, limit.is_some(), token.is_some())?;
    let at = match (&token, wanted) {
        (Some(token), _) => token.revision(),
        (None, Wanted::Exactly(at)) => Some(at),
        (None, Wanted::NotOlder(_)) => None,
    };
    let (Wanted::NotOlder(least) | Wanted::Exactly(least)) = wanted;
    revision::reach(store, least).await?;
    let one = match (&selection.name, &token) {
        // A list that can show one object at most.
        (Some(name), None) if context.target.namespace.is_empty() != context.resource.namespaced => {
            Some(format!("{prefix}{name}"))
        }
        _ => None,
    };
    let snapshot = store.snapshot(one.as_deref().unwrap_or(prefix), at).await;
    let snapshot = snapshot.map_err(|error| failed(error, token.as_ref(), at))?;
    let revision = snapshot.revision();
    let matches = |entry: &Entry| selection.matches_bytes(&context.resource, &entry.value);
    if let Some(key) = one {
        let mut first = snapshot.page(None, Some(1)).entries;
        convert::entries(context.server, &context.resource, &mut first).await?;
        let entry = first.into_iter().filter(|entry| *entry.key == *key && matches(entry));
        let source = Source::Picked(entry.collect::<Vec<_>>().into_iter());
        return Ok(Page { source, revision, next: None, remaining: 0 });
    }
    let mut after = token.as_ref().map(|token| token.after(prefix));
    // What a webhook converts is converted before it is written.
    let limit = limit.or(convert::webhook_of(&context.resource).map(|_| usize::MAX >> 1));
    let Some(limit) = limit else {
        return Ok(Page { source: Source::Held { snapshot, after }, revision, next: None, remaining: 0 });
    };
    let mut picked: Vec<Entry> = Vec::new();
    // One more than asked for tells whether there are more.
    while picked.len() <= limit {
        let room = (limit - picked.len()).saturating_add(1);
        let want = if selection.is_everything() { room.min(BATCH) } else { BATCH };
        let mut batch = snapshot.page(after.as_deref(), Some(want)).entries;
        let Some(last) = batch.last() else { break };
        after = Some(last.key.to_string());
        convert::entries(context.server, &context.resource, &mut batch).await?;
        picked.extend(batch.into_iter().filter(matches).take(room));
        tokio::task::yield_now().await;
    }
    let more = picked.len() > limit;
    picked.truncate(limit);
    let last = picked.last().filter(|_| more).map(|entry| entry.key.clone());
    Ok(Page {
        source: Source::Picked(picked.into_iter()),
        revision,
        remaining: last.as_deref().map_or(0, |last| snapshot.page(Some(last), Some(0)).remaining),
        next: last.map(|last| Token::new(revision, last.strip_prefix(prefix).unwrap_or(&last))),
    })
}

/// The revision a list is to show.
#[derive(Clone, Copy)]
enum Wanted {
    NotOlder(Revision),
    Exactly(Revision),
}

/// 400 for combinations that mean nothing.
fn wanted(context: &Context<'_>, limited: bool, continued: bool) -> Result<Wanted, Status> {
    let query = &context.query;
    let wanted = query.get("resourceVersion");
    let rule = query.get("resourceVersionMatch");
    let forbidden = |text: &str| Err(Status::bad_request(format!("resourceVersionMatch: Forbidden: {text}")));
    if query.flag("sendInitialEvents") {
        return Err(Status::bad_request("sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"));
    }
    match (rule, wanted) {
        (Some(_), _) if continued => forbidden("resourceVersionMatch is forbidden when continue is provided"),
        (None, Some(other)) if continued && other != "0" => {
            Err(Status::bad_request("specifying resource version is not allowed when using continue"))
        }
        (None, _) if continued => Ok(Wanted::NotOlder(Revision(0))),
        (None, None) => Ok(Wanted::NotOlder(Revision(0))),
        (Some(_), None) => forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided"),
        (Some("Exact"), Some("0")) => {
            forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")
        }
        (Some(other), _) if other != "Exact" && other != "NotOlderThan" => Err(Status::bad_request(format!(
            "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\""
        ))),
        (rule, Some(wanted)) => {
            let wanted = revision::parse(wanted)?;
            // A limit without a rule means Exact; that is how clients paged before there were rules.
            let exact = rule == Some("Exact") || rule.is_none() && limited && wanted.0 > 0;
            Ok(if exact { Wanted::Exactly(wanted) } else { Wanted::NotOlder(wanted) })
        }
    }
}

/// Why there is no page.
enum Refused {
    Status(Status),
    /// The continue token's revision is gone; the rest can be had with this one, as it is now.
    Expired(Token),
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Refused::Status(status)
    }
}

fn failed(error: store::Error, token: Option<&Token>, at: Option<Revision>) -> Refused {
    match (error, token) {
        (store::Error::Compacted { .. }, Some(token)) => Refused::Expired(token.inconsistent()),
        (store::Error::Compacted { compacted }, None) => Refused::Status(Status::expired(format!(
            "The resourceVersion for the provided list is too old: {} ({compacted})",
            at.unwrap_or_default()
        ))),
        (store::Error::Future { .. }, Some(_)) => {
            Refused::Status(Status::bad_request("continue key is not valid: its revision has not been written"))
        }
        (store::Error::Future { current }, None) => {
            Refused::Status(Status::too_large_resource_version(at.unwrap_or_default().0, current.0))
        }
        (error, _) => Refused::Status(storage::unavailable(error)),
    }
}

/// 410 with a token to go on with, as the rest is now.
fn expired(token: &Token) -> bytes::Bytes {
    let status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
         results. Continuing with the provided token results in an inconsistent list - objects that were created, \
         modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    let mut value: Value = serde_json::to_value(&status).expect("a Status is plain JSON");
    value["metadata"] = json!({"continue": token.write()});
    storage::write(&value)
}
