//! Small floating-point formats, bit-exact: FP8 e4m3fn, the power-of-two scale e8m0, FP4 e2m1. The crate `half` provides f16 and bf16.
//!
//! Layouts and special values: SPEC 10; OCP Microscaling Formats v1.0 (e8m0, e2m1), OCP 8-bit Floating Point v1.0 (e4m3).

/// Value of an FP8 e4m3fn code: sign, 4 exponent bits with bias 7, 3 mantissa bits. The format has no infinity: the largest magnitude is
/// 448, and the codes 0x7f and 0xff are NaN. The smallest step is 2^-9.
pub const fn e4m3_to_f32(code: u8) -> f32 {
    let sign = (code as u32 >> 7) << 31;
    let exponent = (code as u32 >> 3) & 15;
    let mantissa = code as u32 & 7;
    let magnitude = match (exponent, mantissa) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa as f32 / 512.0,
        // 120 is the difference between the two exponent biases, 127 - 7.
        _ => f32::from_bits(((exponent + 120) << 23) | (mantissa << 20)),
    };
    f32::from_bits(magnitude.to_bits() | sign)
}

/// The e4m3fn code nearest to `value`, ties to the even code. Magnitudes above 448 and infinities become 448, because the quantisers of
/// the model clamp before they convert. NaN stays NaN. The sign is kept, even that of zero.
pub fn e4m3_from_f32(value: f32) -> u8 {
    let sign = ((value.to_bits() >> 31) as u8) << 7;
    let magnitude = value.abs();
    let code = if magnitude.is_nan() {
        0x7f
    } else if magnitude < 1.0 / 64.0 {
        // Subnormal codes count steps of 2^-9; a value that rounds up to eight steps is the first normal code, 0x08.
        (magnitude * 512.0).round_ties_even() as u32
    } else {
        let bits = magnitude.to_bits();
        let rounded = bits + 0x7_ffff + ((bits >> 20) & 1);
        ((rounded >> 20) - (120 << 3)).min(0x7e)
    };
    sign | code as u8
}

/// Value of an e8m0 scale: 2^(code - 127), so code 0 is 2^-127 (subnormal in f32), and code 255 is NaN.
pub const fn e8m0_to_f32(code: u8) -> f32 {
    match code {
        0 => f32::from_bits(1 << 22),
        255 => f32::NAN,
        _ => f32::from_bits((code as u32) << 23),
    }
}

/// Values of the sixteen FP4 e2m1 codes. A code has a sign, 2 exponent bits and 1 mantissa bit; code 8 is -0.
pub const E2M1: [f32; 16] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

/// The e2m1 code nearest to `value`, ties to the even code. Magnitudes above 6 become 6. NaN becomes 0, because the format has no NaN.
pub fn e2m1_from_f32(value: f32) -> u8 {
    let m = value.abs();
    // The code is the number of midpoints below the magnitude. `>=` stands where the upper neighbour is the even code.
    let code = [m > 0.25, m >= 0.75, m > 1.25, m >= 1.75, m > 2.5, m >= 3.5, m > 5.0].map(u8::from).iter().sum::<u8>();
    let sign = if value.is_sign_negative() && !value.is_nan() { 8 } else { 0 };
    sign | code
}

/// The number format of cached rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KvType {
    /// IEEE half precision, two values in a 32-bit word.
    F16,
    /// IEEE single precision.
    F32,
}

impl KvType {
    /// Bytes of one value.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    /// `f16` or `f32`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
        }
    }

    /// Number of 32-bit words in a row of `values` values. `values` is even.
    pub const fn words(self, values: u32) -> u32 {
        match self {
            Self::F16 => values / 2,
            Self::F32 => values,
        }
    }
}

impl std::fmt::Display for KvType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value of a code by the definition of the format, in f64 and without bit tricks.
    fn e4m3_by_definition(code: u8) -> f64 {
        let sign = if code & 0x80 != 0 { -1.0 } else { 1.0 };
        let (exponent, mantissa) = (i32::from((code >> 3) & 15), f64::from(code & 7));
        match exponent {
            15 if code & 7 == 7 => f64::NAN,
            0 => sign * mantissa / 8.0 * 2f64.powi(-6),
            _ => sign * (1.0 + mantissa / 8.0) * 2f64.powi(exponent - 7),
        }
    }

    #[test]
    fn every_e4m3_code_has_the_value_of_its_definition() {
        for code in 0..=255u8 {
            let (found, expected) = (e4m3_to_f32(code), e4m3_by_definition(code));
            if expected.is_nan() {
                assert!(found.is_nan() && (code & 0x7f) == 0x7f);
            } else {
                assert_eq!(found.to_bits(), (expected as f32).to_bits(), "code {code:#x}");
                assert_eq!(f64::from(found), expected, "code {code:#x} is not exact");
            }
        }
        assert_eq!(e4m3_to_f32(0x7e), 448.0);
        assert_eq!(e4m3_to_f32(0x01), 0.001953125);
        assert_eq!(e4m3_to_f32(0x80).to_bits(), (-0.0f32).to_bits());
    }

    /// The code whose value is nearest to `magnitude`, ties to even, found by search. `values` are sorted magnitudes, indexed by code.
    fn nearest(values: &[f64], magnitude: f64) -> usize {
        let mut best = 0;
        for (code, value) in values.iter().enumerate() {
            let (d, d_best) = ((value - magnitude).abs(), (values[best] - magnitude).abs());
            if d < d_best || (d == d_best && code % 2 == 0) {
                best = code;
            }
        }
        best
    }

    #[test]
    fn values_round_to_the_nearest_code_and_ties_to_even() {
        let e4m3: Vec<f64> = (0..0x7f).map(e4m3_by_definition).collect();
        let e2m1: Vec<f64> = E2M1[..8].iter().map(|&v| f64::from(v)).collect();
        // A fine sweep, and of both formats every value, every midpoint and the f32 neighbours of every midpoint.
        let mut probes: Vec<f32> = (0..60_000u32).map(|i| i as f32 * 0.0087).collect();
        for values in [&e4m3, &e2m1] {
            for pair in values.windows(2) {
                let middle = ((pair[0] + pair[1]) / 2.0) as f32;
                probes.extend([pair[0] as f32, middle, middle.next_up(), middle.next_down()]);
            }
        }
        for probe in probes {
            assert_eq!(usize::from(e4m3_from_f32(probe)), nearest(&e4m3, f64::from(probe)), "{probe}");
            assert_eq!(usize::from(e2m1_from_f32(probe)), nearest(&e2m1, f64::from(probe)), "{probe}");
            assert_eq!(e4m3_from_f32(-probe), 0x80 | e4m3_from_f32(probe));
            assert_eq!(e2m1_from_f32(-probe), 8 | e2m1_from_f32(probe));
        }
        for code in (0..=255).filter(|code| code & 0x7f != 0x7f) {
            assert_eq!(e4m3_from_f32(e4m3_to_f32(code)), code);
        }
        assert_eq!(e4m3_from_f32(f32::INFINITY), 0x7e);
        assert_eq!(e4m3_from_f32(f32::NAN) & 0x7f, 0x7f);
        assert_eq!(e2m1_from_f32(f32::NEG_INFINITY), 15);
        assert_eq!(e2m1_from_f32(-f32::NAN), 0);
    }

    #[test]
    fn every_e8m0_code_is_a_power_of_two() {
        for code in 0..255u8 {
            assert_eq!(f64::from(e8m0_to_f32(code)), 2f64.powi(i32::from(code) - 127), "code {code}");
        }
        assert!(e8m0_to_f32(255).is_nan());
    }
}
