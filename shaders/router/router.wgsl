// router: the experts of a token and their weights, and beside them act = swiglu(gate, up) of the shared expert, which no choice delays.
// s = sqrt(softplus(logit)). The `used` experts with the highest s + bias are chosen, or with HASHED those that the table names for the
// token; weight = scale * s / sum of the chosen s.
// in      inputs (T, stride) f32: `experts` logits at `offset`, the shared expert's gate (F) at `gate` and up (F) at `up`; bias (experts)
//         f32, or table (vocabulary, used) with rows and sampled
// out     chosen (T, used) expert numbers, which are in range and distinct; NaN counts as lowest; weights (T, used) f32;
//         shared_act (T, F) f32, or f16 with Y_F16; QUANTIZE: also rounded to int8, shared_int8 (lib/numbers/round_quad)
// params  Params 28 B
// grid    x: 1 + ceil(F / 4 / WG), y: T; the first workgroup of a token chooses, the others each make 4 WG channels of act
// needs   experts at most 1024, used at most 16; F a multiple of 4; QUANTIZE: subgroups of at least 8, F a multiple of 256
// cost    32 comparisons an expert, then each candidate with those of all blocks: latency bound
// source  SPEC 3.5 (steps 1, 2, 3, 4)
struct Params {
    stride: u32, // floats
    offset: u32, // floats
    scale: f32,
    width: u32,  // F
    gate: u32,   // floats
    up: u32,     // floats
    limit: f32,
}

const CHOICES: u32 = 1u;
#import lib/experts/route

@compute @workgroup_size(WG)
fn router(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    if (wid.x > 0u) {
        shared_expert(wid.y, (wid.x - 1u) * WG + lid);
        return;
    }
    choose(wid.y, 0u, lid);
    store_choice(wid.y, 0u, lid);
}
