// compress: the row of a window that closes in this step: per channel a softmax over the gates of its tokens, the weighted sum of their
// values, N(.; weight), RoPE at the window's first token; into the session's page.
// in      windows (n) Window; rows (T) Row; live (slots); fresh (T, fresh_stride) f32 with v then g at fresh_offset, each WIDTH wide;
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
    fresh_stride: u32, // floats
    fresh_offset: u32, // floats; of v, g follows
    ring: u32,         // rows of a session's frontier
    max_pages: u32,
    first_page: u32,
    held_pages: u32,
    first_window: u32, // into windows, for this ratio
    eps: f32,
}

struct Window {
    last_row: u32, // the row of the step that closes the window
    index: u32,    // number of the window in its session
}

#import lib/rows
@group(0) @binding(auto) var<storage, read> windows: array<Window>;      // (n)
@group(0) @binding(auto) var<storage, read> rows: array<Row>;            // (T)
@group(0) @binding(auto) var<storage, read> live: array<u32>;            // (slots)
@group(0) @binding(auto) var<storage, read> fresh: array<vec2<f32>>;     // (T, fresh_stride/2)
@group(0) @binding(auto) var<storage, read> ape: array<vec2<f32>>;       // (RATIO, WIDTH/2)
@group(0) @binding(auto) var<storage, read> weight: array<vec2<f32>>;    // (dim/2)
@group(0) @binding(auto) var<storage, read> angles: array<vec2<f32>>;    // (n, R/2)
@group(0) @binding(auto) var<storage, read> page_table: array<u32>;      // (slots, max_pages)
@group(0) @binding(auto) var<storage, read_write> pages: array<u32>;     // (held_pages, PAGE_ROWS, dim/2) pairs
#for S FRONTIER_SEGMENTS
@group(0) @binding(auto) var<storage, read> frontier$S: array<vec2<f32>>; // (rows, 2 WIDTH/2)
#end
#import lib/kv
#import lib/reduce
#import lib/rotate

// A pair of the frontier; rows are counted through all sessions and segments.
fn frontier_pair(row: u32, pair: u32, width: u32) -> vec2<f32> {
#ifdef FRONTIER_SPLIT
    let segment = row / SEGMENT_ROWS;
    let at = (row - segment * SEGMENT_ROWS) * width + pair;
    var value = vec2<f32>(0.0);
#for S FRONTIER_SEGMENTS
    if (segment == $Su) { value = frontier$S[at]; }
#end
    return value;
#else
    return frontier0[row * width + pair];
#endif
}

struct Candidate {
    value: vec2<f32>,
    gate: vec2<f32>,
}

// Candidate `n` of the window for channel pair `pair`: its token's value and gate, the gate with ape.
fn candidate(window: Window, row: Row, n: u32, pair: u32) -> Candidate {
#ifdef OVERLAP
    // The first halves of the previous window's tokens, then the second halves of this window's.
    let width = params.dim * 2u;
    let position = window.index * RATIO + n - RATIO;
    let column = select(pair, pair + (params.dim >> 1u), n >= RATIO);
#else
    let width = params.dim;
    let position = window.index * RATIO + n;
    let column = pair;
#endif
    var out: Candidate;
    if (position >= row.first_position) {
        let t = row.first_row + position - row.first_position;
        let at = (t * params.fresh_stride + params.fresh_offset) >> 1u;
        out.value = fresh[at + column];
        out.gate = fresh[at + (width >> 1u) + column];
    } else {
        let place = row.slot * params.ring + position % params.ring;
        out.value = frontier_pair(place, column, width);
        out.gate = frontier_pair(place, (width >> 1u) + column, width);
    }
    out.gate += ape[(position % RATIO) * (width >> 1u) + column];
    return out;
}

@compute @workgroup_size(WG)
fn compress(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let window = windows[params.first_window + wid.x];
    let row = rows[window.last_row];
    let pairs = params.dim >> 1u;
#ifdef OVERLAP
    let first = select(0u, RATIO, window.index == 0u); // the first window has no predecessor
    let count = 2u * RATIO;
#else
    let first = 0u;
    let count = RATIO;
#endif
    var pooled: array<vec2<f32>, 2>;
    var squares = 0.0;
    for (var i = 0u; i < 2u; i++) {
        let pair = i * WG + lid;
        if (pair < pairs) {
            var most = candidate(window, row, first, pair).gate;
            for (var n = first + 1u; n < count; n++) {
                most = max(most, candidate(window, row, n, pair).gate);
            }
            var total = vec2<f32>(0.0);
            var sum = vec2<f32>(0.0);
            for (var n = first; n < count; n++) {
                let one = candidate(window, row, n, pair);
                let share = exp(one.gate - most);
                total += share;
                sum = fma(share, one.value, sum);
            }
            pooled[i] = sum / total;
            squares += dot(pooled[i], pooled[i]);
        }
    }
    let scale = inverseSqrt(workgroup_sum(squares, lid) / f32(params.dim) + params.eps);
    let page = page_table[row.slot * params.max_pages + window.index / PAGE_ROWS];
    if (live[row.slot] == 0u || page < params.first_page || page - params.first_page >= params.held_pages) {
        return;
    }
    let page_at = ((page - params.first_page) * PAGE_ROWS + window.index % PAGE_ROWS) * pairs;
    let plain = pairs - (params.rope >> 1u);
    let turn = (params.first_window + wid.x) * (params.rope >> 1u);
    for (var i = 0u; i < 2u; i++) {
        let pair = i * WG + lid;
        if (pair < pairs) {
            var value = pooled[i] * scale * weight[pair];
            if (pair >= plain) {
                value = rotate(value, angles[turn + pair - plain]);
            }
            let packed = kv_pack(value);
#ifdef KV_F16
            pages[page_at + pair] = packed;
#else
            pages[(page_at + pair) * 2u] = packed.x;
            pages[(page_at + pair) * 2u + 1u] = packed.y;
#endif
        }
    }
}
