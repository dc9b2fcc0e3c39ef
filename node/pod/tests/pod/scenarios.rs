//! Scripts of events, and everything the machine does about them.

use crate::support::play;
use expect_test::{Expect, expect};

fn check(spec: &str, script: &str, expected: Expect) {
    expected.assert_eq(&play(spec, script));
}

const WEB: &str = "containers: [{name: web, image: w}]";

#[test]
fn a_pod_starts_and_is_deleted() {
    check(
        WEB,
        "tick\nvolumes ok\nsandbox ok\npulled web\ncreated web\nstarted web\n+5 delete\n+1 exited web 143\n\
         sandbox stopped\nsandbox removed\nvolumes gone\ngone",
        expect![[r#"
            tick
                status Pending [Initialized] web=ContainerCreating
                prepare volumes
            volumes ok
                run sandbox 0
            sandbox ok
                status Pending ip 10.0.0.7 [Sandbox Initialized] web=ContainerCreating
                pull for web
            pulled web
                event Pulled: present
                create web #0 in s0
            created web
                status Pending ip 10.0.0.7 [Sandbox Initialized] web=ContainerCreating
                event Created: Created container: web
                start web-0
            started web
                status Running ip 10.0.0.7 [Sandbox Initialized Ready ContainersReady] web=running
                event Started: Started container web
            +5 delete
                status Running ip 10.0.0.7 [Sandbox Initialized Ready ContainersReady] web=running
                event Killing: Stopping container web
                stop web-0 grace 30
            +1 exited web 143
                status Failed ip 10.0.0.7 [Sandbox Initialized] web=Error:143
                stop sandbox s0
            sandbox stopped
                status Failed ip 10.0.0.7 [Initialized] web=Error:143
                remove sandbox s0
            sandbox removed
                tear volumes down
            volumes gone
                delete from API
            gone
        "#]],
    );
}

#[test]
fn a_crashing_container_backs_off_from_ten_seconds_doubling() {
    check(
        WEB,
        "tick\nvolumes ok\nsandbox ok\nrun web\n+1 exited web 1\nrun web\n+1 exited web 1\n+9 tick\n+1 tick\nrun web\n\
         +1 exited web 1\n+20 tick",
        expect![[r#"
            tick
                status Pending [Initialized] web=ContainerCreating
                prepare volumes
            volumes ok
                run sandbox 0
            sandbox ok
                status Pending ip 10.0.0.7 [Sandbox Initialized] web=ContainerCreating
                pull for web
                event Pulled: present
                create web #0 in s0
                status Pending ip 10.0.0.7 [Sandbox Initialized] web=ContainerCreating
                event Created: Created container: web
                start web-0
            run web
                status Running ip 10.0.0.7 [Sandbox Initialized Ready ContainersReady] web=running
                event Started: Started container web
            +1 exited web 1
                status Running ip 10.0.0.7 [Sandbox Initialized] web=Error:1
                pull for web
                event Pulled: present
                create web #1 in s0
                status Running ip 10.0.0.7 [Sandbox Initialized] web=Error:1 x1
                event Created: Created container: web
                start web-1
            run web
                status Running ip 10.0.0.7 [Sandbox Initialized Ready ContainersReady] web=running(last Error:1) x1
                event Started: Started container web
            +1 exited web 1
                status Running ip 10.0.0.7 [Sandbox Initialized] web=CrashLoopBackOff(last Error:1) x1
                event BackOff: Back-off restarting failed container web in pod p_d(u)
                wake at 12
            +9 tick
            +1 tick
                pull for web
                event Pulled: present
                create web #2 in s0
                status Running ip 10.0.0.7 [Sandbox Initialized] web=CrashLoopBackOff(last Error:1) x2
                remove web-0
                event Created: Created container: web
                start web-2
            run web
                status Running ip 10.0.0.7 [Sandbox Initialized Ready ContainersReady] web=running(last Error:1) x2
                event Started: Started container web
            +1 exited web 1
                status Running ip 10.0.0.7 [Sandbox Initialized] web=CrashLoopBackOff(last Error:1) x2
                event BackOff: Back-off restarting failed container web in pod p_d(u)
                wake at 33
            +20 tick
                pull for web
        "#]],
    );
}

#[test]
fn init_containers_run_in_order_and_a_sidecar_stays() {
    check(
        "initContainers:\n- {name: one, image: i}\n- {name: side, image: s, restartPolicy: Always}\n\
         containers: [{name: web, image: w}]\nrestartPolicy: Never",
        "tick\nvolumes ok\nsandbox ok\nrun one\n+1 exited one 0\nrun side\nrun web\n+9 exited web 0\n+1 exited side 143\n\
         sandbox stopped",
        expect![[r#"
            tick
                status Pending [] one=PodInitializing side=PodInitializing web=PodInitializing
                prepare volumes
            volumes ok
                run sandbox 0
            sandbox ok
                status Pending ip 10.0.0.7 [Sandbox] one=PodInitializing side=PodInitializing web=PodInitializing
                pull for one
                event Pulled: present
                create one #0 in s0
                status Pending ip 10.0.0.7 [Sandbox] one=PodInitializing side=PodInitializing web=PodInitializing
                event Created: Created container: one
                start one-0
            run one
                status Pending ip 10.0.0.7 [Sandbox] one=running side=PodInitializing web=PodInitializing
                event Started: Started container one
            +1 exited one 0
                status Pending ip 10.0.0.7 [Sandbox] one=Completed:0 side=PodInitializing web=PodInitializing
                pull for side
                event Pulled: present
                create side #0 in s0
                status Pending ip 10.0.0.7 [Sandbox] one=Completed:0 side=PodInitializing web=PodInitializing
                event Created: Created container: side
                start side-0
            run side
                status Pending ip 10.0.0.7 [Sandbox Initialized] one=Completed:0 side=running web=PodInitializing
                event Started: Started container side
                pull for web
                event Pulled: present
                create web #0 in s0
                status Pending ip 10.0.0.7 [Sandbox Initialized] one=Completed:0 side=running web=PodInitializing
                event Created: Created container: web
                start web-0
            run web
                status Running ip 10.0.0.7 [Sandbox Initialized Ready ContainersReady] one=Completed:0 side=running web=running
                event Started: Started container web
            +9 exited web 0
                status Succeeded ip 10.0.0.7 [Sandbox Initialized] one=Completed:0 side=running web=Completed:0
                event Killing: Stopping container side
                stop side-0 grace 30
            +1 exited side 143
                status Succeeded ip 10.0.0.7 [Sandbox Initialized] one=Completed:0 side=Error:143 web=Completed:0
                stop sandbox s0
            sandbox stopped
                status Succeeded ip 10.0.0.7 [Initialized] one=Completed:0 side=Error:143 web=Completed:0
        "#]],
    );
}

#[test]
fn a_failed_init_container_fails_a_pod_that_never_restarts() {
    check(
        "initContainers: [{name: one, image: i}]\ncontainers: [{name: web, image: w}]\nrestartPolicy: Never",
        "tick\nvolumes ok\nsandbox ok\nrun one\n+1 exited one 3\nsandbox stopped",
        expect![[r#"
            tick
                status Pending [] one=PodInitializing web=PodInitializing
                prepare volumes
            volumes ok
                run sandbox 0
            sandbox ok
                status Pending ip 10.0.0.7 [Sandbox] one=PodInitializing web=PodInitializing
                pull for one
                event Pulled: present
                create one #0 in s0
                status Pending ip 10.0.0.7 [Sandbox] one=PodInitializing web=PodInitializing
                event Created: Created container: one
                start one-0
            run one
                status Pending ip 10.0.0.7 [Sandbox] one=running web=PodInitializing
                event Started: Started container one
            +1 exited one 3
                status Failed ip 10.0.0.7 [Sandbox] one=Error:3 web=PodInitializing
                stop sandbox s0
            sandbox stopped
                status Failed ip 10.0.0.7 [] one=Error:3 web=PodInitializing
        "#]],
    );
}

#[test]
fn a_missing_image_is_an_error_then_backoff() {
    check(
        WEB,
        "tick\nvolumes ok\nsandbox ok\npullfail web no such host\n+3 tick\n+7 tick\npullfail web no such host\n+20 tick",
        expect![[r#"
            tick
                status Pending [Initialized] web=ContainerCreating
                prepare volumes
            volumes ok
                run sandbox 0
            sandbox ok
                status Pending ip 10.0.0.7 [Sandbox Initialized] web=ContainerCreating
                pull for web
            pullfail web no such host
                status Pending ip 10.0.0.7 [Sandbox Initialized] web=ErrImagePull
                event Failed: Failed to pull image "w": no such host
                event Failed: Error: ErrImagePull
                event BackOff: Back-off pulling image "w"
                wake at 3
            +3 tick
                status Pending ip 10.0.0.7 [Sandbox Initialized] web=ImagePullBackOff
                wake at 10
            +7 tick
                pull for web
            pullfail web no such host
                status Pending ip 10.0.0.7 [Sandbox Initialized] web=ErrImagePull
                event Failed: Failed to pull image "w": no such host
                event Failed: Error: ErrImagePull
                event BackOff: Back-off pulling image "w"
                wake at 13
            +20 tick
                status Pending ip 10.0.0.7 [Sandbox Initialized] web=ImagePullBackOff
                pull for web
        "#]],
    );
}

#[test]
fn probes_decide_started_ready_and_alive() {
    check(
        "containers:\n- name: web\n  image: w\n  startupProbe: {tcpSocket: {port: 1}, failureThreshold: 5}\n  \
         readinessProbe: {tcpSocket: {port: 1}, successThreshold: 2}\n  \
         livenessProbe: {tcpSocket: {port: 1}, failureThreshold: 2, terminationGracePeriodSeconds: 3}",
        "tick\nvolumes ok\nsandbox ok\nrun web\nprobe web startup fail\nprobe web startup ok\nprobe web readiness ok\n\
         probe web readiness ok\nprobe web readiness fail\nprobe web liveness fail\nprobe web liveness fail\n\
         +3 exited web 137",
        expect![[r#"
            tick
                status Pending [Initialized] web=ContainerCreating
                prepare volumes
            volumes ok
                run sandbox 0
            sandbox ok
                status Pending ip 10.0.0.7 [Sandbox Initialized] web=ContainerCreating
                pull for web
                event Pulled: present
                create web #0 in s0
                status Pending ip 10.0.0.7 [Sandbox Initialized] web=ContainerCreating
                event Created: Created container: web
                start web-0
            run web
                status Running ip 10.0.0.7 [Sandbox Initialized] web=running
                event Started: Started container web
                start Startup probe of web
            probe web startup fail
                event Unhealthy: Startup probe failed: no
            probe web startup ok
                status Running ip 10.0.0.7 [Sandbox Initialized] web=running
                stop Startup probe of web
                start Liveness probe of web
                start Readiness probe of web
            probe web readiness ok
            probe web readiness ok
                status Running ip 10.0.0.7 [Sandbox Initialized Ready ContainersReady] web=running
            probe web readiness fail
                event Unhealthy: Readiness probe failed: no
            probe web liveness fail
                event Unhealthy: Liveness probe failed: no
            probe web liveness fail
                event Unhealthy: Liveness probe failed: no
                event Killing: Container web failed liveness probe, will be restarted
                stop web-0 grace 3
                stop Liveness probe of web
            +3 exited web 137
                status Running ip 10.0.0.7 [Sandbox Initialized] web=Error:137
                pull for web
                stop Readiness probe of web
        "#]],
    );
}

#[test]
fn a_lost_sandbox_is_made_again() {
    check(
        WEB,
        "tick\nvolumes ok\nsandbox ok\nrun web\n+5 sandbox lost\nsandbox ok\nrun web",
        expect![[r#"
            tick
                status Pending [Initialized] web=ContainerCreating
                prepare volumes
            volumes ok
                run sandbox 0
            sandbox ok
                status Pending ip 10.0.0.7 [Sandbox Initialized] web=ContainerCreating
                pull for web
                event Pulled: present
                create web #0 in s0
                status Pending ip 10.0.0.7 [Sandbox Initialized] web=ContainerCreating
                event Created: Created container: web
                start web-0
            run web
                status Running ip 10.0.0.7 [Sandbox Initialized Ready ContainersReady] web=running
                event Started: Started container web
            +5 sandbox lost
                status Running [Initialized] web=ContainerCreating(last ContainerStatusUnknown:137)
                event SandboxChanged: Pod sandbox changed, it will be killed and re-created.
                stop sandbox s0
                remove sandbox s0
                run sandbox 1
            sandbox ok
                status Running ip 10.0.0.7 [Sandbox Initialized] web=ContainerStatusUnknown:137
                pull for web
                event Pulled: present
                create web #1 in s1
                status Running ip 10.0.0.7 [Sandbox Initialized] web=ContainerStatusUnknown:137 x1
                event Created: Created container: web
                start web-1
            run web
                status Running ip 10.0.0.7 [Sandbox Initialized Ready ContainersReady] web=running(last ContainerStatusUnknown:137) x1
                event Started: Started container web
        "#]],
    );
}

#[test]
fn deletion_in_the_middle_of_creation_leaves_nothing() {
    check(
        WEB,
        "tick\nvolumes ok\nsandbox ok\npulled web\ndelete\ncreated web\nsandbox stopped\nsandbox removed\nvolumes gone\n\
         gone",
        expect![[r#"
            tick
                status Pending [Initialized] web=ContainerCreating
                prepare volumes
            volumes ok
                run sandbox 0
            sandbox ok
                status Pending ip 10.0.0.7 [Sandbox Initialized] web=ContainerCreating
                pull for web
            pulled web
                event Pulled: present
                create web #0 in s0
            delete
                status Pending ip 10.0.0.7 [Sandbox Initialized] web=ContainerCreating
            created web
                status Failed ip 10.0.0.7 [Sandbox Initialized] web=ContainerStatusUnknown:137
                remove web-0
                stop sandbox s0
            sandbox stopped
                remove sandbox s0
            sandbox removed
                tear volumes down
            volumes gone
                delete from API
            gone
        "#]],
    );
}

#[test]
fn hooks_run_and_a_second_deletion_shortens_the_grace_period() {
    check(
        "containers:\n- name: web\n  image: w\n  lifecycle:\n    postStart: {exec: {command: [a]}}\n    \
         preStop: {exec: {command: [b]}}",
        "tick\nvolumes ok\nsandbox ok\nrun web\nhook web ok\ndelete 30\n+1 delete 2",
        expect![[r#"
            tick
                status Pending [Initialized] web=ContainerCreating
                prepare volumes
            volumes ok
                run sandbox 0
            sandbox ok
                status Pending ip 10.0.0.7 [Sandbox Initialized] web=ContainerCreating
                pull for web
                event Pulled: present
                create web #0 in s0
                status Pending ip 10.0.0.7 [Sandbox Initialized] web=ContainerCreating
                event Created: Created container: web
                start web-0
            run web
                postStart web-0
                event Started: Started container web
            hook web ok
                status Running ip 10.0.0.7 [Sandbox Initialized Ready ContainersReady] web=running
            delete 30
                status Running ip 10.0.0.7 [Sandbox Initialized Ready ContainersReady] web=running
                event Killing: Stopping container web
                stop web-0 grace 30 after preStop
            +1 delete 2
                status Running ip 10.0.0.7 [Sandbox Initialized Ready ContainersReady] web=running
                stop web-0 grace 2
        "#]],
    );
}

#[test]
fn a_rejected_pod_fails_and_goes_when_deleted() {
    check(
        WEB,
        "reject\ndelete\nvolumes gone\ngone",
        expect![[r#"
            reject
                status Failed (OutOfcpu) [Initialized]
                event OutOfcpu: no room
            delete
                status Failed (OutOfcpu) [Initialized]
                tear volumes down
            volumes gone
                delete from API
            gone
        "#]],
    );
}

#[test]
fn a_pod_has_an_end_when_its_deadline_passes() {
    check(
        "activeDeadlineSeconds: 10\ncontainers: [{name: web, image: w}]",
        "tick\nvolumes ok\nsandbox ok\nrun web\n+10 tick\n+1 exited web 143\nsandbox stopped",
        expect![[r#"
            tick
                status Pending [Initialized] web=ContainerCreating
                prepare volumes
            volumes ok
                run sandbox 0
            sandbox ok
                status Pending ip 10.0.0.7 [Sandbox Initialized] web=ContainerCreating
                pull for web
                wake at 10
                event Pulled: present
                create web #0 in s0
                status Pending ip 10.0.0.7 [Sandbox Initialized] web=ContainerCreating
                event Created: Created container: web
                start web-0
            run web
                status Running ip 10.0.0.7 [Sandbox Initialized Ready ContainersReady] web=running
                event Started: Started container web
            +10 tick
                status Failed (DeadlineExceeded) ip 10.0.0.7 [Sandbox Initialized] web=running
                event Killing: Stopping container web
                stop web-0 grace 30
            +1 exited web 143
                status Failed (DeadlineExceeded) ip 10.0.0.7 [Sandbox Initialized] web=Error:143
                stop sandbox s0
            sandbox stopped
                status Failed (DeadlineExceeded) ip 10.0.0.7 [Initialized] web=Error:143
        "#]],
    );
}

#[test]
fn a_changed_image_replaces_the_container() {
    check(
        WEB,
        "tick\nvolumes ok\nsandbox ok\nrun web\nimage w2\n+1 exited web 0\nrun web",
        expect![[r#"
        tick
            status Pending [Initialized] web=ContainerCreating
            prepare volumes
        volumes ok
            run sandbox 0
        sandbox ok
            status Pending ip 10.0.0.7 [Sandbox Initialized] web=ContainerCreating
            pull for web
            event Pulled: present
            create web #0 in s0
            status Pending ip 10.0.0.7 [Sandbox Initialized] web=ContainerCreating
            event Created: Created container: web
            start web-0
        run web
            status Running ip 10.0.0.7 [Sandbox Initialized Ready ContainersReady] web=running
            event Started: Started container web
        image w2
            status Running ip 10.0.0.7 [Sandbox Initialized Ready ContainersReady] web=running
            event Killing: Container web definition changed, will be restarted
            stop web-0 grace 30
        +1 exited web 0
            status Running ip 10.0.0.7 [Sandbox Initialized] web=Completed:0
            pull for web
            event Pulled: present
            create web #1 in s0
            status Running ip 10.0.0.7 [Sandbox Initialized] web=Completed:0 x1
            event Created: Created container: web
            start web-1
        run web
            status Running ip 10.0.0.7 [Sandbox Initialized Ready ContainersReady] web=running(last Completed:0) x1
            event Started: Started container web
    "#]],
    );
}

#[test]
fn volumes_and_sandboxes_that_fail_are_tried_again() {
    check(
        WEB,
        "tick\nvolumes fail configmap gone\n+1 tick\nvolumes ok\nsandbox fail no network\n+2 tick\nsandbox ok",
        expect![[r#"
            tick
                status Pending [Initialized] web=ContainerCreating
                prepare volumes
            volumes fail configmap gone
                event FailedMount: configmap gone
                wake at 1
            +1 tick
                prepare volumes
            volumes ok
                run sandbox 0
            sandbox fail no network
                event FailedCreatePodSandBox: Failed to create pod sandbox: no network
                wake at 3
            +2 tick
                run sandbox 1
            sandbox ok
                status Pending ip 10.0.0.7 [Sandbox Initialized] web=ContainerCreating
                pull for web
        "#]],
    );
}
