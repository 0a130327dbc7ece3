//! Keeps compiled kernels on disk, if the backend hands them out (Vulkan). A driver without a cache of its own then compiles each kernel
//! once and not once in every process.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

/// A file larger than this is started anew. Kernels change, and a driver never removes old ones from its cache.
const MOST_BYTES: u64 = 256 << 20;

/// A device's compiled kernels and their file in the user's cache folder.
pub struct DiskCache {
    raw: wgpu::PipelineCache,
    path: PathBuf,
    /// The contents of the file when it was read.
    read: Vec<u8>,
}

impl DiskCache {
    /// Opens the device's cache. None if the backend has no such cache, or the user no cache folder. A file that does not suit the device
    /// is ignored.
    pub fn open(device: &wgpu::Device, info: &wgpu::AdapterInfo) -> Option<Self> {
        let name = wgpu::util::pipeline_cache_key(info).filter(|_| device.features().contains(wgpu::Features::PIPELINE_CACHE))?;
        let path = dirs::cache_dir()?.join("dwarfstar").join(name);
        let fits = fs::metadata(&path).is_ok_and(|file| file.len() <= MOST_BYTES);
        let read = if fits { fs::read(&path).unwrap_or_default() } else { Vec::new() };
        let data = (!read.is_empty()).then_some(&read[..]);
        // SAFETY: the file holds what `get_data` returned: it is written by `save` alone, as a whole, into a folder of the user's own, and
        // wgpu uses it only under a header that names this adapter and driver.
        let raw = unsafe { device.create_pipeline_cache(&wgpu::PipelineCacheDescriptor { label: Some("kernels"), data, fallback: true }) };
        Some(Self { raw, path, read })
    }

    /// The cache that pipelines are compiled with.
    pub fn raw(&self) -> &wgpu::PipelineCache {
        &self.raw
    }

    /// Writes the file if the cache has changed.
    ///
    /// # Errors
    /// The file cannot be written. It stays as it was, and no temporary file is left.
    fn save(&self) -> io::Result<()> {
        let Some(data) = self.raw.get_data().filter(|data| *data != self.read) else { return Ok(()) };
        let folder = self.path.parent().unwrap_or(&self.path);
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&data)?;
        file.persist(&self.path)?;
        Ok(())
    }
}

impl Drop for DiskCache {
    fn drop(&mut self) {
        // Without the file the next process compiles its kernels again, which is slower and not wrong.
        if let Err(error) = self.save() {
            tracing::debug!("compiled kernels were not kept: {error}");
        }
    }
}
