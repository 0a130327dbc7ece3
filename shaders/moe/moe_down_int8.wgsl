// moe_down_int8: y[t, r] += sum_k weight[t, k] down_e[r] . act[t, k] as moe_down, with act rounded to int8;
// SHARED: y[t, r] = shared_down[r] . shared[t] + that sum, in one launch with the shared expert; FUSED_HC_MIX: followed by hc_mix of y.
// in      stack (experts, D, F), the slice; rounded (T * used) rows of F values of act, by lib/numbers/quantize; chosen, weights
//         (T * used); SHARED: w (D, F) Q8_0 by eight, bound by words and by 16 bytes; x_int8 (T) rows of F values, bound twice;
//         FUSED_HC_MIX: mix_quads (outputs, 4D) F16, streams (T, 4, D) f32 and post (T, 32) f32 as for hc_mix
// out     y (T, D) f32, updated in place; SHARED: written; FUSED_HC_MIX: next (T, 4, D) f32, mix (T, D / 16, 32) f32
// params  Params 36 B
// grid    x: ceil(rows / ROWS), y: T; ROWS = 8 * EIGHTS; a subgroup for each expert, and SHARED_PARTS subgroups for the shared one
// needs   subgroups of SUBGROUP, at least 8; F = COLUMNS; WG = PREPARING = (USED + SHARED_PARTS) * SUBGROUP; SHARED_PARTS divides 8;
//         FUSED_HC_MIX: SHARED, ROWS = 16, HC_MIX_TOKENS = 1, the slice has all D rows, D a multiple of 16
// cost    the bytes of down of the chosen experts: bandwidth bound
// source  SPEC 3.5 (steps 4, 5)
struct Params {
    rows: u32,         // channels of an expert in this slice
    width: u32,        // D
    first_row: u32,    // the slice's first channel
    base: u32,         // byte offset of the slice's first row in stack
    first_expert: u32, // first expert of the slice
    experts: u32,      // experts in the slice
    base_shared: u32,  // byte offset of the shared matrix in w
    base_mix: u32,     // byte offset of fn in mix_quads
    outputs: u32,      // rows of fn
}

@group(0) @binding(auto) var<storage, read> stack: array<Stored>;      // arena
@group(0) @binding(auto) var<storage, read> rounded: array<vec4<u32>>; // (T * used, 9 F / 128)
@group(0) @binding(auto) var<storage, read> chosen: array<u32>;        // (T * used)
@group(0) @binding(auto) var<storage, read> weights: array<f32>;       // (T * used)
@group(0) @binding(auto) var<storage, read_write> y: array<f32>;       // (T, D)
#ifdef SHARED
@group(0) @binding(auto) var<storage, read> w: array<u32>;             // arena
@group(0) @binding(auto) var<storage, read> w_quads: array<vec4<u32>>; // the same
@group(0) @binding(auto) var<storage, read> x_int8: array<vec4<u32>>;  // (T, 9 F / 128)
@group(0) @binding(auto) var<storage, read> x_scales: array<f32>;      // the same
#import lib/formats/q8_0x8_rounded
#endif
#ifdef FUSED_HC_MIX
#import lib/hc/fused_mix
#endif
#import lib/formats/units

const ROWS: u32 = 8u * EIGHTS;

// The addend of each expert to a row. The subgroups of the shared expert take different rows, so they have one addend a row.
var<workgroup> addends: array<f32, ROWS * (USED + 1)>;

// The token's experts, counted from the slice's first, and their weights. The weights are needed last, but are loaded here with the
// experts.
var<workgroup> experts: array<u32, USED>;
var<workgroup> expert_weights: array<f32, USED>;

@compute @workgroup_size(WG)
fn moe_down_int8(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let t = wid.y;
#ifdef FUSED_HC_MIX
    // These loads are issued first and used last.
    let fused = load_fused_mix(t, t, wid.x, params.width, params.base_mix, params.outputs, lid);
#endif
    if (lid < USED) {
        experts[lid] = chosen[t * USED + lid] - params.first_expert;
        expert_weights[lid] = weights[t * USED + lid];
    }
    prepare(lid);
    workgroupBarrier();
    let lane = lid % SUBGROUP;
    let member = lid / SUBGROUP;
    let first = wid.x * ROWS;
    let last = params.rows - 1u;
    if (member < USED) {
        let pair = t * USED + member;
        let expert = experts[member];
        let bytes = unit_row(COLUMNS);
        let base = params.base + expert * params.rows * bytes;
        // `twice` is 2 but opaque to the compiler, like the bound of the loop over rows, so the loops stay rolled: with a cold instruction
        // cache, fetching code takes longer than running it.
        let twice = min(2u, params.rows);
        for (var eight = first; eight < first + min(ROWS, params.rows * 8u); eight += 8u) {
            // Sums of rows 0 and 1, of 2 and 3, ...
            var sums: array<vec2<f32>, 4>;
            if (expert < params.experts) {
                // The loads of four rows are in flight together. Loading the next four during the multiplication does not pay: compilers
                // move loads inside a loop to their use. All eight rows at once are no faster.
                for (var unit = lane; unit < COLUMNS / 64u; unit += SUBGROUP) {
                    let x = load_values(pair, unit, COLUMNS);
                    for (var half = 0u; half < twice; half++) {
                        let row = eight + half * 4u;
                        var a = load_unit(base + min(row, last) * bytes, unit);
                        var b = load_unit(base + min(row + 1u, last) * bytes, unit);
                        let next_a = load_unit(base + min(row + 2u, last) * bytes, unit);
                        let next_b = load_unit(base + min(row + 3u, last) * bytes, unit);
                        for (var turn = 0u; turn < twice; turn++) {
                            // The sums rotate by one place a turn, and four turns are a full circle.
                            let newest = sums[0] + vec2<f32>(dot_unit(a, x, lid), dot_unit(b, x, lid));
                            sums = array<vec2<f32>, 4>(sums[1], sums[2], sums[3], newest);
                            a = next_a;
                            b = next_b;
                        }
                    }
                }
            }
            // Eight sums by halves: after each exchange each half of the lanes continues with half of the rows.
            let upper = vec3<bool>((lane & (SUBGROUP / 2u)) != 0u, (lane & (SUBGROUP / 4u)) != 0u, (lane & (SUBGROUP / 8u)) != 0u);
            let low = vec4<f32>(sums[0], sums[1]);
            let high = vec4<f32>(sums[2], sums[3]);
            let four = select(low, high, upper.x) + subgroupShuffleXor(select(high, low, upper.x), SUBGROUP / 2u);
            let two = select(four.xy, four.zw, upper.y) + subgroupShuffleXor(select(four.zw, four.xy, upper.y), SUBGROUP / 4u);
            var one = select(two.x, two.y, upper.z) + subgroupShuffleXor(select(two.y, two.x, upper.z), SUBGROUP / 8u);
            for (var step = SUBGROUP / 16u; step > 0u; step >>= 1u) {
                one += subgroupShuffleXor(one, step);
            }
            if (lane % (SUBGROUP / 8u) == 0u) {
                let row = eight - first + lane / (SUBGROUP / 8u);
                addends[row * (USED + 1u) + member] = one * expert_weights[member];
            }
        }
    }
#ifdef SHARED
    else {
        const QUADS: u32 = COLUMNS / 16u;
        let codes = t * (COLUMNS / 128u * 9u);
        let scales = codes * 4u + COLUMNS / 4u;
        for (var i = member - USED; i < ROWS; i += SHARED_PARTS) {
            let row = params.base_shared + (params.first_row + min(first + i, last)) * (COLUMNS / 32u * 34u);
            var sum = 0.0;
            for (var at = lane; at < QUADS; at += SUBGROUP * 4u) {
#for C 4
                let quad$C = load_quad(row, at + $Cu * SUBGROUP, QUADS);
#end
#for C 4
                sum = add_quad(quad$C, load_x_quad(min(at + $Cu * SUBGROUP, QUADS - 1u), codes, scales), sum);
#end
            }
            for (var step = SUBGROUP / 2u; step > 0u; step >>= 1u) {
                sum += subgroupShuffleXor(sum, step);
            }
            if (lane == 0u) {
                addends[i * (USED + 1u) + USED] = sum;
            }
        }
    }
#endif
#ifdef FUSED_HC_MIX
    stage_fused_mix(fused, lid);
#endif
    workgroupBarrier();
    let row = first + lid;
    if (lid < ROWS && row < params.rows) {
        let i = t * params.width + params.first_row + row;
#ifdef SHARED
        var sum = addends[lid * (USED + 1u) + USED];
#else
        var sum = y[i];
#endif
        for (var k = 0u; k < USED; k++) {
            sum += addends[lid * (USED + 1u) + k];
        }
        y[i] = sum;
#ifdef FUSED_HC_MIX
        result[lid] = sum;
#endif
    }
#ifdef FUSED_HC_MIX
    workgroupBarrier();
    fused_mix(fused, t, t, wid.x, params.width, params.outputs, lid);
#endif
}
