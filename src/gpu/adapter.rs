//! The devices of a machine.

use super::caps::{AdapterKind, Caps, OpenOptions};
use super::executor::{Executor, Gpu};
use super::wgpu as webgpu;
use crate::Result;

/// One row of `dwarfstar devices`.
#[derive(Clone, Debug)]
pub struct Adapter {
    found: Found,
    /// The device's name, as the driver gives it.
    pub name: String,
    /// "Vulkan", "Metal" or "Dx12".
    pub backend: String,
    /// Driver name and version.
    pub driver: String,
    /// Its kind.
    pub kind: AdapterKind,
    /// What it offers in full.
    pub caps: Caps,
    /// Memory that it can hold buffers in, bytes, where the driver tells.
    pub memory_bytes: Option<u64>,
}

/// What found a device, and opens it.
#[derive(Clone, Debug)]
enum Found {
    Wgpu(webgpu::Adapter),
}

/// All adapters of the primary backends (Vulkan, Metal, Dx12), in wgpu's order.
pub fn adapters() -> Vec<Adapter> {
    let row = |found: webgpu::Adapter| Adapter {
        name: found.name().to_string(),
        backend: found.backend(),
        driver: found.driver(),
        kind: found.kind(),
        caps: found.caps(),
        memory_bytes: found.memory_bytes(),
        found: Found::Wgpu(found),
    };
    webgpu::adapters().into_iter().map(row).collect()
}

impl Adapter {
    /// Opens the device.
    ///
    /// # Errors
    /// The driver refuses.
    pub fn open(&self, options: OpenOptions) -> Result<Gpu> {
        let Found::Wgpu(adapter) = &self.found;
        let queue = adapter.open(options)?;
        let caps = queue.device().caps.clone();
        Ok(Gpu::new(Executor::Wgpu(queue), caps, self.name.clone(), self.kind))
    }
}
