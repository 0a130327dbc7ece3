// hc_sinkhorn: the weights of a sub-layer's residual, from the mix of a row: post, and C, made doubly stochastic by Sinkhorn's iteration.
// in      mix (T, slices, 32) f32 as hc_mix writes it; hc (27) f32: base 24, scale 3
// out     post (T, 32) f32: post[4], then C[j, k] at 4 + 4j + k; PREFETCH: no kernel reads word 31, which keeps the prefetch's loads alive
// params  Params 48 B
// grid    T; PREFETCH: one workgroup more, which prefetches the next weights
// needs   nothing; subgroups, if used, of at least 8
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
        if (is_used(prefetch_words(lid))) {
            post[31] = 0.0;
        }
        return;
    }
#endif
    // Each of the first eight invocations has two outputs, of C; each of the next four has one, of post.
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

// Invocation 2 j + h of the first eight holds C[j, 2 h] and C[j, 2 h + 1], so that a step is one exchange and a few instructions.
#ifdef SUBGROUP
fn publish(mine: vec2<f32>, lid: u32) {
}

fn value_of(mine: vec2<f32>, lane: u32) -> vec2<f32> {
    return subgroupShuffle(mine, lane);
}
#else
var<workgroup> places: array<vec2<f32>, 8>;

fn publish(mine: vec2<f32>, lid: u32) {
    workgroupBarrier();
    if (lid < 8u) {
        places[lid] = mine;
    }
    workgroupBarrier();
}

fn value_of(mine: vec2<f32>, lane: u32) -> vec2<f32> {
    return places[lane];
}
#endif

// The four values of C's row j, in which the invocation holds two.
fn row_of(mine: vec2<f32>, lid: u32) -> vec4<f32> {
    publish(mine, lid);
    return vec4<f32>(value_of(mine, lid & 6u), value_of(mine, (lid & 6u) + 1u));
}

// The sums of C's columns 2 h and 2 h + 1.
fn column_sums(mine: vec2<f32>, lid: u32) -> vec2<f32> {
    publish(mine, lid);
    let h = lid & 1u;
    return value_of(mine, h) + value_of(mine, h + 2u) + value_of(mine, h + 4u) + value_of(mine, h + 6u);
}

// Makes C from the raw mix: a softmax over each row, then columns and rows in turn are normalised to a sum of one, columns first and last.
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
