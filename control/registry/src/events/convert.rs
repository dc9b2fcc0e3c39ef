//! Between the two views of an event: same object, renamed fields.

use serde_json::Value;

use crate::Conversion;

/// Field in `events.k8s.io`, field in the core group (the stored one).
const RENAMED: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

/// `events.k8s.io` is a view of the core group's events.
pub static CONVERSION: Conversion = Conversion { to_storage, from_storage };

fn to_storage(event: &mut Value) {
    rename(event, "v1", RENAMED);
}

fn from_storage(event: &mut Value) {
    rename(event, "events.k8s.io/v1", RENAMED.map(|(new, core)| (core, new)));
}

fn rename(event: &mut Value, api_version: &str, names: [(&str, &str); 7]) {
    let Some(map) = event.as_object_mut() else { return };
    map.insert("apiVersion".to_owned(), api_version.into());
    for (from, to) in names {
        if let Some(value) = map.remove(from) {
            map.insert(to.to_owned(), value);
        }
    }
}
