// dequant_iq2_xxs: decodes IQ2_XXS as files store it (FORMAT_IQ2_XXS).
// needs   lib/formats/bytes, lib/formats/weights8
// gives   dequant8_iq2_xxs(byte offset of the row, column): eight weights; row_bytes_iq2_xxs(columns)

#import lib/formats/iq2_xxs

fn dequant8_iq2_xxs(row: u32, column: u32) -> Weights8 {
    let block = row + (column >> 8u) * 66u;
    return iq2_xxs_eight(block, block + 2u, column & 255u);
}

fn row_bytes_iq2_xxs(columns: u32) -> u32 {
    return columns / 256u * 66u;
}
