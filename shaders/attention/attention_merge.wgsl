// attention_merge: combines the parts of a row's attention, adds the sink to the denominator and rotates the result back. With RINGS
// further workgroups do the work of ring_store: the rings are free, because attention has read them.
// in      rows (T) Row; partial (T, MAX_PARTS, heads, DIM) f32 and stats (T, MAX_PARTS, heads) (maximum, sum) as attention writes them;
//         sinks (heads) f32; angles (T, 2, R/2) (cos, sin); RINGS: live and sources as in ring_store
// out     out (T, heads, DIM) f32; QUANTIZE: also rounded to int8 (lib/numbers/quantize); RINGS: rings as in ring_store
// params  Params 128 B
// grid    x: heads + RINGS * ring_workgroups, y: T; one workgroup a head, then ring_workgroups a ring
// needs   DIM a multiple of 4, at most 2 WG; parts fewer than WG; QUANTIZE: subgroups of at least 8, DIM a multiple of 32,
//         heads * DIM a multiple of 256
// cost    parts * DIM * 4 bytes a head
// source  SPEC 3.1 (steps 5, 6)
//
// As in attention, the code has to be short.
struct Params {
    sources: array<vec4<u32>, 3>, // lib/attention/ring_row
    places: array<vec4<u32>, 3>,
    heads: u32,
    window: u32,
    ratio: u32,
    top_k: u32,
    rope: u32, // R
    angle_set: u32,
    ring_workgroups: u32, // workgroups for the longest row of a ring
    parts: u32, // MAX_PARTS; as a parameter it keeps a loop rolled
}

#import lib/rows/rows
@group(0) @binding(auto) var<storage, read> rows: array<Row>;             // (T)
@group(0) @binding(auto) var<storage, read> partial: array<vec4<f32>>;    // (T, MAX_PARTS, heads, DIM/4)
@group(0) @binding(auto) var<storage, read> stats: array<vec2<f32>>;      // (T, MAX_PARTS, heads)
@group(0) @binding(auto) var<storage, read> sinks: array<f32>;            // (heads)
@group(0) @binding(auto) var<storage, read> angles: array<vec2<f32>>;     // (T, 2, R/2)
@group(0) @binding(auto) var<storage, read_write> out: array<vec4<f32>>;  // (T, heads, DIM/4)
#ifdef QUANTIZE
@group(0) @binding(auto) var<storage, read_write> quantized: array<u32>;  // (T, 9 heads DIM / 32)
#import lib/numbers/quantize
#endif
#ifdef RINGS
#import lib/attention/ring_row
#endif
#import lib/attention/visible
#import lib/attention/parts
#import lib/attention/rotate

const PAIRS: u32 = DIM / 2u;
const QUADS: u32 = DIM / 4u;
const LISTED: u32 = 2u * PARTS_EACH; // places for parts, some past the last

var<workgroup> maxima: array<f32, (LISTED + 3u) / 4u * 4u>;
var<workgroup> shares: array<vec2<f32>, LISTED + 1u>; // (factor of the values, addend to the denominator) by part, then the sink's
var<workgroup> upper_values: array<vec4<f32>, QUADS>;
var<workgroup> upper_total: f32;

// One half of the workgroup adds the first half of the parts, the other half the rest. An invocation has four channels.
fn merge(head: u32, t: u32, lid: u32) {
    let sees = visible(rows[t].position);
    let last = parts(sees.window + sees.compressed) - 1u;
    // Parts past the last repeat it, with factors of zero, so that all loads are in flight together.
    let first = t * MAX_PARTS * params.heads + head;
    let upper = lid >= QUADS;
    let quad = min(select(lid, lid - QUADS, upper), QUADS - 1u);
    let first_part = select(0u, PARTS_EACH, upper);
#for P PARTS_EACH
    let part$P = partial[(first + min(first_part + $Pu, last) * params.heads) * QUADS + quad];
#end
    let own = stats[first + min(lid, last) * params.heads];
    let sink = sinks[head];
    let plain = PAIRS - (params.rope >> 1u);
    let turn = (t * 2u + params.angle_set) * (params.rope >> 1u);
    let pair = 2u * quad;
    var low = vec2<f32>(1.0, 0.0);
    var high = low;
    if (pair + 1u >= plain) {
        if (pair >= plain) {
            low = angles[turn + pair - plain];
        }
        high = angles[turn + pair + 1u - plain];
    }
    if (lid < (LISTED + 3u) / 4u * 4u) {
        maxima[lid] = own.x;
    }
    workgroupBarrier();
    if (lid <= LISTED) {
        var most = sink;
        for (var part = 0u; part < params.parts; part += 4u) {
#for I 4
            most = max(most, maxima[part + $Iu]);
#end
        }
        let is_sink = lid == LISTED;
        let shrink = select(0.0, exp(select(own.x, sink, is_sink) - most), is_sink || lid <= last);
        shares[lid] = select(vec2<f32>(shrink, shrink * own.y), vec2<f32>(0.0, shrink), is_sink);
    }
    workgroupBarrier();
    var total = 0.0;
    var value = vec4<f32>(0.0);
#for P PARTS_EACH
    {
        let share = shares[first_part + $Pu];
        total += share.y;
        value = fma(vec4<f32>(share.x), part$P, value);
    }
#end
    if (upper && lid < 2u * QUADS) {
        upper_values[quad] = value;
        if (quad == 0u) {
            upper_total = total;
        }
    }
    workgroupBarrier();
    if (upper) {
        return;
    }
    value = (value + upper_values[quad]) * (1.0 / (total + upper_total + shares[LISTED].y));
    value = vec4<f32>(rotate_back(value.xy, low), rotate_back(value.zw, high));
    out[(t * params.heads + head) * QUADS + quad] = value;
#ifdef QUANTIZE
    let columns = params.heads * DIM;
    quantize_quad(value, t * quantized_words(columns), columns, head * QUADS + quad);
#endif
}

@compute @workgroup_size(WG)
fn attention_merge(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    if (wid.x < params.heads) {
        merge(wid.x, wid.y, lid);
    }
#ifdef RINGS
    else {
        // There are at most three rings, and a division would be longer code.
        var ring = 0u;
        var n = wid.x - params.heads;
        while (n >= params.ring_workgroups) {
            n -= params.ring_workgroups;
            ring++;
        }
        store_ring_word(ring, wid.y, n * WG + lid);
    }
#endif
}
