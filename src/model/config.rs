//! Hyper-parameters (SPEC 1). Sizes come from the file: Flash, Pro and the tiny test models are the same code.

/// What a layer is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerConfig {
    /// Tokens a compressed row stands for: 0 (window only), 4 (with indexer) or 128.
    pub ratio: u32,
    /// Experts are named by a table of token ids instead of chosen by score.
    pub hashed: bool,
    /// SwiGLU limit.
    pub swiglu_limit: f32,
}

/// Extension of the rotary base to long contexts, on compressed layers only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Yarn {
    /// How far slow pairs are stretched.
    pub factor: f32,
    /// Context length before the extension.
    pub original_context: u32,
    /// Turns over the original context above which a pair stays as it is.
    pub beta_fast: f32,
    /// Turns below which a pair is stretched in full.
    pub beta_slow: f32,
}

/// Frequencies of the rotary pairs: R/2 numbers.
pub type RopeFrequencies = Vec<f32>;

/// Everything that fixes the shapes and the arithmetic of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The model's name, where the file gives one.
    pub name: String,
    /// Kind of each layer.
    pub layers: Vec<LayerConfig>,
    /// D.
    pub dim: u32,
    /// Size of the vocabulary.
    pub vocabulary: u32,
    /// H.
    pub heads: u32,
    /// K.
    pub head_dim: u32,
    /// R: rotated channels, the last of a head.
    pub rope_dim: u32,
    /// Rank of the query projection.
    pub q_rank: u32,
    /// Groups of the output projection.
    pub o_groups: u32,
    /// Rank of each group.
    pub o_rank: u32,
    /// W: tokens of the sliding window, the current one included.
    pub window: u32,
    /// Indexer heads.
    pub index_heads: u32,
    /// Their dim.
    pub index_dim: u32,
    /// Compressed rows that the indexer selects.
    pub index_top_k: u32,
    /// E.
    pub experts: u32,
    /// Routed experts a token.
    pub experts_used: u32,
    /// F, of routed and shared experts alike.
    pub expert_width: u32,
    /// What routed weights are multiplied by after normalisation.
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

    /// The sizes in one line, for people.
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

    /// Rotary frequencies of compressed layers: their own base, slow pairs stretched by YaRN (SPEC 2.2).
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

    /// Compressed rows of a layer of this ratio that position `position` attends to at most: all of them, or what the indexer selects.
    pub fn most_rows(&self, ratio: u32) -> u32 {
        if ratio == 4 { self.index_top_k } else { u32::MAX }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yarn_keeps_fast_pairs_and_stretches_slow_ones() {
        // SPEC 2.2: pairs 0..15 keep their frequency, pairs 25..31 are divided by 16, between them a linear blend.
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
