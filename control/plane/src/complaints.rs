//! Tells the authors of the cluster's policies what of them the fabric does not understand: an Event beside the log's line, so that
//! `kubectl describe` shows it.

use std::collections::BTreeSet;

use api::Key;
use cache::{Kind, View};
use client::Client;
use fabric::policy::Warning;
use reconcile::EventRecord;

use crate::execute::Events;

/// Reason of the Events.
const REASON: &str = "NotUnderstood";
const COMPONENT: &str = "fabric";

/// What has been told.
pub struct Complaints {
    events: Events,
    told: BTreeSet<String>,
}

impl Complaints {
    /// Tells by this client.
    pub fn new(client: Client) -> Complaints {
        Complaints { events: Events::new(client, COMPONENT), told: BTreeSet::new() }
    }

    /// Records an Event for each warning that has come since the last call.
    pub fn tell(&mut self, view: &View, warnings: &[Warning]) {
        let now: BTreeSet<String> = warnings.iter().map(ToString::to_string).collect();
        let new = warnings.iter().filter(|warning| !self.told.contains(&warning.to_string()));
        let records: Vec<EventRecord> = new.filter_map(|warning| record(view, warning)).collect();
        self.told = now;
        if records.is_empty() {
            return;
        }
        let events = self.events.clone();
        // Nobody who waits for the fabric waits for this.
        process::spawn("fabric.complaints", async move {
            for record in &records {
                events.record(record).await;
            }
        });
    }
}

/// `None` if the policy has gone meanwhile.
fn record(view: &View, warning: &Warning) -> Option<EventRecord> {
    let (kind, name) = warning.policy.split_once(' ')?;
    let kinds = [Kind::AdminNetworkPolicy, Kind::BaselineAdminNetworkPolicy, Kind::ClusterNetworkPolicy];
    let kind = kinds.into_iter().find(|known| known.name() == kind)?;
    let object = view.object(kind, &Key::new("", name))?;
    Some(EventRecord::warning_for(object, REASON, warning.to_string()))
}
