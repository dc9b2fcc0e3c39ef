//! Properties of the machine under any order of answers, crashes of the daemon included: no illegal edge (the machine
//! asserts its tables), never two instances of a container at once, and a deleted pod always ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::support::{at, facts, pod};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pod::lifecycle::Stage;
use pod::{
    Action, Event, Exit, ImageFailure, Observed, ObservedContainer, ObservedSandbox, Phase, ProbeKind, State, step,
};
use proptest::prelude::*;

const PODS: [&str; 5] = [
    "containers: [{name: a, image: x}]",
    "restartPolicy: Never\ncontainers: [{name: a, image: x}, {name: b, image: x}]",
    "restartPolicy: OnFailure\ninitContainers: [{name: i, image: x}]\ncontainers: [{name: a, image: x}]",
    "initContainers: [{name: s, image: x, restartPolicy: Always}, {name: i, image: x}]\ncontainers: [{name: a, image: x}]",
    "containers:\n- name: a\n  image: x\n  livenessProbe: {tcpSocket: {port: 1}, failureThreshold: 1}\n  \
     lifecycle: {postStart: {sleep: {seconds: 1}}, preStop: {sleep: {seconds: 1}}}",
];

#[derive(Clone, Debug, PartialEq)]
enum Instance {
    Created,
    Running,
    Exited(i32),
}

/// A runtime and an API in miniature: actions wait in a list until the test lets one of them happen.
struct World {
    state: State,
    pod: Pod,
    now: i64,
    pending: Vec<Action>,
    sandboxes: BTreeMap<String, bool>,
    containers: BTreeMap<String, (String, String, u32, Instance)>,
    ids: u32,
    in_api: bool,
}

impl World {
    fn new(spec: &str) -> World {
        let pod = pod(spec);
        let state = State::new(Arc::new(pod.clone()), facts());
        let mut world = World {
            state,
            pod,
            now: 0,
            pending: Vec::new(),
            sandboxes: BTreeMap::new(),
            containers: BTreeMap::new(),
            ids: 0,
            in_api: true,
        };
        world.feed(Event::Tick);
        world
    }

    fn feed(&mut self, event: Event) {
        let (state, actions) = step(&self.state, event, at(self.now));
        self.state = state;
        for action in actions {
            match action {
                Action::UpdateStatus(status) => self.pod.status = Some(*status),
                Action::Emit(_) | Action::WakeAt(_) | Action::StartProbe { .. } | Action::StopProbe { .. } => {}
                other => self.pending.push(other),
            }
        }
        self.check();
    }

    fn check(&self) {
        let mut live: BTreeMap<&str, u32> = BTreeMap::new();
        for (_, name, _, instance) in self.containers.values() {
            if *instance == Instance::Running {
                *live.entry(name).or_default() += 1;
            }
        }
        for (name, count) in live {
            assert!(count <= 1, "{count} instances of {name} run at once");
        }
    }

    /// Lets one waiting action happen, well or badly.
    fn act(&mut self, index: usize, luck: bool) {
        let action = self.pending.remove(index);
        let message = "bad luck".to_owned();
        let event = match action {
            Action::PrepareVolumes if luck => Event::VolumesReady,
            Action::PrepareVolumes => Event::VolumesFailed { message },
            Action::TeardownVolumes => Event::VolumesGone,
            Action::RunSandbox { .. } if luck => {
                self.ids += 1;
                let id = format!("s{}", self.ids);
                self.sandboxes.insert(id.clone(), true);
                Event::SandboxReady { id, ips: vec!["10.0.0.7".parse().unwrap()] }
            }
            Action::RunSandbox { .. } => Event::SandboxFailed { message },
            Action::StopSandbox { id } => {
                self.kill_sandbox(&id);
                Event::SandboxStopped { id }
            }
            Action::RemoveSandbox { id } => {
                self.kill_sandbox(&id);
                self.sandboxes.remove(&id);
                self.containers.retain(|_, (sandbox, ..)| *sandbox != id);
                Event::SandboxRemoved { id }
            }
            Action::PullImage { container } if luck => {
                Event::ImagePulled { container, image_id: "i".to_owned(), message }
            }
            Action::PullImage { container } => Event::ImageFailed { container, failure: ImageFailure::Pull, message },
            Action::CreateContainer { container, attempt, sandbox, .. } => {
                if !luck || self.sandboxes.get(&sandbox) != Some(&true) {
                    let reason = "CreateContainerError";
                    return self.feed(Event::ContainerCreateFailed { container, reason, message });
                }
                self.ids += 1;
                let id = format!("c{}", self.ids);
                self.containers.insert(id.clone(), (sandbox, container.clone(), attempt, Instance::Created));
                Event::ContainerCreated { container, id }
            }
            Action::StartContainer { container, id } => {
                let sandbox = self.containers.get(&id).map(|c| c.0.clone()).unwrap_or_default();
                let stands = self.sandboxes.get(&sandbox) == Some(&true);
                let Some(found) = self.containers.get_mut(&id).filter(|_| luck && stands) else {
                    if let Some(found) = self.containers.get_mut(&id) {
                        found.3 = Instance::Exited(128);
                    }
                    return self.feed(Event::ContainerStartFailed { container, id, message });
                };
                found.3 = Instance::Running;
                Event::ContainerStarted { container, id, at: at(self.now) }
            }
            Action::StopContainer { container, id, .. } => {
                if !luck {
                    return self.feed(Event::ContainerStopFailed { container, id, message });
                }
                if let Some(found) = self.containers.get_mut(&id) {
                    found.3 = Instance::Exited(143);
                }
                return self.look();
            }
            Action::RemoveContainer { id } => {
                self.containers.remove(&id);
                return;
            }
            Action::RunPostStart { container, id } => {
                Event::PostStartDone { container, id, failure: (!luck).then_some(message) }
            }
            Action::DeleteFromApi => {
                self.in_api = false;
                Event::PodDeleted
            }
            Action::StartProbe { .. }
            | Action::StopProbe { .. }
            | Action::UpdateStatus(_)
            | Action::Emit(_)
            | Action::WakeAt(_) => return,
        };
        self.feed(event);
    }

    fn kill_sandbox(&mut self, id: &str) {
        if let Some(ready) = self.sandboxes.get_mut(id) {
            *ready = false;
        }
        for (sandbox, _, _, instance) in self.containers.values_mut() {
            if sandbox == id && *instance == Instance::Running {
                *instance = Instance::Exited(137);
            }
        }
    }

    /// Tells the machine what has ended, as the daemon's look at the runtime does.
    fn look(&mut self) {
        let live: Vec<(String, String)> =
            self.state.containers.iter().filter_map(|c| Some((c.name.clone(), c.life.live_id()?.to_owned()))).collect();
        for (container, id) in live {
            match self.containers.get(&id).map(|c| c.3.clone()) {
                Some(Instance::Exited(code)) => {
                    let exit = exit(code, self.now);
                    self.feed(Event::ContainerExited { container, id, exit });
                }
                None => self.feed(Event::ContainerLost { container, id }),
                Some(Instance::Created | Instance::Running) => {}
            }
        }
        if let Some(id) = self.state.sandbox.as_ref().map(|s| s.id.clone())
            && self.sandboxes.get(&id) != Some(&true)
        {
            self.feed(Event::SandboxLost { id });
        }
    }

    fn exit_some(&mut self, index: usize, code: i32) {
        let running = self.containers.values_mut().filter(|c| c.3 == Instance::Running);
        let mut running: Vec<_> = running.collect();
        if !running.is_empty() {
            let index = index % running.len();
            running[index].3 = Instance::Exited(code);
        }
        self.look();
    }

    fn delete(&mut self) {
        self.pod.metadata.deletion_timestamp = Some(Time(at(self.now)));
        self.pod.metadata.deletion_grace_period_seconds = Some(3);
        self.feed(Event::PodUpdated(Arc::new(self.pod.clone())));
    }

    /// The daemon dies and comes back: what it was doing is forgotten, what runs goes on.
    fn restart(&mut self) {
        self.pending.clear();
        let mut observed = Observed::default();
        for (id, ready) in self.sandboxes.iter().rev() {
            let (id, attempt) = (id.clone(), 0);
            observed.sandboxes.push(ObservedSandbox { id, attempt, ready: *ready, ips: Vec::new() });
        }
        observed.sandboxes.sort_by_key(|s| !s.ready);
        for (id, (sandbox, name, attempt, instance)) in &self.containers {
            let phase = match instance {
                Instance::Created => Phase::Created,
                Instance::Running => Phase::Running { started_at: at(0) },
                Instance::Exited(code) => Phase::Exited(exit(*code, self.now)),
            };
            observed.containers.push(ObservedContainer {
                id: id.clone(),
                sandbox: sandbox.clone(),
                name: name.clone(),
                attempt: *attempt,
                image_id: "i".to_owned(),
                phase,
            });
        }
        self.state = State::recover(Arc::new(self.pod.clone()), facts(), observed);
        self.feed(Event::Tick);
    }
}

fn exit(code: i32, now: i64) -> Exit {
    let reason = if code == 0 { "Completed" } else { "Error" }.to_owned();
    Exit { code, signal: None, reason, message: None, started_at: None, finished_at: at(now) }
}

#[derive(Clone, Debug)]
enum Move {
    Act { index: usize, luck: bool },
    Exit { index: usize, code: i32 },
    Wait { seconds: i64 },
    LoseSandbox,
    Probe { success: bool },
    Restart,
    Delete,
    Update,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        12 => (any::<usize>(), proptest::bool::weighted(0.85)).prop_map(|(index, luck)| Move::Act { index, luck }),
        3 => (any::<usize>(), 0..2i32).prop_map(|(index, code)| Move::Exit { index, code }),
        3 => (0..400i64).prop_map(|seconds| Move::Wait { seconds }),
        1 => Just(Move::LoseSandbox),
        1 => any::<bool>().prop_map(|success| Move::Probe { success }),
        1 => Just(Move::Restart),
        1 => Just(Move::Update),
    ];
    let rare = prop_oneof![40 => one, 1 => Just(Move::Delete)];
    proptest::collection::vec(rare, 0..80)
}

fn run(world: &mut World, one: &Move) {
    match one {
        Move::Act { index, luck } if !world.pending.is_empty() => world.act(index % world.pending.len(), *luck),
        Move::Act { .. } => {}
        Move::Exit { index, code } => world.exit_some(*index, *code),
        Move::Wait { seconds } => {
            world.now += seconds;
            world.feed(Event::Tick);
        }
        Move::LoseSandbox => {
            if let Some(id) = world.state.sandbox.as_ref().map(|s| s.id.clone()) {
                world.kill_sandbox(&id);
                world.look();
            }
        }
        Move::Probe { success } => {
            let Some(id) = world.state.container("a").and_then(|c| c.id.clone()) else { return };
            let (container, message) = ("a".to_owned(), "no".to_owned());
            world.feed(Event::ProbeResult { container, id, kind: ProbeKind::Liveness, success: *success, message });
        }
        Move::Restart => world.restart(),
        Move::Delete => world.delete(),
        Move::Update => world.feed(Event::PodUpdated(Arc::new(world.pod.clone()))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_deleted_pod_always_ends_and_leaves_nothing(kind in 0..PODS.len(), moves in moves()) {
        let mut world = World::new(PODS[kind]);
        for one in &moves {
            run(&mut world, one);
        }
        world.delete();
        // From here on everything works; the number of rounds is the bound on how long the end may take.
        for _ in 0..200 {
            while !world.pending.is_empty() {
                world.act(0, true);
            }
            world.look();
            world.now += 60;
            world.feed(Event::Tick);
        }
        prop_assert_eq!(world.state.lifecycle.stage(), Stage::Gone);
        prop_assert!(!world.in_api);
        let ready: Vec<_> = world.sandboxes.iter().filter(|(_, ready)| **ready).collect();
        prop_assert!(ready.is_empty(), "sandboxes left running: {:?}", ready);
        let alive = world.containers.values().filter(|c| c.3 == Instance::Running).count();
        prop_assert_eq!(alive, 0);
    }

    #[test]
    fn a_pod_that_always_restarts_comes_up_again(moves in moves()) {
        let mut world = World::new(PODS[0]);
        for one in moves.iter().filter(|one| !matches!(one, Move::Delete)) {
            run(&mut world, one);
        }
        for _ in 0..50 {
            while !world.pending.is_empty() {
                world.act(0, true);
            }
            world.look();
            world.now += 301;
            world.feed(Event::Tick);
        }
        let running = world.containers.values().filter(|c| c.3 == Instance::Running).count();
        prop_assert_eq!(running, 1);
        prop_assert_eq!(world.pod.status.as_ref().and_then(|s| s.phase.clone()), Some("Running".to_owned()));
    }

    #[test]
    fn a_restarted_daemon_restarts_no_container(kind in 0..PODS.len(), moves in moves()) {
        let mut world = World::new(PODS[kind]);
        for one in &moves {
            run(&mut world, one);
        }
        // An instance whose start or stop was under way may change its fate; running ones may not.
        let settled = |world: &World| {
            world.state.containers.iter().filter(|c| c.life.stage() == pod::lifecycle::LifeStage::Running)
                .filter_map(|c| c.id.clone()).collect::<Vec<_>>()
        };
        let stage = world.state.lifecycle.stage();
        let before = settled(&world);
        world.restart();
        if stage == Stage::Running && world.state.lifecycle.stage() == Stage::Running {
            let after = settled(&world);
            for id in before {
                prop_assert!(after.contains(&id), "{id} was not adopted");
            }
        }
    }
}
