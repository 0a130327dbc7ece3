// runs: runs of 32 neighbouring weights of a row as f16, fetched and decoded in two steps.
// needs   bindings w as u32, w_quads, the same as vec4<u32>; flags F16, DECODED, RAGGED; lib/formats/dequant, lib/numbers/half
// declares Run, Halves32, and the table of runs_iq2_xxs for that format
// gives   prepare_runs(local index), before the first barrier; fetch32(format, byte offset of the row, column, end of the columns): a Run;
//         decode32(format, byte offset of the row, column, the Run)
//
// DECODED: some formats have no case in fetch32 and are decoded by dequant8. RAGGED: a row may end within what a workgroup fetches at a
// time.
//
// fetch32 only loads, so that nothing waits for memory before decode32 needs the values. Loads are 16 bytes where the format allows: the
// lanes of a subgroup read different rows, so each load touches as many cache lines as there are lanes, however few bytes it takes of each.
// Decoding competes with the matrix units for issue slots. Therefore f16 are assembled from bits, two in a word, and the arithmetic is in
// f16.

// The words of a run as stored, at most 16, and two words with its scales. In formats with blocks of 256 weights these are the words of the
// 128 columns around the run, from which decode32 can make each of their four runs.
struct Run {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
    scales: vec2<u32>,
}

alias Halves32 = array<vec4<f16>, 8>;

#ifdef FORMAT_IQ2_XXS
#import lib/formats/runs_iq2_xxs
#endif
#ifdef FORMAT_IQ2_XXSX8
#import lib/formats/runs_iq2_xxs
#endif

fn prepare_runs(lid: u32) {
#ifdef FORMAT_IQ2_XXS
    prepare_codewords(lid);
#endif
#ifdef FORMAT_IQ2_XXSX8
    prepare_codewords(lid);
#endif
}

fn four_words(i: u32) -> vec4<u32> {
    return vec4<u32>(w[i], w[i + 1u], w[i + 2u], w[i + 3u]);
}

// `column` is a multiple of 32. With RAGGED nothing is loaded from column `end` on.
fn fetch32(stored: u32, row: u32, column: u32, end: u32) -> Run {
#ifdef RAGGED
    if (column >= end) {
        return Run();
    }
#endif
#ifdef FORMAT
    let format = FORMAT;
#else
    let format = stored;
#endif
    var run: Run;
    switch format {
#ifdef FORMAT_F16
        case FORMAT_F16: {
            let first = (row >> 4u) + (column >> 3u);
            run.a = w_quads[first];
#ifdef RAGGED
            if (column + 8u < end) { run.b = w_quads[first + 1u]; }
            if (column + 16u < end) { run.c = w_quads[first + 2u]; }
            if (column + 24u < end) { run.d = w_quads[first + 3u]; }
#else
            run.b = w_quads[first + 1u];
            run.c = w_quads[first + 2u];
            run.d = w_quads[first + 3u];
#endif
        }
#endif
#ifdef FORMAT_Q8_0
        case FORMAT_Q8_0: {
            let first = (row + (column >> 5u) * 34u) >> 2u;
            run.a = four_words(first);
            run.b = four_words(first + 4u);
            run.scales.x = w[first + 8u];
        }
#endif
#ifdef FORMAT_Q2_K
        case FORMAT_Q2_K: {
            let block = (row + (column >> 8u) * 84u) >> 2u;
            let codes = block + 4u + ((column >> 7u) & 1u) * 8u;
            run.a = four_words(codes);
            run.b = four_words(codes + 4u);
            run.scales = vec2<u32>(w[block + ((column & 255u) >> 6u)], w[block + 20u]);
        }
#endif
#ifdef FORMAT_Q2_KX4
        case FORMAT_Q2_KX4: {
            let four = (row >> 4u) + (column >> 10u) * 21u;
            let block = (column >> 8u) & 3u;
            let half = (column >> 7u) & 1u;
            let codes = four + block * 4u + half * 2u;
            run.a = w_quads[codes];
            run.b = w_quads[codes + 1u];
            let scales = w_quads[four + 16u + block];
            run.scales = select(scales.xy, scales.zw, half == 1u);
            run.c.x = w[(four + 20u) * 4u + block];
        }
#endif
#ifdef FORMAT_IQ2_XXS
        case FORMAT_IQ2_XXS: {
            let block = row + (column >> 8u) * 66u;
            let group = (block + 2u + ((column >> 5u) & 7u) * 8u) >> 2u;
            run.a = vec4<u32>(w[group], w[group + 1u], w[group + 2u], w[block >> 2u]);
        }
#endif
#ifdef FORMAT_IQ2_XXSX8
        case FORMAT_IQ2_XXSX8: {
            let eight = (row >> 4u) + (column >> 11u) * 33u;
            let first = eight + ((column & 2047u) >> 7u) * 2u;
            run.a = w_quads[first];
            run.b = w_quads[first + 1u];
            run.scales.x = w[(eight + 32u) * 4u + ((column & 2047u) >> 9u)];
        }
#endif
#ifdef FORMAT_Q8_0X8
        case FORMAT_Q8_0X8: {
            let block = (row >> 4u) + (column >> 8u) * 17u;
            let first = block + ((column & 255u) >> 4u);
            run.a = w_quads[first];
            run.b = w_quads[first + 1u];
            run.scales.x = w[(block + 16u) * 4u + ((column & 255u) >> 6u)];
        }
#endif
#ifdef DECODED
        default: {
            // These formats are decoded here and kept as pairs of f16.
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
#else
        default: {}
#endif
    }
    return run;
}

fn decode32(stored: u32, row: u32, column: u32, run: Run) -> Halves32 {
#ifdef FORMAT
    let format = FORMAT;
#else
    let format = stored;
#endif
    switch format {
#ifdef FORMAT_Q8_0
        case FORMAT_Q8_0: {
            // The scale precedes the codes. A block of 34 bytes may start in the middle of a word.
            if (((row + (column >> 5u) * 34u) & 2u) != 0u) {
                return halves_of_q8(unpack2x16float(run.a.x).y, vec4<u32>(run.a.yzw, run.b.x), vec4<u32>(run.b.yzw, run.scales.x));
            }
            let low = (run.a >> vec4<u32>(16u)) | (vec4<u32>(run.a.yzw, run.b.x) << vec4<u32>(16u));
            let high = (run.b >> vec4<u32>(16u)) | (vec4<u32>(run.b.yzw, run.scales.x) << vec4<u32>(16u));
            return halves_of_q8(unpack2x16float(run.a.x).x, low, high);
        }
#endif
#ifdef FORMAT_Q8_0X8
        case FORMAT_Q8_0X8: {
            return halves_of_q8(unpack2x16float(run.scales.x >> ((column >> 1u) & 16u)).x, run.a, run.b);
        }
#endif
#ifdef FORMAT_Q2_K
        case FORMAT_Q2_K: {
            // A run is two sub-blocks. Their scales are neighbouring bytes.
            let scales = run.scales.x >> ((column >> 1u) & 16u);
            return q2_k_halves(run, vec2<u32>(scales, scales >> 8u), run.scales.y, column);
        }
#endif
#ifdef FORMAT_Q2_KX4
        case FORMAT_Q2_KX4: {
            return q2_k_halves(run, run.scales >> vec2<u32>((column >> 2u) & 24u), run.c.x, column);
        }
#endif
#ifdef FORMAT_IQ2_XXS
        case FORMAT_IQ2_XXS: {
            let block = row + (column >> 8u) * 66u;
            // Groups start 2 bytes plus a multiple of 8 after their block: in the middle of a word if the block is at a multiple of 4
            // bytes.
            let late = (block & 2u) == 0u;
            let codes = select(run.a.x, (run.a.x >> 16u) | (run.a.y << 16u), late);
            let word = select(run.a.y, (run.a.y >> 16u) | (run.a.z << 16u), late);
            return iq2_xxs_halves(codes, word, run.a.w >> select(16u, 0u, late));
        }
#endif
#ifdef FORMAT_IQ2_XXSX8
        case FORMAT_IQ2_XXSX8: {
            let two = select(run.a, run.b, (column & 64u) != 0u);
            let group = select(two.xy, two.zw, (column & 32u) != 0u);
            return iq2_xxs_halves(group.x, group.y, run.scales.x >> ((column >> 4u) & 16u));
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

// A run of Q2_K. The lowest byte of each word of `scales` is the scale byte of one half of the run.
fn q2_k_halves(run: Run, scales: vec2<u32>, both: u32, column: u32) -> Halves32 {
    // The run's two sub-blocks lie in the same bits of their words, so one shift serves the codes of both sub-blocks.
    let shift = vec4<u32>(((column >> 5u) & 3u) * 2u);
    let dm = unpack2x16float(both);
    let a = run.a >> shift;
    let b = run.b >> shift;
    let d0 = vec4<f16>(f16(dm.x * f32(scales.x & 15u)));
    let d1 = vec4<f16>(f16(dm.x * f32(scales.y & 15u)));
    let m0 = vec4<f16>(f16(-(dm.y * f32((scales.x >> 4u) & 15u))));
    let m1 = vec4<f16>(f16(-(dm.y * f32((scales.y >> 4u) & 15u))));
    return Halves32(
        fma(d0, two_bits(a.x), m0), fma(d0, two_bits(a.y), m0), fma(d0, two_bits(a.z), m0), fma(d0, two_bits(a.w), m0),
        fma(d1, two_bits(b.x), m1), fma(d1, two_bits(b.y), m1), fma(d1, two_bits(b.z), m1), fma(d1, two_bits(b.w), m1),
    );
}

// Makes an f16 of the bits that `mask` keeps of each byte. XOR with `magic`, an f16 of at least 1024, puts them in the lowest bits, which
// count as whole numbers there. So no integer is converted.
fn magic_bytes(word: u32, mask: u32, magic: u32) -> vec4<f16> {
    return halves_of((vec2<u32>(word, word >> 8u) & vec2<u32>(mask)) ^ vec2<u32>(magic)).xzyw;
}

// The lowest two bits of each byte.
fn two_bits(word: u32) -> vec4<f16> {
    return magic_bytes(word, 0x00030003u, 0x64006400u) - 1024.0h;
}

fn halves_of_q8(d: f32, low: vec4<u32>, high: vec4<u32>) -> Halves32 {
    let dh = f16(d);
    return Halves32(
        signed_halves(dh, low.x), signed_halves(dh, low.y), signed_halves(dh, low.z), signed_halves(dh, low.w),
        signed_halves(dh, high.x), signed_halves(dh, high.y), signed_halves(dh, high.z), signed_halves(dh, high.w),
    );
}

// Signed bytes times d. Flipping the highest bit of a signed byte adds 128 and makes it unsigned, so 1024 + 128 is subtracted. Only the
// product is rounded.
fn signed_halves(d: f16, word: u32) -> vec4<f16> {
    return d * (magic_bytes(word, 0x00ff00ffu, 0x64806480u) - 1152.0h);
}
