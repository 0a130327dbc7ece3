//! Hyper-parameters (SPEC 1). All sizes come from the file, so that Flash, Pro and the tiny test models run the same code.

/// The hyper-parameters of one layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerConfig {
    /// Number of tokens that a compressed row stands for: 4 (with an indexer) or 128, or 0 for a layer that has only the sliding window.
    pub ratio: u32,
    /// Whether a table gives the experts of each token id. In other layers the router chooses them by score.
    pub hashed: bool,
    /// SwiGLU limit.
    pub swiglu_limit: f32,
}

/// YaRN, which extends the rotary embedding to long contexts. It applies to compressed layers only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yarn {
    /// Factor by which the frequencies of slow pairs are divided.
    pub factor: f32,
    /// Context length before the extension.
    pub original_context: u32,
    /// A pair with more turns than this over the original context keeps its frequency.
    pub beta_fast: f32,
    /// A pair with fewer turns than this over the original context is divided by the whole factor.
    pub beta_slow: f32,
}

/// Frequencies of the rotary pairs: R/2 numbers.
pub type RopeFrequencies = Vec<f32>;

/// All numbers that determine the shapes and the arithmetic of a model. Capital letters are the names of SPEC 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The model's name, where the file gives one.
    pub name: String,
    /// The layers in order.
    pub layers: Vec<LayerConfig>,
    /// D: channels of a residual stream.
    pub dim: u32,
    /// Size of the vocabulary.
    pub vocabulary: u32,
    /// H: attention heads.
    pub heads: u32,
    /// K: channels of a head.
    pub head_dim: u32,
    /// R: rotated channels, which are the last ones of a head.
    pub rope_dim: u32,
    /// Rank of the query projection.
    pub q_rank: u32,
    /// Groups of the output projection.
    pub o_groups: u32,
    /// Rank of each group of the output projection.
    pub o_rank: u32,
    /// W: tokens of the sliding window, the current one included.
    pub window: u32,
    /// Heads of the indexer.
    pub index_heads: u32,
    /// Channels of an indexer head.
    pub index_dim: u32,
    /// Compressed rows that the indexer selects.
    pub index_top_k: u32,
    /// E: routed experts of a layer.
    pub experts: u32,
    /// Number of routed experts that a token uses.
    pub experts_used: u32,
    /// F: inner channels of an expert, routed or shared.
    pub expert_width: u32,
    /// Factor that the weights of the routed experts are multiplied by after normalisation.
    pub routed_scale: f32,
    /// Sinkhorn iterations of the hyper-connections.
    pub sinkhorn_iterations: u32,
    /// Epsilon of the hyper-connections.
    pub hc_eps: f32,
    /// Epsilon of every RMS norm.
    pub norm_eps: f32,
    /// Rotary base of window-only layers.
    pub rope_theta: f32,
    /// Rotary base of compressed layers.
    pub compress_rope_theta: f32,
    /// Context extension of compressed layers.
    pub yarn: Yarn,
    /// The longest context that the model was made for.
    pub max_context: u32,
}

impl Config {
    /// V4 Flash, as released.
    pub fn flash() -> Self {
        let layer = |l: u32| LayerConfig { ratio: if l < 2 { 0 } else { [4, 128][l as usize % 2] }, hashed: l < 3, swiglu_limit: 10.0 };
        Self {
            name: "DeepSeek V4 Flash".into(),
            layers: (0..43).map(layer).collect(),
            dim: 4096,
            vocabulary: 129_280,
            heads: 64,
            head_dim: 512,
            rope_dim: 64,
            q_rank: 1024,
            o_groups: 8,
            o_rank: 1024,
            window: 128,
            index_heads: 64,
            index_dim: 128,
            index_top_k: 512,
            experts: 256,
            experts_used: 6,
            expert_width: 2048,
            routed_scale: 1.5,
            sinkhorn_iterations: 20,
            hc_eps: 1e-6,
            norm_eps: 1e-6,
            rope_theta: 10_000.0,
            compress_rope_theta: 160_000.0,
            yarn: Yarn { factor: 16.0, original_context: 65_536, beta_fast: 32.0, beta_slow: 1.0 },
            max_context: 1 << 20,
        }
    }

    /// V4 Pro, as released.
    pub fn pro() -> Self {
        let flash = Self::flash();
        let layer = |l: u32| LayerConfig { ratio: if l < 2 { 128 } else { [4, 128][l as usize % 2] }, ..flash.layers[l.min(3) as usize] };
        Self {
            name: "DeepSeek V4 Pro".into(),
            layers: (0..61).map(layer).collect(),
            dim: 7168,
            heads: 128,
            q_rank: 1536,
            o_groups: 16,
            index_top_k: 1024,
            experts: 384,
            expert_width: 3072,
            routed_scale: 2.5,
            ..flash
        }
    }

    /// The name and the main sizes in one line of text.
    pub fn summary(&self) -> String {
        let count = |ratio: u32| self.layers.iter().filter(|l| l.ratio == ratio).count();
        format!(
            "{}: {} layers ({} window only, {} of ratio 4, {} of ratio 128; {} routed by token), width {}, {} heads of {}, {} experts of {} ({} a token), \
             vocabulary {}, context up to {}",
            if self.name.is_empty() { "model" } else { &self.name },
            self.layers.len(),
            count(0),
            count(4),
            count(128),
            self.layers.iter().filter(|l| l.hashed).count(),
            self.dim,
            self.heads,
            self.head_dim,
            self.experts,
            self.expert_width,
            self.experts_used,
            self.vocabulary,
            self.max_context
        )
    }

    /// Rotary frequencies of window-only layers: theta^(-2i/R).
    pub fn plain_frequencies(&self) -> RopeFrequencies {
        self.powers(self.rope_theta).map(|f| f as f32).collect()
    }

    /// Rotary frequencies of compressed layers, with slow pairs stretched by YaRN (SPEC 2.2).
    pub fn compressed_frequencies(&self) -> RopeFrequencies {
        let (r, base) = (f64::from(self.rope_dim), f64::from(self.compress_rope_theta));
        let original = f64::from(self.yarn.original_context);
        let correction = |beta: f32| r * (original / (2.0 * std::f64::consts::PI * f64::from(beta))).ln() / (2.0 * base.ln());
        let low = correction(self.yarn.beta_fast).floor().max(0.0);
        let mut high = correction(self.yarn.beta_slow).ceil().min(r - 1.0);
        if low == high {
            high += 0.001;
        }
        self.powers(self.compress_rope_theta)
            .enumerate()
            .map(|(i, f)| {
                let stretched = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                (f * (1.0 - stretched) + f / f64::from(self.yarn.factor) * stretched) as f32
            })
            .collect()
    }

    fn powers(&self, theta: f32) -> impl Iterator<Item = f64> + use<> {
        let (r, theta) = (f64::from(self.rope_dim), f64::from(theta));
        (0..self.rope_dim / 2).map(move |i| theta.powf(-2.0 * f64::from(i) / r))
    }

    /// The largest number of compressed rows that a token attends to in a layer of this ratio: as many as the indexer selects, or no limit
    /// where the layer has none.
    pub fn most_rows(&self, ratio: u32) -> u32 {
        if ratio == 4 { self.index_top_k } else { u32::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yarn_keeps_fast_pairs_and_stretches_slow_ones() {
        // SPEC 2.2: pairs 0 to 15 keep their frequency, pairs 25 to 31 have a 16th of it, and those between are a linear blend.
        let config = Config::flash();
        let base: Vec<f64> = config.powers(config.compress_rope_theta).collect();
        let got = config.compressed_frequencies();
        for (i, (&f, &b)) in got.iter().zip(&base).enumerate() {
            let want = match i {
                0..=15 => b,
                25.. => b / 16.0,
                _ => {
                    let u = (i as f64 - 15.0) / 10.0;
                    b * (1.0 - u) + b / 16.0 * u
                }
            };
            assert!((f64::from(f) - want).abs() <= want * 1e-7, "pair {i}: {f} for {want}");
        }
    }
}
