// The rows of a step. A session's rows in a step are neighbours with ascending positions.

struct Row {
    slot: u32,           // which session
    position: u32,
    token: u32,          // the token id, or SAMPLED: the id that the sampler left for the slot
    first_row: u32,      // the first row of the same session in this step
    first_position: u32, // its position
    last_row: u32,       // the last row of the same session in this step
    padding_a: u32,
    padding_b: u32,
}

const SAMPLED: u32 = 0xffffffffu;
