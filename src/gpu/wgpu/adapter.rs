//! The adapters that wgpu finds, what each can do, and how it is opened.

use super::device::Device;
use super::disk_cache::DiskCache;
use super::queue::Queue;
use crate::gpu::caps::{AdapterKind, Caps, Cooperative, OpenOptions};
use crate::{Error, Result};

/// All adapters of the primary backends (Vulkan, Metal, Dx12), in wgpu's order.
pub fn adapters() -> Vec<Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::PRIMARY;
    // The default flags would add a validation dispatch before every indirect one and cap buffers at 4 GiB.
    descriptor.flags = wgpu::InstanceFlags::empty();
    let instance = wgpu::Instance::new(descriptor);
    let found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY));
    found.into_iter().map(|raw| Adapter { info: raw.get_info(), raw }).collect()
}

/// A device that can be opened.
#[derive(Clone, Debug)]
pub struct Adapter {
    raw: wgpu::Adapter,
    info: wgpu::AdapterInfo,
}

impl Adapter {
    /// The device's name, as the driver gives it.
    pub fn name(&self) -> &str {
        &self.info.name
    }

    /// "Vulkan", "Metal" or "Dx12".
    pub fn backend(&self) -> String {
        format!("{:?}", self.info.backend)
    }

    /// Driver name and version.
    pub fn driver(&self) -> String {
        format!("{} {}", self.info.driver, self.info.driver_info).trim().to_string()
    }

    /// The kind of device.
    pub fn kind(&self) -> AdapterKind {
        match self.info.device_type {
            wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
            wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
            wgpu::DeviceType::Cpu => AdapterKind::Software,
            _ => AdapterKind::Other,
        }
    }

    /// What the device can do, if all of it is used.
    pub fn caps(&self) -> Caps {
        caps_of(&self.raw, &self.info, self.kind())
    }

    /// Size in bytes of the memory for buffers, if the driver reports it.
    pub fn memory_bytes(&self) -> Option<u64> {
        memory_of(&self.raw)
    }

    /// Opens the device.
    ///
    /// # Errors
    /// The driver refuses.
    pub fn open(&self, options: OpenOptions) -> Result<Queue> {
        let mut caps = self.caps();
        if options.portable {
            caps = Caps { unified_memory: caps.unified_memory, ..Caps::portable() };
        }
        let offered = self.raw.limits();
        let required_limits = wgpu::Limits {
            max_storage_buffers_per_shader_stage: caps.storage_bindings.min(offered.max_storage_buffers_per_shader_stage),
            max_bindings_per_bind_group: offered.max_bindings_per_bind_group,
            max_storage_buffer_binding_size: caps.max_binding_bytes,
            max_buffer_size: if options.portable { offered.max_buffer_size.min(1 << 30) } else { caps.max_buffer_bytes },
            max_compute_workgroup_storage_size: caps.workgroup_bytes,
            max_compute_invocations_per_workgroup: caps.invocations,
            max_compute_workgroup_size_x: caps.invocations,
            max_compute_workgroup_size_y: caps.invocations.min(256),
            max_compute_workgroup_size_z: 64,
            max_immediate_size: if caps.immediates { 128 } else { 0 },
            min_storage_buffer_offset_alignment: offered.min_storage_buffer_offset_alignment,
            min_uniform_buffer_offset_alignment: offered.min_uniform_buffer_offset_alignment,
            ..wgpu::Limits::default()
        };
        caps.max_buffer_bytes = required_limits.max_buffer_size;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("dwarfstar"),
            required_features: (features_for(&caps) | wgpu::Features::PIPELINE_CACHE) & self.raw.features(),
            required_limits,
            // SAFETY: acknowledges that cooperative matrices are experimental; kernels use shapes that the adapter lists, and `verify`
            // compares each of them with the reference.
            experimental_features: unsafe { wgpu::ExperimentalFeatures::enabled() },
            memory_hints: wgpu::MemoryHints::Performance,
            trace: wgpu::Trace::Off,
        };
        let opened = pollster::block_on(self.raw.request_device(&descriptor));
        let (device, queue) = opened.map_err(|e| Error::Device(format!("cannot open {}: {e}", self.name())))?;
        if options.narrow {
            caps.subgroup = caps.subgroup.map(|size| size / 2);
            caps.cooperative = Cooperative::None;
        }
        if let Some(cap) = options.binding_cap {
            caps.max_binding_bytes = caps.max_binding_bytes.min(cap);
        }
        let disk = DiskCache::open(&device, &self.info);
        Ok(Queue::new(Device::new(device, queue, caps, options.checks), disk))
    }
}

/// The size of the largest device-local heap.
#[cfg(not(target_vendor = "apple"))]
fn memory_of(raw: &wgpu::Adapter) -> Option<u64> {
    const DEVICE_LOCAL: u32 = 1;
    // SAFETY: nothing is destroyed or created through the handle; it is only asked for properties and dropped.
    let adapter = unsafe { raw.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let instance = adapter.shared_instance().raw_instance();
    // SAFETY: instance and physical device are those of one live adapter.
    let memory = unsafe { instance.get_physical_device_memory_properties(adapter.raw_physical_device()) };
    let heaps = memory.memory_heaps.iter().take(memory.memory_heap_count as usize);
    heaps.filter(|heap| heap.flags.as_raw() & DEVICE_LOCAL != 0).map(|heap| heap.size).max()
}

/// wgpu does not report the size on these systems.
#[cfg(target_vendor = "apple")]
fn memory_of(_: &wgpu::Adapter) -> Option<u64> {
    None
}

fn features_for(caps: &Caps) -> wgpu::Features {
    let mut features = wgpu::Features::empty();
    features.set(wgpu::Features::SUBGROUP, caps.subgroup.is_some());
    features.set(wgpu::Features::SHADER_F16, caps.f16);
    features.set(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, caps.cooperative != Cooperative::None);
    features.set(wgpu::Features::IMMEDIATES, caps.immediates);
    features.set(wgpu::Features::TIMESTAMP_QUERY, caps.timestamps);
    features.set(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES, caps.timestamps);
    features
}

fn caps_of(raw: &wgpu::Adapter, info: &wgpu::AdapterInfo, kind: AdapterKind) -> Caps {
    let (features, limits) = (raw.features(), raw.limits());
    let has = |f| features.contains(f);
    // On Metal wgpu reports a range that holds for all devices. The devices of Apple have subgroups of 32.
    let is_apple = info.backend == wgpu::Backend::Metal && info.name.starts_with("Apple");
    let (least, most) = if is_apple { (32, 32) } else { (info.subgroup_min_size, info.subgroup_max_size) };
    // A whole subgroup holds a cooperative matrix, so the subgroup size must be known exactly.
    let cooperative = if least == most && has(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) && has(wgpu::Features::SHADER_F16) {
        let shapes = raw.cooperative_matrix_properties();
        let square = |n: u32| {
            shapes.iter().any(|p| {
                [p.m_size, p.n_size, p.k_size] == [n; 3]
                    && p.ab_type == wgpu::CooperativeScalarType::F16
                    && p.cr_type == wgpu::CooperativeScalarType::F32
            })
        };
        if square(16) {
            Cooperative::Size16
        } else if square(8) {
            Cooperative::Size8
        } else {
            Cooperative::None
        }
    } else {
        Cooperative::None
    };
    Caps {
        subgroup: (has(wgpu::Features::SUBGROUP) && least >= 8 && least.is_power_of_two()).then_some(least),
        // Metal has no such instruction and emulates it with a dozen others.
        dot_int8: info.backend != wgpu::Backend::Metal,
        f16: has(wgpu::Features::SHADER_F16),
        cooperative,
        immediates: has(wgpu::Features::IMMEDIATES) && limits.max_immediate_size >= 128,
        timestamps: has(wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES),
        unified_memory: kind != AdapterKind::Discrete || info.backend == wgpu::Backend::Metal,
        // Shaders address the bytes of a binding with a u32.
        max_binding_bytes: limits.max_storage_buffer_binding_size.min((2 << 30) - 4),
        max_buffer_bytes: limits.max_buffer_size,
        workgroup_bytes: limits.max_compute_workgroup_storage_size,
        invocations: limits.max_compute_invocations_per_workgroup,
        storage_bindings: limits.max_storage_buffers_per_shader_stage.min(32),
    }
}
