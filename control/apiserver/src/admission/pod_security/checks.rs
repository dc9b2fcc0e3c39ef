//! The checks of the Pod Security Standards, in the order their violations are told.

use super::Level;
use serde_json::Value;

/// What a pod does that its level does not allow.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) reason: &'static str,
    pub(super) detail: String,
}

const DEFAULT_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const SAFE_SYSCTLS: [&str; 10] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
];
const SAFE_VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
    "image",
];
const SELINUX_TYPES: [&str; 5] = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

/// What a pod violates.
pub(super) fn of(level: Level, _metadata: &Value, spec: &Value) -> Vec<Violation> {
    let baseline: &[Check] = &[
        app_armor,
        capabilities_baseline,
        host_namespaces,
        host_paths,
        host_ports,
        privileged,
        proc_mount,
        selinux,
        seccomp_baseline,
        sysctls,
        host_process,
    ];
    let restricted: &[Check] = &[
        app_armor,
        host_namespaces,
        host_ports,
        privileged,
        proc_mount,
        selinux,
        sysctls,
        host_process,
        privilege_escalation,
        capabilities_restricted,
        volumes,
        run_as_non_root,
        run_as_user,
        seccomp_restricted,
    ];
    let checks = match level {
        Level::Privileged => &[],
        Level::Baseline => baseline,
        Level::Restricted => restricted,
    };
    checks.iter().filter_map(|check| check(spec)).collect()
}

type Check = fn(&Value) -> Option<Violation>;

fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|field| spec[field].as_array().into_iter().flatten())
}

fn name(container: &Value) -> &str {
    container["name"].as_str().unwrap_or_default()
}

/// The names of the containers that are so, in their order.
fn those<'a>(spec: &'a Value, wrong: impl Fn(&Value) -> bool) -> Vec<&'a str> {
    containers(spec).filter(|container| wrong(container)).map(name).collect()
}

/// `container "a"`, `containers "a", "b"`.
fn named(what: &str, names: &[&str]) -> String {
    let plural = if names.len() == 1 { "" } else { "s" };
    format!("{what}{plural} {}", quoted(names))
}

fn quoted(texts: &[&str]) -> String {
    texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ")
}

fn violation(reason: &'static str, details: Vec<String>) -> Option<Violation> {
    (!details.is_empty()).then(|| Violation { reason, detail: details.join(", ") })
}

fn of_containers(reason: &'static str, names: &[&str], what: &str) -> Option<Violation> {
    violation(reason, if names.is_empty() { Vec::new() } else { vec![format!("{} {what}", named("container", names))] })
}

fn app_armor(spec: &Value) -> Option<Violation> {
    let unconfined = |holder: &Value| holder["securityContext"]["appArmorProfile"]["type"] == "Unconfined";
    let mut who = Vec::new();
    if unconfined(spec) {
        who.push("pod".to_owned());
    }
    let names = those(spec, unconfined);
    if !names.is_empty() {
        who.push(named("container", &names));
    }
    let detail = format!("{} must not set AppArmor profile type to \"Unconfined\"", who.join(" and "));
    let plural = who.len() + names.len().saturating_sub(1) > 1;
    let reason = if plural { "forbidden AppArmor profiles" } else { "forbidden AppArmor profile" };
    (!who.is_empty()).then_some(Violation { reason, detail })
}

fn added(container: &Value) -> impl Iterator<Item = &str> {
    let list = container["securityContext"]["capabilities"]["add"].as_array();
    list.into_iter().flatten().filter_map(Value::as_str)
}

fn forbidden_capabilities(spec: &Value, allowed: &[&str]) -> Option<String> {
    let wrong = |container: &Value| added(container).any(|capability| !allowed.contains(&capability));
    let names = those(spec, wrong);
    let mut all: Vec<&str> = containers(spec).flat_map(added).filter(|one| !allowed.contains(one)).collect();
    all.sort_unstable();
    all.dedup();
    let what = format!("must not include {} in securityContext.capabilities.add", quoted(&all));
    (!names.is_empty()).then(|| format!("{} {what}", named("container", &names)))
}

fn capabilities_baseline(spec: &Value) -> Option<Violation> {
    let detail = forbidden_capabilities(spec, &DEFAULT_CAPABILITIES)?;
    Some(Violation { reason: "non-default capabilities", detail })
}

fn capabilities_restricted(spec: &Value) -> Option<Violation> {
    let drops_all = |container: &Value| {
        let dropped = container["securityContext"]["capabilities"]["drop"].as_array();
        dropped.into_iter().flatten().any(|one| one == "ALL")
    };
    let keeping = those(spec, |container| !drops_all(container));
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", named("container", &keeping)));
    }
    details.extend(forbidden_capabilities(spec, &["NET_BIND_SERVICE"]));
    let reason = "unrestricted capabilities";
    (!details.is_empty()).then(|| Violation { reason, detail: details.join("; ") })
}

fn host_namespaces(spec: &Value) -> Option<Violation> {
    let set = ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|field| spec[*field] == true);
    violation("host namespaces", set.map(|field| format!("{field}=true")).collect())
}

fn pod_volumes(spec: &Value) -> impl Iterator<Item = &Value> {
    spec["volumes"].as_array().into_iter().flatten()
}

fn host_paths(spec: &Value) -> Option<Violation> {
    let names: Vec<&str> = pod_volumes(spec).filter(|volume| volume["hostPath"].is_object()).map(name).collect();
    violation("hostPath volumes", if names.is_empty() { Vec::new() } else { vec![named("volume", &names)] })
}

fn host_ports(spec: &Value) -> Option<Violation> {
    let used = |container: &Value| -> Vec<u64> {
        let ports = container["ports"].as_array().into_iter().flatten();
        ports.filter_map(|port| port["hostPort"].as_u64()).filter(|port| *port > 0).collect()
    };
    let names = those(spec, |container| !used(container).is_empty());
    let mut ports: Vec<u64> = containers(spec).flat_map(used).collect();
    ports.sort_unstable();
    ports.dedup();
    let plural = if ports.len() == 1 { "" } else { "s" };
    let shown: Vec<String> = ports.iter().map(u64::to_string).collect();
    let verb = if names.len() == 1 { "uses" } else { "use" };
    of_containers("hostPort", &names, &format!("{verb} hostPort{plural} {}", shown.join(", ")))
}

fn privileged(spec: &Value) -> Option<Violation> {
    let names = those(spec, |container| container["securityContext"]["privileged"] == true);
    of_containers("privileged", &names, "must not set securityContext.privileged=true")
}

fn proc_mount(spec: &Value) -> Option<Violation> {
    let mount = |container: &Value| container["securityContext"]["procMount"].as_str().map(str::to_owned);
    let names = those(spec, |container| mount(container).is_some_and(|mount| mount != "Default" && !mount.is_empty()));
    let kind = containers(spec).filter_map(mount).find(|mount| mount != "Default").unwrap_or_default();
    of_containers("procMount", &names, &format!("must not set securityContext.procMount to {kind:?}"))
}

fn selinux(spec: &Value) -> Option<Violation> {
    let options = |holder: &Value, field: &str| {
        holder["securityContext"]["seLinuxOptions"][field].as_str().unwrap_or_default().to_owned()
    };
    let wrong = |holder: &Value| {
        !SELINUX_TYPES.contains(&options(holder, "type").as_str())
            || !options(holder, "user").is_empty()
            || !options(holder, "role").is_empty()
    };
    let mut who = Vec::new();
    if wrong(spec) {
        who.push("pod".to_owned());
    }
    let names = those(spec, wrong);
    if !names.is_empty() {
        who.push(named("container", &names));
    }
    if who.is_empty() {
        return None;
    }
    let holders = || std::iter::once(spec).chain(containers(spec));
    let types: Vec<String> =
        holders().map(|one| options(one, "type")).filter(|one| !SELINUX_TYPES.contains(&one.as_str())).collect();
    let mut bad: Vec<String> = types.iter().map(|one| format!("type {one:?}")).collect();
    bad.dedup();
    for (field, text) in [("user", "user may not be set"), ("role", "role may not be set")] {
        if holders().any(|one| !options(one, field).is_empty()) {
            bad.push(text.to_owned());
        }
    }
    let detail = format!("{} set forbidden securityContext.seLinuxOptions: {}", who.join(" and "), bad.join("; "));
    Some(Violation { reason: "seLinuxOptions", detail })
}

fn seccomp(holder: &Value) -> &str {
    holder["securityContext"]["seccompProfile"]["type"].as_str().unwrap_or_default()
}

fn seccomp_baseline(spec: &Value) -> Option<Violation> {
    let what = "must not set securityContext.seccompProfile.type to \"Unconfined\"";
    let mut who = Vec::new();
    if seccomp(spec) == "Unconfined" {
        who.push("pod".to_owned());
    }
    let names = those(spec, |container| seccomp(container) == "Unconfined");
    if !names.is_empty() {
        who.push(named("container", &names));
    }
    (!who.is_empty()).then(|| Violation { reason: "seccompProfile", detail: format!("{} {what}", who.join(" and ")) })
}

fn seccomp_restricted(spec: &Value) -> Option<Violation> {
    if let Some(violation) = seccomp_baseline(spec) {
        return Some(violation);
    }
    if matches!(seccomp(spec), "RuntimeDefault" | "Localhost") {
        return None;
    }
    let names = those(spec, |container| seccomp(container).is_empty());
    let what = "must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"";
    let detail = vec![format!("pod or {} {what}", named("container", &names))];
    violation("seccompProfile", if names.is_empty() { Vec::new() } else { detail })
}

fn sysctls(spec: &Value) -> Option<Violation> {
    let list = spec["securityContext"]["sysctls"].as_array().into_iter().flatten().map(name);
    let wrong: Vec<&str> = list.filter(|one| !SAFE_SYSCTLS.contains(one)).collect();
    violation("forbidden sysctls", if wrong.is_empty() { Vec::new() } else { vec![wrong.join(", ")] })
}

fn host_process(spec: &Value) -> Option<Violation> {
    let set = |holder: &Value| holder["securityContext"]["windowsOptions"]["hostProcess"] == true;
    let mut who = Vec::new();
    if set(spec) {
        who.push("pod".to_owned());
    }
    let names = those(spec, set);
    if !names.is_empty() {
        who.push(named("container", &names));
    }
    let detail = format!("{} must not set securityContext.windowsOptions.hostProcess=true", who.join(" and "));
    (!who.is_empty()).then_some(Violation { reason: "hostProcess", detail })
}

fn privilege_escalation(spec: &Value) -> Option<Violation> {
    let names = those(spec, |container| container["securityContext"]["allowPrivilegeEscalation"] != false);
    let what = "must set securityContext.allowPrivilegeEscalation=false";
    of_containers("allowPrivilegeEscalation != false", &names, what)
}

fn volumes(spec: &Value) -> Option<Violation> {
    let mut names = Vec::new();
    let mut kinds: Vec<&str> = Vec::new();
    for volume in pod_volumes(spec) {
        let kind = volume.as_object().into_iter().flatten().map(|(field, _)| field.as_str()).find(|one| *one != "name");
        if let Some(kind) = kind.filter(|kind| !SAFE_VOLUMES.contains(kind)) {
            names.push(name(volume));
            kinds.push(kind);
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    if names.is_empty() {
        return None;
    }
    let verb = if names.len() == 1 { "uses" } else { "use" };
    let plural = if kinds.len() == 1 { "" } else { "s" };
    let detail = format!("{} {verb} restricted volume type{plural} {}", named("volume", &names), quoted(&kinds));
    Some(Violation { reason: "restricted volume types", detail })
}

fn run_as_non_root(spec: &Value) -> Option<Violation> {
    let of = |holder: &Value| holder["securityContext"]["runAsNonRoot"].as_bool();
    let reason = "runAsNonRoot != true";
    let mut who = Vec::new();
    if of(spec) == Some(false) {
        who.push("pod".to_owned());
    }
    let explicit = those(spec, |container| of(container) == Some(false));
    if !explicit.is_empty() {
        who.push(named("container", &explicit));
    }
    if !who.is_empty() {
        let detail = format!("{} must not set securityContext.runAsNonRoot=false", who.join(" and "));
        return Some(Violation { reason, detail });
    }
    if of(spec) == Some(true) {
        return None;
    }
    let names = those(spec, |container| of(container).is_none());
    let detail = format!("pod or {} must set securityContext.runAsNonRoot=true", named("container", &names));
    (!names.is_empty()).then_some(Violation { reason, detail })
}

fn run_as_user(spec: &Value) -> Option<Violation> {
    let root = |holder: &Value| holder["securityContext"]["runAsUser"] == 0;
    let mut who = Vec::new();
    if root(spec) {
        who.push("pod".to_owned());
    }
    let names = those(spec, root);
    if !names.is_empty() {
        who.push(named("container", &names));
    }
    let detail = format!("{} must not set runAsUser=0", who.join(" and "));
    (!who.is_empty()).then_some(Violation { reason: "runAsUser=0", detail })
}
