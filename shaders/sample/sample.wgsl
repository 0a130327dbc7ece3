// sample: the next token of each row: the best one, or a draw after temperature, top-k, top-p and min-p, applied in this order.
// in      logits (R, vocabulary) f32; samplers (R) Sampler; masks (rows, ceil(vocabulary / 32)) allowed tokens, a bit each
// out     sampled (slots): the id, which the next step reads; live (slots): cleared by a stop id or the last token allowed;
//         results (R) (id, status): status 0 drawn, 1 the slot was not live, 2 a logit is not finite, 3 the mask allows nothing
// params  Params 4 B
// grid    x: R; one workgroup a row
// needs   10 KiB workgroup memory where WG is 1024, the largest; without subgroups 14 KiB
// cost    one pass over the logits for the best; a draw takes 4 more for top-k, 34 for top-p and 2 for itself, from cache: latency bound
// source  greedy ties take the lowest id; the nucleus is the smallest set of most likely tokens with mass >= top_p, ties by lowest id
struct Params {
    vocabulary: u32,
}

struct Sampler {
    slot: u32,
    position: u32,     // position of the row that made the logits
    seed_low: u32,
    seed_high: u32,
    temperature: f32,  // 0: greedy
    top_p: f32,        // 1: off
    min_p: f32,        // 0: off
    top_k: u32,        // 0: off
    mask: u32,         // row of masks, or NO_MASK
    is_last: u32,      // 1: this token reaches the limit
    stop_a: u32,       // ids that end the session's turn, or NO_TOKEN
    stop_b: u32,
}

const NO_MASK: u32 = 0xffffffffu;

@group(0) @binding(auto) var<storage, read> logits: array<f32>;              // (R, vocabulary)
@group(0) @binding(auto) var<storage, read> samplers: array<Sampler>;        // (R)
@group(0) @binding(auto) var<storage, read> masks: array<u32>;               // (rows, vocabulary/32)
@group(0) @binding(auto) var<storage, read_write> sampled: array<u32>;       // (slots)
@group(0) @binding(auto) var<storage, read_write> live: array<u32>;          // (slots)
@group(0) @binding(auto) var<storage, read_write> results: array<vec2<u32>>; // (R)
#import lib/reduce/workgroup
#import lib/numbers/threefry

var<workgroup> best_key: atomic<u32>;
var<workgroup> best_id: atomic<u32>;
var<workgroup> bins: array<atomic<u32>, 256>;
var<workgroup> flags: atomic<u32>;
var<workgroup> chosen: vec2<u32>;
var<workgroup> masses: array<f32, WG>;
var<workgroup> counts: array<u32, WG>;

// `count`, made opaque to the compiler, so that loops stay rolled. Each launch starts with a cold instruction cache.
fn rolled(count: u32) -> u32 {
    return min(count, params.vocabulary * count);
}

// The logits of eight tokens, from `start` on and `step` apart; past the last token it is repeated. Eight loads are in flight together,
// because one workgroup alone is bound by memory latency.
fn eight_logits(first: u32, start: u32, step: u32) -> array<u32, 8> {
    var bits: array<u32, 8>;
#for J 8
    bits[$J] = bitcast<u32>(logits[first + min(start + $Ju * step, params.vocabulary - 1u)]);
#end
    return bits;
}

// The keys of eight logits: unsigned numbers of the same order, or 0 where the mask forbids the token. The key of a finite logit is above
// 0.
fn keys_of(bits: array<u32, 8>, mask: u32, start: u32, step: u32) -> array<u32, 8> {
    var keys: array<u32, 8>;
#for J 8
    keys[$J] = bits[$J] ^ (bitcast<u32>(bitcast<i32>(bits[$J]) >> 31u) | 0x80000000u);
#end
    if (mask != NO_MASK) {
        let words = (params.vocabulary + 31u) / 32u;
#for J 8
        let i$J = min(start + $Ju * step, params.vocabulary - 1u);
        let word$J = masks[mask * words + i$J / 32u];
#end
#for J 8
        keys[$J] = select(0u, keys[$J], ((word$J >> (i$J % 32u)) & 1u) == 1u);
#end
    }
    return keys;
}

fn eight_keys(first: u32, mask: u32, start: u32, step: u32) -> array<u32, 8> {
    return keys_of(eight_logits(first, start, step), mask, start, step);
}

// Returns the highest key and the lowest id with that key, to every invocation. Sets `flags` if a logit is not finite. Issuing instructions
// takes most of the time, so the scan only notes which eight tokens include the invocation's highest key. Those who have the highest of all
// then look for the token.
fn find_best(first: u32, mask: u32, lid: u32) -> vec2<u32> {
    var mine = 0u;
    var mine_at = lid;
    var largest = 0u; // magnitude, as bits
    var next = eight_logits(first, lid, WG);
    for (var start = lid; start < params.vocabulary; start += 8u * WG) {
        let bits = next;
        next = eight_logits(first, start + 8u * WG, WG); // in flight during this turn
        let keys = keys_of(bits, mask, start, WG);
        var highest = 0u;
#for J 8
        largest = max(largest, bits[$J] & 0x7fffffffu);
        highest = max(highest, keys[$J]);
#end
        if (highest > mine) {
            mine = highest;
            mine_at = start;
        }
    }
    if (largest >= 0x7f800000u) {
        atomicOr(&flags, 1u);
    }
#ifdef SUBGROUP
    if (mine == subgroupMax(mine)) {
        atomicMax(&best_key, mine);
    }
#else
    atomicMax(&best_key, mine);
#endif
    workgroupBarrier();
    let top = atomicLoad(&best_key);
    if (mine == top && top > 0u) {
        let keys = eight_keys(first, mask, mine_at, WG);
        var id = 0xffffffffu;
#for J 8
        id = min(id, select(0xffffffffu, min(mine_at + $Ju * WG, params.vocabulary - 1u), keys[$J] == top));
#end
        atomicMin(&best_id, id);
    }
    workgroupBarrier();
    return vec2<u32>(top, atomicLoad(&best_id));
}

// The key of the `count`-th best token (x), and the number of tokens with exactly this key among the best `count` (y).
fn threshold_by_count(first: u32, mask: u32, count: u32, lid: u32) -> vec2<u32> {
    var prefix = 0u;
    var wanted = count;
    for (var digit = 0u; digit < rolled(4u); digit++) {
        let shift = 24u - digit * 8u;
        for (var i = lid; i < 256u; i += WG) {
            atomicStore(&bins[i], 0u);
        }
        workgroupBarrier();
        for (var start = lid; start < params.vocabulary; start += 8u * WG) {
            let keys = eight_keys(first, mask, start, WG);
#for J 8
            if (start + $Ju * WG < params.vocabulary && (digit == 0u || (keys[$J] >> (shift + 8u)) == prefix)) {
                atomicAdd(&bins[(keys[$J] >> shift) & 255u], 1u);
            }
#end
        }
        workgroupBarrier();
        if (lid == 0u) {
            var above = 0u;
            var bin = 255u;
            while (bin > 0u && above + atomicLoad(&bins[bin]) < wanted) {
                above += atomicLoad(&bins[bin]);
                bin--;
            }
            chosen = vec2<u32>(bin, above);
        }
        workgroupBarrier();
        prefix = (prefix << 8u) | chosen.x;
        wanted -= chosen.y;
        workgroupBarrier();
    }
    return vec2<u32>(prefix, wanted);
}

// A set of tokens: those with keys above `key`, and of those with exactly this key the `ties` with the lowest ids.
struct Kept {
    key: u32,
    ties: u32,
}

fn logit_of(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key & 0x7fffffffu, (key & 0x80000000u) != 0u));
}

// Unnormalised probability of a key relative to the best one.
fn likelihood(key: u32, most: f32, inverse_temperature: f32) -> f32 {
    return exp((logit_of(key) - most) * inverse_temperature);
}

// Sum of the likelihoods of keys above `key`.
fn mass_above(first: u32, mask: u32, key: u32, most: f32, inverse_temperature: f32, lid: u32) -> f32 {
    var sum = 0.0;
    for (var start = lid; start < params.vocabulary; start += 8u * WG) {
        let keys = eight_keys(first, mask, start, WG);
#for J 8
        if (start + $Ju * WG < params.vocabulary && keys[$J] > key) {
            sum += likelihood(keys[$J], most, inverse_temperature);
        }
#end
    }
    return workgroup_sum(sum, lid);
}

// The smallest set of most likely tokens of `kept` that has at least the fraction `share` of its mass.
fn nucleus(first: u32, mask: u32, kept: Kept, share: f32, most: f32, inverse_temperature: f32, lid: u32) -> Kept {
    let edge = select(0.0, f32(kept.ties) * likelihood(max(kept.key, 1u), most, inverse_temperature), kept.key > 0u);
    var above = 0.0; // mass above kept.key first, in the end above `key`
    var target_mass = 0.0;
    // Will be the lowest key above which the mass is less than the target, found bit by bit.
    var key = 0u;
    // One loop for three uses of mass_above, since every call is inlined: turn 0 measures `kept`, turns 1 to 32 find the bits of `key`,
    // turn 33 measures the mass above it.
    for (var turn = 0u; turn < rolled(34u); turn++) {
        let bit = 0x80000000u >> ((turn - 1u) & 31u);
        var candidate = key;
        if (turn == 0u) {
            candidate = kept.key;
        } else if (turn < 33u) {
            // The candidate is the highest key without this bit. If the mass above it reaches the target, the key sought has the bit.
            candidate = key | (bit - 1u);
        } else if (key <= kept.key) {
            break;
        }
        let mass = mass_above(first, mask, candidate, most, inverse_temperature, lid);
        if (turn == 0u) {
            above = mass;
            target_mass = share * (above + edge);
        } else if (turn == 33u) {
            above = mass;
        } else if (mass >= target_mass) {
            key |= bit;
        }
    }
    let missing = target_mass - above;
    if (key > kept.key) {
        return Kept(key, max(1u, u32(ceil(missing / likelihood(key, most, inverse_temperature)))));
    }
    if (kept.key == 0u) {
        return kept;
    }
    // The nucleus ends among the tokens with the key kept.key.
    return Kept(kept.key, clamp(u32(ceil(missing / likelihood(kept.key, most, inverse_temperature))), 1u, kept.ties));
}

// The likelihood of a token if it is kept and not below `lowest`, else 0. Call it in the order of ids: `seen` counts tokens with the key
// kept.key.
fn kept_likelihood(key: u32, kept: Kept, seen: ptr<function, u32>, lowest: f32, most: f32, inverse_temperature: f32) -> f32 {
    var keep = key > kept.key;
    if (key == kept.key && key > 0u) {
        keep = *seen < kept.ties;
        *seen += 1u;
    }
    let own = likelihood(max(key, 1u), most, inverse_temperature);
    return select(0.0, own, keep && own >= lowest);
}

// Draws from the kept tokens in the order of their ids.
fn draw(first: u32, mask: u32, kept: Kept, lowest: f32, most: f32, inverse_temperature: f32, uniform01: f32, lid: u32) -> u32 {
    let run = (params.vocabulary + WG - 1u) / WG;
    let begin = min(lid * run, params.vocabulary);
    let end = min(begin + run, params.vocabulary);
    var stop = end;
    var ties_before = 0u;
    var seen = 0u;
    var sum = 0.0;
    var goal = 3.4e38; // higher than any sum
    var last_kept = 0xffffffffu;
    var last_resort = 0xffffffffu;
    // One loop for three scans of the invocation's run, so that their code exists once: turn 0 counts ties, turn 1 sums the mass, and in
    // turn 2 the invocation whose run contains the goal finds the token.
    for (var turn = 0u; turn < rolled(3u); turn++) {
        if (turn == 1u) {
            counts[lid] = seen;
            workgroupBarrier();
            for (var i = 0u; i < lid; i++) {
                ties_before += counts[i];
            }
            sum = 0.0;
        } else if (turn == 2u) {
            workgroupBarrier(); // all invocations have read the ties by now
            masses[lid] = sum;
            counts[lid] = last_kept;
            workgroupBarrier();
            let mass = sum;
            var total = 0.0;
            var before = 0.0;
            var fallback = 0xffffffffu;
            for (var i = 0u; i < rolled(WG); i++) {
                before += select(0.0, masses[i], i < lid);
                total += masses[i];
                fallback = select(fallback, counts[i], counts[i] != 0xffffffffu);
            }
            goal = uniform01 * total;
            if (lid == 0u) {
                // Through rounding the goal may be past the last run. Then the last kept token is drawn.
                chosen = vec2<u32>(fallback, 0u);
            }
            workgroupBarrier();
            stop = select(begin, end, mass > 0.0 && goal >= before && goal < before + mass);
            sum = before;
            last_resort = last_kept;
        }
        seen = ties_before;
        var is_found = false;
        for (var start = begin; start < stop && !is_found; start += 8u) {
            let keys = eight_keys(first, mask, start, 1u);
#for J 8
            if (start + $Ju < stop && !is_found) {
                let own = kept_likelihood(keys[$J], kept, &seen, lowest, most, inverse_temperature);
                sum += own;
                if (own > 0.0) {
                    last_kept = start + $Ju;
                    is_found = goal < sum || last_kept == last_resort;
                }
                if (is_found) {
                    chosen = vec2<u32>(start + $Ju, 0u);
                }
            }
#end
        }
    }
    workgroupBarrier();
    return chosen.x;
}

@compute @workgroup_size(WG)
fn sample(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let r = wid.x;
    let sampler = samplers[r];
    if (live[sampler.slot] == 0u) {
        if (lid == 0u) {
            results[r] = vec2<u32>(0u, 1u);
        }
        return;
    }
    if (lid == 0u) {
        atomicStore(&flags, 0u);
        atomicStore(&best_key, 0u);
        atomicStore(&best_id, 0xffffffffu);
    }
    workgroupBarrier();
    let first = r * params.vocabulary;
    let top = find_best(first, sampler.mask, lid);
    let broken = atomicLoad(&flags) != 0u;
    var id = top.y;
    if (sampler.temperature > 0.0 && !broken && top.x > 0u) {
        let most = logit_of(top.x);
        let inverse_temperature = 1.0 / sampler.temperature;
        var kept = Kept(0u, 0u);
        if (sampler.top_k > 0u && sampler.top_k < params.vocabulary) {
            let threshold = threshold_by_count(first, sampler.mask, sampler.top_k, lid);
            kept = Kept(threshold.x, threshold.y);
        }
        if (sampler.top_p < 1.0) {
            kept = nucleus(first, sampler.mask, kept, sampler.top_p, most, inverse_temperature, lid);
        }
        let uniform01 = uniform_draw(vec2<u32>(sampler.seed_low, sampler.seed_high), sampler.position);
        id = draw(first, sampler.mask, kept, sampler.min_p, most, inverse_temperature, uniform01, lid);
    }
    if (lid == 0u) {
        var status = 0u;
        if (broken) {
            status = 2u;
        } else if (top.x == 0u) {
            status = 3u;
        }
        results[r] = vec2<u32>(id, status);
        sampled[sampler.slot] = min(id, params.vocabulary - 1u);
        if (status != 0u || sampler.is_last == 1u || id == sampler.stop_a || id == sampler.stop_b) {
            live[sampler.slot] = 0u;
        }
    }
}
