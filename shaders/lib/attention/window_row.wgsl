// The row of a window that closes in this step: per channel a softmax over the gates of its tokens, the weighted sum of their values,
// N(.; weight), RoPE at the window's first token; into the session's page. RATIO tokens a window; with OVERLAP (RATIO 4) values and gates are
// two rows wide and a window takes the first halves of its predecessor's tokens.
//
// The kernel declares windows, rows, live, page_table and window_angles, and how pairs are read and written: fresh_pair (of the step's
// values and gates), ape_pair, weight_pair, eight_earlier and store_page_pair. The last two take the compressor's number where a kernel has several.
// Call window_row once: its code is fetched anew each time the kernel starts.

#import lib/rows/rows
#import lib/attention/kv
#import lib/reduce/workgroup
#import lib/attention/rotate

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

// Where the value of a token and its ape start, in pairs; the gate of the same channel lies half a width behind the value.
struct Place {
    fresh: u32,    // in the step
    earlier: u32,  // in the frontier
    ape: u32,
    is_fresh: u32, // 1: of this step
}

#ifdef OVERLAP
const TOKENS: u32 = 2u * RATIO;
#else
const TOKENS: u32 = RATIO;
#endif
const PLACES: u32 = (TOKENS + 7u) / 8u * 8u;

var<workgroup> places: array<Place, PLACES>;
var<workgroup> pooled: array<vec4<f32>, 2 * WG>; // a pair's channels, then their weights

// Token `n` of the window.
fn place(own: Compressor, window: Window, row: Row, n: u32) -> Place {
#ifdef OVERLAP
    // The first halves of the previous window's tokens, then the second halves of this window's.
    let width = own.dim * 2u;
    let position = window.index * RATIO + n - RATIO;
    let column = select(0u, own.dim >> 1u, n >= RATIO);
#else
    let width = own.dim;
    let position = window.index * RATIO + n;
    let column = 0u;
#endif
    let is_fresh = position >= row.first_position;
    let t = select(row.last_row, row.first_row + position - row.first_position, is_fresh);
    let earlier = (row.slot * params.ring + position % params.ring) * width;
    let ape = own.ape + (n % RATIO) * (width >> 1u);
    return Place(t * own.stride + own.fresh + column, earlier + column, ape + column, u32(is_fresh));
}

// Window `n` of the step's list.
fn window_row(own: Compressor, n: u32, lid: u32) {
    let window = windows[n];
    let row = rows[window.last_row];
    let is_live = live[row.slot] != 0u;
    let page = page_table[row.slot * params.max_pages + window.index / PAGE_ROWS];
    let pairs = own.dim >> 1u;
#ifdef OVERLAP
    let first = select(0u, RATIO, window.index == 0u); // the first window has no predecessor
    let gates = own.dim;
#else
    let first = 0u;
    let gates = pairs;
#endif
    // A place outside of the window repeats one inside, and has no share.
    for (var i = lid; i < PLACES; i += WG) {
        places[i] = place(own, window, row, clamp(i, first, TOKENS - 1u));
    }
    workgroupBarrier();
    var squares = 0.0;
    // Loops to bounds that the compiler does not know stay one turn's code: gates are not none.
    for (var pair = lid; pair < pairs; pair += WG) {
        let weight = weight_pair(own.weight + pair);
        // Eight tokens' loads under way at a time.
        var most = vec2<f32>(-3.4e38);
        var total = vec2<f32>(0.0);
        var sum = vec2<f32>(0.0);
        for (var c = 0u; c < min(PLACES, gates * PLACES); c += 8u) {
#for C 8
            let place$C = places[c + $Cu];
            let ape$C = ape_pair(place$C.ape + pair);
#end
            var eight: array<vec4<f32>, 8>;
            let fresh = place0.is_fresh + place1.is_fresh + place2.is_fresh + place3.is_fresh
                + place4.is_fresh + place5.is_fresh + place6.is_fresh + place7.is_fresh;
            if (fresh < 8u) {
                let at = array<u32, 8>(place0.earlier + pair, place1.earlier + pair, place2.earlier + pair, place3.earlier + pair,
                    place4.earlier + pair, place5.earlier + pair, place6.earlier + pair, place7.earlier + pair);
                eight = eight_earlier(own.number, at, gates);
            }
            // No load waits for a branch: where one token is fresh, the other seven are read in the step, too.
            if (fresh > 0u) {
#for C 8
                let value$C = fresh_pair(place$C.fresh + pair);
                let gate$C = fresh_pair(place$C.fresh + pair + gates);
#end
#for C 8
                eight[$C] = select(eight[$C], vec4<f32>(value$C, gate$C), place$C.is_fresh == 1u);
#end
            }
            var highest = most;
#for C 8
            let full$C = eight[$C].zw + ape$C;
            highest = max(highest, full$C);
#end
            let shrink = exp(most - highest);
            total *= shrink;
            sum *= shrink;
#for C 8
            {
                let share = select(vec2<f32>(0.0), exp(full$C - highest), c + $Cu >= first && c + $Cu < TOKENS);
                total += share;
                sum = fma(share, eight[$C].xy, sum);
            }
#end
            most = highest;
        }
        let value = sum / total;
        pooled[pair] = vec4<f32>(value, weight);
        squares += dot(value, value);
    }
    let scale = inverseSqrt(workgroup_sum(squares, lid) / f32(own.dim) + params.eps);
    if (!is_live || page < own.first_page || page - own.first_page >= own.held_pages) {
        return;
    }
    let page_at = ((page - own.first_page) * PAGE_ROWS + window.index % PAGE_ROWS) * pairs;
    let plain = pairs - (params.rope >> 1u);
    let turn = n * (params.rope >> 1u);
    for (var pair = lid; pair < pairs; pair += WG) {
        let own_pair = pooled[pair];
        var value = own_pair.xy * scale * own_pair.zw;
        if (pair >= plain) {
            value = rotate(value, window_angles[turn + pair - plain]);
        }
        store_page_pair(own.number, page_at + pair, value);
    }
}
