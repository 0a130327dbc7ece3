// Runs of 32 neighbouring weights of a row as f16, in two steps: fetch32 only loads, so that nothing waits for memory before decode32 needs
// the values. Import lib/dequant and lib/half first, and call prepare_runs before the first barrier.

// The words of a run as stored, at most 16, and two that hold its scales.
struct Run {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
    scales: vec2<u32>,
}

alias Halves32 = array<vec4<f16>, 8>;

#ifdef W_IQ2_XXS
// In workgroup memory: gathers from it do not wait for a cache.
var<workgroup> iq2_xxs_table: array<vec2<u32>, 256>;
#endif

fn prepare_runs(lid: u32) {
#ifdef W_IQ2_XXS
    for (var i = lid; i < 256u; i += WG) {
        iq2_xxs_table[i] = iq2_xxs_grid[i];
    }
#endif
}

fn four_words(i: u32) -> vec4<u32> {
    return vec4<u32>(w[i], w[i + 1u], w[i + 2u], w[i + 3u]);
}

// The run at `column`, a multiple of 32, of the row at byte `row` of `w`; nothing from column `end` on.
fn fetch32(stored: u32, row: u32, column: u32, end: u32) -> Run {
    if (column >= end) {
        return Run();
    }
#ifdef FORMAT
    let format = FORMAT;
#else
    let format = stored;
#endif
    var run: Run;
    switch format {
#ifdef W_F16
        case 1u: {
            let first = (row >> 2u) + (column >> 1u);
            // Rows of f16 may end within a run.
            run.a = four_words(first);
            if (column + 8u < end) { run.b = four_words(first + 4u); }
            if (column + 16u < end) { run.c = four_words(first + 8u); }
            if (column + 24u < end) { run.d = four_words(first + 12u); }
        }
#endif
#ifdef W_Q8_0
        case 3u: {
            let first = (row + (column >> 5u) * 34u) >> 2u;
            run.a = four_words(first);
            run.b = four_words(first + 4u);
            run.scales.x = w[first + 8u];
        }
#endif
#ifdef W_Q2_K
        case 4u: {
            let block = (row + (column >> 8u) * 84u) >> 2u;
            let codes = block + 4u + ((column >> 7u) & 1u) * 8u;
            run.a = four_words(codes);
            run.b = four_words(codes + 4u);
            run.scales = vec2<u32>(w[block + ((column & 255u) >> 6u)], w[block + 20u]);
        }
#endif
#ifdef W_IQ2_XXS
        case 6u: {
            let block = row + (column >> 8u) * 66u;
            let group = (block + 2u + ((column >> 5u) & 7u) * 8u) >> 2u;
            run.a = vec4<u32>(w[group], w[group + 1u], w[group + 2u], w[block >> 2u]);
        }
#endif
#ifdef W_Q8_0X8
        case 9u: {
            let block = row + (column >> 8u) * 272u;
            let first = (block + (column & 255u)) >> 2u;
            run.a = four_words(first);
            run.b = four_words(first + 4u);
            run.scales.x = w[(block >> 2u) + 64u + ((column & 255u) >> 6u)];
        }
#endif
        default: {
            // Formats that are decoded at once, and kept as pairs of f16.
            var pairs: array<vec4<u32>, 4>;
#for P 4
            if (column + $Pu * 8u < end) {
                let eight = dequant8(format, row, column + $Pu * 8u);
                let low = clamp(eight.a, vec4<f32>(-65504.0), vec4<f32>(65504.0));
                let high = clamp(eight.b, vec4<f32>(-65504.0), vec4<f32>(65504.0));
                pairs[$P] = vec4<u32>(pack2x16float(low.xy), pack2x16float(low.zw), pack2x16float(high.xy), pack2x16float(high.zw));
            }
#end
            run.a = pairs[0];
            run.b = pairs[1];
            run.c = pairs[2];
            run.d = pairs[3];
        }
    }
    return run;
}

// What fetch32 loaded from the same place.
fn decode32(stored: u32, row: u32, column: u32, run: Run) -> Halves32 {
#ifdef FORMAT
    let format = FORMAT;
#else
    let format = stored;
#endif
    switch format {
#ifdef W_Q8_0
        case 3u: {
            // The scale is before the codes, in either half of a word.
            if (((row + (column >> 5u) * 34u) & 2u) != 0u) {
                return halves_of_q8(unpack2x16float(run.a.x).y, vec4<u32>(run.a.yzw, run.b.x), vec4<u32>(run.b.yzw, run.scales.x));
            }
            let low = (run.a >> vec4<u32>(16u)) | (vec4<u32>(run.a.yzw, run.b.x) << vec4<u32>(16u));
            let high = (run.b >> vec4<u32>(16u)) | (vec4<u32>(run.b.yzw, run.scales.x) << vec4<u32>(16u));
            return halves_of_q8(unpack2x16float(run.a.x).x, low, high);
        }
#endif
#ifdef W_Q8_0X8
        case 9u: {
            return halves_of_q8(unpack2x16float(run.scales.x >> ((column >> 1u) & 16u)).x, run.a, run.b);
        }
#endif
#ifdef W_Q2_K
        case 4u: {
            let shift = vec4<u32>(((column >> 5u) & 3u) * 2u);
            // Two sub-blocks, whose codes share their words and their shift.
            let scales = run.scales.x >> ((column >> 1u) & 16u);
            let dm = unpack2x16float(run.scales.y);
            let a = (run.a >> shift) & vec4<u32>(0x03030303u);
            let b = (run.b >> shift) & vec4<u32>(0x03030303u);
            let d0 = vec4<f32>(dm.x * f32(scales & 15u));
            let d1 = vec4<f32>(dm.x * f32((scales >> 8u) & 15u));
            let m0 = vec4<f32>(-(dm.y * f32((scales >> 4u) & 15u)));
            let m1 = vec4<f32>(-(dm.y * f32((scales >> 12u) & 15u)));
            return Halves32(
                vec4<f16>(fma(d0, magic_bytes(a.x), m0)),
                vec4<f16>(fma(d0, magic_bytes(a.y), m0)),
                vec4<f16>(fma(d0, magic_bytes(a.z), m0)),
                vec4<f16>(fma(d0, magic_bytes(a.w), m0)),
                vec4<f16>(fma(d1, magic_bytes(b.x), m1)),
                vec4<f16>(fma(d1, magic_bytes(b.y), m1)),
                vec4<f16>(fma(d1, magic_bytes(b.z), m1)),
                vec4<f16>(fma(d1, magic_bytes(b.w), m1)),
            );
        }
#endif
#ifdef W_IQ2_XXS
        case 6u: {
            let block = row + (column >> 8u) * 66u;
            // Groups are at 2 bytes behind a multiple of 8 from their block.
            let late = (block & 2u) == 0u;
            let codes = select(run.a.x, (run.a.x >> 16u) | (run.a.y << 16u), late);
            let word = select(run.a.y, (run.a.y >> 16u) | (run.a.z << 16u), late);
            let d = unpack2x16float(run.a.w >> select(16u, 0u, late)).x * (f32(2u * (word >> 28u) + 1u) * 0.125);
            var out: Halves32;
#for K 4
            let eight$K = iq2_xxs_table[(codes >> (8u * $Ku)) & 255u];
            let seven$K = (word >> (7u * $Ku)) & 127u;
            let signs$K = seven$K | ((countOneBits(seven$K) & 1u) << 7u);
            out[2 * $K] = vec4<f16>(with_signs(d, signs$K) * magic_bytes(eight$K.x));
            out[2 * $K + 1] = vec4<f16>(with_signs(d, signs$K >> 4u) * magic_bytes(eight$K.y));
#end
            return out;
        }
#endif
        default: {
            return Halves32(
                halves_of(run.a.xy), halves_of(run.a.zw), halves_of(run.b.xy), halves_of(run.b.zw),
                halves_of(run.c.xy), halves_of(run.c.zw), halves_of(run.d.xy), halves_of(run.d.zw),
            );
        }
    }
}

fn halves_of(words: vec2<u32>) -> vec4<f16> {
    return vec4<f16>(vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y)));
}

// The bytes of a word as numbers 0..255, exactly: as the last bits of 2^23 + byte. Converting integers takes four times as long on some GPUs.
fn magic_bytes(word: u32) -> vec4<f32> {
    let bits = (vec4<u32>(word, word >> 8u, word >> 16u, word >> 24u) & vec4<u32>(255u)) | vec4<u32>(0x4b000000u);
    return bitcast<vec4<f32>>(bits) - 8388608.0;
}

#ifdef W_IQ2_XXS
// d with the signs of the four lowest bits.
fn with_signs(d: f32, signs: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(bitcast<u32>(d)) ^ iq2_xxs_flips(signs));
}
#endif

fn halves_of_q8(d: f32, low: vec4<u32>, high: vec4<u32>) -> Halves32 {
    return Halves32(
        signed_halves(d, low.x), signed_halves(d, low.y), signed_halves(d, low.z), signed_halves(d, low.w),
        signed_halves(d, high.x), signed_halves(d, high.y), signed_halves(d, high.z), signed_halves(d, high.w),
    );
}

// Signed bytes times d: moved by 128 they have no sign.
fn signed_halves(d: f32, word: u32) -> vec4<f16> {
    return vec4<f16>(d * (magic_bytes(word ^ 0x80808080u) - 128.0));
}
