//! The devices of this machine.

use super::caps::{AdapterKind, Caps, OpenOptions};
use super::executor::{Executor, Gpu};
use super::wgpu as webgpu;
use crate::Result;

/// A device that can be opened: one row of `dwarfstar devices`.
#[derive(Clone, Debug)]
pub struct Adapter {
    found: Found,
    /// The device's name, as the driver gives it.
    pub name: String,
    /// "Vulkan", "Metal" or "Dx12".
    pub backend: String,
    /// Driver name and version.
    pub driver: String,
    /// The kind of device.
    pub kind: AdapterKind,
    /// What the device can do, if all of it is used.
    pub caps: Caps,
    /// Size in bytes of the memory for buffers, if the driver reports it.
    pub memory_bytes: Option<u64>,
}

/// The executor's own handle of a device that it found, with which it opens the device.
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
