// An entry of a table of rows: where the rows of a matrix end, in the lowest ROW_BITS bits, and the matrix's format above.

fn entry_end(entry: u32) -> u32 {
    return entry & ((1u << ROW_BITS) - 1u);
}

fn entry_format(entry: u32) -> u32 {
    return entry >> ROW_BITS;
}
