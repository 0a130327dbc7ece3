//! Collecting an importance matrix: sums of the squared inputs of each weight matrix, from the engine's taps.

use super::importance::{Importance, Inputs};
use crate::model::{Model, Tap, TapData, Taps, Tensor};
use rayon::prelude::*;
use std::collections::HashMap;

/// The weights that multiply one activation, and the sums of its squares.
struct Source {
    /// GGUF names of the weights.
    names: Vec<String>,
    /// Channels of a row.
    columns: usize,
    /// Whether a row belongs to the chosen experts. Otherwise the matrices of the stack take the rows in turn.
    routed: bool,
    /// Number of experts that use each row of the activation. The input of the routed experts has one row a token, other activations one
    /// for each of its matrices.
    uses: usize,
    /// Sums of squares [matrices, columns].
    sums: Vec<f64>,
    /// Number of rows in the sums of each matrix.
    counts: Vec<u64>,
}

/// Sums squares while an engine runs.
pub struct Collector {
    sources: HashMap<Tap, Vec<Source>>,
    /// Input of the experts in the layer that runs, kept until the choice of experts is known.
    experts_in: Vec<f32>,
    /// Experts chosen in the layer that runs.
    chosen: Vec<u32>,
}

impl Collector {
    /// A collector for all weight matrices in the layers of `model`. The output matrix is not among them: its inputs exist only for rows
    /// that want logits, and every recipe keeps it at eight bits or more.
    pub fn new(model: &Model) -> Self {
        let mut sources: HashMap<Tap, Vec<Source>> = HashMap::new();
        let c = &model.config;
        let mut add = |tap: Tap, tensors: &[&Tensor], matrices: usize, routed: bool| {
            let columns = tensors[0].columns;
            let uses = if routed && matches!(tap, Tap::ExpertsIn(_)) { c.experts_used as usize } else { 1 };
            sources.entry(tap).or_default().push(Source {
                names: tensors.iter().map(|t| t.gguf_name.clone()).collect(),
                columns,
                routed,
                uses,
                sums: vec![0.0; matrices * columns],
                counts: vec![0; matrices],
            });
        };
        for (l, layer) in model.layers.iter().enumerate() {
            let (attention, experts) = (&layer.attention, &layer.experts);
            let mut after_input = vec![&attention.q_a, &attention.kv];
            let mut after_query_low = vec![&attention.q_b];
            after_input.extend(layer.compressor.iter().flat_map(|c| [&c.kv, &c.gate]));
            after_input.extend(layer.indexer.iter().flat_map(|i| [&i.proj, &i.compressor.kv, &i.compressor.gate]));
            after_query_low.extend(layer.indexer.iter().map(|i| &i.q_b));
            add(Tap::AttentionIn(l), &after_input, 1, false);
            add(Tap::QueryLow(l), &after_query_low, 1, false);
            add(Tap::Heads(l), &[&attention.out_a], c.o_groups as usize, false);
            add(Tap::OutLow(l), &[&attention.out_b], 1, false);
            add(Tap::ExpertsIn(l), &[&experts.router, &experts.shared_gate, &experts.shared_up], 1, false);
            add(Tap::ExpertsIn(l), &[&experts.gate, &experts.up], c.experts as usize, true);
            add(Tap::SharedAct(l), &[&experts.shared_down], 1, false);
            add(Tap::RoutedAct(l), &[&experts.down], c.experts as usize, true);
        }
        Self { sources, experts_in: Vec::new(), chosen: Vec::new() }
    }

    /// The collected sums. The caller adds the names of the texts.
    pub fn finish(self) -> Importance {
        let mut out = Importance::default();
        for source in self.sources.into_values().flatten() {
            let inputs =
                Inputs { sums: source.sums.iter().map(|&s| s as f32).collect(), counts: source.counts.iter().map(|&n| n as f32).collect() };
            out.inputs.extend(source.names.into_iter().map(|name| (name, inputs.clone())));
        }
        out
    }
}

impl Source {
    /// Adds the rows of `values`. Where rows are routed, use i of them is by the expert `chosen[i]`.
    fn add(&mut self, values: &[f32], chosen: &[u32]) {
        let (columns, matrices, uses) = (self.columns, self.counts.len(), self.uses);
        let rows: Vec<(usize, &[f32])> = if self.routed {
            chosen.iter().enumerate().map(|(i, &e)| (e as usize, &values[i / uses * columns..][..columns])).collect()
        } else {
            values.chunks_exact(columns).enumerate().map(|(i, row)| (i % matrices, row)).collect()
        };
        rows.iter().for_each(|&(matrix, _)| self.counts[matrix] += 1);
        let mut by_matrix = vec![Vec::new(); matrices];
        rows.into_iter().for_each(|(matrix, row)| by_matrix[matrix].push(row));
        self.sums.par_chunks_exact_mut(columns).zip(by_matrix).for_each(|(sums, rows)| {
            for row in rows {
                sums.iter_mut().zip(row).for_each(|(s, &v)| *s += f64::from(v) * f64::from(v));
            }
        });
    }
}

impl Taps for Collector {
    fn wants(&self, tap: Tap) -> bool {
        matches!(tap, Tap::Chosen(_)) || self.sources.contains_key(&tap)
    }

    fn see(&mut self, tap: Tap, data: TapData<'_>) {
        match (tap, data) {
            // The tap of the input comes before that of the choice.
            (Tap::ExpertsIn(_), TapData::Floats(values)) => self.experts_in = values.to_vec(),
            (Tap::Chosen(l), TapData::Ids(ids)) => {
                self.chosen = ids.to_vec();
                let sources = self.sources.get_mut(&Tap::ExpertsIn(l));
                sources.into_iter().flatten().for_each(|source| source.add(&self.experts_in, ids));
            }
            (tap, TapData::Floats(values)) => {
                let sources = self.sources.get_mut(&tap);
                sources.into_iter().flatten().for_each(|source| source.add(values, &self.chosen));
            }
            (_, TapData::Ids(_)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(routed: bool, uses: usize, matrices: usize) -> Source {
        Source { names: Vec::new(), columns: 2, routed, uses, sums: vec![0.0; 2 * matrices], counts: vec![0; matrices] }
    }

    #[test]
    fn rows_are_summed_for_the_matrices_that_multiply_them() {
        let mut groups = source(false, 1, 2);
        groups.add(&[1.0, 2.0, 3.0, 4.0, 1.0, 0.0, 0.0, 1.0], &[]);
        assert_eq!((groups.sums, groups.counts), (vec![2.0, 4.0, 9.0, 17.0], vec![2, 2]));
        let mut inputs = source(true, 2, 3);
        inputs.add(&[1.0, 2.0, 3.0, 4.0], &[0, 2, 2, 1]);
        assert_eq!((inputs.sums, inputs.counts), (vec![1.0, 4.0, 9.0, 16.0, 10.0, 20.0], vec![1, 1, 2]));
        let mut acts = source(true, 1, 2);
        acts.add(&[1.0, 2.0, 3.0, 4.0], &[1, 0]);
        assert_eq!((acts.sums, acts.counts), (vec![9.0, 16.0, 1.0, 4.0], vec![1, 1]));
    }
}
