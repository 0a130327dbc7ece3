// Eight consecutive weights of a row, decoded from whichever of the variant's block formats the matrix has.
//
// A variant names its formats by flags (W_F32, W_Q8_0, ...); with a single one it also has the constant FORMAT, and the choice folds away.
// The numbers are those of quant::BlockFormat. Import this after the kernel's own bindings: a format may bind a table of its own.

#import lib/bytes
#import lib/weights8

#ifdef W_F32
#import lib/dequant_f32
#endif
#ifdef W_F16
#import lib/dequant_f16
#endif
#ifdef W_BF16
#import lib/dequant_bf16
#endif
#ifdef W_Q8_0
#import lib/dequant_q8_0
#endif
#ifdef W_Q8_0X8
#import lib/dequant_q8_0x8
#endif
#ifdef W_Q2_K
#import lib/dequant_q2_k
#endif
#ifdef W_Q2_KX4
#import lib/dequant_q2_k
#endif
#ifdef W_Q4_K
#import lib/dequant_q4_k
#endif
#ifdef W_IQ2_XXS
#import lib/dequant_iq2_xxs
#endif
#ifdef W_IQ2_XXSX8
#import lib/dequant_iq2_xxs
#endif
#ifdef W_MXFP4
#import lib/dequant_mxfp4
#endif
#ifdef W_FP8
#import lib/dequant_fp8
#endif

// `row`: byte offset of the row's first block in `w`; `column`: a multiple of 8.
fn dequant8(stored: u32, row: u32, column: u32) -> Weights8 {
#ifdef FORMAT
    let format = FORMAT;
#else
    let format = stored;
#endif
#ifdef W_F32
    if (format == 0u) { return dequant8_f32(row, column); }
#endif
#ifdef W_F16
    if (format == 1u) { return dequant8_f16(row, column); }
#endif
#ifdef W_BF16
    if (format == 2u) { return dequant8_bf16(row, column); }
#endif
#ifdef W_Q8_0
    if (format == 3u) { return dequant8_q8_0(row, column); }
#endif
#ifdef W_Q2_K
    if (format == 4u) { return dequant8_q2_k(row, column); }
#endif
#ifdef W_Q4_K
    if (format == 5u) { return dequant8_q4_k(row, column); }
#endif
#ifdef W_IQ2_XXS
    if (format == 6u) { return dequant8_iq2_xxs(row, column); }
#endif
#ifdef W_MXFP4
    if (format == 7u) { return dequant8_mxfp4(row, column); }
#endif
#ifdef W_FP8
    if (format == 8u) { return dequant8_fp8(row, column); }
#endif
#ifdef W_Q8_0X8
    if (format == 9u) { return dequant8_q8_0x8(row, column); }
#endif
#ifdef W_IQ2_XXSX8
    if (format == 10u) { return dequant8_iq2_xxsx8(row, column); }
#endif
#ifdef W_Q2_KX4
    if (format == 11u) { return dequant8_q2_kx4(row, column); }
#endif
    return Weights8(vec4<f32>(0.0), vec4<f32>(0.0));
}

// Bytes of a row of `columns` weights.
fn row_bytes(stored: u32, columns: u32) -> u32 {
#ifdef FORMAT
    let format = FORMAT;
#else
    let format = stored;
#endif
#ifdef W_F32
    if (format == 0u) { return columns * 4u; }
#endif
#ifdef W_F16
    if (format == 1u) { return columns * 2u; }
#endif
#ifdef W_BF16
    if (format == 2u) { return columns * 2u; }
#endif
#ifdef W_Q8_0
    if (format == 3u) { return columns / 32u * 34u; }
#endif
#ifdef W_Q2_K
    if (format == 4u) { return columns / 256u * 84u; }
#endif
#ifdef W_Q4_K
    if (format == 5u) { return columns / 256u * 144u; }
#endif
#ifdef W_IQ2_XXS
    if (format == 6u) { return columns / 256u * 66u; }
#endif
#ifdef W_MXFP4
    if (format == 7u) { return columns / 32u * 17u; }
#endif
#ifdef W_FP8
    if (format == 8u) { return (columns + 127u) / 128u * 132u; }
#endif
#ifdef W_Q8_0X8
    if (format == 9u) { return columns / 32u * 34u; }
#endif
#ifdef W_IQ2_XXSX8
    if (format == 10u) { return columns / 256u * 66u; }
#endif
#ifdef W_Q2_KX4
    if (format == 11u) { return columns / 256u * 84u; }
#endif
    return 0u;
}
