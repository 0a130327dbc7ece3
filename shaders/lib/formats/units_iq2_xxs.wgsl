// units_iq2_xxs: units of IQ2_XXS for lib/formats/units: two groups of 32 weights (lib/formats/iq2_xxs).
// needs   FORMAT_IQ2_XXS or FORMAT_IQ2_XXSX8; COPIES, a power of two from 4 on; PREPARING, TABLE_ROUNDS; params.width; lib/formats/units
// declares binding iq2_xxs_grid; workgroup variables codewords, flips
// gives   the functions that lib/formats/units lists
//
// Both tables are in workgroup memory COPIES times, so that the lanes of a subgroup have fewer bank conflicts. Entries are small for the
// same reason: a look-up of fewer bytes takes fewer passes over the banks.
//
// With a byte b that is 0 or -1, (m ^ b) - b is m or -m. That is linear, so the subtraction can follow the sum: dot(m ^ b, x) - dot(b, x).
// Whatever else b has in bits that m leaves zero cancels out too. Magnitudes are doubled, which makes their lowest bit zero.

@group(0) @binding(auto) var<storage, read> iq2_xxs_grid: array<vec2<u32>>; // (256) codewords, one magnitude a byte

// Two dimensions: the compiler can compute the address of the lane's copy once, and each look-up adds the entry's multiple to it.
var<workgroup> codewords: array<array<vec2<u32>, COPIES>, 256>; // doubled
var<workgroup> flips: array<array<u32, COPIES>, 128>;           // byte i: sign of magnitude i in bit 0, of i + 4 in the rest

struct Unit {
    groups: vec4<u32>, // codeword numbers and signs of the first group, then of the second
    // The word as loaded. Extracting the scale right after the load would wait for it.
    scales: u32,
    shift: u32,        // bit of the unit's scale in that word
}

struct Values {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
    scales: vec2<f32>,
}

// PREPARING invocations fill the tables in TABLE_ROUNDS rounds. With 384 or more of them, each fills entries of one table only. An entry is
// loaded once. Neighbouring invocations start with different copies, which are in different banks. The bounds of the loops are opaque to
// the compiler, so the loops stay rolled.
fn prepare(lid: u32) {
    let copies = min(COPIES, params.width);
#for R TABLE_ROUNDS
    {
        let i = $Ru * PREPARING + lid;
        if (i < 256u) {
            let codeword = iq2_xxs_grid[i] << vec2<u32>(1u);
            for (var c = 0u; c < copies; c += 4u) {
#for C 4
                codewords[i][(i + c + $Cu) % COPIES] = codeword;
#end
            }
        }
        let seven = i - select(0u, 256u, PREPARING >= 384u);
        if (seven < 128u) {
            let signs = vec2<u32>(seven, seven >> 4u | (countOneBits(seven) & 1u) << 3u) & vec2<u32>(15u);
            let spread = (signs * 0x00204081u) & vec2<u32>(0x01010101u);
            for (var c = 0u; c < copies; c += 4u) {
#for C 4
                flips[seven][(seven + c + $Cu) % COPIES] = spread.x | spread.y * 254u;
#end
            }
        }
    }
#end
}

fn unit_row(columns: u32) -> u32 {
    return columns / 256u * 66u;
}

#ifdef FORMAT_IQ2_XXSX8
// Rows start at multiples of 16 bytes.
alias Stored = vec4<u32>;

fn load_unit(row: u32, unit: u32) -> Unit {
    let eight = (row >> 4u) + (unit >> 5u) * 33u;
    return Unit(stack[eight + (unit & 31u)], stack[eight + 32u][(unit >> 3u) & 3u], (unit << 2u) & 16u);
}
#else
alias Stored = u32;

fn load_unit(row: u32, unit: u32) -> Unit {
    let block = row + (unit >> 2u) * 66u;
    let at = block + 2u + (unit & 3u) * 16u;
    let i = at >> 2u;
    let low = vec4<u32>(stack[i], stack[i + 1u], stack[i + 2u], stack[i + 3u]);
    let high = vec4<u32>(low.yzw, stack[i + 4u]);
    let codes = select(low, low >> vec4<u32>(16u) | high << vec4<u32>(16u), (at & 2u) != 0u);
    return Unit(codes, stack[block >> 2u], (block & 2u) << 3u);
}
#endif

fn load_values(t: u32, unit: u32, columns: u32) -> Values {
    let at = values_at(t, columns);
    let first = at.x + unit * 4u;
    // 1/16: the definition has 1/8, and the magnitudes are doubled.
    let scales = vec2<f32>(value_scale(at.y + unit * 2u), value_scale(at.y + unit * 2u + 1u)) * 0.0625;
    return Values(rounded[first], rounded[first + 1u], rounded[first + 2u], rounded[first + 3u], scales);
}

// Adds the products of a codeword to `sums`: their difference x - y is the sum of the signed products.
fn dot_codeword(number: u32, signs: u32, xa: u32, xb: u32, copy: u32, sums: vec2<i32>) -> vec2<i32> {
    let magnitudes = codewords[number][copy];
    let flip = flips[signs][copy];
    let ones = flip & 0x01010101u;
    let negated = magnitudes.x ^ (ones * 255u);
    let plus = sums.x + dot4I8Packed(negated, xa) + dot4I8Packed(ones, xa) + dot4I8Packed(magnitudes.y ^ flip, xb);
    return vec2<i32>(plus, sums.y + dot4I8Packed(flip, xb));
}

fn dot_group(numbers: u32, signs: u32, xa: vec4<u32>, xb: vec4<u32>, copy: u32) -> f32 {
    var sums = dot_codeword(numbers & 255u, signs & 127u, xa.x, xa.y, copy, vec2<i32>(0));
    sums = dot_codeword(extractBits(numbers, 8u, 8u), extractBits(signs, 7u, 7u), xa.z, xa.w, copy, sums);
    sums = dot_codeword(extractBits(numbers, 16u, 8u), extractBits(signs, 14u, 7u), xb.x, xb.y, copy, sums);
    sums = dot_codeword(numbers >> 24u, extractBits(signs, 21u, 7u), xb.z, xb.w, copy, sums);
    return f32(i32((signs >> 28u) * 2u + 1u) * (sums.x - sums.y));
}

fn dot_unit(unit: Unit, x: Values, lid: u32) -> f32 {
    let copy = lid % COPIES;
    let first = dot_group(unit.groups.x, unit.groups.y, x.a, x.b, copy);
    let second = dot_group(unit.groups.z, unit.groups.w, x.c, x.d, copy);
    return unpack2x16float(unit.scales >> unit.shift).x * fma(second, x.scales.y, first * x.scales.x);
}
