// hc_pre: the input of a sub-layer: Sinkhorn on the mix of a row, x = sum_j pre[j] X[j], then N(x; weight).
// in      mix (T, slices, 32) f32 as hc_mix leaves it; hc (27) f32: base 24, scale 3; x (T, 4, D) f32; weight (D) f32
// out     normed (T, D) f32, or f16 with Y_F16; post (T, 32) f32: post[4], then C[j, k] at 4 + 4j + k; QUANTIZE: normed rounded to int8 too
//         AHEAD: perhaps zero in a word of post that means nothing
// params  Params 48 B
// grid    x: T, y: 2; of a row's two workgroups one makes normed, the other post; AHEAD y: 3, and the third of the first row reads a
//         word of every PAGE of the weights that follow: their translations are on the way while the device has nothing to do
// needs   D <= 4 * KEPT * WG; QUANTIZE: subgroups of at least 8, D a multiple of 256
// cost    18 D bytes read, 4 D written a row: latency bound for one row (39 dependent Sinkhorn steps)
// source  SPEC 2 (hyper-connections), SPEC 3
struct Params {
    dim: u32,
    iterations: u32,
    hc_eps: f32,
    norm_eps: f32,
    ahead: array<vec4<u32>, 2>, // (byte offset, bytes), two a vec4
}

@group(0) @binding(auto) var<storage, read> mix: array<f32>;             // (T, slices, 32)
@group(0) @binding(auto) var<storage, read> hc: array<f32>;              // base (24), scale (3)
@group(0) @binding(auto) var<storage, read> weight: array<vec4<f32>>;    // (D/4)
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;         // (T, 4, D/4)
#ifdef Y_F16
@group(0) @binding(auto) var<storage, read_write> normed: array<vec4<f16>>; // (T, D/4)
#else
@group(0) @binding(auto) var<storage, read_write> normed: array<vec4<f32>>; // (T, D/4)
#endif
@group(0) @binding(auto) var<storage, read_write> post: array<f32>;      // (T, 32)
#ifdef AHEAD
#for A AHEAD
@group(0) @binding(auto) var<storage, read> ahead$A: array<u32>;         // arena
#end
#endif
#import lib/hc_collapse
#import lib/hc_mixed

const PAGE: u32 = 1u << 21u;

@compute @workgroup_size(WG)
fn hc_pre(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = wid.x;
#ifdef AHEAD
    if (wid.y == 2u) {
        if (t == 0u) {
            ask_ahead(lid);
        }
        return;
    }
#endif
    let makes_normed = wid.y == 0u;
    if (makes_normed) {
        load_streams(t, lid);
    }
    // The outputs of an invocation: pre[lid]; in the other workgroup two of C for the first eight, one of post for the next four.
    let output = min(select(select(lid * 2u + 8u, lid - 4u, lid >= 8u), lid, makes_normed), 22u);
    let base = vec2<f32>(hc[output], hc[output + 1u]);
    let scale = hc[24u + min(output >> 2u, 2u)];
    gather_mix(t, lid);
    var raw = vec2<f32>(0.0);
    if (lid < 12u) {
        let rms = inverseSqrt(mixed[24] / f32(params.dim * 4u) + params.norm_eps);
        raw = vec2<f32>(mixed[output], mixed[output + 1u]) * (rms * scale) + base;
    }
    let m = t * 32u;
    if (makes_normed) {
        if (lid < 4u) {
            pre[lid] = stream_weight(raw.x);
        }
        collapse(t, lid);
        return;
    }
    if (lid >= 8u && lid < 12u) {
        post[m + lid - 8u] = 2.0 * sigmoid(raw.x);
    }
#ifdef SUBGROUP
    if (lid < 8u) {
        sinkhorn(m + 4u, raw, lid);
    }
#else
    sinkhorn(m + 4u, raw, lid);
#endif
}

#ifdef AHEAD
fn ask_ahead(lid: u32) {
    var all = 0u;
#for A AHEAD
    let range$A = select(params.ahead[$Au >> 1u].xy, params.ahead[$Au >> 1u].zw, ($Au & 1u) == 1u);
    all ^= ahead$A[(range$A.x + min(lid * PAGE, range$A.y - 4u)) >> 2u];
#end
    // Without a use of the words nobody would read them.
    if (all == 0x5a5aa5a5u) {
        post[31] = 0.0;
    }
}
#endif

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
