// moe_gate_up_int8: act[p, f] = swiglu(gate_e[f] . x[t], up_e[f] . x[t]) as moe_gate_up, with x rounded to int8; act is stored both as f32
// and rounded.
// in      stack (experts, F, C) gate and up of this slice, in one format; rounded (T) rows of C values of x (lib/numbers/quantize);
//         chosen (T * used); ROUTED: the inputs of router instead
// out     act (T * used, F) f32; quantized (T * used) rows of F values; ROUTED: the outputs of router
// params  Params 68 B
// grid    ceil(T * used * rows / rows_each) workgroups: rows are numbered through all pairs p, so that the load is even; ROUTED: each
//         workgroup repeats the choice for its tokens, and T * ceil(F / 4 / WG) more workgroups make the shared expert's act
// needs   subgroups of SUBGROUP, at least 8; C = COLUMNS; the last PREPARING invocations make the tables; LANES >= C / 64, one unit of 64
//         weights each; rows, first_row, rows_each multiples of 32; ONE_TOKEN: T = 1; rows_each at most ROWS, which is at most WG; a
//         workgroup's rows belong to PAIRS pairs at most;
//         ROUTED: the needs of router with QUANTIZE, EXPERTS and USED as constants
// cost    the bytes of gate and up of the chosen experts: bound by integer arithmetic
// source  SPEC 3.5 (steps 1, 2, 3, 4)
struct Params {
    rows: u32,         // channels of an expert in this slice
    width: u32,        // F
    first_row: u32,    // the slice's first channel
    base_gate: u32,    // byte offset of the slice's first gate row in stack
    base_up: u32,
    first_expert: u32, // first expert of the slice
    experts: u32,      // experts in the slice
    used: u32,
    pairs: u32,        // T * used
    limit: f32,
    stride: u32,       // ROUTED: floats; this and the next four are parameters of router
    offset: u32,       // floats
    scale: f32,
    gate: u32,         // floats
    up: u32,           // floats
    rows_each: u32,    // rows of a workgroup
    workgroups: u32,   // workgroups that have rows
}

@group(0) @binding(auto) var<storage, read> stack: array<Stored>;        // arena
@group(0) @binding(auto) var<storage, read> rounded: array<vec4<u32>>;   // (T, 9 C / 128)
@group(0) @binding(auto) var<storage, read_write> act: array<vec4<f32>>; // (T * used, F/4)
@group(0) @binding(auto) var<storage, read_write> quantized: array<u32>; // (T * used, 9 F / 32)
#ifdef ROUTED
const CHOICES: u32 = PAIRS;
#import lib/experts/route
#else
@group(0) @binding(auto) var<storage, read> chosen: array<u32>;          // (T * used)
#endif
#import lib/numbers/math
#import lib/numbers/quantize
#import lib/formats/units

const TEAMS: u32 = WG / LANES;
const ADDING: u32 = min(LANES, SUBGROUP); // lanes of a team in one subgroup
const PARTS: u32 = LANES / ADDING;        // subgroups of a team

var<workgroup> products: array<f32, ROWS * PARTS * 2>;
var<workgroup> values: array<f32, ROWS>;

// The pairs that a workgroup's rows belong to.
struct Place {
    offset: u32,  // byte offset of the pair's expert from the base, less the bytes of the rows of the pairs before it
    pair: u32,
    token: u32,
    is_here: u32, // 1 if the slice has the expert
}

var<workgroup> places: array<Place, PAIRS>;

// The lane's unit of one row of gate and of up.
struct Fetched {
    gate: Unit,
    up: Unit,
    token: u32,
    is_here: u32,
}

// Fills `places` for the pairs from `pair` to `last`. `is_first` says that the workgroup has the first row of `pair`.
fn locate(pair: u32, last: u32, is_first: bool, lid: u32) {
#ifdef ROUTED
#ifdef ONE_TOKEN
    let first_token = 0u;
    choose(0u, 0u, lid);
    if (is_first && pair == 0u) {
        store_choice(0u, 0u, lid);
    }
#else
    let first_token = pair / USED;
    for (var t = first_token; t <= last / USED; t++) {
        choose(t, t - first_token, lid);
        // The workgroup with the first row of a token stores the token's choice.
        if (t > first_token || (is_first && pair == first_token * USED)) {
            store_choice(t, t - first_token, lid);
        }
        // The next choice overwrites workgroup memory that this one reads.
        workgroupBarrier();
    }
#endif
#endif
    if (lid < PAIRS) {
        let own = min(pair + lid, last);
#ifdef ROUTED
        let expert = picked[own - first_token * USED] - params.first_expert;
#else
        let expert = chosen[own] - params.first_expert;
#endif
#ifdef ONE_TOKEN
        let token = 0u;
#else
        let token = own / params.used;
#endif
        let is_here = expert < params.experts;
        let row = (select(0u, expert, is_here) - lid) * params.rows;
        places[lid] = Place(row * unit_row(COLUMNS), own, token, u32(is_here));
    }
}

// The index in `places` of a row, which counts from the first row of the first pair.
fn place_of(row: u32) -> u32 {
    var i = 0u;
    for (var next = 1u; next < PAIRS; next++) {
        i += u32(row >= next * params.rows);
    }
    return i;
}

fn fetch(row: u32, unit: u32) -> Fetched {
    let place = places[place_of(row)];
    let at = place.offset + row * unit_row(COLUMNS);
    return Fetched(load_unit(params.base_gate + at, unit), load_unit(params.base_up + at, unit), place.token, place.is_here);
}

@compute @workgroup_size(WG)
fn moe_gate_up_int8(
    @builtin(workgroup_id) wid: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lid: u32,
) {
    let workgroup = wid.x + wid.y * workgroups.x;
#ifdef ROUTED
    if (workgroup >= params.workgroups) {
#ifdef ONE_TOKEN
        shared_expert(0u, (workgroup - params.workgroups) * WG + lid);
#else
        let each = (params.width / 4u + WG - 1u) / WG;
        let t = (workgroup - params.workgroups) / each;
        if (t < params.pairs / USED) {
            shared_expert(t, (workgroup - params.workgroups) % each * WG + lid);
        }
#endif
        return;
    }
#endif
    let team = lid / LANES;
    let lane = lid % LANES;
    let units = COLUMNS >> 6u;
    let unit = min(lane, units - 1u);
    let number = workgroup * params.rows_each;
    let all = params.pairs * params.rows;
    let pair = min(number, all - 1u) / params.rows;
    // Rows count from the first one of that pair.
    let first = number - pair * params.rows;
    let last = all - 1u - pair * params.rows;
    // The last invocations make the tables, because the first are busy with the choice of experts.
    if (lid >= WG - PREPARING) {
        prepare(lid - (WG - PREPARING));
    }
    locate(pair, pair + place_of(min(first + params.rows_each - 1u, last)), first == 0u, lid);
    workgroupBarrier();
    // The number of the workgroup's rows is opaque to the compiler, so the loop stays rolled. A turn is about 500 instructions, which a
    // launch has to fetch into a cold instruction cache.
    let end = min(params.rows_each, all - number);
    var next = fetch(min(first + team, last), unit);
#ifdef ONE_TOKEN
    let x = load_values(0u, unit, COLUMNS);
#else
    var token = next.token;
    var x = load_values(token, unit, COLUMNS);
#endif
    for (var at = team; at < end; at += TEAMS) {
        let now = next;
        // The loads for the next turn are under one condition and the products under another. Otherwise compilers would move the loads past
        // the products, to their use.
        if (at + TEAMS < end) {
            next = fetch(first + at + TEAMS, unit);
        }
#ifndef ONE_TOKEN
        // Neighbouring rows almost always belong to the same token.
        if (now.token != token) {
            token = now.token;
            x = load_values(token, unit, COLUMNS);
        }
#endif
        var sums = vec2<f32>(0.0);
        if (now.is_here != 0u && lane < units) {
            sums = vec2<f32>(dot_unit(now.gate, x, lid), dot_unit(now.up, x, lid));
        }
        // After this exchange the lower half of the lanes has gate's sum, the upper half up's.
        let is_up = (lane & (ADDING / 2u)) != 0u;
        var sum = select(sums.x, sums.y, is_up) + subgroupShuffleXor(select(sums.y, sums.x, is_up), ADDING / 2u);
        for (var step = ADDING / 4u; step > 0u; step >>= 1u) {
            sum += subgroupShuffleXor(sum, step);
        }
        if (lane % (ADDING / 2u) == 0u) {
            products[(at * PARTS + lane / ADDING) * 2u + u32(is_up)] = sum;
        }
    }
    workgroupBarrier();
    if (lid < end) {
        var sums = vec2<f32>(0.0);
        for (var part = 0u; part < PARTS; part++) {
            let sum = (lid * PARTS + part) * 2u;
            sums += vec2<f32>(products[sum], products[sum + 1u]);
        }
        values[lid] = swiglu(sums.x, sums.y, params.limit);
    }
    workgroupBarrier();
    let at = lid * 4u;
    let row = first + at;
    let i = place_of(row);
    if (at >= end || places[i].is_here == 0u) {
        return;
    }
    let value = vec4<f32>(values[at], values[at + 1u], values[at + 2u], values[at + 3u]);
    let channel = params.first_row + row - i * params.rows;
    act[(places[i].pair * params.width + channel) >> 2u] = value;
    quantize_quad(value, places[i].pair * quantized_words(params.width), params.width, channel >> 2u);
}
