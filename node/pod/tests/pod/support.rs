//! Pods from YAML, scripts of events, and what the machine did in readable lines.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pod::{Action, Event, Exit, Facts, ImageFailure, ProbeKind, State, step};

pub fn facts() -> Arc<Facts> {
    Arc::new(Facts { host_ips: vec!["192.0.2.1".parse().unwrap()], runtime: "containerd".to_owned() })
}

pub fn pod(spec: &str) -> Pod {
    let text = format!("metadata: {{name: p, namespace: d, uid: u}}\nspec:\n{}", indent(spec));
    serde_saphyr::from_str(&text).expect("a pod")
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// The time `seconds` after the start of every script.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// Runs a script, one event a line (`+5` first lets 5 seconds pass), and renders what happened.
pub fn play(spec: &str, script: &str) -> String {
    let mut player = Player::new(State::new(Arc::new(pod(spec)), facts()));
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        player.line(line);
    }
    player.out
}

pub struct Player {
    pub state: State,
    pub out: String,
    now: i64,
    ids: BTreeMap<String, u32>,
}

impl Player {
    pub fn new(state: State) -> Player {
        Player { state, out: String::new(), now: 0, ids: BTreeMap::new() }
    }

    pub fn line(&mut self, line: &str) {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if let Some(seconds) = words[0].strip_prefix('+') {
            self.now += seconds.parse::<i64>().unwrap();
            words.remove(0);
        }
        let event = self.event(&words);
        let _ = writeln!(self.out, "{}", line);
        self.feed(event);
    }

    pub fn feed(&mut self, event: Event) {
        let (state, actions) = step(&self.state, event, at(self.now));
        self.state = state;
        for action in actions {
            if let Some(text) = render(&action, self.now) {
                let _ = writeln!(self.out, "    {text}");
            }
        }
    }

    fn id(&self, container: &str) -> String {
        self.state.container(container).and_then(|c| c.id.clone()).unwrap_or_default()
    }

    fn event(&mut self, words: &[&str]) -> Event {
        let rest = |from: usize| words[from..].join(" ");
        let name = words.get(1).copied().unwrap_or_default().to_owned();
        match words[0] {
            "tick" => Event::Tick,
            "volumes" => match words[1] {
                "ok" => Event::VolumesReady,
                "gone" => Event::VolumesGone,
                _ => Event::VolumesFailed { message: rest(2) },
            },
            "sandbox" => {
                let id = self.state.sandbox.as_ref().map_or("s0".to_owned(), |s| s.id.clone());
                match words[1] {
                    "ok" => {
                        let id = format!("s{}", self.state.sandbox_attempts - 1);
                        Event::SandboxReady { id, ips: vec!["10.0.0.7".parse().unwrap()] }
                    }
                    "lost" => Event::SandboxLost { id },
                    "stopped" => Event::SandboxStopped { id },
                    "removed" => Event::SandboxRemoved { id },
                    _ => Event::SandboxFailed { message: rest(2) },
                }
            }
            "pulled" => {
                Event::ImagePulled { container: name, image_id: "sha256:1".to_owned(), message: "present".to_owned() }
            }
            "pullfail" => Event::ImageFailed { container: name, failure: ImageFailure::Pull, message: rest(2) },
            "created" => {
                let count = self.ids.entry(name.clone()).or_default();
                let id = format!("{name}-{count}");
                *count += 1;
                Event::ContainerCreated { container: name, id }
            }
            "createfail" => {
                Event::ContainerCreateFailed { container: name, reason: "CreateContainerConfigError", message: rest(2) }
            }
            "started" => Event::ContainerStarted { id: self.id(&name), container: name, at: at(self.now) },
            "startfail" => Event::ContainerStartFailed { id: self.id(&name), container: name, message: rest(2) },
            "run" => {
                for verb in ["pulled", "created"] {
                    let event = self.event(&[verb, &name]);
                    self.feed(event);
                }
                self.event(&["started", &name])
            }
            "exited" => {
                let code = words[2].parse().unwrap();
                let reason = if code == 0 { "Completed" } else { "Error" }.to_owned();
                let exit = Exit {
                    code,
                    signal: None,
                    reason,
                    message: None,
                    started_at: Some(at(0)),
                    finished_at: at(self.now),
                };
                Event::ContainerExited { id: self.id(&name), container: name, exit }
            }
            "hook" => {
                let failure = (words[2] != "ok").then(|| rest(2));
                Event::PostStartDone { id: self.id(&name), container: name, failure }
            }
            "probe" => {
                let kind = ProbeKind::ALL.into_iter().find(|k| k.word().to_lowercase() == words[2]).unwrap();
                let (id, success) = (self.id(&name), words[3] == "ok");
                Event::ProbeResult { container: name, id, kind, success, message: "no".to_owned() }
            }
            "delete" => {
                let mut pod = (*self.state.pod).clone();
                pod.metadata.deletion_timestamp = Some(Time(at(self.now)));
                pod.metadata.deletion_grace_period_seconds = words.get(1).map(|s| s.parse().unwrap()).or(Some(30));
                Event::PodUpdated(Arc::new(pod))
            }
            "image" => {
                let mut pod = (*self.state.pod).clone();
                pod.spec.as_mut().unwrap().containers[0].image = Some(name);
                Event::PodUpdated(Arc::new(pod))
            }
            "gone" => Event::PodDeleted,
            "reject" => Event::Rejected { reason: "OutOfcpu".to_owned(), message: "no room".to_owned() },
            other => panic!("no event {other}"),
        }
    }
}

/// One line an action; events and harmless wake-ups are left out.
fn render(action: &Action, _now: i64) -> Option<String> {
    Some(match action {
        Action::UpdateStatus(status) => summary(status),
        Action::Emit(note) => format!("event {}: {}", note.reason, note.message),
        Action::WakeAt(time) => format!("wake at {}", time.duration_since(at(0)).as_secs()),
        Action::StartProbe { container, kind, .. } => format!("start {} probe of {container}", kind.word()),
        Action::StopProbe { container, kind } => format!("stop {} probe of {container}", kind.word()),
        Action::PrepareVolumes => "prepare volumes".to_owned(),
        Action::TeardownVolumes => "tear volumes down".to_owned(),
        Action::RunSandbox { attempt } => format!("run sandbox {attempt}"),
        Action::StopSandbox { id } => format!("stop sandbox {id}"),
        Action::RemoveSandbox { id } => format!("remove sandbox {id}"),
        Action::PullImage { container } => format!("pull for {container}"),
        Action::CreateContainer { container, attempt, sandbox, .. } => {
            format!("create {container} #{attempt} in {sandbox}")
        }
        Action::StartContainer { id, .. } => format!("start {id}"),
        Action::StopContainer { id, grace_seconds, pre_stop, .. } => {
            format!("stop {id} grace {grace_seconds}{}", if *pre_stop { " after preStop" } else { "" })
        }
        Action::RemoveContainer { id } => format!("remove {id}"),
        Action::RunPostStart { id, .. } => format!("postStart {id}"),
        Action::DeleteFromApi => "delete from API".to_owned(),
    })
}

/// Phase, conditions that hold, containers.
pub fn summary(status: &PodStatus) -> String {
    let mut out = format!("status {}", status.phase.as_deref().unwrap_or("?"));
    if let Some(reason) = &status.reason {
        let _ = write!(out, " ({reason})");
    }
    if let Some(ip) = &status.pod_ip {
        let _ = write!(out, " ip {ip}");
    }
    let hold = status.conditions.iter().flatten().filter(|c| c.status == "True").map(|c| match c.type_.as_str() {
        "PodReadyToStartContainers" => "Sandbox".to_owned(),
        other => other.to_owned(),
    });
    let _ = write!(out, " [{}]", hold.collect::<Vec<_>>().join(" "));
    for c in status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten()) {
        let _ = write!(out, " {}={}", c.name, container_state(c.state.as_ref()));
        if let Some(last) = c.last_state.as_ref().filter(|s| s.terminated.is_some()) {
            let _ = write!(out, "(last {})", container_state(Some(last)));
        }
        if c.restart_count > 0 {
            let _ = write!(out, " x{}", c.restart_count);
        }
    }
    out
}

fn container_state(state: Option<&ContainerState>) -> String {
    let Some(state) = state else { return "none".to_owned() };
    if let Some(waiting) = &state.waiting {
        waiting.reason.clone().unwrap_or_default()
    } else if state.running.is_some() {
        "running".to_owned()
    } else if let Some(ended) = &state.terminated {
        format!("{}:{}", ended.reason.as_deref().unwrap_or_default(), ended.exit_code)
    } else {
        "none".to_owned()
    }
}
