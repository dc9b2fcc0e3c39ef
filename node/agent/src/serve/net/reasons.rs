//! Why packets are dropped, in words.

use abi::Counter;

/// A reason's name in metrics and output, and what to do about it. `None` for a counter that is none.
pub(super) fn reason(number: u32) -> Option<(&'static str, &'static str)> {
    let known = [
        (Counter::DropMalformed, "malformed", "the packet ends before its headers do; look at its sender"),
        (
            Counter::DropSpoofed,
            "spoofed",
            "a pod sent from an address or MAC that is not its own; pods may not set their own addresses",
        ),
        (Counter::DropNoPod, "no-pod", "no pod of this node has the address; it ended, or its name is still cached"),
        (
            Counter::DropNoBackend,
            "no-backend",
            "the Service has no ready endpoint here: see `kubectl get endpointslices` and the readiness of its pods",
        ),
        (
            Counter::SocketNoBackend,
            "refused-no-backend",
            "the Service has no ready endpoint: see `kubectl get endpointslices` and the readiness of its pods",
        ),
        (
            Counter::DropNoNatPort,
            "no-nat-port",
            "too many connections from this node to one address outside; spread them over nodes or addresses",
        ),
        (
            Counter::DropFragment,
            "fragment",
            "it came before the first fragment of its datagram, and could not wait: too large, or at the node's own egress",
        ),
        (
            Counter::DropNoPort,
            "no-service-port",
            "to a load-balancer or external address, for a port or protocol that no Service has there",
        ),
        (
            Counter::DropNoRoute,
            "no-route",
            "no node has the address, or it is a Service address without such a port: see `gannet net services`",
        ),
        (Counter::DropTtl, "ttl", "the packet went through too many routers: look for a loop"),
        (
            Counter::DropNotReady,
            "not-ready",
            "the node's tables are not written yet: `gannet status`, then `gannet net verify --repair`",
        ),
        (Counter::DropUnsupported, "unsupported", "not IP, multicast, or a protocol that a Service cannot carry"),
        (
            Counter::DropOverlay,
            "overlay",
            "from a node that does not own the sender's address: `gannet net verify` on this node",
        ),
        (Counter::DropBackendGone, "backend-gone", "the connection's pod ended; the client has to connect again"),
        (Counter::DropKernel, "kernel", "the kernel refused an operation on the packet; see `gannet doctor`"),
        (
            Counter::DropFlowTable,
            "flow-table-full",
            "the flow table holds living connections only: see FLOWS in `gannet net maps`",
        ),
        (Counter::DropSource, "source-range", "the client is in none of the Service's loadBalancerSourceRanges"),
        (
            Counter::DropPolicyEgress,
            "policy-egress",
            "no policy lets the sender's pod out: see the NetworkPolicies of its namespace and `kubectl get clusternetworkpolicies`",
        ),
        (
            Counter::DropPolicyIngress,
            "policy-ingress",
            "no policy lets it into the receiver's pod: see the NetworkPolicies of its namespace and `kubectl get clusternetworkpolicies`",
        ),
        (Counter::DropBandwidth, "bandwidth", "beyond the pod's kubernetes.io/{ingress,egress}-bandwidth"),
        (Counter::DropTooBig, "too-big", "larger than the path: lower the sender's MTU"),
    ];
    known.iter().find(|(counter, ..)| *counter as u32 == number).map(|(_, name, advice)| (*name, *advice))
}
