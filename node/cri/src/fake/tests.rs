//! The fake behaves as the interface says.

use std::time::Duration;

use super::Fake;
use crate::convert::labels;
use crate::{ExecOutput, RuntimeApi, v1};

fn sandbox(name: &str) -> v1::PodSandboxConfig {
    let metadata = v1::PodSandboxMetadata { name: name.to_owned(), uid: format!("uid-{name}"), ..Default::default() };
    v1::PodSandboxConfig {
        metadata: Some(metadata),
        labels: [(labels::POD_UID.to_owned(), format!("uid-{name}"))].into(),
        ..Default::default()
    }
}

fn container(pod: &str, name: &str, image: &str) -> v1::ContainerConfig {
    v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
        image: Some(v1::ImageSpec { image: image.to_owned(), ..Default::default() }),
        labels: [
            (labels::POD_UID.to_owned(), format!("uid-{pod}")),
            (labels::CONTAINER_NAME.to_owned(), name.to_owned()),
        ]
        .into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_pod_lives_and_dies() {
    let fake = Fake::new();
    fake.publish_image("web:1");
    let config = sandbox("a");
    let id = fake.run_pod_sandbox(&config).await.unwrap();
    assert!(fake.run_pod_sandbox(&config).await.is_err(), "the same attempt twice");
    let absent = fake.create_container(&id, &container("a", "c", "web:1"), &config).await;
    assert!(absent.unwrap_err().is_not_found(), "the image is not here yet");
    fake.pull_image("web:1", None, None).await.unwrap();
    assert!(fake.pull_image("web:2", None, None).await.unwrap_err().message().contains("web:2"));
    let created = fake.create_container(&id, &container("a", "c", "web:1"), &config).await.unwrap();
    assert_eq!(fake.container_id("uid-a", "c"), Some(created.clone()));
    assert!(fake.exec_sync(&created, &[], Duration::ZERO).await.is_err(), "not started");
    fake.start_container(&created).await.unwrap();
    assert!(fake.start_container(&created).await.is_err(), "only once");
    fake.on_exec(&["ls"], ExecOutput { exit_code: 3, ..Default::default() });
    assert_eq!(fake.exec_sync(&created, &["ls".to_owned()], Duration::ZERO).await.unwrap().exit_code, 3);
    assert!(fake.exit(&created, 7));
    assert!(!fake.exit(&created, 8), "it is dead");
    let status = fake.container_status(&created).await.unwrap();
    assert_eq!((status.state(), status.exit_code), (v1::ContainerState::ContainerExited, 7));
    assert!(status.created_at < status.started_at && status.started_at < status.finished_at);
    fake.stop_pod_sandbox(&id).await.unwrap();
    fake.remove_pod_sandbox(&id).await.unwrap();
    fake.remove_pod_sandbox(&id).await.unwrap();
    assert!(fake.container_status(&created).await.unwrap_err().is_not_found());
    assert!(fake.list_pod_sandboxes(v1::PodSandboxFilter::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn failures_are_told_once() {
    let fake = Fake::new();
    fake.fail_next("RunPodSandbox", "no network");
    let error = fake.run_pod_sandbox(&sandbox("a")).await.unwrap_err();
    assert_eq!(error.to_string(), "RunPodSandbox: no network");
    assert!(fake.run_pod_sandbox(&sandbox("a")).await.is_ok());
    assert_eq!(fake.calls(), ["RunPodSandbox a"], "a failed call changes nothing");
}

#[tokio::test]
async fn lists_follow_their_filters() {
    let fake = Fake::new();
    fake.add_image("web:1", Some(33));
    let mut ids = Vec::new();
    for pod in ["a", "b"] {
        let id = fake.run_pod_sandbox(&sandbox(pod)).await.unwrap();
        ids.push(fake.create_container(&id, &container(pod, "c", "web:1"), &sandbox(pod)).await.unwrap());
    }
    fake.start_container(&ids[1]).await.unwrap();
    let listed = async |filter| {
        let found = fake.list_containers(filter).await.unwrap();
        found.into_iter().map(|container| container.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(v1::ContainerFilter::default()).await, ids);
    let label_selector = [(labels::POD_UID.to_owned(), "uid-a".to_owned())].into();
    assert_eq!(listed(v1::ContainerFilter { label_selector, ..Default::default() }).await, ids[..1]);
    let state = Some(v1::ContainerStateValue { state: v1::ContainerState::ContainerRunning.into() });
    assert_eq!(listed(v1::ContainerFilter { state, ..Default::default() }).await, ids[1..]);
    fake.ignore_stop(&ids[1]);
    fake.stop_container(&ids[1], Duration::from_secs(30)).await.unwrap();
    assert_eq!(fake.container_status(&ids[1]).await.unwrap().exit_code, 137);
    let filter = v1::PodSandboxFilter { id: "s1".to_owned(), ..Default::default() };
    fake.kill_sandbox("s1");
    assert_eq!(fake.list_pod_sandboxes(filter).await.unwrap()[0].state(), v1::PodSandboxState::SandboxNotready);
}
