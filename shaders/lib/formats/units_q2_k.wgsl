// units_q2_k: units of Q2_K for lib/formats/units: 16 bytes of codes with four runs of 16 weights that lie 32 apart (lib/formats/q2_k).
// needs   FORMAT_Q2_K or FORMAT_Q2_KX4; lib/formats/units
// declares Unit, Values, Stored
// gives   the functions that lib/formats/units lists

struct Unit {
    codes: vec4<u32>,
    scales: u32, // a byte for each run: the scale's nibble, then the minimum's
    both: u32,   // d, dmin
}

struct Values {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
    // Scales of the runs. The second and the third are divided by 4 and 16, because dot_unit leaves these codes shifted by 2 and 4 bits.
    scales: vec4<f32>,
    sums: vec4<f32>,   // sums of the values of each run, scaled
}

fn prepare(lid: u32) {}

fn unit_row(columns: u32) -> u32 {
    return columns / 256u * 84u;
}

#ifdef FORMAT_Q2_KX4
// Rows start at multiples of 16 bytes.
alias Stored = vec4<u32>;

fn load_unit(row: u32, unit: u32) -> Unit {
    let four = (row >> 4u) + (unit >> 4u) * 21u;
    let block = (unit >> 2u) & 3u;
    return Unit(stack[four + (unit & 15u)], stack[four + 16u + block][unit & 3u], stack[four + 20u][block]);
}
#else
alias Stored = u32;

fn load_unit(row: u32, unit: u32) -> Unit {
    let block = (row >> 2u) + (unit >> 2u) * 21u;
    let half = (unit >> 1u) & 1u;
    let q = block + 4u + (unit & 3u) * 4u;
    let s = vec2<u32>(stack[block + 2u * half], stack[block + 2u * half + 1u]) >> vec2<u32>((unit & 1u) * 8u) & vec2<u32>(0x00ff00ffu);
    let pairs = s | s >> vec2<u32>(8u);
    return Unit(vec4<u32>(stack[q], stack[q + 1u], stack[q + 2u], stack[q + 3u]), (pairs.x & 0xffffu) | pairs.y << 16u, stack[block + 20u]);
}
#endif

fn load_values(t: u32, unit: u32, columns: u32) -> Values {
    let at = values_at(t, columns);
    // A quad is 16 values. A block of 256 has 16 quads, half a block 8, and the runs of a unit are 2 quads apart.
    let first = (unit >> 1u) * 8u + (unit & 1u);
    let a = rounded[at.x + first];
    let b = rounded[at.x + first + 2u];
    let c = rounded[at.x + first + 4u];
    let d = rounded[at.x + first + 6u];
    let s = at.y + (unit >> 1u) * 4u;
    let scales = vec4<f32>(value_scale(s), value_scale(s + 1u), value_scale(s + 2u), value_scale(s + 3u));
    let ones = vec4<u32>(0x01010101u);
    let sums = vec4<f32>(vec4<i32>(dot16(ones, a), dot16(ones, b), dot16(ones, c), dot16(ones, d)));
    return Values(a, b, c, d, scales * vec4<f32>(1.0, 0.25, 0.0625, 1.0), scales * sums);
}

fn dot_unit(unit: Unit, x: Values, lid: u32) -> f32 {
    let dots = vec4<i32>(
        dot16(unit.codes & vec4<u32>(0x03030303u), x.a),
        dot16(unit.codes & vec4<u32>(0x0c0c0c0cu), x.b),
        dot16(unit.codes & vec4<u32>(0x30303030u), x.c),
        dot16(unit.codes >> vec4<u32>(6u) & vec4<u32>(0x03030303u), x.d),
    );
    let nibbles = vec4<u32>(unit.scales) >> vec4<u32>(0u, 8u, 16u, 24u);
    let products = vec4<f32>(vec4<i32>(nibbles & vec4<u32>(15u)) * dots);
    let minima = vec4<f32>(nibbles >> vec4<u32>(4u) & vec4<u32>(15u));
    let both = unpack2x16float(unit.both);
    return fma(both.x, dot(products, x.scales), -(both.y * dot(minima, x.sums)));
}
