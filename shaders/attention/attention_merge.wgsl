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

fn merge(head: u32, t: u32, lid: u32) {
    if (lid < PAIRS) {
        let sees = visible(rows[t].position);
        let count = parts(sees.window + sees.compressed);
        var most = sinks[head];
        for (var part = 0u; part < count; part++) {
            most = max(most, stats[(t * MAX_PARTS + part) * params.heads + head].x);
        }
        var total = exp(sinks[head] - most);
        var value = vec2<f32>(0.0);
        for (var part = 0u; part < count; part++) {
            let at = (t * MAX_PARTS + part) * params.heads + head;
            let shrink = exp(stats[at].x - most);
            total = fma(stats[at].y, shrink, total);
            value = fma(vec2<f32>(shrink), partial[at * PAIRS + lid], value);
        }
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
