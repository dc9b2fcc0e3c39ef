use super::*;
use crate::{Transport, body};
use bytes::Bytes;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

/// Answers requests from a script and writes down what was asked.
struct Script {
    answers: Mutex<VecDeque<(u16, String)>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Transport for Script {
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'static, Result<http::Response<Body>, Error>> {
        let query = request.uri().query().unwrap_or_default();
        let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("timeoutSeconds")).collect();
        self.asked.lock().unwrap().push(kept.join("&"));
        let answer = self.answers.lock().unwrap().pop_front();
        Box::pin(async move {
            let (code, text) = match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            };
            if code == 0 {
                return Err(Error::Transport("connection refused".into()));
            }
            Ok(http::Response::builder().status(code).body(body::full(text)).unwrap())
        })
    }
}

fn pod(name: &str, revision: u64) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": revision.to_string()}})
}

fn list(revision: u64, token: &str, items: &[Value]) -> (u16, String) {
    (200, json!({"metadata": {"resourceVersion": revision.to_string(), "continue": token}, "items": items}).to_string())
}

fn events(events: &[(&str, Value)]) -> (u16, String) {
    (200, events.iter().map(|(kind, object)| json!({"type": kind, "object": object}).to_string() + "\n").collect())
}

fn status(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": if code == 410 { "Expired" } else { "InternalError" }, "message": "m"})
}

/// Runs the script and renders the first `count` items told, one a line, and what was asked for.
async fn run(answers: Vec<(u16, String)>, count: usize) -> (Vec<String>, Vec<String>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let script = Script { answers: Mutex::new(answers.into()), asked: asked.clone() };
    let client = Client::new(Arc::new(script));
    let told = client
        .watch_value(&Gvr::new("", "v1", "pods"), "", &ListParams::all())
        .take(count)
        .map(|item| match item {
            Watched::Restarted(items, revision) => {
                let names: Vec<&str> = items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
                format!("restarted {} at {revision}", names.join(","))
            }
            Watched::Applied(object) => format!("applied {}", object["metadata"]["name"].as_str().unwrap()),
            Watched::Deleted(object) => format!("deleted {}", object["metadata"]["name"].as_str().unwrap()),
            Watched::Bookmark(revision) => format!("bookmark {revision}"),
        })
        .collect()
        .await;
    let asked = asked.lock().unwrap().clone();
    (told, asked)
}

#[tokio::test(start_paused = true)]
async fn pages_are_one_list_and_the_watch_goes_on_from_it() {
    let (told, asked) = run(
        vec![
            list(7, "next", &[pod("a", 3)]),
            list(7, "", &[pod("b", 4)]),
            events(&[("ADDED", pod("c", 8)), ("BOOKMARK", pod("", 9)), ("DELETED", pod("a", 10))]),
            events(&[("MODIFIED", pod("b", 11))]),
        ],
        5,
    )
    .await;
    assert_eq!(told, ["restarted a,b at 7", "applied c", "bookmark 9", "deleted a", "applied b"]);
    assert_eq!(
        asked,
        [
            "limit=500",
            "limit=500&continue=next",
            "watch=true&allowWatchBookmarks=true&resourceVersion=7",
            "watch=true&allowWatchBookmarks=true&resourceVersion=10",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_compacted_revision_means_a_new_list() {
    let (told, _) = run(
        vec![
            list(7, "", &[]),
            events(&[("ADDED", pod("a", 8)), ("ERROR", status(410))]),
            list(20, "", &[pod("b", 20)]),
            (410, status(410).to_string()),
            list(30, "", &[]),
        ],
        4,
    )
    .await;
    assert_eq!(told, ["restarted  at 7", "applied a", "restarted b at 20", "restarted  at 30"]);
}

#[tokio::test(start_paused = true)]
async fn trouble_is_tried_again_from_the_same_place() {
    let refused = || (0, String::new());
    let (told, asked) = run(
        vec![
            refused(),
            (503, "busy".into()),
            list(7, "", &[]),
            refused(),
            (500, status(500).to_string()),
            events(&[("ADDED", pod("a", 8))]),
        ],
        2,
    )
    .await;
    assert_eq!(told, ["restarted  at 7", "applied a"]);
    assert_eq!(asked[3..], [asked[3].as_str(); 3]);
}

#[tokio::test(start_paused = true)]
async fn silence_breaks_the_connection() {
    let silent = Body::new(http_body_util::StreamBody::new(futures::stream::pending()));
    let mut lines = Lines::new(silent);
    assert!(tokio::time::timeout(SILENCE_LIMIT, lines.next()).await.is_err());
}
