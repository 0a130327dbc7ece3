// row_entry: an entry of a table of rows: the row where a matrix ends in the lowest ROW_BITS bits, the matrix's format in the others.
// needs   ROW_BITS
// gives   entry_end(entry), entry_format(entry)

fn entry_end(entry: u32) -> u32 {
    return entry & ((1u << ROW_BITS) - 1u);
}

fn entry_format(entry: u32) -> u32 {
    return entry >> ROW_BITS;
}
