//! What the kernel and our rights offer, tried for real in a scratch network namespace.
//!
//! A trial makes the kernel load the module that it needs, as using the feature would.
mod devices;
mod machine;
mod programs;
mod table;

use nix::sched::{CloneFlags, unshare};

use crate::netlink::Netlink;

/// A feature that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub feature: &'static str,
    /// What was tried and how it failed.
    pub reason: String,
    /// What to do about it.
    pub fix: &'static str,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; {}", self.feature, self.reason, self.fix)
    }
}

/// How much Gannet depends on a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// No node starts without it.
    Required,
    /// Something is slower, or is not there; [`Feature::without`] says what.
    Optional,
}

/// Something that Gannet uses, or would, and whether it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    pub name: &'static str,
    pub need: Need,
    /// How the trial failed; none if the feature is here.
    pub absent: Option<String>,
    /// What Gannet does when it is absent.
    pub without: &'static str,
    /// What brings it.
    pub fix: &'static str,
}

/// A feature and how to try it.
struct Trial {
    name: &'static str,
    need: Need,
    without: &'static str,
    fix: &'static str,
    run: fn(&Scratch) -> Result<(), String>,
}

/// The namespace that trials share: a veth pair by the names of `devices` if the kernel has veth.
struct Scratch {
    netlink: Result<Netlink, String>,
}

/// Everything a node needs that is not there; empty when it can start.
pub fn probe() -> Vec<Missing> {
    let required = table::TRIALS.iter().filter(|trial| trial.need == Need::Required);
    let absent =
        |feature: Feature| feature.absent.map(|reason| Missing { feature: feature.name, reason, fix: feature.fix });
    try_all(required.collect()).into_iter().filter_map(absent).collect()
}

/// Tries every feature, in the order of a report.
pub fn features() -> Vec<Feature> {
    try_all(table::TRIALS.iter().collect())
}

/// The namespace is that of a thread, and dies with it.
fn try_all(trials: Vec<&'static Trial>) -> Vec<Feature> {
    let on_thread = trials.clone();
    let outcomes = std::thread::spawn(move || {
        let scratch = Scratch {
            netlink: unshare(CloneFlags::CLONE_NEWNET).map_err(text).and_then(|()| Netlink::here().map_err(text)),
        };
        on_thread.iter().map(|trial| (trial.run)(&scratch).err()).collect::<Vec<_>>()
    });
    let outcomes = outcomes.join().unwrap_or_else(|_| vec![Some("the trial died: a bug".to_owned()); trials.len()]);
    let feature = |(trial, absent): (&Trial, Option<String>)| Feature {
        name: trial.name,
        need: trial.need,
        absent,
        without: trial.without,
        fix: trial.fix,
    };
    trials.into_iter().zip(outcomes).map(feature).collect()
}

impl Scratch {
    fn netlink(&self) -> Result<&Netlink, String> {
        self.netlink.as_ref().map_err(Clone::clone)
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests;
