// compress: the compressed row of a window that closes in this step, stored into the session's page. Per channel: a softmax over the gates
// of the window's tokens, and the sum of their values with these weights; then N(.; weight) and RoPE at the window's first token.
// in      windows (n) Window; rows (T) Row; live (slots); fresh (T, input_stride) f32 with v, then g at input_offset, WIDTH each;
//         frontier (slots, ring, 2 WIDTH) f32 of earlier tokens; ape (RATIO, WIDTH) f32; weight (dim) f32; angles (n, R/2) (cos, sin)
//         of the windows; page_table (slots, max_pages)
// out     pages (pages, PAGE_ROWS, dim) pairs; this binding holds pool pages [first_page, first_page + held_pages)
// params  Params 40 B
// grid    x: n; one workgroup a window
// needs   dim even, at most 4 WG; RATIO 4 with OVERLAP (WIDTH = 2 dim, windows overlap) or any other (WIDTH = dim)
// cost    8 WIDTH bytes a token: latency bound for one window
// source  SPEC 3.2
struct Params {
    dim: u32,
    rope: u32,         // R
    input_stride: u32, // floats
    input_offset: u32, // floats; offset of v, which g follows
    ring: u32,         // rows of a session's frontier
    max_pages: u32,
    first_page: u32,
    held_pages: u32,
    first_window: u32, // index in windows of the first one of this ratio
    eps: f32,
}

#import lib/attention/window_row
@group(0) @binding(auto) var<storage, read> windows: array<Window>;      // (n)
@group(0) @binding(auto) var<storage, read> rows: array<Row>;            // (T)
@group(0) @binding(auto) var<storage, read> live: array<u32>;            // (slots)
@group(0) @binding(auto) var<storage, read> fresh: array<vec2<f32>>;     // (T, input_stride/2)
@group(0) @binding(auto) var<storage, read> ape: array<vec2<f32>>;       // (RATIO, WIDTH/2)
@group(0) @binding(auto) var<storage, read> weight: array<vec2<f32>>;    // (dim/2)
@group(0) @binding(auto) var<storage, read> window_angles: array<vec2<f32>>; // (n, R/2)
@group(0) @binding(auto) var<storage, read> page_table: array<u32>;      // (slots, max_pages)
@group(0) @binding(auto) var<storage, read_write> pages: array<u32>;     // (held_pages, PAGE_ROWS, dim/2) pairs
#for S FRONTIER_SEGMENTS
@group(0) @binding(auto) var<storage, read> frontier$S: array<vec2<f32>>; // (rows, 2 WIDTH/2)
#end

fn fresh_pair(i: u32) -> vec2<f32> {
    return fresh[i];
}

fn ape_pair(i: u32) -> vec2<f32> {
    return ape[i];
}

fn weight_pair(i: u32) -> vec2<f32> {
    return weight[i];
}

// Pair `at` of the frontier and the pair that is `gates` later. Pairs are counted through all sessions and segments.
fn earlier(at: u32, gates: u32) -> vec4<f32> {
#ifdef FRONTIER_SPLIT
    let pairs = SEGMENT_ROWS * 2u * gates; // pairs of a segment; a row is `gates` pairs of values and as many of gates
    let segment = at / pairs;
    let own = at - segment * pairs;
    var value = vec4<f32>(0.0);
#for S FRONTIER_SEGMENTS
    if (segment == $Su) { value = vec4<f32>(frontier$S[own], frontier$S[own + gates]); }
#end
    return value;
#else
    return vec4<f32>(frontier0[at], frontier0[at + gates]);
#endif
}

fn eight_earlier(number: u32, at: array<u32, 8>, gates: u32) -> array<vec4<f32>, 8> {
    var eight: array<vec4<f32>, 8>;
#for C 8
    eight[$C] = earlier(at[$C], gates);
#end
    return eight;
}

fn store_page_pair(number: u32, at: u32, value: vec2<f32>) {
    let packed = kv_pack(value);
#ifdef KV_F16
    pages[at] = packed;
#else
    pages[at * 2u] = packed.x;
    pages[at * 2u + 1u] = packed.y;
#endif
}

@compute @workgroup_size(WG)
fn compress(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let stride = params.input_stride >> 1u;
    let own = Compressor(0u, params.dim, stride, params.input_offset >> 1u, 0u, 0u, params.first_page, params.held_pages);
    window_row(own, params.first_window + wid.x, lid);
}
