//! Every feature with its trial, in the order of a report: rights, the machine, devices, BPF; what is required comes first.
use super::{Need, Trial, devices, machine, programs};

const CANNOT_START: &str = "no node starts";
const OTHER_KERNEL: &str = "use a distribution's kernel, 6.6 or newer";

const fn required(name: &'static str, fix: &'static str, run: fn(&super::Scratch) -> Result<(), String>) -> Trial {
    Trial { name, need: Need::Required, without: CANNOT_START, fix, run }
}

const fn optional(
    name: &'static str,
    without: &'static str,
    fix: &'static str,
    run: fn(&super::Scratch) -> Result<(), String>,
) -> Trial {
    Trial { name, need: Need::Optional, without, fix, run }
}

/// Trials run in this order and share one namespace: the veth pair is made before what needs it.
pub const TRIALS: &[Trial] = &[
    required("CAP_NET_ADMIN", "run as root or with the capability", |_| machine::capability(12)),
    required("CAP_SYS_ADMIN", "run as root or with the capability", |_| machine::capability(21)),
    required("CAP_BPF", "run as root or with the capability", |_| machine::capability(39)),
    required("BTF", "use a kernel with CONFIG_DEBUG_INFO_BTF", |_| machine::btf()),
    required("bpf file system", "use a kernel with CONFIG_BPF_SYSCALL", |_| machine::file_system("bpf")),
    required("cgroup2 file system", "use a kernel with CONFIG_CGROUPS", |_| machine::file_system("cgroup2")),
    required("overlay file system", "modprobe overlay, or use a kernel with CONFIG_OVERLAY_FS", |_| {
        machine::file_system("overlay")
    }),
    required("cgroup v2", "mount -t cgroup2 none /sys/fs/cgroup/unified", |_| machine::cgroup_v2()),
    required("network namespaces", "run as root on a kernel with CONFIG_NET_NS", devices::namespace),
    required("veth", "modprobe veth, or use a kernel with CONFIG_VETH", devices::veth),
    required("VXLAN", "modprobe vxlan, or use a kernel with CONFIG_VXLAN", devices::vxlan),
    required("tcx", "use Linux 6.6 or newer", devices::tcx),
    required("BPF link update", "use Linux 5.7 or newer", devices::link_update),
    required("BPF map batches", "use Linux 5.6 or newer", |_| programs::batch()),
    required("BPF sock_addr", "use a kernel with CONFIG_CGROUP_BPF", |_| {
        programs::kind(programs::SOCK_ADDR, programs::CONNECT4)
    }),
    required("bpf_ktime_get_coarse_ns", "use Linux 5.11 or newer", |_| programs::helper(programs::CLASSIFIER, 0, 160)),
    required("bpf_redirect_peer", "use Linux 5.10 or newer", |_| programs::helper(programs::CLASSIFIER, 0, 155)),
    required("bpf_redirect_neigh", "use Linux 5.10 or newer", |_| programs::helper(programs::CLASSIFIER, 0, 152)),
    required("bpf_sk_storage_get", "use Linux 5.2 or newer", |_| {
        programs::helper(programs::SOCK_ADDR, programs::CONNECT4, 107)
    }),
    optional(
        "CAP_SYS_RESOURCE",
        "containers get no lower oom_score_adj than the daemon's",
        "run as root, outside of a container that drops it",
        |_| machine::capability(24),
    ),
    optional(
        "BPF compiler",
        "programs are interpreted: packets take several times longer",
        "sysctl -w net.core.bpf_jit_enable=1",
        |_| machine::jit(),
    ),
    optional(
        "/sys/fs/bpf",
        "nothing: maps and links are pinned below the state directory",
        "mount -t bpf bpf /sys/fs/bpf",
        |_| machine::bpffs_mounted(),
    ),
    optional(
        "cgroup v2 controllers",
        "pods' limits are set in the v1 hierarchies",
        "boot with systemd.unified_cgroup_hierarchy=1",
        |_| machine::cgroup_v2_controllers(),
    ),
    optional("memory controller", "memory limits of pods cannot be set", "boot with cgroup_enable=memory", |_| {
        machine::controller("memory")
    }),
    optional("cpu controller", "CPU limits of pods cannot be set", "use a kernel with CONFIG_CGROUP_SCHED", |_| {
        machine::controller("cpu")
    }),
    optional(
        "pids controller",
        "the number of a pod's processes cannot be limited",
        "use a kernel with CONFIG_CGROUP_PIDS",
        |_| machine::controller("pids"),
    ),
    optional("SCTP", "pods cannot open SCTP sockets", "modprobe sctp, or use a kernel with CONFIG_IP_SCTP", |_| {
        machine::sctp()
    }),
    optional(
        "netkit",
        "pods are on veth pairs, as everywhere today",
        "use Linux 6.7 or newer with CONFIG_NETKIT",
        |scratch| devices::device(scratch, "netkit"),
    ),
    optional(
        "Geneve",
        "the overlay is VXLAN, as everywhere today",
        "modprobe geneve, or use a kernel with CONFIG_GENEVE",
        devices::geneve,
    ),
    optional(
        "WireGuard",
        "traffic between nodes is not encrypted, as everywhere today",
        "modprobe wireguard, or use a kernel with CONFIG_WIREGUARD",
        |scratch| devices::device(scratch, "wireguard"),
    ),
    optional("dummy", "nothing: no part of Gannet makes one", "modprobe dummy", |scratch| {
        devices::device(scratch, "dummy")
    }),
    optional(
        "fq",
        "packets cannot be paced by departure time",
        "modprobe sch_fq, or use a kernel with CONFIG_NET_SCH_FQ",
        devices::fair_queue,
    ),
    optional(
        "XDP in veth's driver",
        "`--xdp native` does not work on veth pairs; tcx handles the packets",
        OTHER_KERNEL,
        devices::xdp,
    ),
    optional(
        "XDP fragments",
        "XDP cannot take packets of several pages, as everywhere today",
        "use Linux 5.18 or newer",
        |_| programs::xdp(programs::FRAGMENTS).map(drop),
    ),
    optional("BPF ring buffer", "events cannot be streamed from the data plane", "use Linux 5.8 or newer", |_| {
        programs::map(programs::RING_BUFFER, 0, 0, 4096, 0).map(drop)
    }),
    optional(
        "BPF mappable arrays",
        "tables are written by system calls, as everywhere today",
        "use Linux 5.5 or newer",
        |_| programs::map(programs::ARRAY, 4, 8, 1, programs::MAPPABLE).map(drop),
    ),
    optional("BPF sk_lookup", "sockets cannot be steered to by program", "use Linux 5.9 or newer", |_| {
        programs::kind(programs::SK_LOOKUP, programs::SK_LOOKUP_HOOK)
    }),
    optional("BPF sock_ops", "TCP events are not seen", "use a kernel with CONFIG_CGROUP_BPF", |_| {
        programs::kind(programs::SOCK_OPS, programs::SOCK_OPS_HOOK)
    }),
    optional("bpf_sk_assign", "packets cannot be handed to a chosen socket", "use Linux 5.7 or newer", |_| {
        programs::helper(programs::CLASSIFIER, 0, 124)
    }),
    optional("bpf_fib_lookup", "no XDP on the uplink: tcx handles NodePorts alone", "use Linux 4.18 or newer", |_| {
        programs::helper(programs::XDP, 0, 69)
    }),
    optional("bpf_loop", "loops of programs are short", "use Linux 5.17 or newer", |_| {
        programs::helper(programs::CLASSIFIER, 0, 181)
    }),
    optional("BPF dynptr", "programs cannot hold pointers of variable length", "use Linux 5.19 or newer", |_| {
        programs::helper(programs::CLASSIFIER, 0, 197)
    }),
    optional(
        "bpf_dynptr_from_skb",
        "packets are read by direct access, as everywhere today",
        "use Linux 6.4 or newer",
        |_| programs::kernel_function("bpf_dynptr_from_skb"),
    ),
];
