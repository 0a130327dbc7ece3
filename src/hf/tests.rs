//! Correct files and folders open, and each malformed one gives an error that says what is wrong.

use super::*;
use std::path::Path;

const PATH: &str = "some/model.safetensors";

/// A file with this header and `data` bytes of data: 0, 1, 2, ...
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend((0..data).map(|i| i as u8));
    bytes
}

fn open(bytes: Vec<u8>) -> crate::Result<Safetensors> {
    Safetensors::from_bytes(bytes, Path::new(PATH))
}

/// The error of opening a file with this header and `data` bytes of data, without the path. It must be a single line.
fn refusal(header: &str, data: usize) -> String {
    let line = open(file(header, data)).unwrap_err().to_string();
    assert!(!line.contains('\n'), "{line}");
    line.strip_prefix(PATH).and_then(|rest| rest.strip_prefix(": ")).unwrap_or_else(|| panic!("no path in {line}")).to_owned()
}

/// One entry of a header.
fn entry(name: &str, dtype: &str, shape: &str, start: u64, end: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":[{shape}],"data_offsets":[{start},{end}]}}"#)
}

#[test]
fn tensors_of_every_known_type_are_read() {
    let types = [
        ("BF16", Dtype::Bf16, 2),
        ("F16", Dtype::F16, 2),
        ("F32", Dtype::F32, 4),
        ("I8", Dtype::I8, 1),
        ("I32", Dtype::I32, 4),
        ("I64", Dtype::I64, 8),
        ("U8", Dtype::U8, 1),
        ("F8_E4M3", Dtype::F8E4m3, 1),
        ("F8_E8M0", Dtype::F8E8m0, 1),
    ];
    for (name, dtype, size) in types {
        let entries = [entry("b", "U8", "", 6 * size, 6 * size + 1), entry("a", name, "2,3", 0, 6 * size)];
        let header = format!(r#"{{"__metadata__":{{"format":"pt"}},{}}}  "#, entries.join(","));
        let file = open(file(&header, 6 * size as usize + 1)).unwrap();
        assert_eq!(file.names().collect::<Vec<_>>(), ["b", "a"]);
        let a = file.tensor("a").unwrap();
        assert_eq!((a.name, a.dtype, a.shape, a.bytes.len()), ("a", dtype, &[2, 3][..], 6 * size as usize));
        assert_eq!((a.dtype.name(), a.dtype.size()), (name, Some(size as usize)));
        let b = file.tensor("b").unwrap();
        assert_eq!((b.shape, b.bytes), (&[][..], &[6 * size as u8][..]));
        assert!(file.tensor("c").is_none());
    }
}

#[test]
fn other_types_are_listed_by_name() {
    let file = open(file(&format!("{{{}}}", entry("a", r"F4\n", "3", 0, 7)), 7)).unwrap();
    let a = file.tensor("a").unwrap();
    assert_eq!((a.dtype, a.dtype.size(), a.bytes.len()), (Dtype::Other("F4\n"), None, 7));
    assert_eq!(a.dtype.to_string(), r"F4\n");
}

#[test]
fn tensors_and_files_may_be_empty() {
    let entries = [entry("a", "F32", "0,5", 4, 4), entry("b", "F32", "1", 0, 4), entry("c", "U8", "0", 0, 0)];
    let file = open(file(&format!("{{{}}}", entries.join(",")), 4)).unwrap();
    assert_eq!(file.tensor("a").map(|a| a.bytes.len()), Some(0));
    assert!(open(self::file("{}", 0)).unwrap().names().next().is_none());
}

#[test]
fn malformed_headers_are_refused() {
    let line = |bytes: &[u8]| open(bytes.to_vec()).unwrap_err().to_string();
    assert!(line(b"").contains("has 0 bytes, expected at least 8"));
    assert!(line(b"\xff\xff\xff\xff\xff\xff\xff\xff{}").contains("the header has 18446744073709551615 bytes, expected at most 2"));
    assert!(refusal("[]", 0).contains("does not start with '{'"));
    assert!(refusal("{", 0).contains("EOF while parsing"));
    assert!(refusal("{}", 3).contains("has 3 bytes of data, but its tensors cover 0"));
    assert!(refusal(r#"{"a":{"dtype":"U8","shape":[1]}}"#, 1).contains("missing field `data_offsets`"));
    assert!(refusal(r#"{"a":{"dtype":"U8","shape":"x\ny","data_offsets":[0,1]}}"#, 1).contains(r#"string "x\ny""#));
    let one = |dtype, shape, start, end| refusal(&format!("{{{}}}", entry("a", dtype, shape, start, end)), 8);
    assert_eq!(one("F32", "3", 0, 8), r#"tensor "a" is F32 of shape [3], 12 bytes, but its data offsets span 8"#);
    assert!(one("F32", "4611686018427387904,4", 0, 8).contains("more than 2^64 bytes"));
    assert!(one("F32", "1,1,1,1,1,1,1,1,1,1", 0, 8).contains("[1, 1, 1, 1, 1, 1, 1, 1] and 2 more dimensions"));
    let long = refusal(&format!("{{{}}}", entry(&"é".repeat(10_000), "U8", "7", 0, 8)), 8);
    assert!(long.ends_with("é...") && long.chars().count() == 503, "{long}");
    assert!(one("U8", "-1", 0, 8).contains("-1"));
    assert!(one("U8", "16", 0, 16).contains("has data offsets 0 to 16, but the file has 8 bytes of data"));
    assert!(one("F99", "1", 5, 4).contains("has data offsets 5 to 4"));
    assert!(one("U8", "7", 1, 8).contains("starts at data offset 1, expected 0"));
    assert!(one("U8", "7", 0, 7).contains("has 8 bytes of data, but its tensors cover 7"));
    let two = |a: String, b: String| refusal(&format!("{{{a},{b}}}"), 8);
    assert!(two(entry("a", "U8", "4", 0, 4), entry("a", "U8", "4", 4, 8)).contains(r#""a" occurs twice"#));
    assert!(two(entry("a", "U8", "6", 0, 6), entry("b", "U8", "4", 4, 8)).contains(r#""b" starts at data offset 4, expected 6"#));
}

/// Writes a folder. Each shard has a name, a header and a number of data bytes.
fn folder(config: &str, index: Option<&str>, shards: &[(&str, String, usize)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    if let Some(index) = index {
        std::fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    }
    for (name, header, data) in shards {
        std::fs::write(folder.path().join(name), file(header, *data)).unwrap();
    }
    folder
}

fn shard(name: &'static str, tensors: &[&str]) -> (&'static str, String, usize) {
    let entries: Vec<_> = tensors.iter().zip(0..).map(|(tensor, i)| entry(tensor, "U8", "1", i, i + 1)).collect();
    (name, format!("{{{}}}", entries.join(",")), tensors.len())
}

#[test]
fn a_folder_has_one_file_or_the_shards_of_its_index() {
    let single = folder(r#"{"n": 1e-06}"#, None, &[shard("model.safetensors", &["a", "b"]), shard("other.safetensors", &["a"])]);
    let opened = Folder::open(single.path()).unwrap();
    assert_eq!(opened.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(opened.config()["n"].as_f64(), Some(1e-6));

    let index =
        r#"{"metadata": {"total_size": 3}, "weight_map": {"c": "m-2.safetensors", "a": "m-1.safetensors", "b": "m-1.safetensors"}}"#;
    let shards = [shard("m-2.safetensors", &["c"]), shard("m-1.safetensors", &["b", "a"]), shard("model.safetensors", &["a"])];
    let sharded = folder("{}", Some(index), &shards);
    let opened = Folder::open(sharded.path()).unwrap();
    assert_eq!(opened.names().collect::<Vec<_>>(), ["b", "a", "c"]);
    let bytes = |name| opened.tensor(name).map(|tensor| tensor.bytes.to_vec());
    assert_eq!((bytes("b"), bytes("a"), bytes("c"), bytes("d")), (Some(vec![0]), Some(vec![1]), Some(vec![0]), None));
}

#[test]
fn malformed_folders_are_refused() {
    let refusal = |config: &str, index: Option<&str>, shards: &[_]| {
        let folder = folder(config, index, shards);
        let line = Folder::open(folder.path()).unwrap_err().to_string();
        assert!(line.starts_with(&folder.path().display().to_string()) && !line.contains('\n'), "{line}");
        line
    };
    let index = |pairs: &str| format!(r#"{{"weight_map": {{{pairs}}}}}"#);
    let one = [shard("m.safetensors", &["a"])];
    assert!(refusal("{}", None, &one).contains("has no index, so it must have model.safetensors, which is not there"));
    assert!(refusal("[1]", None, &one).contains("config.json: is not a JSON object"));
    assert!(refusal(&" ".repeat(1 << 21), None, &one).contains("config.json: has 2097152 bytes, expected at most 1048576"));
    assert!(refusal("{", None, &one).contains("config.json: EOF"));
    assert!(refusal("{}", Some("{}"), &one).contains("index.json: missing field `weight_map`"));
    assert!(refusal("{}", Some(&index("")), &one).contains("lists no tensor"));
    assert!(refusal("{}", Some(&index(r#""a": 3"#)), &one).contains("index.json: invalid type: integer `3`"));
    for name in
        ["../m.safetensors", "x/m.safetensors", r"x\\m.safetensors", "c:m.safetensors", "m.bin", "", "..safetensors", r"a\n.safetensors"]
    {
        let line = refusal("{}", Some(&index(&format!(r#""a": "{name}""#))), &one);
        assert!(line.contains("expected the name of a .safetensors file"), "{line}");
    }
    assert!(refusal("{}", Some(&index(r#""a": "n.safetensors""#)), &one).contains("the index names n.safetensors, which is not there"));
    let missing = index(r#""a": "m.safetensors", "b": "m.safetensors""#);
    assert!(refusal("{}", Some(&missing), &one).contains(r#"lists tensor "b" in m.safetensors, which does not have it"#));
    let two = [shard("m.safetensors", &["a"]), shard("n.safetensors", &["b"])];
    let swapped = index(r#""a": "n.safetensors", "b": "m.safetensors""#);
    assert!(refusal("{}", Some(&swapped), &two).contains(r#"lists tensor "a" in n.safetensors, but it is in m.safetensors"#));
    let twice = index(r#""a": "m.safetensors", "a": "m.safetensors""#);
    assert!(refusal("{}", Some(&twice), &one).contains(r#"lists tensor "a" twice"#));
    let both = [shard("m.safetensors", &["a"]), shard("n.safetensors", &["b", "a"])];
    let line = refusal("{}", Some(&index(r#""a": "m.safetensors", "b": "n.safetensors""#)), &both);
    assert!(line.contains(r#"tensor "a" is in both m.safetensors and n.safetensors"#));
    let empty = tempfile::tempdir().unwrap();
    assert!(Folder::open(empty.path()).unwrap_err().to_string().contains("config.json"));
}
