//! What a device can do, read once, and what decides which variant of a kernel it gets. How to open one.

/// What kind of device an adapter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterKind {
    /// A GPU with its own memory.
    Discrete,
    /// A GPU that shares the CPU's memory.
    Integrated,
    /// A driver that runs shaders on the CPU.
    Software,
    /// A virtual or unknown device.
    Other,
}

/// How to open a device.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    /// Use nothing beyond [`Caps::portable`].
    pub portable: bool,
    /// Compile shaders with bounds checks and zeroed workgroup memory.
    pub checks: bool,
    /// Pretend that no storage binding may be larger than this, in bytes.
    pub binding_cap: Option<u64>,
    /// Assume subgroups of half the size that they have, as on a device whose subgroups vary.
    pub narrow: bool,
}

/// Cooperative matrices that kernels are written for: f16 operands, f32 sums, one subgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cooperative {
    /// None, or only shapes that no kernel uses.
    None,
    /// 8x8x8 (Metal).
    Size8,
    /// 16x16x16 (Vulkan).
    Size16,
}

/// Facts about an opened device. Sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caps {
    /// The smallest subgroup size, where subgroup operations exist: kernels exchange values among so many neighbours only, and real
    /// subgroups may be larger (AMD: 32 or 64). At least 8, a power of two.
    pub subgroup: Option<u32>,
    /// Products of four packed int8 at the speed of one multiplication (`dot4I8Packed`).
    pub dot_int8: bool,
    /// `f16` as a type in shaders.
    pub f16: bool,
    /// Cooperative matrices.
    pub cooperative: Cooperative,
    /// `var<immediate>` of at least 128 bytes; without it, parameters go through a uniform ring.
    pub immediates: bool,
    /// Timestamps inside compute passes.
    pub timestamps: bool,
    /// CPU and GPU share the memory.
    pub unified_memory: bool,
    /// Largest storage binding.
    pub max_binding_bytes: u64,
    /// Largest buffer.
    pub max_buffer_bytes: u64,
    /// Workgroup memory.
    pub workgroup_bytes: u32,
    /// Invocations in a workgroup.
    pub invocations: u32,
    /// Storage bindings in a kernel.
    pub storage_bindings: u32,
}

impl Caps {
    /// What every supported device has: the caps of an unknown device, and of `--portable`.
    pub const fn portable() -> Self {
        Self {
            subgroup: None,
            dot_int8: false,
            f16: false,
            cooperative: Cooperative::None,
            immediates: false,
            timestamps: false,
            unified_memory: true,
            max_binding_bytes: 128 << 20,
            max_buffer_bytes: 256 << 20,
            workgroup_bytes: 32 << 10,
            invocations: 256,
            storage_bindings: 16,
        }
    }

    /// The optional features as one line, for people.
    pub fn summary(&self) -> String {
        let subgroup = self.subgroup.map_or_else(|| "no subgroups".into(), |n| format!("subgroups of {n}"));
        let cooperative = match self.cooperative {
            Cooperative::None => "no cooperative matrices",
            Cooperative::Size8 => "cooperative matrices 8x8",
            Cooperative::Size16 => "cooperative matrices 16x16",
        };
        let f16 = if self.f16 { "f16" } else { "no f16" };
        let int8 = if self.dot_int8 { "int8 products" } else { "no int8 products" };
        let immediates = if self.immediates { "immediates" } else { "uniform parameters" };
        format!(
            "{subgroup}, {f16}, {int8}, {cooperative}, {immediates}, bindings up to {} MiB, {} KiB workgroup memory",
            self.max_binding_bytes >> 20,
            self.workgroup_bytes >> 10
        )
    }
}
