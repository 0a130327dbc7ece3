//! Collecting an importance matrix: sums of the squares of what goes into each weight, from the engine's taps.

use super::importance::{Importance, Inputs};
use crate::model::{Model, Tensor};
use crate::model::{Tap, TapData, Taps};
use rayon::prelude::*;
use std::collections::HashMap;

/// The weights that multiply one activation, and what was seen of it.
struct Source {
    names: Vec<String>,
    columns: usize,
    /// Whether the rows belong to the experts chosen, instead of to every matrix in turn.
    routed: bool,
    /// `used` rows for each row of the activation: the input of the routed experts is not repeated.
    repeats: usize,
    sums: Vec<f64>,
    counts: Vec<u64>,
}

/// Sums squares while an engine runs.
pub struct Collector {
    sources: HashMap<Tap, Vec<Source>>,
    /// Rows that came before the experts they were routed to.
    waiting: Vec<f32>,
    /// Experts of the layer that is running.
    chosen: Vec<u32>,
}

impl Collector {
    /// For all block-quantisable weights of `model` inside its layers. The output matrix is not among them: its inputs exist only for the
    /// rows that want logits, and every recipe keeps it at eight bits or more.
    pub fn new(model: &Model) -> Self {
        let mut sources: HashMap<Tap, Vec<Source>> = HashMap::new();
        let c = &model.config;
        let mut add = |tap: Tap, tensors: &[&Tensor], matrices: usize, routed: bool| {
            let columns = tensors[0].columns;
            let repeats = if routed && matches!(tap, Tap::ExpertsIn(_)) { c.experts_used as usize } else { 1 };
            sources.entry(tap).or_default().push(Source {
                names: tensors.iter().map(|t| t.gguf_name.clone()).collect(),
                columns,
                routed,
                repeats,
                sums: vec![0.0; matrices * columns],
                counts: vec![0; matrices],
            });
        };
        for (l, layer) in model.layers.iter().enumerate() {
            let (own, experts) = (&layer.attention, &layer.experts);
            let mut inputs = vec![&own.q_a, &own.kv];
            let mut low = vec![&own.q_b];
            inputs.extend(layer.compressor.iter().flat_map(|own| [&own.kv, &own.gate]));
            inputs.extend(layer.indexer.iter().flat_map(|own| [&own.proj, &own.compressor.kv, &own.compressor.gate]));
            low.extend(layer.indexer.iter().map(|own| &own.q_b));
            add(Tap::AttentionIn(l), &inputs, 1, false);
            add(Tap::QueryLow(l), &low, 1, false);
            add(Tap::Heads(l), &[&own.out_a], c.o_groups as usize, false);
            add(Tap::OutLow(l), &[&own.out_b], 1, false);
            add(Tap::ExpertsIn(l), &[&experts.router, &experts.shared_gate, &experts.shared_up], 1, false);
            add(Tap::ExpertsIn(l), &[&experts.gate, &experts.up], c.experts as usize, true);
            add(Tap::SharedAct(l), &[&experts.shared_down], 1, false);
            add(Tap::RoutedAct(l), &[&experts.down], c.experts as usize, true);
        }
        Self { sources, waiting: Vec::new(), chosen: Vec::new() }
    }

    /// What was seen, to which the caller adds where the text is from.
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
    /// Adds rows of `values`; row i belongs to matrix `chosen[i]` where rows are routed, else each row has a part for every matrix.
    fn add(&mut self, values: &[f32], chosen: &[u32]) {
        let (columns, matrices, repeats) = (self.columns, self.counts.len(), self.repeats);
        let rows: Vec<(usize, &[f32])> = if self.routed {
            chosen.iter().enumerate().map(|(i, &e)| (e as usize, &values[i / repeats * columns..][..columns])).collect()
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
            // The input of the routed experts is seen before the choice.
            (Tap::ExpertsIn(_), TapData::Floats(values)) => self.waiting = values.to_vec(),
            (Tap::Chosen(l), TapData::Ids(ids)) => {
                self.chosen = ids.to_vec();
                let sources = self.sources.get_mut(&Tap::ExpertsIn(l));
                sources.into_iter().flatten().for_each(|source| source.add(&self.waiting, ids));
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

    fn source(routed: bool, repeats: usize, matrices: usize) -> Source {
        Source { names: Vec::new(), columns: 2, routed, repeats, sums: vec![0.0; 2 * matrices], counts: vec![0; matrices] }
    }

    #[test]
    fn rows_go_to_their_matrices() {
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
