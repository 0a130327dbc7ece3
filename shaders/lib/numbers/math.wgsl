// math: functions that WGSL lacks, or whose composition of built-in ones would lose digits.
// needs   nothing
// gives   sigmoid(z), log1p(u) for u from 0 to 1, softplus(z), swiglu(gate, up, limit), sort_key(value)

fn sigmoid(z: f32) -> f32 {
    return 1.0 / (1.0 + exp(-z));
}

// log(1 + u) for 0 <= u <= 1, exact to a few ulp. The built-in log would lose tiny u in the sum 1 + u.
// log(1 + u) = 2 artanh(s) with s = u / (2 + u) <= 1/3.
fn log1p(u: f32) -> f32 {
    let s = u / (2.0 + u);
    let q = s * s;
    var series = 1.0 / 17.0;
    series = fma(series, q, 1.0 / 15.0);
    series = fma(series, q, 1.0 / 13.0);
    series = fma(series, q, 1.0 / 11.0);
    series = fma(series, q, 1.0 / 9.0);
    series = fma(series, q, 1.0 / 7.0);
    series = fma(series, q, 1.0 / 5.0);
    series = fma(series, q, 1.0 / 3.0);
    series = fma(series, q, 1.0);
    return 2.0 * s * series;
}

// log(1 + exp(z)). The formula as written would lose every digit for very negative z, and overflow for large z.
fn softplus(z: f32) -> f32 {
    return max(z, 0.0) + log1p(exp(-abs(z)));
}

// silu(min(gate, limit)) * clamp(up, -limit, limit). The gate is limited from above only, before silu.
fn swiglu(gate: f32, up: f32, limit: f32) -> f32 {
    let g = min(gate, limit);
    return g * sigmoid(g) * clamp(up, -limit, limit);
}

// Maps a float to an unsigned number of the same order. NaN sorts below everything.
fn sort_key(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return 0u;
    }
    return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}
