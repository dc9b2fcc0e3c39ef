//! What is known of every object without decoding it: read once, when the object comes, in one pass over its bytes that
//! copies nothing but what is kept. Indexes are made of it, and it is what control loops look at first.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::Kind;
use crate::selector::LabelSet;
use crate::uid::Uid;

/// What is known of an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Facts {
    pub uid: Uid,
    pub owners: Box<[Owner]>,
    /// Whether it has a deletionTimestamp.
    pub deleting: bool,
    /// Of the kinds that are asked by label: see [`has_labels`].
    pub labels: Option<Arc<LabelSet>>,
    /// Where the index has what the object selects pods (or ReplicaSets) by.
    pub selects: Option<Pair>,
    pub special: Special,
}

/// An owner that an object names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub uid: Uid,
    pub controller: bool,
}

/// What is known of some kinds only.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Special {
    None,
    Pod(PodFacts),
    Node(NodeFacts),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PodFacts {
    /// The node that it is bound to.
    pub node: Option<Arc<str>>,
    /// Whether its phase is Succeeded or Failed.
    pub ended: bool,
    /// Whether it has a DisruptionTarget condition.
    pub disrupted: bool,
    pub ready: Ready,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeFacts {
    /// Whether it has a taint that evicts.
    pub evicts: bool,
    pub ready: Ready,
}

/// What an object's Ready condition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// There is none.
    Unsaid,
    /// It is `True`, since then.
    Yes(Option<Timestamp>),
    /// It is `Unknown`.
    Unknown,
    /// It is anything else.
    No,
}

/// A place in the index of pairs: a hash of kind, namespace, key and value. What is found there is compared again.
pub(crate) type Pair = u64;

/// In which role a pair is in the index.
#[derive(Clone, Copy)]
pub(crate) enum Role {
    /// The object has the label.
    Has = 1,
    /// The object selects by the label.
    Selects = 2,
    /// The object selects in its namespace, by no label.
    SelectsAny = 3,
}

/// Whether objects of this kind are found by their labels.
pub(crate) fn has_labels(kind: Kind) -> bool {
    matches!(kind, Kind::Pod | Kind::ReplicaSet | Kind::EndpointSlice)
}

/// FNV-1a.
pub(crate) fn pair(role: Role, kind: Kind, namespace: &str, key: &str, value: &str) -> Pair {
    let head = [role as u8, kind as u8];
    // No label and no namespace has such a byte.
    let parts = [&head[..], namespace.as_bytes(), &[0xff], key.as_bytes(), &[0xff], value.as_bytes()];
    parts
        .into_iter()
        .flatten()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Reads the facts of an object's bytes.
///
/// # Errors
/// When they are not JSON, or not of an object's form.
pub(crate) fn read(kind: Kind, namespace: &str, bytes: &[u8]) -> Result<Facts, serde_json::Error> {
    match kind {
        Kind::Pod => outline::<PodSpec, Status>(kind, bytes, |facts, spec, status| {
            facts.special = Special::Pod(pod(spec.unwrap_or_default(), status.unwrap_or_default()));
        }),
        Kind::Node => outline::<NodeSpec, Status>(kind, bytes, |facts, spec, status| {
            let mut taints = spec.unwrap_or_default().taints.into_iter().flatten();
            let evicts = taints.any(|taint| text(&taint.effect) == "NoExecute");
            let ready = status.unwrap_or_default().ready();
            facts.special = Special::Node(NodeFacts { evicts, ready });
        }),
        Kind::Service => outline::<ServiceSpec, IgnoredAny>(kind, bytes, |facts, spec, _| {
            // A Service without a selector selects nothing.
            let first = spec.and_then(|spec| spec.selector).and_then(first);
            facts.selects = first.map(|(key, value)| pair(Role::Selects, kind, namespace, &key, &value));
        }),
        Kind::Deployment | Kind::ReplicaSet => outline::<SetSpec, IgnoredAny>(kind, bytes, |facts, spec, _| {
            let labels = spec.and_then(|spec| spec.selector).and_then(|selector| selector.match_labels);
            facts.selects = Some(match labels.and_then(first) {
                Some((key, value)) => pair(Role::Selects, kind, namespace, &key, &value),
                None => pair(Role::SelectsAny, kind, namespace, "", ""),
            });
        }),
        Kind::Namespace
        | Kind::Endpoints
        | Kind::EndpointSlice
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::ServiceAccount
        | Kind::Lease
        | Kind::NetworkPolicy
        | Kind::ClusterRole
        | Kind::AdminNetworkPolicy
        | Kind::BaselineAdminNetworkPolicy
        | Kind::ClusterNetworkPolicy => outline::<IgnoredAny, IgnoredAny>(kind, bytes, |_, _, _| {}),
    }
}

/// An object of which no more is read than is asked for.
#[derive(Deserialize)]
struct Outline<'a, Spec, Status> {
    #[serde(borrow)]
    metadata: Option<Meta<'a>>,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    #[serde(borrow)]
    uid: Option<Text<'a>>,
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(borrow)]
    owner_references: Option<Vec<Reference<'a>>>,
    #[serde(borrow)]
    labels: Option<Pairs<'a>>,
}

#[derive(Deserialize)]
struct Reference<'a> {
    #[serde(borrow)]
    uid: Option<Text<'a>>,
    controller: Option<bool>,
}

/// A string, borrowed unless it has escapes.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

type Pairs<'a> = BTreeMap<Text<'a>, Text<'a>>;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec<'a> {
    #[serde(borrow)]
    node_name: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
struct NodeSpec<'a> {
    #[serde(borrow)]
    taints: Option<Vec<Taint<'a>>>,
}

#[derive(Deserialize)]
struct Taint<'a> {
    #[serde(borrow)]
    effect: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct ServiceSpec<'a> {
    #[serde(borrow)]
    selector: Option<Pairs<'a>>,
}

#[derive(Deserialize)]
struct SetSpec<'a> {
    #[serde(borrow)]
    selector: Option<Selector<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Selector<'a> {
    #[serde(borrow)]
    match_labels: Option<Pairs<'a>>,
}

#[derive(Default, Deserialize)]
struct Status<'a> {
    #[serde(borrow)]
    phase: Option<Text<'a>>,
    #[serde(borrow)]
    conditions: Option<Vec<Condition<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition<'a> {
    #[serde(borrow, rename = "type")]
    type_: Option<Text<'a>>,
    #[serde(borrow)]
    status: Option<Text<'a>>,
    #[serde(borrow)]
    last_transition_time: Option<Text<'a>>,
}

impl Status<'_> {
    fn ready(&self) -> Ready {
        let mut conditions = self.conditions.iter().flatten();
        let Some(ready) = conditions.find(|condition| text(&condition.type_) == "Ready") else { return Ready::Unsaid };
        match text(&ready.status) {
            "True" => Ready::Yes(text(&ready.last_transition_time).parse().ok()),
            "Unknown" => Ready::Unknown,
            _ => Ready::No,
        }
    }
}

fn outline<'a, Spec: Deserialize<'a>, Status: Deserialize<'a>>(
    kind: Kind,
    bytes: &'a [u8],
    more: impl FnOnce(&mut Facts, Option<Spec>, Option<Status>),
) -> Result<Facts, serde_json::Error> {
    let Outline { metadata, spec, status } = serde_json::from_slice::<Outline<'a, Spec, Status>>(bytes)?;
    let Meta { uid, deletion_timestamp, owner_references, labels } = metadata.unwrap_or_default();
    let owners = owner_references.into_iter().flatten();
    let labels = labels.filter(|labels| has_labels(kind) && !labels.is_empty());
    let mut facts = Facts {
        uid: Uid::of(text(&uid)),
        owners: owners
            .map(|owner| Owner { uid: Uid::of(text(&owner.uid)), controller: owner.controller == Some(true) })
            .collect(),
        deleting: deletion_timestamp.is_some(),
        labels: labels.map(|labels| {
            Arc::new(LabelSet::new(labels.iter().map(|(key, value)| (key.0.as_ref(), value.0.as_ref()))))
        }),
        selects: None,
        special: Special::None,
    };
    more(&mut facts, spec, status);
    Ok(facts)
}

fn pod(spec: PodSpec<'_>, status: Status<'_>) -> PodFacts {
    let mut conditions = status.conditions.iter().flatten();
    PodFacts {
        node: Some(text(&spec.node_name)).filter(|node| !node.is_empty()).map(Arc::from),
        ended: matches!(text(&status.phase), "Succeeded" | "Failed"),
        disrupted: conditions.any(|condition| text(&condition.type_) == "DisruptionTarget"),
        ready: status.ready(),
    }
}

fn text<'a>(text: &'a Option<Text<'_>>) -> &'a str {
    text.as_ref().map_or("", |text| &text.0)
}

fn first<'a>(mut pairs: Pairs<'a>) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
    pairs.pop_first().map(|(key, value)| (key.0, value.0))
}

#[cfg(test)]
mod tests;
