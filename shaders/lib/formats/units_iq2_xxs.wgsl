// Units of IQ2_XXS (blocks as in lib/formats/dequant_iq2_xxs): two groups of 32 weights. Both tables lie in workgroup memory COPIES times (a power of
// two), so that lanes do not queue for a bank: with fewer bytes a look-up there are fewer turns.
//
// A byte b of mask 0 or -1 makes (m ^ b) - b = +-m. The subtraction is linear, so that it moves out of the bytes: dot(m ^ b, x) - dot(b, x).
// Whatever else b holds in bits that m leaves free cancels out too. Magnitudes are doubled: their lowest bit is free.
@group(0) @binding(auto) var<storage, read> iq2_xxs_grid: array<vec2<u32>>; // (256) codewords, one magnitude a byte

// Two dimensions, so that an entry's number is multiplied beside the logic, and the copy's place added to it once and for all.
var<workgroup> codewords: array<array<vec2<u32>, COPIES>, 256>; // doubled
var<workgroup> flips: array<array<u32, COPIES>, 128>;           // byte i: the sign of magnitude i at bit 0, of magnitude i + 4 at bits 1 to 7

struct Unit {
    groups: vec4<u32>, // codeword numbers and signs of the first group, then of the second
    // As loaded: taken out here already, the scale would be waited for where it is only asked for.
    scales: u32,
    shift: u32,        // where in it the unit's own is
}

struct Values {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
    scales: vec2<f32>,
}

// By PREPARING invocations in TABLE_ROUNDS rounds; those of 384 and more share both tables out. An entry is loaded once; neighbours begin with
// different copies of theirs, which lie in different banks. No compiler knows the bounds, and unrolls the loops.
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
// Rows start at multiples of 16.
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
    // Half for the doubled magnitudes, an eighth by definition.
    let scales = vec2<f32>(value_scale(at.y + unit * 2u), value_scale(at.y + unit * 2u + 1u)) * 0.0625;
    return Values(rounded[first], rounded[first + 1u], rounded[first + 2u], rounded[first + 3u], scales);
}

// Adds to what is to be subtracted from each other.
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
