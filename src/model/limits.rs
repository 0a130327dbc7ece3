//! The range of hyper-parameters that this program can run. Each file is checked once, so that no kernel meets a size that it was not
//! written for.

use super::config::Config;

/// The largest number of channels of a residual stream. Kernels keep a row in the registers of one workgroup.
const MAX_DIM: u32 = 8192;
/// The largest number of channels of a head. Kernels rotate one pair of channels an invocation.
const MAX_HEAD_DIM: u32 = 512;
/// The largest number of channels of an indexer head. Kernels keep the queries of several heads in workgroup memory.
const MAX_INDEX_DIM: u32 = 128;
/// The largest number of experts. Kernels keep a number for each in workgroup memory.
const MAX_EXPERTS: u32 = 1024;
/// The largest number of experts that a token uses. Kernels have arrays of this length.
const MAX_EXPERTS_USED: u32 = 16;
/// The largest number of layers, more than any model of the family has.
const MAX_LAYERS: usize = 512;
/// The largest number of rows of a matrix. Tables of rows hold where a matrix ends in 24 bits, beside the number of its format.
const MAX_ROWS: u32 = (1 << 24) - 1;

impl Config {
    /// Refuses hyper-parameters that no kernel is written for. The message names the hyper-parameter, its value and the values it may have.
    pub(super) fn check(&self) -> Result<(), String> {
        let range = |name: &str, value: u32, least: u32, most: u32| {
            let fits = (least..=most).contains(&value);
            if fits { Ok(()) } else { Err(format!("{name} is {value}, this program runs {least} to {most}")) }
        };
        let multiple = |name: &str, value: u32, of: u32| {
            if value > 0 && value.is_multiple_of(of) { Ok(()) } else { Err(format!("{name} is {value}, it must be a multiple of {of}")) }
        };
        if self.layers.is_empty() || self.layers.len() > MAX_LAYERS {
            return Err(format!("{} layers, this program runs 1 to {MAX_LAYERS}", self.layers.len()));
        }
        for (l, layer) in self.layers.iter().enumerate() {
            if ![0, 4, 128].contains(&layer.ratio) {
                return Err(format!("layer {l} has compress ratio {}, this program knows 0, 4 and 128", layer.ratio));
            }
            if !(layer.swiglu_limit > 0.0 && layer.swiglu_limit.is_finite()) {
                return Err(format!("layer {l} has SwiGLU limit {}, it must be positive", layer.swiglu_limit));
            }
        }
        range("hidden size", self.dim, 32, MAX_DIM)?;
        range("vocabulary size", self.vocabulary, 1, MAX_ROWS)?;
        range("number of heads", self.heads, 1, 1024)?;
        range("head dim", self.head_dim, 8, MAX_HEAD_DIM)?;
        range("rotary dim", self.rope_dim, 2, self.head_dim)?;
        range("query rank", self.q_rank, 8, 1 << 16)?;
        range("number of output groups", self.o_groups, 1, self.heads)?;
        range("output rank", self.o_rank, 8, 1 << 16)?;
        range("number of output groups times output rank", self.o_groups * self.o_rank, 8, MAX_ROWS)?;
        range("sliding window", self.window, 1, 1 << 16)?;
        range("number of experts", self.experts, 1, MAX_EXPERTS)?;
        range("experts a token", self.experts_used, 1, MAX_EXPERTS_USED.min(self.experts))?;
        range("expert width", self.expert_width, 8, 1 << 20)?;
        range("Sinkhorn iterations", self.sinkhorn_iterations, 1, 1000)?;
        range("context length", self.max_context, 1, 1 << 30)?;
        for (name, value, of) in [
            ("hidden size", self.dim, 8),
            ("head dim", self.head_dim, 8),
            ("rotary dim", self.rope_dim, 2),
            ("query rank", self.q_rank, 8),
            ("output rank", self.o_rank, 8),
            ("expert width", self.expert_width, 8),
            ("number of heads", self.heads, self.o_groups),
        ] {
            multiple(name, value, of)?;
        }
        if self.layers.iter().any(|l| l.ratio == 4) {
            range("number of indexer heads", self.index_heads, 1, 1024)?;
            range("indexer head dim", self.index_dim, self.rope_dim.max(8), MAX_INDEX_DIM)?;
            multiple("indexer head dim", self.index_dim, 8)?;
            range("indexer top-k", self.index_top_k, 1, 1 << 16)?;
        }
        for (name, value) in [
            ("RMS norm epsilon", self.norm_eps),
            ("hyper-connection epsilon", self.hc_eps),
            ("rotary base", self.rope_theta),
            ("rotary base of compressed layers", self.compress_rope_theta),
            ("routed scaling factor", self.routed_scale),
            ("YaRN factor", self.yarn.factor),
            ("YaRN beta_fast", self.yarn.beta_fast),
            ("YaRN beta_slow", self.yarn.beta_slow),
            ("YaRN original context", self.yarn.original_context as f32),
        ] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(format!("{name} is {value}, it must be positive"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Config;

    #[test]
    fn flash_and_pro_are_within_the_limits() {
        Config::flash().check().unwrap();
        Config::pro().check().unwrap();
    }

    #[test]
    fn what_no_kernel_is_written_for_is_refused_by_name() {
        let mut config = Config::flash();
        config.layers[7].ratio = 8;
        assert_eq!(config.check().unwrap_err(), "layer 7 has compress ratio 8, this program knows 0, 4 and 128");
        let mut config = Config::flash();
        config.experts_used = 17;
        assert_eq!(config.check().unwrap_err(), "experts a token is 17, this program runs 1 to 16");
        let mut config = Config::flash();
        (config.heads, config.o_groups, config.o_rank) = (1024, 1024, 1 << 16);
        let what = "number of output groups times output rank is 67108864, this program runs 8 to 16777215";
        assert_eq!(config.check().unwrap_err(), what);
        let mut config = Config::flash();
        config.norm_eps = f32::NAN;
        assert_eq!(config.check().unwrap_err(), "RMS norm epsilon is NaN, it must be positive");
    }
}
