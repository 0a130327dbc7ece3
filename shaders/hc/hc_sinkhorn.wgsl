// hc_sinkhorn: how the streams of a row leave a sub-layer, from the row's mix: post, and C made doubly stochastic by Sinkhorn's iteration.
// in      mix (T, slices, 32) f32 as hc_mix leaves it; hc (27) f32: base 24, scale 3
// out     post (T, 32) f32: post[4], then C[j, k] at 4 + 4j + k; PREFETCH: perhaps something behind them, which means nothing
// params  Params 48 B
// grid    T; PREFETCH: one more, which asks for the weights that follow
// needs   SUBGROUP: of at least 8
// cost    128 bytes a slice of a row: latency bound (39 dependent steps)
// source  SPEC 2.3
struct Params {
    dim: u32,
    iterations: u32,
    hc_eps: f32,
    norm_eps: f32,
    tokens: u32, // T
    padding_a: u32,
    padding_b: u32,
    padding_c: u32,
    prefetch: vec4<u32>, // lib/rows/prefetch
}

@group(0) @binding(auto) var<storage, read> mix: array<f32>;        // (T, slices, 32)
@group(0) @binding(auto) var<storage, read> hc: array<f32>;         // base (24), scale (3)
@group(0) @binding(auto) var<storage, read_write> post: array<f32>; // (T, 32)
#import lib/rows/prefetch
#import lib/hc/mixed
#import lib/numbers/math

@compute @workgroup_size(WG)
fn hc_sinkhorn(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
#ifdef PREFETCH
    if (wid.x == params.tokens) {
        if (is_used(touch_ahead(lid))) {
            post[31] = 0.0;
        }
        return;
    }
#endif
    // The outputs of an invocation: two of C for the first eight, one of post for the next four.
    let output = min(select(lid * 2u + 8u, lid - 4u, lid >= 8u), 22u);
    let base = vec2<f32>(hc[output], hc[output + 1u]);
    let scale = hc[24u + min(output >> 2u, 2u)];
    gather_mix(wid.x, lid);
    var raw = vec2<f32>(0.0);
    if (lid < 12u) {
        let rms = inverseSqrt(mixed[24] / f32(params.dim * 4u) + params.norm_eps);
        raw = vec2<f32>(mixed[output], mixed[output + 1u]) * (rms * scale) + base;
    }
    let first = wid.x * 32u;
    if (lid >= 8u && lid < 12u) {
        post[first + lid - 8u] = 2.0 * sigmoid(raw.x);
    }
#ifdef SUBGROUP
    if (lid < 8u) {
        sinkhorn(first + 4u, raw, lid);
    }
#else
    sinkhorn(first + 4u, raw, lid);
#endif
}

// C lies with eight invocations: C[j, 2 h] and C[j, 2 h + 1] with number 2 j + h, so that each step is a few instructions and the exchange.
#ifdef SUBGROUP
fn share(mine: vec2<f32>, lid: u32) {
}

fn shared_by(mine: vec2<f32>, lane: u32) -> vec2<f32> {
    return subgroupShuffle(mine, lane);
}
#else
var<workgroup> places: array<vec2<f32>, 8>;

fn share(mine: vec2<f32>, lid: u32) {
    workgroupBarrier();
    if (lid < 8u) {
        places[lid] = mine;
    }
    workgroupBarrier();
}

fn shared_by(mine: vec2<f32>, lane: u32) -> vec2<f32> {
    return places[lane];
}
#endif

// The four values of the invocation's row.
fn row_of(mine: vec2<f32>, lid: u32) -> vec4<f32> {
    share(mine, lid);
    return vec4<f32>(shared_by(mine, lid & 6u), shared_by(mine, (lid & 6u) + 1u));
}

// Sums over the invocation's two columns.
fn column_sums(mine: vec2<f32>, lid: u32) -> vec2<f32> {
    share(mine, lid);
    let h = lid & 1u;
    return shared_by(mine, h) + shared_by(mine, h + 2u) + shared_by(mine, h + 4u) + shared_by(mine, h + 6u);
}

// C from the raw mix: softmax over each row j, then columns and rows made to sum to one in turn, columns first and last.
fn sinkhorn(at: u32, raw: vec2<f32>, lid: u32) {
    let own = row_of(raw, lid);
    let e = exp(raw - max(max(own.x, own.y), max(own.z, own.w)));
    let row = row_of(e, lid);
    var c = e / (row.x + row.y + row.z + row.w) + params.hc_eps;
    for (var i = 0u; i < params.iterations; i++) {
        if (i > 0u) {
            let others = row_of(c, lid);
            c *= 1.0 / (others.x + others.y + others.z + others.w + params.hc_eps);
        }
        c *= 1.0 / (column_sums(c, lid) + params.hc_eps);
    }
    if (lid < 8u) {
        post[at + 2u * lid] = c.x;
        post[at + 2u * lid + 1u] = c.y;
    }
}
