// dequant: eight neighbouring weights of a row, decoded from any of the variant's block formats.
// needs   binding w as array<u32>; FORMAT_F32, FORMAT_Q8_0, ..., one for each format of the variant; FORMAT too where there is only one
// declares the bindings of its formats' tables, so import it after the kernel's own bindings
// gives   dequant8(format, byte offset of the row's first block, column, a multiple of 8), row_bytes(format, columns): bytes of a row
//
// The values of the constants are those of quant::BlockFormat. FORMAT lets the compiler remove the choice. The functions of a format are in
// lib/formats/dequant_NAME and are named after it.

#import lib/formats/bytes
#import lib/formats/weights8
#each F FORMAT_
#import lib/formats/dequant_$f
#end

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
