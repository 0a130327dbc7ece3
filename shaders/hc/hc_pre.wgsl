// hc_pre: the input of a sub-layer: Sinkhorn on the mix of a row, x = sum_j pre[j] X[j], then N(x; weight).
// in      mix (T, slices, 32) f32 as hc_mix leaves it; hc (27) f32: base 24, scale 3; x (T, 4, D) f32; weight (D) f32
// out     normed (T, D) f32, or f16 with Y_F16; post (T, 32) f32: post[4], then C[j, k] at 4 + 4j + k; QUANTIZE: normed rounded to int8 too
// params  Params 32 B
// grid    x: T, y: 2; of a row's two workgroups one makes normed, the other post
// needs   D <= 4 * KEPT * WG; QUANTIZE: subgroups of at least 8, D a multiple of 256
// cost    18 D bytes read, 4 D written a row: latency bound for one row (39 dependent Sinkhorn steps)
// source  SPEC 2 (hyper-connections), SPEC 3
struct Params {
    dim: u32,
    iterations: u32,
    hc_eps: f32,
    norm_eps: f32,
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
#import lib/hc_collapse
#import lib/hc_mixed

@compute @workgroup_size(WG)
fn hc_pre(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = wid.x;
    if (wid.y == 0u) {
        load_streams(t, lid);
    }
    gather_mix(t, lid);
    let rms = inverseSqrt(mixed[24] / f32(params.dim * 4u) + params.norm_eps);
    let scale = vec3<f32>(hc[24], hc[25], hc[26]);
    let pre = vec4<f32>(
        stream_weight(mixed[0] * rms * scale.x + hc[0]),
        stream_weight(mixed[1] * rms * scale.x + hc[1]),
        stream_weight(mixed[2] * rms * scale.x + hc[2]),
        stream_weight(mixed[3] * rms * scale.x + hc[3]),
    );
    if (wid.y == 0u) {
        collapse(t, pre, lid);
    } else if (lid == 0u) {
        let m = t * 32u;
        for (var j = 0u; j < 4u; j++) {
            post[m + j] = 2.0 * sigmoid(mixed[4u + j] * rms * scale.y + hc[4u + j]);
        }
        sinkhorn(m, rms * scale.z);
    }
}

// C from the raw mix: softmax over each row j, then columns and rows made to sum to one in turn, columns first and last.
fn sinkhorn(m: u32, scale: f32) {
#for J 4
    let at$J = 8u + 4u * $Ju;
    let raw$J = vec4<f32>(mixed[at$J], mixed[at$J + 1u], mixed[at$J + 2u], mixed[at$J + 3u]) * scale
        + vec4<f32>(hc[at$J], hc[at$J + 1u], hc[at$J + 2u], hc[at$J + 3u]);
    let e$J = exp(raw$J - max(max(raw$J.x, raw$J.y), max(raw$J.z, raw$J.w)));
    var c$J = e$J / (e$J.x + e$J.y + e$J.z + e$J.w) + params.hc_eps;
#end
    for (var i = 0u; i < params.iterations; i++) {
        if (i > 0u) {
#for J 4
            c$J *= 1.0 / (c$J.x + c$J.y + c$J.z + c$J.w + params.hc_eps);
#end
        }
        let inverse = 1.0 / (c0 + c1 + c2 + c3 + params.hc_eps);
#for J 4
        c$J *= inverse;
#end
    }
#for J 4
#for K 4
    post[m + 4u + 4u * $Ju + $Ku] = c$J[$K];
#end
#end
}
