// window_row: the compressed row of a window that closes in this step, stored into the session's page.
// needs   WG, RATIO, PAGE_ROWS; OVERLAP if RATIO is 4; params.eps, .rope, .ring, .max_pages; bindings windows, rows, live, page_table,
//         window_angles; functions fresh_pair, ape_pair, weight_pair, eight_earlier, store_page_pair (see below)
// declares Window, Compressor; workgroup variables places, pooled
// gives   window_row(compressor, number of the window in `windows`, local index), by a whole workgroup
//
// Per channel: a softmax over the gates of the window's tokens, and the sum of their values with these weights; then N(.; weight) and RoPE
// at the window's first token. A window has RATIO tokens. With OVERLAP values and gates are two rows wide: a window takes the first halves
// of its predecessor's tokens and the second halves of its own.
//
// fresh_pair(i) reads pair i of this step's values and gates, ape_pair(i) and weight_pair(i) those of the compressor.
// eight_earlier(compressor, eight pairs, gates) reads values of the frontier, each with the gate that is `gates` pairs after it.
// store_page_pair(compressor, i, pair) writes pair i of the pool.
//
// Call window_row at one place of the kernel: a second call would be a second copy of its code, which has to be fetched at each launch.

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
    stride: u32,     // pairs from row to row of the step
    fresh: u32,      // offset of the values in a row, in pairs; the gates follow
    ape: u32,        // offset of ape, in pairs
    weight: u32,     // offset of the weight, in pairs
    first_page: u32, // first of the pool pages that the binding holds
    held_pages: u32,
}

// Offsets in pairs of a token's value and ape. The gate of a channel is half a width after its value.
struct Place {
    fresh: u32,    // offset in this step's rows
    earlier: u32,  // offset in the frontier
    ape: u32,
    is_fresh: u32, // 1 if the token is one of this step
}

#ifdef OVERLAP
const TOKENS: u32 = 2u * RATIO;
#else
const TOKENS: u32 = RATIO;
#endif
const PLACES: u32 = (TOKENS + 7u) / 8u * 8u;

var<workgroup> places: array<Place, PLACES>;
var<workgroup> pooled: array<vec4<f32>, 2 * WG>; // a pair's two pooled channels, then their norm weights

// The place of token `n` of the window.
fn place(own: Compressor, window: Window, row: Row, n: u32) -> Place {
#ifdef OVERLAP
    // Tokens 0 to RATIO - 1 are the previous window's, with the first halves; the others are this window's, with the second halves.
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
    // A place outside of the window repeats one inside. Its share is set to zero below.
    for (var i = lid; i < PLACES; i += WG) {
        places[i] = place(own, window, row, clamp(i, first, TOKENS - 1u));
    }
    workgroupBarrier();
    var squares = 0.0;
    for (var pair = lid; pair < pairs; pair += WG) {
        let weight = weight_pair(own.weight + pair);
        var most = vec2<f32>(-3.4e38);
        var total = vec2<f32>(0.0);
        var sum = vec2<f32>(0.0);
        // The loads of eight tokens are in flight together. `gates` is never 0, so the bound is PLACES; the compiler cannot prove it and
        // does not unroll the loop.
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
            // Where one token is fresh, all eight are loaded from the step: a branch for each token would serialise the loads.
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
