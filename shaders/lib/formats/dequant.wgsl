// Eight consecutive weights of a row, decoded from whichever of the variant's block formats the matrix has.
//
// A variant names its formats by constants (FORMAT_F32, FORMAT_Q8_0, ...) with the numbers of quant::BlockFormat. With a single format it also
// has the constant FORMAT, and the choice folds away. Each format has a file `dequant_NAME` with functions named after it.
// Import this after the kernel's own bindings: a format may bind a table of its own.

#import lib/formats/bytes
#import lib/formats/weights8
#each F FORMAT_
#import lib/formats/dequant_$f
#end

// `row`: byte offset of the row's first block in `w`; `column`: a multiple of 8.
fn dequant8(stored: u32, row: u32, column: u32) -> Weights8 {
#ifdef FORMAT
    let format = FORMAT;
#else
    let format = stored;
#endif
#each F FORMAT_
    if (format == FORMAT_$F) { return dequant8_$f(row, column); }
#end
    return Weights8(vec4<f32>(0.0), vec4<f32>(0.0));
}

// Bytes of a row of `columns` weights.
fn row_bytes(stored: u32, columns: u32) -> u32 {
#ifdef FORMAT
    let format = FORMAT;
#else
    let format = stored;
#endif
#each F FORMAT_
    if (format == FORMAT_$F) { return row_bytes_$f(columns); }
#end
    return 0u;
}
