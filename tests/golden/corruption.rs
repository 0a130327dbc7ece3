//! Truncated, corrupt and hostile files. Opening one gives a value or an error of one line that names the file. It never panics, and never
//! takes more memory than the size of the file justifies.
//!
//! Inputs are made from seeds, which a failure names. Every number and name of a header may be an awkward one, and half of the files have a
//! few bytes changed afterwards.

use dwarfstar::gguf::{File, GgmlType};
use dwarfstar::hf::{Folder, Safetensors};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Memory that opening a GGUF or safetensors file may take, as a multiple of the file's size. The shortest entries take most: a metadata
/// key of 14 bytes takes 40 bytes in the list and 37 in the hash table, each three times while the container doubles (old and new exist at
/// once), and its name twice. That is 17 times its size.
const HEADER_TIMES: usize = 24;

/// The same multiple for JSON that is kept as `serde_json::Value`. An array of one-digit numbers takes most: an element of 2 bytes takes 72
/// bytes, three times while the vector doubles, and 8 bytes for the digit. That is 112 times its size. `config.json` has at most 1 MiB.
const JSON_TIMES: usize = 128;

/// Bytes of memory that do not depend on the size of the input, such as messages.
const FLAT: usize = 16 << 10;

/// The system's allocator, which counts the memory of a thread while that thread asks for it.
struct Counting;

#[derive(Clone, Copy)]
struct Account {
    live: isize,
    peak: isize,
}

thread_local! {
    static ACCOUNT: Cell<Option<Account>> = const { Cell::new(None) };
}

fn count(change: isize) {
    // The account does not exist while the thread ends. Nothing is measured then.
    let _ = ACCOUNT.try_with(|cell| {
        if let Some(Account { live, peak }) = cell.get() {
            let live = live + change;
            cell.set(Some(Account { live, peak: peak.max(live) }));
        }
    });
}

// SAFETY: every call goes to the system's allocator with the same arguments. Counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller makes the same promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller makes the same promise.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // The old and the new memory may exist at once.
        count(new_size as isize);
        count(-(layout.size() as isize));
        // SAFETY: the caller makes the same promise.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The result of `work`, and the largest number of bytes that it had allocated at once.
fn measured<T>(work: impl FnOnce() -> T) -> (T, usize) {
    ACCOUNT.set(Some(Account { live: 0, peak: 0 }));
    let result = work();
    let account = ACCOUNT.take().unwrap();
    (result, account.peak as usize)
}

/// A seeded random number generator (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, or 0 where `end` is 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// A number that breaks code which trusts it.
    fn extreme(&mut self) -> u64 {
        let base =
            *self.pick(&[0, 1, 2, 8, 32, 33, 256, 4096, 1 << 31, 1 << 32, 1 << 40, 1 << 61, 1 << 62, 1 << 63, u64::MAX - 31, u64::MAX]);
        base.wrapping_add(*self.pick(&[0, 0, 1, u64::MAX]))
    }

    /// Usually `good`, rarely an extreme number.
    fn number(&mut self, good: u64) -> u64 {
        if self.one_in(60) { self.extreme() } else { good }
    }

    /// Usually a new valid name, rarely an awkward one.
    fn name(&mut self, i: usize) -> String {
        match self.below(80) {
            0 => String::new(),
            1 => "n0".to_owned(),
            2 => "line\nbreak\u{1b}[31m".to_owned(),
            3 => "long ".repeat(100),
            _ => format!("n{i}"),
        }
    }

    /// Changes a few bytes: flips bits, writes extreme numbers, truncates, repeats or removes.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            let end = (at + self.below(40)).min(bytes.len());
            match self.below(8) {
                0 | 1 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                2 if !bytes.is_empty() => bytes[at] = self.next() as u8,
                3 | 4 => {
                    let size = *self.pick(&[4, 8]);
                    let number = self.extreme().to_le_bytes();
                    bytes.iter_mut().skip(at).zip(&number[..size]).for_each(|(byte, new)| *byte = *new);
                }
                5 => bytes.truncate(at),
                6 => {
                    let piece = bytes[at..end].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, piece);
                }
                _ => drop(bytes.drain(at..end)),
            }
        }
    }
}

/// The numbers of inputs of a test that opened and that were refused.
#[derive(Default)]
struct Outcomes {
    opened: usize,
    refused: usize,
}

impl Outcomes {
    /// Opens an input, which may take `most` bytes of memory. An error must name `file`.
    fn check(&mut self, seed: usize, most: usize, file: &str, open: impl FnOnce() -> dwarfstar::Result<()>) {
        let (result, peak) = catch_unwind(AssertUnwindSafe(|| measured(open))).unwrap_or_else(|_| panic!("seed {seed} panics"));
        assert!(peak <= most + FLAT, "seed {seed}: {peak} bytes allocated, expected at most {most} + {FLAT}");
        match result {
            Ok(()) => self.opened += 1,
            Err(error) => {
                let line = error.to_string();
                assert!(line.contains(file), "seed {seed}: no file in {line:?}");
                assert!(!line.contains(char::is_control) && line.len() < 4000, "seed {seed}: not one line: {line:?}");
                self.refused += 1;
            }
        }
    }

    /// Checks that every input was counted, and that enough of them opened and enough were refused for the test to mean something.
    fn finish(self, inputs: usize) {
        println!("{inputs} inputs: {} opened, {} refused", self.opened, self.refused);
        assert_eq!(self.opened + self.refused, inputs);
        assert!(self.opened > inputs / 50 && self.refused > inputs / 5, "{} opened, {} refused", self.opened, self.refused);
    }
}

fn string(out: &mut Vec<u8>, random: &mut Random, text: &str) {
    out.extend(random.number(text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Appends the value of a key without its type.
fn value(out: &mut Vec<u8>, random: &mut Random, kind: u64, depth: usize) {
    match kind {
        8 => {
            let text = random.name(1);
            string(out, random, &text);
        }
        9 => {
            let element = if depth < 6 { random.below(13) as u64 } else { 0 };
            let length = random.below(4) as u64;
            out.extend((random.number(element) as u32).to_le_bytes());
            out.extend(random.number(length).to_le_bytes());
            (0..length).for_each(|_| value(out, random, element, depth + 1));
        }
        _ => {
            let size = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8][kind as usize];
            let number = random.below(2) as u64;
            out.extend(&random.number(number).to_le_bytes()[..size]);
        }
    }
}

/// A GGUF file in which every field may be wrong.
fn gguf(random: &mut Random) -> Vec<u8> {
    let (keys, tensors) = (random.below(8) as u64, random.below(8) as u64);
    let alignment = *random.pick(&[32, 32, 32, 1, 64, 4096]);
    let mut out = b"GGUF".to_vec();
    out.extend((random.number(3) as u32).to_le_bytes());
    out.extend(random.number(tensors).to_le_bytes());
    out.extend(random.number(keys + 1).to_le_bytes());
    string(&mut out, random, "general.alignment");
    out.extend(4u32.to_le_bytes());
    out.extend((random.number(alignment) as u32).to_le_bytes());
    for i in 0..keys {
        let name = random.name(i as usize);
        string(&mut out, random, &name);
        let kind = random.below(13) as u64;
        out.extend((random.number(kind) as u32).to_le_bytes());
        value(&mut out, random, kind, 0);
    }
    let mut offset = 0;
    for i in 0..tensors {
        let name = random.name(i as usize);
        string(&mut out, random, &name);
        let kind = *random.pick(&[0, 1, 8, 10, 12, 16, 24, 26, 39]);
        let (values, bytes) = GgmlType(kind).block().unwrap();
        let shape: Vec<u64> = (0..=random.below(3)).map(|dim| if dim == 0 { values } else { random.below(3) as u64 + 1 }).collect();
        out.extend((random.number(shape.len() as u64) as u32).to_le_bytes());
        shape.iter().for_each(|&size| out.extend(random.number(size).to_le_bytes()));
        out.extend((random.number(kind.into()) as u32).to_le_bytes());
        out.extend(random.number(offset).to_le_bytes());
        if !random.one_in(20) {
            offset = (offset + shape.iter().product::<u64>() / values * bytes).next_multiple_of(alignment);
        }
    }
    let start = (out.len() as u64).next_multiple_of(alignment);
    out.resize((start + offset) as usize, 7);
    out
}

/// Reads everything that a file offers, as the command `inspect` and the loader do.
fn walk_gguf(file: &File) {
    let metadata = file.metadata();
    for (key, printed) in metadata.iter() {
        assert!(!printed.contains(char::is_control) && printed.len() < 8000);
        let _ = (metadata.u32(key), metadata.f32(key), metadata.bool(key), metadata.str(key).is_ok(), metadata.value(key));
        let _ = (metadata.integers(key), metadata.floats(key));
        if let Ok(Some(strings)) = metadata.strings(key) {
            assert_eq!(strings.iter().count(), strings.len());
            assert_eq!(strings.texts().count(), strings.len());
        }
    }
    for tensor in file.tensors() {
        assert_eq!(file.tensor(&tensor.name), Some(tensor));
        assert_eq!(file.bytes(tensor).len() as u64, tensor.bytes);
    }
}

fn open_gguf(bytes: Vec<u8>) -> dwarfstar::Result<()> {
    File::from_bytes(bytes, Path::new("hostile.gguf")).map(|file| walk_gguf(&file))
}

#[test]
fn damaged_gguf_files_open_or_are_refused_in_one_line() {
    const INPUTS: usize = 400_000;
    let mut outcomes = Outcomes::default();
    for seed in 0..INPUTS {
        let mut random = Random(seed as u64);
        let mut bytes = gguf(&mut random);
        if random.one_in(2) {
            random.mutate(&mut bytes);
        }
        outcomes.check(seed, HEADER_TIMES * bytes.len(), "hostile.gguf", || open_gguf(bytes));
    }
    outcomes.finish(INPUTS);
}

/// Usually a number in JSON, rarely something else.
fn json_number(random: &mut Random, good: u64) -> String {
    match random.below(150) {
        0 => "-1".to_owned(),
        1 => "1e400".to_owned(),
        2 => "0.5".to_owned(),
        3 => "99999999999999999999999".to_owned(),
        4 => "\"x\\ny\"".to_owned(),
        5 => "[".repeat(300),
        6 => "null".to_owned(),
        _ => random.number(good).to_string(),
    }
}

/// A safetensors file in which every field may be wrong.
fn safetensors(random: &mut Random, names: &[&str]) -> Vec<u8> {
    let mut entries = vec![r#""__metadata__":{"format":"pt"}"#.to_owned()];
    let mut at = 0;
    for name in names {
        let (dtype, size) = *random.pick(&[("BF16", 2), ("F32", 4), ("I64", 8), ("F8_E4M3", 1), ("F8_E8M0", 1), ("U8", 1), ("X\\n", 3)]);
        let shape: Vec<u64> = (0..random.below(4)).map(|_| random.below(5) as u64).collect();
        let end = at + shape.iter().product::<u64>() * size;
        let dims: Vec<_> = shape.iter().map(|&dim| json_number(random, dim)).collect();
        let (from, to) = (json_number(random, at), json_number(random, end));
        let name = if random.one_in(40) { random.name(0).escape_default().to_string() } else { (*name).to_owned() };
        entries.push(format!(r#""{name}":{{"dtype":"{dtype}","shape":[{}],"data_offsets":[{from},{to}]}}"#, dims.join(",")));
        at = if random.one_in(30) { random.below(50) as u64 } else { end };
    }
    let header = format!("{{{}}}", entries.join(","));
    let mut out = random.number(header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.resize(out.len() + at as usize, 7);
    out
}

fn walk_safetensors(file: &Safetensors) {
    for name in file.names() {
        let tensor = file.tensor(name).unwrap();
        let size = tensor.dtype.size().map(|size| size * tensor.shape.iter().product::<usize>());
        assert_eq!(size.unwrap_or(tensor.bytes.len()), tensor.bytes.len());
        assert!(!tensor.dtype.to_string().contains(char::is_control));
    }
}

fn open_safetensors(bytes: Vec<u8>) -> dwarfstar::Result<()> {
    Safetensors::from_bytes(bytes, Path::new("hostile.safetensors")).map(|file| walk_safetensors(&file))
}

#[test]
fn damaged_safetensors_files_open_or_are_refused_in_one_line() {
    const INPUTS: usize = 300_000;
    let mut outcomes = Outcomes::default();
    for seed in 0..INPUTS {
        let mut random = Random(seed as u64);
        let mut bytes = safetensors(&mut random, &["a", "b", "c", "d"]);
        if random.one_in(2) {
            random.mutate(&mut bytes);
        }
        outcomes.check(seed, HEADER_TIMES * bytes.len(), "hostile.safetensors", || open_safetensors(bytes));
    }
    outcomes.finish(INPUTS);
}

const CONFIG: &str = r#"{"n": [0, 4, 128], "eps": 1e-06, "scaling": {"type": "yarn", "factor": 16}, "on": true}"#;
const SHARDS: [(&str, [&str; 2]); 2] = [("m-1.safetensors", ["a", "b"]), ("m-2.safetensors", ["c", "d"])];

/// An index for [`SHARDS`] in which every name may be wrong.
fn index(random: &mut Random) -> String {
    let mut pairs = Vec::new();
    for (shard, tensors) in SHARDS {
        for tensor in tensors {
            let tensor = if random.one_in(30) { random.pick(&["a", "d", "e", "\\n"]) } else { tensor };
            let shard = if random.one_in(30) {
                random.pick(&["../m-1.safetensors", "m-2.safetensors", "m-3.safetensors", "\\u0000"])
            } else {
                shard
            };
            pairs.push(format!(r#""{tensor}": "{shard}""#));
        }
    }
    format!(r#"{{"metadata": {{"total_size": 9}}, "weight_map": {{{}}}}}"#, pairs.join(", "))
}

#[test]
fn damaged_checkpoint_folders_open_or_are_refused_in_one_line() {
    const INPUTS: usize = 100_000;
    let mut outcomes = Outcomes::default();
    for seed in 0..INPUTS {
        let mut random = Random(seed as u64);
        let (mut config, mut index) = (CONFIG.as_bytes().to_vec(), index(&mut random).into_bytes());
        match random.below(4) {
            0 => random.mutate(&mut config),
            1 => random.mutate(&mut index),
            _ => {}
        }
        let mut shards = SHARDS.map(|(name, tensors)| (name, safetensors(&mut random, &tensors)));
        if random.one_in(10) {
            random.mutate(&mut shards[0].1);
        }
        let size = config.len() + index.len() + shards.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        let open = |name: &str| match shards.iter().find(|shard| shard.0 == name) {
            Some((_, bytes)) => Safetensors::from_bytes(bytes.clone(), &Path::new("hostile").join(name)),
            None => Err(dwarfstar::Error::file("hostile", format!("{name} is not there"))),
        };
        outcomes.check(seed, JSON_TIMES * size, "hostile", || {
            let folder = Folder::from_parts(Path::new("hostile"), &config, Some(&index), open)?;
            assert!(folder.config().is_object() && folder.names().all(|name| folder.tensor(name).is_some()));
            Ok(())
        });
    }
    outcomes.finish(INPUTS);
}

/// The inputs are so large that the constant part of the bound does not matter.
#[test]
fn the_contents_that_take_most_memory_for_their_size_stay_within_the_bound() {
    let mut outcomes = Outcomes::default();
    // Lengths around a power of two. With the longest one, vectors have just doubled.
    for n in [16_000, 16_383, 16_400] {
        let names: Vec<_> = (0..n).map(|i| format!("{i:x}")).collect();
        let jsons = [
            format!(r#"{{"a":[{}0]}}"#, "0,".repeat(8 * n)),
            format!(r#"{{"a":[{}0]}}"#, r#"{"":0},"#.repeat(n)),
            format!(r#"{{{}"":0}}"#, names.iter().map(|name| format!(r#""{name}":0,"#)).collect::<String>()),
            "[".repeat(n),
        ];
        for json in jsons {
            outcomes.check(n, JSON_TIMES * json.len(), "hostile", || {
                let shard = |_: &str| Safetensors::from_bytes(b"\x02\0\0\0\0\0\0\0{}".to_vec(), Path::new("hostile"));
                Folder::from_parts(Path::new("hostile"), json.as_bytes(), None, shard).map(drop)
            });
        }
        let entry = |name: &String| format!(r#""{name}":{{"dtype":"","shape":[0],"data_offsets":[0,0]}}"#);
        let many = names.iter().map(entry).collect::<Vec<_>>().join(",");
        let deep = format!(r#""a":{{"dtype":"U8","shape":[0{}],"data_offsets":[0,0]}}"#, ",0".repeat(8 * n));
        for entries in [many, deep] {
            let bytes = [&(entries.len() as u64 + 2).to_le_bytes(), b"{".as_slice(), entries.as_bytes(), b"}"].concat();
            outcomes.check(n, HEADER_TIMES * bytes.len(), "hostile", || open_safetensors(bytes));
        }
        // Keys whose value is one byte, and tensors that all share one byte.
        let key = [0; 5];
        let tensor = [1u32, 1, 0, GgmlType::I8.0, 0, 0].map(u32::to_le_bytes).concat();
        for (tensors, keys, rest) in [(0, n as u64, key.as_slice()), (n as u64, 0, &tensor)] {
            let mut bytes = [b"GGUF\x03\0\0\0".as_slice(), &tensors.to_le_bytes(), &keys.to_le_bytes()].concat();
            for name in &names {
                bytes.extend([&(name.len() as u64).to_le_bytes(), name.as_bytes(), rest].concat());
            }
            bytes.resize(bytes.len() + 33, 0);
            outcomes.check(n, HEADER_TIMES * bytes.len(), "hostile", || File::from_bytes(bytes, Path::new("hostile")).map(drop));
        }
    }
    // Only the JSON that is nested too deep is refused.
    assert_eq!((outcomes.opened, outcomes.refused), (3 * 7, 3));
}
