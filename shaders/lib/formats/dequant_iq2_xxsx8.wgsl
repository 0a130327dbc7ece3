// dequant_iq2_xxsx8: decodes IQ2_XXS by eight (FORMAT_IQ2_XXSX8).
// needs   lib/formats/bytes, lib/formats/weights8
// gives   dequant8_iq2_xxsx8(byte offset of the row, column): eight weights; row_bytes_iq2_xxsx8(columns)
//
// Eight blocks together: all their groups, then the f16 d of each (quant/grouped.rs). Rows start at multiples of 16 bytes.

#import lib/formats/iq2_xxs

fn dequant8_iq2_xxsx8(row: u32, column: u32) -> Weights8 {
    let eight = row + (column >> 11u) * 528u;
    return iq2_xxs_eight(eight + 512u + ((column >> 8u) & 7u) * 2u, eight, column & 2047u);
}

fn row_bytes_iq2_xxsx8(columns: u32) -> u32 {
    return columns / 256u * 66u;
}
