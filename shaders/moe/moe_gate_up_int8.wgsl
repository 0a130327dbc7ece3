// moe_gate_up_int8: act[p, f] = swiglu(gate_e[f] . x[t], up_e[f] . x[t]) as moe_gate_up, with x rounded to int8 and act left rounded too.
// in      stack (experts, F, C) gate and up of this slice, in one format; rounded (T) rows of C values of x (lib/quantize);
//         chosen (T * used)
// out     act (T * used, F) f32; quantized (T * used) rows of F values
// params  Params 44 B
// grid    ceil(T * used * rows / (STEPS * ROUNDS * WG / LANES)) workgroups: rows are numbered through all pairs p, so that the load is even
// needs   subgroups of SUBGROUP, at least 8; LANES >= C / 64, one unit of 64 weights each; rows a workgroup, rows, first_row multiples of 32
// cost    the bytes of gate and up of the chosen experts: whole-number arithmetic bound
// source  SPEC 3.5
struct Params {
    columns: u32,
    rows: u32,         // channels of an expert in this slice
    width: u32,        // F
    first_row: u32,    // the slice's first channel
    base_gate: u32,    // byte offset of the slice's first gate row in stack
    base_up: u32,
    first_expert: u32, // the slice's experts
    experts: u32,
    used: u32,
    pairs: u32,        // T * used
    limit: f32,
}

@group(0) @binding(auto) var<storage, read> stack: array<u32>;           // arena
@group(0) @binding(auto) var<storage, read> rounded: array<vec4<u32>>;   // (T, 9 C / 128)
@group(0) @binding(auto) var<storage, read> chosen: array<u32>;          // (T * used)
@group(0) @binding(auto) var<storage, read_write> act: array<vec4<f32>>; // (T * used, F/4)
@group(0) @binding(auto) var<storage, read_write> quantized: array<u32>; // (T * used, 9 F / 32)
#import lib/math
#import lib/quantize
#import lib/units

const TEAMS: u32 = WG / LANES;
const ROWS: u32 = TEAMS * STEPS * ROUNDS;
// Subgroups of a team, and how many lanes of it add within one.
const ADDING: u32 = min(LANES, SUBGROUP);
const PARTS: u32 = LANES / ADDING;

var<workgroup> products: array<f32, ROWS * PARTS * 2>;

// A lane's weights of one row.
struct Fetched {
    gate: Unit,
    up: Unit,
    pair: u32,
    is_here: bool, // the expert is one of the slice's
}

fn fetch(number: u32, unit: u32) -> Fetched {
    let at = min(number, params.pairs * params.rows - 1u);
    let pair = at / params.rows;
    let expert = chosen[pair] - params.first_expert;
    let row = select(0u, expert, expert < params.experts) * params.rows + at - pair * params.rows;
    let bytes = unit_row(params.columns);
    let gate = load_unit(params.base_gate + row * bytes, unit);
    return Fetched(gate, load_unit(params.base_up + row * bytes, unit), pair, expert < params.experts);
}

@compute @workgroup_size(WG)
fn moe_gate_up_int8(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    prepare(lid);
    let team = lid / LANES;
    let lane = lid % LANES;
    let units = params.columns >> 6u;
    let unit = min(lane, units - 1u);
    let first = (wid.x + wid.y * workgroups.x) * ROWS;
    var token = 0u;
    var x = load_values(token, unit, params.columns);
    var next = fetch(first + team, unit);
    workgroupBarrier();
    for (var round = 0u; round < ROUNDS; round++) {
#for S STEPS
        {
            let at = (round * STEPS + $Su) * TEAMS + team;
            let now = next;
            if (at + TEAMS < ROWS) {
                next = fetch(first + at + TEAMS, unit);
            }
            // Neighbouring rows nearly always are of the same token.
            if (now.pair / params.used != token) {
                token = now.pair / params.used;
                x = load_values(token, unit, params.columns);
            }
            var sums = vec2<f32>(0.0);
            if (now.is_here && lane < units) {
                sums = vec2<f32>(dot_unit(now.gate, x, lid), dot_unit(now.up, x, lid));
            }
            // The upper half of the lanes goes on with up's sum.
            let is_up = (lane & (ADDING / 2u)) != 0u;
            var sum = select(sums.x, sums.y, is_up) + subgroupShuffleXor(select(sums.y, sums.x, is_up), ADDING / 2u);
            for (var step = ADDING / 4u; step > 0u; step >>= 1u) {
                sum += subgroupShuffleXor(sum, step);
            }
            if (lane % (ADDING / 2u) == 0u) {
                products[(at * PARTS + lane / ADDING) * 2u + u32(is_up)] = sum;
            }
        }
#end
    }
    workgroupBarrier();
    let at = lid * 4u;
    let number = first + at;
    if (at >= ROWS || number >= params.pairs * params.rows) {
        return;
    }
    let pair = number / params.rows;
    if (chosen[pair] - params.first_expert >= params.experts) {
        return;
    }
    var value: vec4<f32>;
#for I 4
    {
        var sums = vec2<f32>(0.0);
        for (var part = 0u; part < PARTS; part++) {
            let i = ((at + $Iu) * PARTS + part) * 2u;
            sums += vec2<f32>(products[i], products[i + 1u]);
        }
        value[$I] = swiglu(sums.x, sums.y, params.limit);
    }
#end
    let channel = params.first_row + number - pair * params.rows;
    act[(pair * params.width + channel) >> 2u] = value;
    quantize_quad(value, pair * quantized_words(params.width), params.width, channel >> 2u);
}
