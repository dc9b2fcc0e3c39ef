/*
 * Measures Katran as ebpf/prog/src/balance.rs measures our balancer: the same packets, the same work around them. Compiled together with
 * Katran's source, which is GPL and no part of this repository; bench/README.md has the command.
 */

/* Number of the next packet, and the masks that make it one of so many flows to one of so many addresses. */
struct bench_state {
  __u32 number, flows, vips, pad;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __type(key, __u32);
  __type(value, struct bench_state);
  __uint(max_entries, 1);
} LB_BENCH SEC(".maps");

/* Client, destination and client's port of the next flow. */
static inline __attribute__((always_inline)) int next_flow(struct xdp_md *ctx) {
  __u32 first = 0;
  struct bench_state *state = bpf_map_lookup_elem(&LB_BENCH, &first);
  if (!state)
    return -1;
  __u32 number = state->number, mask = state->flows, vips = state->vips;
  state->number = number + 1;
  __u32 flow = number * 0x9e3779b1 & mask, vip = flow & vips;
  __u8 *data = (void *)(long)ctx->data;
  void *end = (void *)(long)ctx->data_end;
  if ((void *)(data + 36) > end)
    return -1;
  *(__u32 *)(data + 26) = bpf_htonl(198u << 24 | 18u << 16 | flow >> 16);
  *(__u32 *)(data + 30) = bpf_htonl(10u << 24 | (vip & 0xffff));
  *(__u16 *)(data + 34) = (__u16)flow;
  return 0;
}

/* Takes the outer header off and writes an Ethernet header. */
static inline __attribute__((always_inline)) int undo(struct xdp_md *ctx) {
  if (bpf_xdp_adjust_head(ctx, 20))
    return -1;
  __u8 *data = (void *)(long)ctx->data;
  void *end = (void *)(long)ctx->data_end;
  if ((void *)(data + 14) > end)
    return -1;
  __builtin_memset(data, 0, 12);
  *(__u16 *)(data + 12) = bpf_htons(0x0800);
  return 0;
}

SEC("xdp")
int balance_base(struct xdp_md *ctx) {
  return next_flow(ctx) ? XDP_ABORTED : XDP_TX;
}

SEC("xdp")
int balance_twice(struct xdp_md *ctx) {
  if (next_flow(ctx) || bpf_xdp_adjust_head(ctx, -20) || undo(ctx))
    return XDP_ABORTED;
  return XDP_TX;
}

/* `flatten`: the balancer is part of the program, as ours is, and costs no call. */
SEC("xdp") __attribute__((flatten))
int balance_bench(struct xdp_md *ctx) {
  if (next_flow(ctx))
    return XDP_ABORTED;
  int action = balancer_ingress(ctx);
  if (action == XDP_TX && undo(ctx))
    return XDP_ABORTED;
  return action;
}
