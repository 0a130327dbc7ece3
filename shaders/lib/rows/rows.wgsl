// rows: the rows of a step. Rows of one session are neighbours, with ascending positions.
// needs   nothing
// declares Row, SAMPLED
// gives   what it declares

struct Row {
    slot: u32,           // the session's number
    position: u32,
    token: u32,          // the token's id, or SAMPLED for the id that the sampler stored for the slot
    first_row: u32,      // the first row of the same session in this step
    first_position: u32, // its position
    last_row: u32,       // the last row of the same session in this step
    padding_a: u32,
    padding_b: u32,
}

const SAMPLED: u32 = 0xffffffffu;
