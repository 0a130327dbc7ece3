// latents: the rows that attention needs of the projections of its input, in one launch for few rows: window keys (kv_row), with QUERIES
// low-rank queries (rms_norm), with WINDOWS the rows of closing windows (compress), with INDEX the indexer's. A workgroup makes one row.
// in      x (T, x_stride) f32; vectors f32: all weights, and ape; angles (T, 2, R/2) (cos, sin); WINDOWS: fresh
//         (T, input_stride) f32, windows, rows, live, window_angles, page_table and frontiers as in compress
// out     kv (T, kv_dim) pairs of the cache's type; QUERIES: y (T, q_columns) f32; WINDOWS: pages
// params  Params 96 B
// grid    x: T, QUERIES: T more, closing windows of each compressor
// needs   pools that are not split; the needs of rms_norm, kv_row and compress
// cost    the work of these kernels, all in flight together: latency bound
// source  SPEC 2.1 (N), SPEC 3.1 (steps 1, 3), SPEC 3.2
struct Params {
    tokens: u32,       // T
    x_stride: u32,     // floats, like the offsets below
    q_offset: u32,     // offset in a row of x
    q_columns: u32,
    q_weight: u32,     // offset in vectors
    kv_offset: u32,
    kv_dim: u32,
    kv_weight: u32,
    rope: u32,         // R
    angle_set: u32,    // 0 plain, 1 compressed layers
    eps: f32,
    windows: u32,      // closing windows of this ratio
    first_window: u32, // index in windows of the first one
    ring: u32,         // rows of a session's frontier
    max_pages: u32,
    input_stride: u32, // floats, from row to row of fresh
    row_dim: u32,      // the layer's compressor: its dim, its offset in a row of fresh, its ape and weight in vectors
    row_offset: u32,
    row_ape: u32,
    row_weight: u32,
    index_dim: u32,    // the same of the indexer's compressor
    index_offset: u32,
    index_ape: u32,
    index_weight: u32,
}

@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;          // (T, x_stride/4)
@group(0) @binding(auto) var<storage, read> vectors: array<vec4<f32>>;
@group(0) @binding(auto) var<storage, read> angles: array<vec2<f32>>;     // (T, 2, R/2)
@group(0) @binding(auto) var<storage, read_write> kv: array<u32>;         // (T, kv_dim/2) pairs
#ifdef QUERIES
@group(0) @binding(auto) var<storage, read_write> y: array<vec4<f32>>;    // (T, q_columns/4)
#import lib/rows/norm_row
#endif
#import lib/attention/key_row
#ifdef WINDOWS
#import lib/attention/window_row
@group(0) @binding(auto) var<storage, read> fresh: array<vec2<f32>>;      // (T, input_stride/2)
@group(0) @binding(auto) var<storage, read> windows: array<Window>;       // (n)
@group(0) @binding(auto) var<storage, read> rows: array<Row>;             // (T)
@group(0) @binding(auto) var<storage, read> live: array<u32>;             // (slots)
@group(0) @binding(auto) var<storage, read> window_angles: array<vec2<f32>>; // (n, R/2)
@group(0) @binding(auto) var<storage, read> page_table: array<u32>;       // (slots, max_pages)
#for N COMPRESSORS
@group(0) @binding(auto) var<storage, read_write> pages$N: array<u32>;    // (pages, PAGE_ROWS, dim/2) pairs
@group(0) @binding(auto) var<storage, read> frontier$N: array<vec2<f32>>; // (slots, ring, 2 WIDTH/2)
#end

fn fresh_pair(i: u32) -> vec2<f32> {
    return fresh[i];
}

fn ape_pair(i: u32) -> vec2<f32> {
    return weight_pair(i);
}

// Eight pairs of values of the frontier, each followed by its pair of gates.
fn eight_earlier(number: u32, at: array<u32, 8>, gates: u32) -> array<vec4<f32>, 8> {
    var eight: array<vec4<f32>, 8>;
#for N COMPRESSORS
    if (number == $Nu) {
#for C 8
        eight[$C] = vec4<f32>(frontier$N[at[$C]], frontier$N[at[$C] + gates]);
#end
    }
#end
    return eight;
}

fn store_page_pair(number: u32, at: u32, value: vec2<f32>) {
    let packed = kv_pack(value);
#for N COMPRESSORS
    if (number == $Nu) {
#ifdef KV_F16
        pages$N[at] = packed;
#else
        pages$N[at * 2u] = packed.x;
        pages$N[at * 2u + 1u] = packed.y;
#endif
    }
#end
}

fn compressor(number: u32, dim: u32, offset: u32, ape: u32, weight: u32) -> Compressor {
    return Compressor(number, dim, params.input_stride >> 1u, offset >> 1u, ape >> 1u, weight >> 1u, 0u, 0xffffffffu);
}
#endif

fn x_quad(i: u32) -> vec4<f32> {
    return x[i];
}

fn x_pair(i: u32) -> vec2<f32> {
    let four = x[i >> 1u];
    return select(four.xy, four.zw, (i & 1u) == 1u);
}

fn weight_quad(i: u32) -> vec4<f32> {
    return vectors[i];
}

fn weight_pair(i: u32) -> vec2<f32> {
    let four = vectors[i >> 1u];
    return select(four.xy, four.zw, (i & 1u) == 1u);
}

@compute @workgroup_size(WG)
fn latents(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    var n = wid.x;
    if (n < params.tokens) {
        key_row(n, (n * params.x_stride + params.kv_offset) >> 1u, params.kv_weight >> 1u, params.kv_dim, lid);
        return;
    }
    n -= params.tokens;
#ifdef QUERIES
    if (n < params.tokens) {
        norm_row(n, (n * params.x_stride + params.q_offset) >> 2u, params.q_weight >> 2u, params.q_columns, lid);
        return;
    }
    n -= params.tokens;
#endif
#ifdef WINDOWS
    var own = compressor(0u, params.row_dim, params.row_offset, params.row_ape, params.row_weight);
#ifdef INDEX
    if (n >= params.windows) {
        own = compressor(1u, params.index_dim, params.index_offset, params.index_ape, params.index_weight);
        n -= params.windows;
    }
#endif
    window_row(own, params.first_window + n, lid);
#endif
}
