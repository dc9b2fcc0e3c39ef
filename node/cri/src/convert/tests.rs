//! Pods in, configurations out.

use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::Pod;
use pod::mount::{EnvVar, Mount, Propagation};

use super::*;
use crate::v1;
use crate::v1::security_profile::ProfileType;

const CAPACITY: i64 = 8 << 30;

fn pod(spec: &str) -> Pod {
    let text = format!(
        "metadata: {{name: web-0, namespace: shop, uid: u-1, labels: {{app: web}}, annotations: {{team: a}}}}\nspec:\n{spec}"
    );
    serde_saphyr::from_str(&text).unwrap()
}

fn sandbox_options() -> SandboxOptions {
    SandboxOptions {
        attempt: 1,
        log_root: "/logs".to_owned(),
        cgroup_parent: "/gannet/n1/pods/u-1".to_owned(),
        dns: DnsOptions {
            cluster_servers: vec!["10.96.0.10".to_owned()],
            cluster_domain: "cluster.local".to_owned(),
            host: v1::DnsConfig {
                servers: vec!["192.0.2.1".to_owned()],
                searches: vec!["example.org".to_owned()],
                options: vec!["edns0".to_owned()],
            },
        },
    }
}

fn options<'a>(env: &'a [EnvVar], mounts: &'a [Mount]) -> ContainerOptions<'a> {
    ContainerOptions {
        attempt: 2,
        image_id: "sha256:abc",
        image: None,
        env,
        mounts,
        memory_capacity_bytes: CAPACITY,
        oom_floor: None,
        default_seccomp: ProfileType::Unconfined,
    }
}

fn first(pod: &Pod) -> v1::ContainerConfig {
    container_config(pod, &pod.spec.as_ref().unwrap().containers[0], &options(&[], &[]))
}

fn check_security(spec: &str, expected: Expect) {
    let context = first(&pod(spec)).linux.unwrap().security_context.unwrap();
    let namespaces = context.namespace_options.clone().unwrap();
    let mode = |mode: i32| v1::NamespaceMode::try_from(mode).unwrap().as_str_name();
    let number = |value: &Option<v1::Int64Value>| value.map_or("-".to_owned(), |value| value.value.to_string());
    let profile = |profile: &Option<v1::SecurityProfile>| {
        profile.as_ref().map_or("-".to_owned(), |profile| {
            format!("{} {}", profile.profile_type().as_str_name(), profile.localhost_ref).trim().to_owned()
        })
    };
    let capabilities = context.capabilities.clone().unwrap_or_default();
    expected.assert_eq(&format!(
        "user {} group {} groups {:?}\nprivileged {} readonly {} no_new_privs {}\nadd {:?} drop {:?}\n\
         network {} pid {} ipc {}\nseccomp {} apparmor {}\nmasked {} readonly paths {}\n",
        number(&context.run_as_user),
        number(&context.run_as_group),
        context.supplemental_groups,
        context.privileged,
        context.readonly_rootfs,
        context.no_new_privs,
        capabilities.add_capabilities,
        capabilities.drop_capabilities,
        mode(namespaces.network),
        mode(namespaces.pid),
        mode(namespaces.ipc),
        profile(&context.seccomp),
        profile(&context.apparmor),
        context.masked_paths.len(),
        context.readonly_paths.len(),
    ));
}

fn check_resources(spec: &str, expected: Expect) {
    let pod = pod(spec);
    let lines: Vec<String> = pod::spec::containers(&pod)
        .map(|(_, container)| {
            let resources = resources(&pod, container, CAPACITY, None);
            format!(
                "{}: shares {} quota {}/{} memory {} oom {}\n",
                container.name,
                resources.cpu_shares,
                resources.cpu_quota,
                resources.cpu_period,
                resources.memory_limit_in_bytes,
                resources.oom_score_adj,
            )
        })
        .collect();
    expected.assert_eq(&lines.concat());
}

#[test]
fn sandbox_of_a_plain_pod() {
    let config = sandbox_config(&pod("  containers: [{name: c}]"), &sandbox_options());
    expect![[r#"
        PodSandboxConfig {
            metadata: Some(
                PodSandboxMetadata {
                    name: "web-0",
                    uid: "u-1",
                    namespace: "shop",
                    attempt: 1,
                },
            ),
            hostname: "web-0",
            log_directory: "/logs/shop_web-0_u-1",
            dns_config: Some(
                DnsConfig {
                    servers: [
                        "10.96.0.10",
                    ],
                    searches: [
                        "shop.svc.cluster.local",
                        "svc.cluster.local",
                        "cluster.local",
                        "example.org",
                    ],
                    options: [
                        "ndots:5",
                    ],
                },
            ),
            port_mappings: [],
            labels: {
                "app": "web",
                "io.kubernetes.pod.name": "web-0",
                "io.kubernetes.pod.namespace": "shop",
                "io.kubernetes.pod.uid": "u-1",
            },
            annotations: {
                "team": "a",
            },
            linux: Some(
                LinuxPodSandboxConfig {
                    cgroup_parent: "/gannet/n1/pods/u-1",
                    security_context: Some(
                        LinuxSandboxSecurityContext {
                            namespace_options: Some(
                                NamespaceOption {
                                    network: Pod,
                                    pid: Container,
                                    ipc: Pod,
                                    target_id: "",
                                },
                            ),
                            run_as_user: None,
                            run_as_group: None,
                            readonly_rootfs: false,
                            supplemental_groups: [],
                            privileged: false,
                            seccomp: Some(
                                SecurityProfile {
                                    profile_type: RuntimeDefault,
                                    localhost_ref: "",
                                },
                            ),
                            apparmor: None,
                            seccomp_profile_path: "",
                        },
                    ),
                    sysctls: {},
                    overhead: None,
                    resources: None,
                },
            ),
        }
    "#]]
    .assert_debug_eq(&config);
}

#[test]
fn sandbox_follows_the_spec() {
    let config = sandbox_config(
        &pod(
            "  hostNetwork: true\n  hostname: other\n  securityContext: {runAsGroup: 5, sysctls: [{name: net/core/somaxconn, value: '9'}]}\n  \
              containers: [{name: c, securityContext: {privileged: true}}]",
        ),
        &sandbox_options(),
    );
    assert_eq!(config.hostname, "", "the node's own");
    let linux = config.linux.unwrap();
    let context = linux.security_context.unwrap();
    assert!(context.privileged, "a privileged container needs a privileged sandbox");
    assert_eq!(context.run_as_group, None, "a group goes only with a user");
    assert_eq!(linux.sysctls["net.core.somaxconn"], "9");
    let long = "a".repeat(62) + "-b";
    let config = sandbox_config(&pod(&format!("  hostname: {long}\n  containers: [{{name: c}}]")), &sandbox_options());
    assert_eq!(config.hostname, "a".repeat(62), "cut to 63 bytes, without the dash");
}

#[test]
fn dns_follows_the_policy() {
    let options = sandbox_options().dns;
    let check = |spec: &str, expected: Expect| {
        let config = dns_config(&pod(&format!("{spec}\n  containers: [{{name: c}}]")), &options);
        expected.assert_eq(&format!("{:?} {:?} {:?}", config.servers, config.searches, config.options));
    };
    check("  dnsPolicy: Default", expect![[r#"["192.0.2.1"] ["example.org"] ["edns0"]"#]]);
    check("  hostNetwork: true", expect![[r#"["192.0.2.1"] ["example.org"] ["edns0"]"#]]);
    check(
        "  hostNetwork: true\n  dnsPolicy: ClusterFirstWithHostNet",
        expect![[
            r#"["10.96.0.10"] ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.org"] ["ndots:5"]"#
        ]],
    );
    check(
        "  dnsPolicy: None\n  dnsConfig: {nameservers: [192.0.2.9], searches: [a.example], options: [{name: ndots, value: '2'}, {name: rotate}]}",
        expect![[r#"["192.0.2.9"] ["a.example"] ["ndots:2", "rotate"]"#]],
    );
    check(
        "  dnsConfig: {nameservers: [192.0.2.9, 10.96.0.10, 192.0.2.10, 192.0.2.11], searches: [example.org], options: [{name: ndots, value: '1'}]}",
        expect![[
            r#"["10.96.0.10", "192.0.2.9", "192.0.2.10"] ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.org"] ["ndots:1"]"#
        ]],
    );
}

#[test]
fn container_of_a_pod() {
    let pod = pod(
        "  terminationGracePeriodSeconds: 7\n  containers: [{name: c, image: 'busybox:1', command: [sh, '$(GREETING)'], \
         args: ['$(MISSING)', '$$(GREETING)', 'a$'], workingDir: /w, stdin: true, tty: true, terminationMessagePath: /dev/t, \
         terminationMessagePolicy: File}]",
    );
    let env = [("GREETING", "no"), ("GREETING", "hello")]
        .map(|(name, value)| EnvVar { name: name.to_owned(), value: value.to_owned() });
    let mounts = [Mount {
        host_path: "/h".to_owned(),
        container_path: "/c".to_owned(),
        read_only: true,
        propagation: Propagation::HostToContainer,
    }];
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let mut config = container_config(&pod, container, &options(&env, &mounts));
    config.linux = None;
    expect![[r#"
        ContainerConfig {
            metadata: Some(
                ContainerMetadata {
                    name: "c",
                    attempt: 2,
                },
            ),
            image: Some(
                ImageSpec {
                    image: "sha256:abc",
                    annotations: {},
                    user_specified_image: "busybox:1",
                    runtime_handler: "",
                    image_ref: "",
                },
            ),
            command: [
                "sh",
                "hello",
            ],
            args: [
                "$(MISSING)",
                "$(GREETING)",
                "a$",
            ],
            working_dir: "/w",
            envs: [
                KeyValue {
                    key: "GREETING",
                    value: [
                        110,
                        111,
                    ],
                },
                KeyValue {
                    key: "GREETING",
                    value: [
                        104,
                        101,
                        108,
                        108,
                        111,
                    ],
                },
            ],
            mounts: [
                Mount {
                    container_path: "/c",
                    host_path: "/h",
                    readonly: true,
                    selinux_relabel: false,
                    propagation: PropagationHostToContainer,
                    recursive_read_only: false,
                    image: None,
                    image_sub_path: "",
                    mount_options: [],
                },
            ],
            devices: [],
            labels: {
                "io.kubernetes.container.name": "c",
                "io.kubernetes.pod.name": "web-0",
                "io.kubernetes.pod.namespace": "shop",
                "io.kubernetes.pod.uid": "u-1",
            },
            annotations: {
                "io.kubernetes.container.restartCount": "2",
                "io.kubernetes.container.terminationMessagePath": "/dev/t",
                "io.kubernetes.container.terminationMessagePolicy": "File",
                "io.kubernetes.pod.terminationGracePeriod": "7",
            },
            log_path: "c/2.log",
            stdin: true,
            stdin_once: false,
            tty: true,
            linux: None,
        }
    "#]]
    .assert_debug_eq(&config);
    assert_eq!(log_path("/logs", &pod, "c", 2), "/logs/shop_web-0_u-1/c/2.log");
}

#[test]
fn security_of_a_plain_container() {
    check_security(
        "  containers: [{name: c}]",
        expect![[r#"
            user - group - groups []
            privileged false readonly false no_new_privs false
            add [] drop []
            network POD pid CONTAINER ipc POD
            seccomp Unconfined apparmor -
            masked 12 readonly paths 5
        "#]],
    );
}

#[test]
fn a_container_overrides_its_pod() {
    check_security(
        "  securityContext: {runAsUser: 1, runAsGroup: 2, fsGroup: 3, supplementalGroups: [4], seccompProfile: {type: RuntimeDefault}}\n  \
         shareProcessNamespace: true\n  \
         containers: [{name: c, securityContext: {runAsUser: 9, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, \
         capabilities: {add: [NET_ADMIN], drop: [ALL]}, appArmorProfile: {type: Unconfined}}}]",
        expect![[r#"
            user 9 group 2 groups [4, 3]
            privileged false readonly true no_new_privs true
            add ["NET_ADMIN"] drop ["ALL"]
            network POD pid POD ipc POD
            seccomp RuntimeDefault apparmor Unconfined
            masked 12 readonly paths 5
        "#]],
    );
}

#[test]
fn privileged_on_the_node() {
    check_security(
        "  hostNetwork: true\n  hostPID: true\n  hostIPC: true\n  \
         containers: [{name: c, securityContext: {privileged: true, seccompProfile: {type: Localhost, localhostProfile: p.json}}}]",
        expect![[r#"
            user - group - groups []
            privileged true readonly false no_new_privs false
            add [] drop []
            network NODE pid NODE ipc NODE
            seccomp Localhost p.json apparmor -
            masked 0 readonly paths 0
        "#]],
    );
}

#[test]
fn a_group_without_a_user_takes_the_images_user() {
    let pod = pod("  containers: [{name: c, securityContext: {runAsGroup: 5}}]");
    let user = |uid: Option<i64>| {
        let image = v1::Image { uid: uid.map(|value| v1::Int64Value { value }), ..Default::default() };
        let options = ContainerOptions { image: Some(&image), ..options(&[], &[]) };
        let config = container_config(&pod, &pod.spec.as_ref().unwrap().containers[0], &options);
        let context = config.linux.unwrap().security_context.unwrap();
        (context.run_as_user.map(|user| user.value), context.run_as_group.map(|group| group.value))
    };
    assert_eq!(user(Some(33)), (Some(33), Some(5)));
    assert_eq!(user(None), (Some(0), Some(5)));
}

#[test]
fn resources_by_class() {
    check_resources(
        "  containers:\n  - {name: none}\n",
        expect![[r#"
            none: shares 2 quota 0/0 memory 0 oom 1000
        "#]],
    );
    check_resources(
        "  containers:\n  - {name: full, resources: {limits: {cpu: '1.5', memory: 1Gi}}}\n",
        expect![[r#"
            full: shares 1536 quota 150000/100000 memory 1073741824 oom -997
        "#]],
    );
    check_resources(
        "  initContainers:\n  - {name: init}\n  containers:\n  - {name: some, resources: {requests: {cpu: 100m, memory: 2Gi}, limits: {memory: 4Gi}}}\n  - {name: tiny, resources: {limits: {cpu: 1m}}}\n  - {name: huge, resources: {requests: {memory: 100Gi}}}\n",
        expect![[r#"
            init: shares 2 quota 0/0 memory 0 oom 999
            some: shares 102 quota 0/0 memory 4294967296 oom 750
            tiny: shares 2 quota 1000/100000 memory 0 oom 999
            huge: shares 2 quota 0/0 memory 0 oom 3
        "#]],
    );
    check_resources(
        "  priority: 2000001000\n  containers:\n  - {name: critical}\n",
        expect![[r#"
            critical: shares 2 quota 0/0 memory 0 oom -997
        "#]],
    );
}

#[test]
fn oom_score_stays_above_the_floor() {
    let pod = pod("  containers: [{name: c, resources: {limits: {cpu: 1, memory: 1Gi}}}]");
    let container = &pod.spec.as_ref().unwrap().containers[0];
    assert_eq!(oom_score_adj(&pod, container, CAPACITY, None), -997);
    assert_eq!(oom_score_adj(&pod, container, CAPACITY, Some(200)), 200);
}

#[test]
fn non_root_is_checked() {
    let check = |security: &str, uid: Option<i64>, username: &str| {
        let pod = pod(&format!("  containers: [{{name: c, securityContext: {{{security}}}}}]"));
        let image = v1::Image {
            uid: uid.map(|value| v1::Int64Value { value }),
            username: username.to_owned(),
            ..Default::default()
        };
        check_non_root(&pod, &pod.spec.as_ref().unwrap().containers[0], &image)
    };
    assert_eq!(check("", None, ""), Ok(()));
    assert_eq!(check("runAsNonRoot: true, runAsUser: 5", Some(0), ""), Ok(()));
    assert_eq!(check("runAsNonRoot: true", Some(5), ""), Ok(()));
    let names = || ("shop/web-0".to_owned(), "c".to_owned());
    let (pod, container) = names();
    assert_eq!(check("runAsNonRoot: true, runAsUser: 0", Some(5), ""), Err(NonRootViolation::User { pod, container }));
    for uid in [None, Some(0)] {
        let (pod, container) = names();
        assert_eq!(check("runAsNonRoot: true", uid, ""), Err(NonRootViolation::Image { pod, container }));
    }
    let (pod, container) = names();
    let user = "nginx".to_owned();
    assert_eq!(
        check("runAsNonRoot: true", None, "nginx"),
        Err(NonRootViolation::ImageUserName { user, pod, container })
    );
}

#[test]
fn variables_expand_as_in_kubernetes() {
    let lookup = |name: &str| match name {
        "A" => Some("1"),
        "B" => Some("$(A)"),
        "" => Some("empty"),
        _ => None,
    };
    for (input, output) in [
        ("", ""),
        ("plain", "plain"),
        ("$(A)", "1"),
        ("x$(A)y$(A)z", "x1y1z"),
        ("$(B)", "$(A)"),
        ("$(C)", "$(C)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A", "$A"),
        ("$", "$"),
        ("$(", "$("),
        ("$(A", "$(A"),
        ("$()", "empty"),
        ("é$(A)é", "é1é"),
    ] {
        assert_eq!(expand(input, lookup), output, "{input}");
    }
}
