//! Adapters, and an opened device.

use super::buffer::Account;
use super::caps::{Caps, Cooperative};
use super::disk_cache::DiskCache;
use super::pipeline::Cache;
use super::profiler::Span;
use super::queue::StagingPool;
use super::recording::Recording;
use crate::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// One row of `dwarfstar devices`.
#[derive(Clone, Debug)]
pub struct Adapter {
    raw: wgpu::Adapter,
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

/// All adapters of the primary backends (Vulkan, Metal, Dx12), in wgpu's order.
pub fn adapters() -> Vec<Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::PRIMARY;
    // No flags: the default ones add a validation dispatch before every indirect one and cap buffers at 4 GiB.
    descriptor.flags = wgpu::InstanceFlags::empty();
    let instance = wgpu::Instance::new(descriptor);
    pollster::block_on(instance.enumerate_adapters(wgpu::Backends::PRIMARY)).into_iter().map(Adapter::new).collect()
}

impl Adapter {
    fn new(raw: wgpu::Adapter) -> Self {
        let info = raw.get_info();
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
            wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
            wgpu::DeviceType::Cpu => AdapterKind::Software,
            _ => AdapterKind::Other,
        };
        let driver = format!("{} {}", info.driver, info.driver_info).trim().to_string();
        let caps = caps_of(&raw, &info, kind);
        let memory_bytes = memory_of(&raw);
        Self { raw, name: info.name, backend: format!("{:?}", info.backend), driver, kind, caps, memory_bytes }
    }

    /// Opens the device.
    ///
    /// # Errors
    /// The driver refuses.
    pub fn open(&self, options: OpenOptions) -> Result<Gpu> {
        let mut caps =
            if options.portable { Caps { unified_memory: self.caps.unified_memory, ..Caps::portable() } } else { self.caps.clone() };
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
        let (device, queue) = opened.map_err(|e| Error::Device(format!("cannot open {}: {e}", self.name)))?;
        if options.narrow {
            caps.subgroup = caps.subgroup.map(|size| size / 2);
            caps.cooperative = Cooperative::None;
        }
        if let Some(cap) = options.binding_cap {
            caps.max_binding_bytes = caps.max_binding_bytes.min(cap);
        }
        let disk = DiskCache::open(&device, &self.raw.get_info());
        Ok(Gpu::new(device, queue, caps, self.name.clone(), options.checks, disk))
    }
}

/// The largest device-local heap.
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

/// wgpu does not tell.
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
    // For Metal wgpu names the range of all devices; those of Apple have 32 lanes.
    let is_apple = info.backend == wgpu::Backend::Metal && info.name.starts_with("Apple");
    let (least, most) = if is_apple { (32, 32) } else { (info.subgroup_min_size, info.subgroup_max_size) };
    // A cooperative matrix belongs to a whole subgroup, so that its size must be known.
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
        // Metal has no such instruction: there it becomes a dozen others.
        dot_int8: info.backend != wgpu::Backend::Metal,
        f16: has(wgpu::Features::SHADER_F16),
        cooperative,
        immediates: has(wgpu::Features::IMMEDIATES) && limits.max_immediate_size >= 128,
        timestamps: has(wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES),
        unified_memory: kind != AdapterKind::Discrete || info.backend == wgpu::Backend::Metal,
        // Shaders address a binding by bytes in a u32.
        max_binding_bytes: limits.max_storage_buffer_binding_size.min((2 << 30) - 4),
        max_buffer_bytes: limits.max_buffer_size,
        workgroup_bytes: limits.max_compute_workgroup_storage_size,
        invocations: limits.max_compute_invocations_per_workgroup,
        storage_bindings: limits.max_storage_buffers_per_shader_stage.min(32),
    }
}

/// An opened device with its queue, compiled kernels and staging memory.
pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    caps: Caps,
    name: String,
    checks: bool,
    params_layout: Option<wgpu::BindGroupLayout>,
    cache: Mutex<Cache>,
    disk: Option<DiskCache>,
    staging: Mutex<StagingPool>,
    traced: Mutex<Option<Vec<Span>>>,
    captured: Mutex<Option<Recording>>,
    account: Arc<Account>,
    failure: Arc<Mutex<Option<String>>>,
}

impl Gpu {
    fn new(device: wgpu::Device, queue: wgpu::Queue, caps: Caps, name: String, checks: bool, disk: Option<DiskCache>) -> Self {
        let failure = Arc::new(Mutex::new(None));
        let record = |failure: &Arc<Mutex<Option<String>>>, what: String| {
            lock(failure).get_or_insert(what);
        };
        let seen = failure.clone();
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| record(&seen, one_line(&e))));
        let seen = failure.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                record(&seen, format!("device lost: {message}"));
            }
        });
        let params_layout = (!caps.immediates).then(|| {
            device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some("params"),
                entries: &[wgpu::BindGroupLayoutEntry {
                    binding: 0,
                    visibility: wgpu::ShaderStages::COMPUTE,
                    ty: wgpu::BindingType::Buffer {
                        ty: wgpu::BufferBindingType::Uniform,
                        has_dynamic_offset: true,
                        min_binding_size: None,
                    },
                    count: None,
                }],
            })
        });
        let account = Arc::default();
        let (cache, staging, traced, captured) = (Mutex::default(), Mutex::default(), Mutex::default(), Mutex::default());
        Self { device, queue, caps, name, checks, params_layout, cache, disk, staging, traced, captured, account, failure }
    }

    /// What the device can do, under the options it was opened with.
    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// The device's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn device(&self) -> &wgpu::Device {
        &self.device
    }

    pub(super) fn raw_queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    pub(super) fn disk(&self) -> Option<&DiskCache> {
        self.disk.as_ref()
    }

    pub(super) fn checked(&self) -> bool {
        self.checks
    }

    pub(super) fn params_layout(&self) -> Option<&wgpu::BindGroupLayout> {
        self.params_layout.as_ref()
    }

    pub(super) fn cache(&self) -> MutexGuard<'_, Cache> {
        lock(&self.cache)
    }

    pub(super) fn staging(&self) -> MutexGuard<'_, StagingPool> {
        lock(&self.staging)
    }

    /// What was traced so far, while launches are traced.
    pub(super) fn traced(&self) -> MutexGuard<'_, Option<Vec<Span>>> {
        lock(&self.traced)
    }

    /// What was submitted so far, while launches are captured.
    pub(super) fn captured(&self) -> MutexGuard<'_, Option<Recording>> {
        lock(&self.captured)
    }

    pub(super) fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// Runs `make`, and turns what wgpu reports meanwhile into an error about `what`.
    pub(super) fn guarded<T>(&self, what: &str, make: impl FnOnce() -> T) -> Result<T> {
        let scopes = [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation]
            .map(|filter| self.device.push_error_scope(filter));
        let made = make();
        // Scopes close in the reverse order of opening.
        let errors = scopes.into_iter().rev().filter_map(|scope| pollster::block_on(scope.pop())).collect::<Vec<_>>();
        match errors.first() {
            Some(error) => Err(Error::Device(format!("{what}: {}", one_line(error)))),
            None => Ok(made),
        }
    }

    /// The first failure that was reported outside of any call, such as a lost device.
    ///
    /// # Errors
    /// That failure.
    pub(super) fn healthy(&self) -> Result<()> {
        match lock(&self.failure).as_ref() {
            Some(what) => Err(Error::Device(what.clone())),
            None => Ok(()),
        }
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // Another process finds its kernels compiled or compiles them: nothing that works depends on it.
        if let Some(Err(error)) = self.disk.as_ref().map(DiskCache::save) {
            tracing::debug!("compiled kernels were not kept: {error}");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn one_line(error: &wgpu::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
