//! A checkpoint folder: configuration, index and shards.

use super::safetensors::{Safetensors, TensorView, open_regular};
use super::wrong;
use crate::Result;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

const CONFIG: &str = "config.json";
const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";

/// The largest `config.json` that is read. A real one has 2 KB; parsed into [`Value`]s, JSON can take a hundred times its size.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// The largest index that is read. A real one has 6 MB.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// An opened checkpoint folder. It consists of `config.json` and the shards that `model.safetensors.index.json` names, or the single shard
/// `model.safetensors` where there is no index. Other files are ignored.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    config: Value,
    shards: Vec<Safetensors>,
    /// Index in `shards` of the shard that has a tensor, by the tensor's name.
    owners: HashMap<String, usize>,
}

impl Folder {
    /// Opens the folder at `path` and checks index and headers. Tensors that are in a shard but not in the index are kept.
    pub fn open(path: &Path) -> Result<Self> {
        let config = read(&path.join(CONFIG), MAX_CONFIG_BYTES).map_err(|error| wrong(path.join(CONFIG), error))?;
        let index = match read(&path.join(INDEX), MAX_INDEX_BYTES) {
            Ok(index) => Some(index),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(wrong(path.join(INDEX), error)),
        };
        let from = if index.is_some() { "the index names" } else { "the folder has no index, so it must have" };
        Self::from_parts(path, &config, index.as_deref(), |shard| {
            let file = path.join(shard);
            if !file.exists() {
                return Err(wrong(path, format!("{from} {shard}, which is not there")));
            }
            Safetensors::open(&file)
        })
    }

    /// Like [`Folder::open`], for contents of `config.json` and of the index that are in memory. `open` opens a shard by its name.
    #[doc(hidden)]
    pub fn from_parts(path: &Path, config: &[u8], index: Option<&[u8]>, mut open: impl FnMut(&str) -> Result<Safetensors>) -> Result<Self> {
        let wrong_config = |what: &dyn fmt::Display| wrong(path.join(CONFIG), what);
        let config: Value = serde_json::from_slice(config).map_err(|error| wrong_config(&error))?;
        if !config.is_object() {
            return Err(wrong_config(&"is not a JSON object"));
        }
        let wrong_index = |what: String| wrong(path.join(INDEX), what);
        let listed =
            index.map(|index| serde_json::from_slice::<Index>(index).map_err(|error| wrong_index(error.to_string()))).transpose()?;
        let listed = listed.map(|index| index.weight_map.0);

        let names: BTreeSet<&str> = match &listed {
            None => BTreeSet::from([SINGLE]),
            Some(listed) => listed.iter().map(|(_, shard)| shard.as_str()).collect(),
        };
        if names.is_empty() {
            return Err(wrong_index("lists no tensor".to_owned()));
        }
        if let Some(name) = names.iter().find(|name| !is_plain_name(name)) {
            return Err(wrong_index(format!("names shard {name:?}, expected the name of a .safetensors file in the same folder")));
        }
        let shards = names.iter().map(|name| open(name)).collect::<Result<Vec<_>>>()?;
        let names: Vec<&str> = names.into_iter().collect();
        let owners = owners(&names, &shards).map_err(|what| wrong(path, what))?;
        check_listed(listed.as_deref().unwrap_or_default(), &names, &owners).map_err(wrong_index)?;
        Ok(Self { path: path.to_path_buf(), config, shards, owners })
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The content of `config.json`, an object. Numbers are kept as written.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// The tensor of this name, from the shard that has it.
    pub fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        self.shards.get(*self.owners.get(name)?)?.tensor(name)
    }

    /// The names of all tensors: shards in the order of their names, tensors in the order of the shard.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.shards.iter().flat_map(Safetensors::names)
    }
}

fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut file = open_regular(path)?;
    let size = file.metadata()?.len();
    if size > most {
        return Err(io::Error::other(format!("has {size} bytes, expected at most {most}")));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether `name` means a safetensors file in the folder itself on every operating system.
fn is_plain_name(name: &str) -> bool {
    name.ends_with(".safetensors") && !name.contains(['/', '\\', ':']) && !name.contains("..") && !name.contains(char::is_control)
}

/// The index of the shard that has each tensor. `names` are the names of `shards`, for errors.
fn owners(names: &[&str], shards: &[Safetensors]) -> Result<HashMap<String, usize>, String> {
    let mut owners = HashMap::new();
    for (i, shard) in shards.iter().enumerate() {
        for tensor in shard.names() {
            if let Some(other) = owners.insert(tensor.to_owned(), i) {
                return Err(format!("tensor {tensor:?} is in both {} and {}", names[other], names[i]));
            }
        }
    }
    Ok(owners)
}

/// Checks that the index lists no tensor twice, and that each is in the shard that the index names.
fn check_listed(listed: &[(String, String)], names: &[&str], owners: &HashMap<String, usize>) -> Result<(), String> {
    let mut seen = HashMap::new();
    for (tensor, shard) in listed {
        if let Some(other) = seen.insert(tensor, shard) {
            return Err(format!("lists tensor {tensor:?} twice, in {other} and in {shard}"));
        }
        match owners.get(tensor).map(|&owner| names[owner]) {
            Some(owner) if owner == shard => {}
            Some(owner) => return Err(format!("lists tensor {tensor:?} in {shard}, but it is in {owner}")),
            None => return Err(format!("lists tensor {tensor:?} in {shard}, which does not have it")),
        }
    }
    Ok(())
}

/// The part of the index that is read. The rest is sizes for information.
#[derive(Deserialize)]
struct Index {
    weight_map: WeightMap,
}

/// Pairs of tensor and shard in file order. A map would hide a tensor that is listed twice.
struct WeightMap(Vec<(String, String)>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WeightMapVisitor)
    }
}

struct WeightMapVisitor;

impl<'de> Visitor<'de> for WeightMapVisitor {
    type Value = WeightMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object that maps tensors to file names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(WeightMap(pairs))
    }
}
