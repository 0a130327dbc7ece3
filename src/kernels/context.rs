//! What record functions need to know of the device and of how numbers are stored.

use crate::Result;
use crate::gpu::{Binding, Caps, Cooperative, Gpu, Slice, Variant};
use crate::num::KvType;
use crate::quant::{BlockFormat, GRID};

/// Invocations in a workgroup of every kernel that does not say otherwise: what every device allows.
pub(super) const WG: u32 = 256;

/// Part of a matrix of activations: rows of `stride` floats, the part starts at float `offset` of each.
#[derive(Clone, Debug)]
pub struct Strided {
    /// All of the matrix.
    pub slice: Slice,
    /// Floats from one row to the next.
    pub stride: u32,
    /// First float of the part.
    pub offset: u32,
    /// Elements are f16, not f32: only between kernels of a long step on a device with cooperative matrices.
    pub half: bool,
}

impl Strided {
    /// A slice of rows of `stride` floats.
    pub fn whole(slice: &Slice, stride: u32) -> Self {
        Self { slice: slice.clone(), stride, offset: 0, half: false }
    }

    /// The same with elements of f16 where `half`.
    #[must_use]
    pub fn with_f16(self, half: bool) -> Self {
        Self { half, ..self }
    }

    /// `variant` of a kernel that writes these elements.
    pub(super) fn written_by(&self, variant: Variant) -> Variant {
        if self.half { with_f16_output(variant) } else { variant }
    }

    /// The rows from row `first` on, of f32. They must start at a multiple of 256 bytes, which suits any device's binding alignment.
    #[must_use]
    pub fn from_row(&self, first: u32) -> Self {
        let before = u64::from(first) * u64::from(self.stride) * 4;
        Self { slice: self.slice.part(before, self.slice.bytes - before), ..self.clone() }
    }

    /// The part that starts `offset` floats further in each row.
    #[must_use]
    pub fn at(&self, offset: u32) -> Self {
        Self { offset: self.offset + offset, ..self.clone() }
    }
}

/// What variants are chosen by: the device, how cached rows are stored, and whether activations stay f32.
#[derive(Clone, Debug)]
pub struct KernelProfile {
    /// The device's caps.
    pub caps: Caps,
    /// How cached rows are stored.
    pub kv: KvType,
    /// f32 activations everywhere: no cooperative matrices.
    pub exact: bool,
}

impl KernelProfile {
    /// The cooperative matrices to use in long steps, on devices with workgroups of eight subgroups.
    pub(super) fn cooperative(&self) -> Option<CoopShape> {
        let subgroup = self.caps.subgroup.filter(|size| !self.exact && size * 8 <= self.caps.invocations)?;
        let size = match self.caps.cooperative {
            Cooperative::None => return None,
            Cooperative::Size8 => 8,
            Cooperative::Size16 => 16,
        };
        // 45 KiB is what the largest matmul tile stages 64 columns in.
        let depth = if size == 16 && self.caps.workgroup_bytes >= 45 << 10 { 64 } else { 32 };
        Some(CoopShape { size, subgroup, depth })
    }

    /// Whether long steps round the operands of matrix products to f16.
    pub fn uses_half(&self) -> bool {
        self.cooperative().is_some()
    }

    /// Whether decode steps multiply activations rounded to int8.
    pub fn int8(&self) -> bool {
        !self.exact && self.caps.dot_int8 && self.caps.subgroup.is_some_and(|size| size >= 8)
    }

    /// The plain variant of `kernel` with workgroups of [`WG`], reducing by subgroups where the device has them.
    pub(super) fn variant(&self, kernel: &'static str) -> Variant {
        self.sized_variant(kernel, WG)
    }

    /// The same with workgroups of `wg`.
    pub(super) fn sized_variant(&self, kernel: &'static str, wg: u32) -> Variant {
        let variant = Variant::new(kernel).constant("WG", wg);
        match self.caps.subgroup {
            Some(size) => variant.constant("SUBGROUP", size),
            None => variant,
        }
    }

    /// Invocations that share a row in kernels of `lib/reduce/lanes`, and the rows of a workgroup.
    pub(super) fn lanes(&self) -> (u32, u32) {
        let lanes = self.caps.subgroup.unwrap_or(32);
        (lanes, WG / lanes)
    }

    /// As [`KernelProfile::variant`], for kernels in which LANES invocations share a row. Returns the rows of a workgroup too.
    pub(super) fn lanes_variant(&self, kernel: &'static str, sums: u32) -> (Variant, u32) {
        let (lanes, rows) = self.lanes();
        (self.variant(kernel).constant("LANES", lanes).constant("SUMS", sums), rows)
    }

    /// As [`KernelProfile::variant`], for kernels that read or write cached rows.
    pub(super) fn kv_variant(&self, kernel: &'static str) -> Variant {
        self.variant(kernel).flag_if(self.kv == KvType::F16, "KV_F16")
    }
}

/// Cooperative matrices of a device, and how kernels use them.
#[derive(Clone, Copy, Debug)]
pub(super) struct CoopShape {
    /// Rows and columns of a matrix.
    pub size: u32,
    /// Invocations that share one.
    pub subgroup: u32,
    /// Columns of the operands that are staged at a time.
    pub depth: u32,
}

impl CoopShape {
    /// `kernel` with what all cooperative kernels have in common.
    pub fn variant(self, kernel: &'static str) -> Variant {
        Variant::new(kernel)
            .flag("F16")
            .flag("COOPERATIVE")
            .flag_if(self.size == 16, "SIZE_16")
            .constant("SIZE", self.size)
            .constant("SUBGROUP", self.subgroup)
            .constant("DEPTH", self.depth)
            .constant("STEPS", self.depth / self.size)
    }
}

/// What every record function needs: how to choose variants, and the tables that formats bind.
#[derive(Clone, Debug)]
pub struct KernelContext {
    /// How variants are chosen.
    pub profile: KernelProfile,
    iq2_xxs_grid: Slice,
}

impl KernelContext {
    /// Bytes of GPU memory that the tables take.
    pub const BYTES: u64 = size_of_val(&GRID) as u64;

    /// For `gpu`, with cached rows of type `kv`. `exact`: f32 activations everywhere, no cooperative matrices.
    ///
    /// # Errors
    /// No memory left.
    pub fn new(gpu: &Gpu, kv: KvType, exact: bool) -> Result<Self> {
        let grid = gpu.buffer_with("iq2_xxs grid", &GRID)?;
        Ok(Self { profile: KernelProfile { caps: gpu.caps().clone(), kv, exact }, iq2_xxs_grid: grid.all() })
    }

    /// The tables that `formats` need, to be bound after a kernel's other bindings.
    pub(super) fn tables(&self, formats: &[BlockFormat]) -> Option<Binding> {
        let has_codewords = |f: &BlockFormat| matches!(f, BlockFormat::Iq2Xxs | BlockFormat::Iq2Xxsx8);
        formats.iter().any(has_codewords).then(|| Binding::from(&self.iq2_xxs_grid))
    }

    pub(super) fn variant(&self, kernel: &'static str) -> Variant {
        self.profile.variant(kernel)
    }
}

/// `variant` of a kernel that stores elements of f16.
pub(super) fn with_f16_output(variant: Variant) -> Variant {
    variant.flag("F16").flag("Y_F16")
}
