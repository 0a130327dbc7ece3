// The row of a window that closes in this step: per channel a softmax over the gates of its tokens, the weighted sum of their values,
// N(.; weight), RoPE at the window's first token; into the session's page. RATIO tokens a window; with OVERLAP (RATIO 4) values and gates are
// two rows wide and a window takes the first halves of its predecessor's tokens.
//
// The kernel declares windows, rows, live, page_table and window_angles, and how pairs are read and written: x_pair (of the step's values and
// gates), ape_pair, weight_pair, frontier_pair and store_page_pair. The last two take the compressor's number where a kernel has several.

#import lib/rows
#import lib/kv
#import lib/reduce
#import lib/rotate

struct Window {
    last_row: u32, // the row of the step that closes the window
    index: u32,    // number of the window in its session
}

struct Compressor {
    number: u32,
    dim: u32,
    stride: u32,     // from row to row of the step, in pairs
    fresh: u32,      // where a row's values start, gates follow; in pairs
    ape: u32,        // where ape starts, in pairs
    weight: u32,     // where the weight starts, in pairs
    first_page: u32, // the pool pages that can be written
    held_pages: u32,
}

struct Candidate {
    value: vec2<f32>,
    gate: vec2<f32>,
}

// Candidate `n` of the window for channel pair `pair`: its token's value and gate, the gate with ape.
fn candidate(own: Compressor, window: Window, row: Row, n: u32, pair: u32) -> Candidate {
#ifdef OVERLAP
    // The first halves of the previous window's tokens, then the second halves of this window's.
    let width = own.dim * 2u;
    let position = window.index * RATIO + n - RATIO;
    let column = select(pair, pair + (own.dim >> 1u), n >= RATIO);
#else
    let width = own.dim;
    let position = window.index * RATIO + n;
    let column = pair;
#endif
    // Both of the places where it may lie are read, so that no load waits for a branch.
    let is_fresh = position >= row.first_position;
    let t = select(row.last_row, row.first_row + position - row.first_position, is_fresh);
    let at = t * own.stride + own.fresh;
    let place = row.slot * params.ring + position % params.ring;
    var out: Candidate;
    out.value = select(frontier_pair(own.number, place, column, width), x_pair(at + column), is_fresh);
    let gate = (width >> 1u) + column;
    out.gate = select(frontier_pair(own.number, place, gate, width), x_pair(at + gate), is_fresh);
    out.gate += ape_pair(own.ape + (position % RATIO) * (width >> 1u) + column);
    return out;
}

// Window `n` of the step's list.
fn window_row(own: Compressor, n: u32, lid: u32) {
    let window = windows[n];
    let row = rows[window.last_row];
    let pairs = own.dim >> 1u;
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
            // Eight tokens' loads under way at a time; a token behind the last repeats it and has no share.
            var most = vec2<f32>(-3.4e38);
            var total = vec2<f32>(0.0);
            var sum = vec2<f32>(0.0);
            for (var c = first; c < count; c += 8u) {
#for C 8
                let one$C = candidate(own, window, row, min(c + $Cu, count - 1u), pair);
#end
                var highest = most;
#for C 8
                highest = max(highest, one$C.gate);
#end
                let shrink = exp(most - highest);
                total *= shrink;
                sum *= shrink;
#for C 8
                {
                    let share = select(vec2<f32>(0.0), exp(one$C.gate - highest), c + $Cu < count);
                    total += share;
                    sum = fma(share, one$C.value, sum);
                }
#end
                most = highest;
            }
            pooled[i] = sum / total;
            squares += dot(pooled[i], pooled[i]);
        }
    }
    let scale = inverseSqrt(workgroup_sum(squares, lid) / f32(own.dim) + params.eps);
    let page = page_table[row.slot * params.max_pages + window.index / PAGE_ROWS];
    if (live[row.slot] == 0u || page < own.first_page || page - own.first_page >= own.held_pages) {
        return;
    }
    let page_at = ((page - own.first_page) * PAGE_ROWS + window.index % PAGE_ROWS) * pairs;
    let plain = pairs - (params.rope >> 1u);
    let turn = n * (params.rope >> 1u);
    for (var i = 0u; i < 2u; i++) {
        let pair = i * WG + lid;
        if (pair < pairs) {
            var value = pooled[i] * scale * weight_pair(own.weight + pair);
            if (pair >= plain) {
                value = rotate(value, window_angles[turn + pair - plain]);
            }
            store_page_pair(own.number, page_at + pair, value);
        }
    }
}
