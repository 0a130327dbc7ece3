//! Recordings on wgpu: Vulkan, Metal, DirectX 12. Nothing outside this folder names a type of wgpu.

mod adapter;
mod binding;
mod device;
mod disk_cache;
mod download;
mod memory;
mod params;
mod pipeline;
mod profiler;
mod queue;
mod submission;
mod upload;

pub use adapter::{Adapter, adapters};
pub use queue::{Flight, Queue};
pub use upload::Uploader;
