//! A world in memory for tests: it takes the writes of controllers as the API server would, and steps pods as a node
//! would. Everything is deterministic: names, uids, revisions, time.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use api::Key;
use cache::{Change, Kind, Object, View};
use jiff::{SignedDuration, Timestamp};
use reconcile::{Action, Controller, EventRecord, Plan, Write};
use serde_json::{Value, json};

/// Objects with defaults filled in, the time, and a log of what happened.
pub(crate) struct World {
    pub view: View,
    pub now: Timestamp,
    pub log: String,
    names: usize,
    uids: usize,
}

/// How many rounds a world may take to come to rest.
const MAX_ROUNDS: usize = 100;

impl World {
    /// A world with the objects of a YAML stream. What a test does not care about (uid, creation, revision) is made up.
    pub fn new(yaml: &str) -> World {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let mut world = World { view: View::default(), now, log: String::new(), names: 0, uids: 0 };
        world.apply(yaml);
        world
    }

    /// Creates or replaces objects.
    pub fn apply(&mut self, yaml: &str) {
        let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).expect("the test's YAML parses");
        for document in documents.into_iter().filter(|document| !document.is_null()) {
            self.put(document);
        }
    }

    /// Changes one object by a merge patch; a change of its spec is a new generation.
    pub fn patch(&mut self, kind: Kind, key: &str, patch: Value) {
        let key: Key = key.parse().expect("a key");
        let old = self.view.object(kind, &key).expect("the object to patch is there").to_value();
        self.put(with_generation(api::patch::merge::apply(&old, &patch), &old));
    }

    pub fn remove(&mut self, kind: Kind, key: &str) {
        self.view.revision.0 += 1;
        self.view.remove(kind, &key.parse().expect("a key"));
    }

    pub fn sleep(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// Reconciles one key and prints the plan without carrying it out.
    pub fn plan(&self, controller: &dyn Controller, key: &str) -> String {
        let plan = controller.reconcile(&key.parse().expect("a key"), &self.view, self.now);
        render(&plan, self.now)
    }

    /// Lets controllers work, round by round, until none writes; the log says what each did.
    pub fn settle(&mut self, controllers: &[&dyn Controller]) {
        self.settle_in_order(controllers, |_| {});
    }

    /// The same, with the keys of each round in another order.
    pub fn settle_in_order(&mut self, controllers: &[&dyn Controller], order: impl Fn(&mut Vec<(usize, Key)>)) {
        for _ in 0..MAX_ROUNDS {
            if !self.round(controllers, &order) {
                return;
            }
        }
        panic!("no fixpoint after {MAX_ROUNDS} rounds:\n{}", self.log);
    }

    /// One look of every controller at each of its keys, each on the View after the write before it.
    pub fn round(&mut self, controllers: &[&dyn Controller], order: &impl Fn(&mut Vec<(usize, Key)>)) -> bool {
        let empty = View::default();
        let changes: Vec<Change> = self.view.changes_since(&empty).collect();
        let mut keys: Vec<(usize, Key)> = Vec::new();
        for (index, controller) in controllers.iter().enumerate() {
            let set: BTreeSet<Key> = changes.iter().flat_map(|change| controller.keys(change, &self.view)).collect();
            keys.extend(set.into_iter().map(|key| (index, key)));
        }
        order(&mut keys);
        let mut wrote = false;
        for (index, key) in keys {
            let plan = controllers[index].reconcile(&key, &self.view, self.now);
            wrote |= !plan.writes.is_empty();
            self.carry_out(&plan);
        }
        wrote
    }

    /// Carries a plan out.
    pub fn carry_out(&mut self, plan: &Plan) {
        for write in &plan.writes {
            let name = self.perform(write);
            let shown = match &write.action {
                // Statuses are many and say little.
                Action::UpdateStatus(_) => continue,
                _ => describe(write, &name),
            };
            let _ = writeln!(self.log, "{shown}");
            if let Some(event) = &write.on_success {
                let _ = writeln!(self.log, "  {}", show_event(&event.filled(&name)));
            }
        }
        for event in &plan.events {
            let _ = writeln!(self.log, "  {}", show_event(event));
        }
    }

    /// What a node does: bound or not, new pods run and are ready; pods that are being deleted go.
    pub fn run_pods(&mut self) {
        for key in self.view.tables.keys(Kind::Pod, None) {
            self.run_pod(&key);
        }
    }

    pub fn run_pod(&mut self, key: &Key) {
        let Some(pod) = self.view.object(Kind::Pod, key) else { return };
        if pod.is_deleting() {
            self.view.revision.0 += 1;
            self.view.remove(Kind::Pod, key);
            return;
        }
        let mut pod = pod.to_value();
        if pod.pointer("/status/phase").is_some() {
            return;
        }
        pod["status"] = json!({"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": api::time::format(self.now)},
        ]});
        self.put(pod);
    }

    /// Takes the log.
    pub fn take_log(&mut self) -> String {
        std::mem::take(&mut self.log)
    }

    fn put(&mut self, mut object: Value) {
        self.view.revision.0 += 1;
        let revision = self.view.revision;
        let meta = object["metadata"].as_object_mut().expect("an object has metadata");
        let name = meta.get("name").and_then(Value::as_str).map(str::to_owned).expect("an object has a name");
        meta.entry("uid").or_insert_with(|| json!(format!("uid-{name}")));
        meta.entry("creationTimestamp").or_insert_with(|| json!(api::time::format(self.now)));
        meta.entry("generation").or_insert(json!(1));
        let kind = object["kind"].as_str().expect("an object has a kind");
        let api_version = object["apiVersion"].as_str().expect("an object has an apiVersion");
        let kind = Kind::from_api_version(api_version, kind).expect("the View holds the kind");
        if kind.namespaced() {
            object["metadata"].as_object_mut().expect("metadata").entry("namespace").or_insert(json!("default"));
        }
        let bytes = serde_json::to_vec(&object).expect("JSON");
        self.view.insert(Object::decode(kind, &bytes, revision).expect("the test's object is of its kind"));
    }

    /// Carries one write out and gives the name of the object written.
    fn perform(&mut self, write: &Write) -> String {
        let gvr = &write.target.gvr;
        let Some(kind) = Kind::from_resource(&gvr.group, &gvr.resource) else { return String::new() };
        let key = &write.target.key;
        let current = || self.view.object(kind, key).unwrap_or_else(|| panic!("{write}: not there")).to_value();
        match &write.action {
            Action::Create(body) => return self.create(kind, body.clone()),
            Action::Update(body) => {
                let old = current();
                assert_eq!(
                    body.pointer("/metadata/resourceVersion"),
                    old.pointer("/metadata/resourceVersion"),
                    "{write}"
                );
                self.put(with_generation(body.clone(), &old));
            }
            Action::UpdateStatus(body) => {
                let mut object = current();
                object["status"] = body["status"].clone();
                object["metadata"]["annotations"] = body["metadata"]["annotations"].clone();
                self.put(object);
            }
            Action::Patch(body) => {
                let old = current();
                for precondition in ["/metadata/uid", "/metadata/resourceVersion"] {
                    if let Some(wanted) = body.pointer(precondition).filter(|wanted| !wanted.is_null()) {
                        assert_eq!(Some(wanted), old.pointer(precondition), "{write}: {precondition}");
                    }
                }
                self.put(with_generation(api::patch::merge::apply(&old, body), &old));
                self.drop_if_released(kind, key);
            }
            Action::PatchStatus(body) => self.put(api::patch::merge::apply(&current(), body)),
            Action::Delete(preconditions) => {
                let mut object = current();
                if let Some(uid) = &preconditions.uid {
                    assert_eq!(object["metadata"]["uid"], json!(uid), "{write}");
                }
                let propagation = preconditions.propagation.map(reconcile::Propagation::as_str);
                let finalizer = match propagation {
                    Some("Foreground") => Some("foregroundDeletion"),
                    Some("Orphan") => Some("orphan"),
                    _ => None,
                };
                if let Some(finalizer) = finalizer {
                    let finalizers = object["metadata"].as_object_mut().expect("metadata").entry("finalizers");
                    let finalizers = finalizers.or_insert(json!([])).as_array_mut().expect("a list");
                    if !finalizers.contains(&json!(finalizer)) {
                        finalizers.push(json!(finalizer));
                    }
                }
                let graceful = kind == Kind::Pod && preconditions.grace_seconds != Some(0);
                let held = object.pointer("/metadata/finalizers/0").is_some();
                if graceful || held {
                    object["metadata"]["deletionTimestamp"] = json!(api::time::format(self.now));
                    self.put(object);
                } else {
                    self.view.revision.0 += 1;
                    self.view.remove(kind, key);
                }
            }
            Action::DeleteCollection => {}
            Action::Finalize { .. } => {
                self.view.revision.0 += 1;
                self.view.remove(kind, key);
            }
        }
        key.name.clone()
    }

    fn create(&mut self, kind: Kind, mut object: Value) -> String {
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.name());
        let meta = object["metadata"].as_object_mut().expect("an object has metadata");
        if let Some(prefix) = meta.get("generateName").and_then(Value::as_str).map(str::to_owned) {
            self.names += 1;
            meta.entry("name").or_insert_with(|| json!(format!("{prefix}{}", self.names)));
        }
        self.uids += 1;
        let name = meta["name"].as_str().expect("a name").to_owned();
        meta.insert("uid".to_owned(), json!(format!("uid-{name}-{}", self.uids)));
        let key = Key::new(meta.get("namespace").and_then(Value::as_str).unwrap_or_default(), &name);
        assert!(self.view.object(kind, &key).is_none(), "create {key}: already there");
        self.put(object);
        name
    }

    fn drop_if_released(&mut self, kind: Kind, key: &Key) {
        let object = self.view.object(kind, key).expect("it was just written");
        let meta = object.meta();
        if meta.deletion_timestamp.is_some() && meta.finalizers.as_ref().is_none_or(Vec::is_empty) {
            self.view.revision.0 += 1;
            self.view.remove(kind, key);
        }
    }
}

/// The keys that a change from `old` to the present View gives.
pub(crate) fn keys(controller: &dyn Controller, old: &View, new: &View) -> Vec<String> {
    let changes: Vec<Change> = new.changes_since(old).collect();
    let keys: BTreeSet<Key> = changes.iter().flat_map(|change| controller.keys(change, new)).collect();
    keys.iter().map(Key::to_string).collect()
}

fn with_generation(mut new: Value, old: &Value) -> Value {
    if new.get("spec") != old.get("spec") {
        let generation = old.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(1);
        new["metadata"]["generation"] = json!(generation + 1);
    }
    new
}

/// A plan as text: each write with its body, revisions and empty fields left out.
pub(crate) fn render(plan: &Plan, now: Timestamp) -> String {
    let mut text = String::new();
    for write in &plan.writes {
        let _ = writeln!(text, "{}", describe(write, &write.target.key.name));
        for event in write.on_success.iter() {
            let _ = writeln!(text, "  {}", show_event(event));
        }
    }
    for event in &plan.events {
        let _ = writeln!(text, "  {}", show_event(event));
    }
    if let Some(at) = plan.requeue_at {
        let _ = writeln!(text, "again in {}s", at.duration_since(now).as_secs());
    }
    text
}

fn describe(write: &Write, name: &str) -> String {
    let body = match &write.action {
        Action::Patch(body) | Action::PatchStatus(body) => {
            let mut body = body.clone();
            if let Some(meta) = body.get_mut("metadata").and_then(Value::as_object_mut) {
                meta.remove("uid");
                meta.remove("resourceVersion");
                if meta.is_empty() {
                    body.as_object_mut().expect("an object").remove("metadata");
                }
            }
            format!(" {body}")
        }
        Action::Delete(preconditions) => {
            let propagation = preconditions.propagation.map(|propagation| format!(" {}", propagation.as_str()));
            let grace = preconditions.grace_seconds.map(|seconds| format!(" grace {seconds}"));
            format!("{}{}", propagation.unwrap_or_default(), grace.unwrap_or_default())
        }
        Action::Create(_) if write.target.key.name.is_empty() && !name.is_empty() => format!(" -> {name}"),
        Action::Create(_)
        | Action::Update(_)
        | Action::UpdateStatus(_)
        | Action::DeleteCollection
        | Action::Finalize { .. } => String::new(),
    };
    format!("{write}{body}")
}

fn show_event(event: &EventRecord) -> String {
    let kind = event.regarding.kind.as_deref().unwrap_or_default();
    let name = event.regarding.name.as_deref().unwrap_or_default();
    format!("[{:?} {kind}/{name} {}] {}", event.type_, event.reason, event.message)
}
