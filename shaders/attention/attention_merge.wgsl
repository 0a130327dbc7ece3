// attention_merge: the parts of a row's attention put together, the sink added to the denominator, the result rotated back. With RINGS more
// workgroups write the rings that attention has read (ring_store).
// in      rows (T) Row; partial (T, MAX_PARTS, heads, DIM) f32 and stats (T, MAX_PARTS, heads) (maximum, sum) as attention leaves them;
//         sinks (heads) f32; angles (T, 2, R/2) (cos, sin); RINGS: live and sources as in ring_store
// out     out (T, heads, DIM) f32; QUANTIZE: rounded to int8 too (lib/quantize); RINGS: rings as in ring_store
// params  Params 128 B
// grid    x: heads + RINGS * ring_workgroups, y: T; one workgroup a head, then ring_workgroups a ring
// needs   DIM at most 2 WG; QUANTIZE: subgroups of at least 8, DIM a multiple of 32, heads * DIM of 256
// cost    parts * DIM * 4 bytes a head
// source  SPEC 3.1 steps 5 and 6
struct Params {
    sources: array<vec4<u32>, 3>, // lib/ring_row
    places: array<vec4<u32>, 3>,
    heads: u32,
    window: u32,
    ratio: u32,
    top_k: u32,
    rope: u32, // R
    angle_set: u32,
    ring_workgroups: u32, // that the longest row of a ring takes
    padding: u32,
}

#import lib/rows
@group(0) @binding(auto) var<storage, read> rows: array<Row>;             // (T)
@group(0) @binding(auto) var<storage, read> partial: array<vec2<f32>>;    // (T, MAX_PARTS, heads, DIM/2)
@group(0) @binding(auto) var<storage, read> stats: array<vec2<f32>>;      // (T, MAX_PARTS, heads)
@group(0) @binding(auto) var<storage, read> sinks: array<f32>;            // (heads)
@group(0) @binding(auto) var<storage, read> angles: array<vec2<f32>>;     // (T, 2, R/2)
@group(0) @binding(auto) var<storage, read_write> out: array<vec2<f32>>;  // (T, heads, DIM/2)
#ifdef QUANTIZE
@group(0) @binding(auto) var<storage, read_write> quantized: array<u32>;  // (T, 9 heads DIM / 32)
#import lib/quantize

var<workgroup> staged: array<vec2<f32>, DIM / 2u>;
#endif
#ifdef RINGS
#import lib/ring_row
#endif
#import lib/visible
#import lib/parts
#import lib/rotate

const PAIRS: u32 = DIM / 2u;

var<workgroup> maxima: array<f32, MAX_PARTS>;
var<workgroup> shares: array<vec2<f32>, MAX_PARTS + 1u>; // of each part's values and sum in the whole, then of the sink's

fn merge(head: u32, t: u32, lid: u32) {
    let sees = visible(rows[t].position);
    let count = parts(sees.window + sees.compressed);
    // Parts behind the last repeat it, so that all loads are under way at once; they add nothing.
    let first = t * MAX_PARTS * params.heads + head;
    let pair = min(lid, PAIRS - 1u);
#for P MAX_PARTS
    let part$P = partial[(first + min($Pu, count - 1u) * params.heads) * PAIRS + pair];
#end
    if (lid < MAX_PARTS) {
        maxima[lid] = stats[first + min(lid, count - 1u) * params.heads].x;
    }
    workgroupBarrier();
    if (lid <= MAX_PARTS) {
        var most = sinks[head];
        for (var part = 0u; part < MAX_PARTS; part++) {
            most = max(most, maxima[part]);
        }
        if (lid == MAX_PARTS) {
            shares[lid] = vec2<f32>(0.0, exp(sinks[head] - most));
        } else {
            let shrink = select(0.0, exp(maxima[lid] - most), lid < count);
            shares[lid] = vec2<f32>(shrink, shrink * stats[first + min(lid, count - 1u) * params.heads].y);
        }
    }
    workgroupBarrier();
    var total = shares[MAX_PARTS].y;
    var value = vec2<f32>(0.0);
#for P MAX_PARTS
    total += shares[$P].y;
    value = fma(vec2<f32>(shares[$P].x), part$P, value);
#end
    if (lid < PAIRS) {
        value = value / total;
        let plain = PAIRS - (params.rope >> 1u);
        if (lid >= plain) {
            value = rotate_back(value, angles[(t * 2u + params.angle_set) * (params.rope >> 1u) + lid - plain]);
        }
        out[(t * params.heads + head) * PAIRS + lid] = value;
#ifdef QUANTIZE
        staged[lid] = value;
#endif
    }
#ifdef QUANTIZE
    workgroupBarrier();
    if (lid < PAIRS / 2u) {
        let columns = params.heads * DIM;
        let quad = vec4<f32>(staged[2u * lid], staged[2u * lid + 1u]);
        quantize_quad(quad, t * quantized_words(columns), columns, head * (DIM / 4u) + lid);
    }
#endif
}

@compute @workgroup_size(WG)
fn attention_merge(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    if (wid.x < params.heads) {
        merge(wid.x, wid.y, lid);
    }
#ifdef RINGS
    else {
        let n = wid.x - params.heads;
        store_ring_word(n / params.ring_workgroups, wid.y, n % params.ring_workgroups * WG + lid);
    }
#endif
}
