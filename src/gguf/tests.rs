//! The reader reads what the writer writes, and refuses malformed files.

use super::*;
use std::path::Path;

const PATH: &str = "some/model.gguf";

fn open(bytes: &[u8]) -> crate::Result<File> {
    File::from_bytes(bytes.to_vec(), Path::new(PATH))
}

/// The error of opening these bytes, without the path. It must be a single line.
fn refusal(bytes: &[u8]) -> String {
    let line = open(bytes).unwrap_err().to_string();
    assert!(!line.contains('\n'), "{line}");
    line.strip_prefix(PATH).and_then(|rest| rest.strip_prefix(": ")).unwrap_or_else(|| panic!("no path in {line}")).to_owned()
}

fn pair(key: &str, value: Value) -> (String, Value) {
    (key.to_owned(), value)
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// A key of every scalar type, and arrays of several types.
fn all_values() -> Vec<(String, Value)> {
    vec![
        pair("u8", Value::U8(200)),
        pair("i8", Value::I8(-3)),
        pair("u16", Value::U16(60_000)),
        pair("i16", Value::I16(-300)),
        pair("u32", Value::U32(4_000_000_000)),
        pair("i32", Value::I32(-70_000)),
        pair("f32", Value::F32(1e-6)),
        pair("bool", Value::Bool(true)),
        pair("string", text("a\nb \u{fffd}")),
        pair("u64", Value::U64(u64::MAX)),
        pair("i64", Value::I64(7)),
        pair("f64", Value::F64(0.5)),
        pair("ratios", Value::Array(ValueKind::I32, (0..10).map(Value::I32).collect())),
        pair("limits", Value::Array(ValueKind::F32, vec![Value::F32(10.0); 3])),
        pair("flags", Value::Array(ValueKind::Bool, vec![Value::Bool(true), Value::Bool(false)])),
        pair("tokens", Value::Array(ValueKind::String, vec![text("<s>"), text(""), text("é")])),
        pair("empty", Value::Array(ValueKind::String, Vec::new())),
        pair("nested", Value::Array(ValueKind::Array, vec![Value::Array(ValueKind::U8, vec![Value::U8(1)])])),
    ]
}

fn tensors() -> Vec<(String, Vec<u64>, GgmlType)> {
    vec![
        ("a.weight".to_owned(), vec![3], GgmlType::F32),
        ("b.weight".to_owned(), vec![256, 2, 3], GgmlType::Q2_K),
        ("c.weight".to_owned(), vec![5, 1, 1, 2], GgmlType::I8),
    ]
}

/// The bytes of a finished file whose tensor i is filled with bytes i + 1.
fn written(metadata: Vec<(String, Value)>, tensors: Vec<(String, Vec<u64>, GgmlType)>, alignment: u32) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let sizes: Vec<u64> = tensors.iter().map(|(_, shape, kind)| directory::tensor_bytes(*kind, shape).unwrap()).collect();
    let writer = Writer::create(&path, metadata, tensors, alignment).unwrap();
    for (i, size) in sizes.into_iter().enumerate() {
        writer.write_at(i, 0, &vec![i as u8 + 1; size as usize]).unwrap();
    }
    writer.finish().unwrap();
    std::fs::read(&path).unwrap()
}

#[test]
fn what_the_writer_writes_the_reader_reads() {
    for alignment in [32, 1, 4096] {
        let file = open(&written(all_values(), tensors(), alignment)).unwrap();
        assert_eq!(file.alignment(), alignment);
        for (key, value) in all_values() {
            assert_eq!(file.metadata().value(&key).unwrap(), Some(value), "{key}");
        }
        assert_eq!(file.tensors().len(), 3);
        for (i, (tensor, (name, shape, kind))) in file.tensors().iter().zip(tensors()).enumerate() {
            assert_eq!((&tensor.name, &tensor.shape, tensor.kind), (&name, &shape, kind));
            assert_eq!(file.tensor(&name), Some(tensor));
            assert!(tensor.offset.is_multiple_of(alignment.into()));
            assert_eq!(file.bytes(tensor), vec![i as u8 + 1; [12, 504, 10][i]]);
        }
        assert_eq!(file.tensor("d.weight"), None);
    }
}

#[test]
fn getters_convert_numbers_and_errors_name_the_found_value() {
    let bytes = written(all_values(), Vec::new(), 32);
    let file = open(&bytes).unwrap();
    let m = file.metadata();
    assert_eq!((m.u32("u8").unwrap(), m.u32("u32").unwrap(), m.u32("i64").unwrap()), (Some(200), Some(4_000_000_000), Some(7)));
    assert_eq!((m.f32("f32").unwrap(), m.f32("f64").unwrap()), (Some(1e-6), Some(0.5)));
    assert_eq!((m.bool("bool").unwrap(), m.str("string").unwrap()), (Some(true), Some("a\nb \u{fffd}")));
    assert_eq!(m.integers("ratios").unwrap(), Some((0..10).collect()));
    assert_eq!(m.floats("limits").unwrap(), Some(vec![10.0; 3]));
    let tokens = m.strings("tokens").unwrap().unwrap();
    assert_eq!(tokens.iter().collect::<Vec<_>>(), [&b"<s>"[..], b"", "é".as_bytes()]);
    assert_eq!(tokens.texts().map(Result::unwrap).collect::<Vec<_>>(), ["<s>", "", "é"]);
    assert_eq!((tokens.len(), m.strings("empty").unwrap().unwrap().is_empty()), (3, true));
    assert_eq!((m.u32("no").unwrap(), m.floats("no").unwrap(), m.value("no").unwrap()), (None, None, None));

    let line = |error: crate::Error| error.to_string();
    assert_eq!(line(m.u32("i8").unwrap_err()), format!("{PATH}: metadata key \"i8\" is -3, expected an integer that fits in u32"));
    assert_eq!(line(m.f32("u32").unwrap_err()), format!("{PATH}: metadata key \"u32\" is 4000000000, expected a floating-point number"));
    assert!(line(m.u32("u64").unwrap_err()).contains("18446744073709551615"));
    assert!(line(m.str("ratios").unwrap_err()).contains("[i32; 10] 0, 1, 2, 3, 4, 5, 6, 7, ..., expected a string"));
    assert!(line(m.integers("limits").unwrap_err()).contains("[f32; 3] 10, 10, 10, expected an array of integers"));
    assert!(line(m.bool("string").unwrap_err()).contains(r#"is "a\nb "#));
    assert!(m.strings("nested").is_err() && m.integers("u8").is_err() && m.floats("tokens").is_err());

    let printed: Vec<_> = m.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(printed.len(), all_values().len());
    assert_eq!(printed[15], r#"tokens=[string; 3] "<s>", "", "é""#);
    assert_eq!(printed[17], "nested=[array; 1]");
}

#[test]
fn text_that_is_not_utf8_is_an_error_where_text_is_asked_for() {
    let mut bytes =
        written(vec![pair("k", Value::Array(ValueKind::String, vec![text("good"), text("evil")])), pair("s", text("evil"))], vec![], 32);
    for at in 0..bytes.len() - 4 {
        if bytes[at..].starts_with(b"evil") {
            bytes[at] = 0xff;
        }
    }
    let file = open(&bytes).unwrap();
    let strings = file.metadata().strings("k").unwrap().unwrap();
    assert_eq!(strings.iter().nth(1), Some(&b"\xffvil"[..]));
    let line = strings.texts().nth(1).unwrap().unwrap_err().to_string();
    assert_eq!(line, format!("{PATH}: metadata key \"k\": string 1 is \"\u{fffd}vil\", expected UTF-8"));
    assert!(file.metadata().str("s").is_err() && file.metadata().value("s").is_err() && file.metadata().value("k").is_err());
}

/// A file with this header and `data` zero bytes of data. `entries` are the bytes of all keys and tensors.
fn header(keys: u64, tensors: u64, entries: &[u8], data: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(tensors.to_le_bytes());
    bytes.extend(keys.to_le_bytes());
    bytes.extend(entries);
    bytes.resize(bytes.len().next_multiple_of(32) + data, 0);
    bytes
}

fn entry(name: &str, shape: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    value::write_string(name, &mut bytes);
    bytes.extend((shape.len() as u32).to_le_bytes());
    shape.iter().for_each(|size| bytes.extend(size.to_le_bytes()));
    bytes.extend(kind.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes
}

fn key(name: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    value::write_string(name, &mut bytes);
    bytes.extend(kind.to_le_bytes());
    bytes.extend(value);
    bytes
}

#[test]
fn malformed_headers_are_refused() {
    assert!(refusal(b"").contains("0 bytes left"));
    assert!(refusal(b"GGML\x03\0\0\0").contains("not a GGUF file"));
    assert_eq!(refusal(b"GGUF\x02\0\0\0"), "is GGUF version 2, expected 3");
    assert!(refusal(b"GGUF\0\0\0\x03").contains("big-endian"));
    assert!(refusal(&header(u64::MAX, 0, &[], 64)).contains("number of metadata keys is 18446744073709551615"));
    assert!(refusal(&header(0, 1 << 40, &[], 64)).contains("number of tensors is 1099511627776"));
    assert!(refusal(&header(1, 0, &key("", 0, &[0; 8]), 0)).contains("empty name"));
    assert!(refusal(&header(1, 0, &key("k", 13, &[0; 8]), 0)).contains("value type 13"));
    assert!(refusal(&header(1, 0, &key("k", 7, &[2]), 0)).contains("bool of value 2"));
    assert!(refusal(&header(1, 0, &key("k", 8, &u64::MAX.to_le_bytes()), 0)).contains("ends inside metadata key \"k\""));
    let twice = [key("k", 0, &[1]), key("k", 0, &[1])].concat();
    assert!(refusal(&header(2, 0, &twice, 0)).contains("\"k\" occurs twice"));
    let array = [6u32.to_le_bytes().as_slice(), &(1u64 << 62).to_le_bytes()].concat();
    assert!(refusal(&header(1, 0, &key("k", 9, &array), 0)).contains("the length of metadata key \"k\" is 4611686018427387904"));
    let nested = [9u32.to_le_bytes().as_slice(), &1u64.to_le_bytes()].concat().repeat(9);
    assert!(refusal(&header(1, 0, &key("k", 9, &nested), 0)).contains("nested"));
    assert_eq!(refusal(&header(1, 0, &key(ALIGNMENT_KEY, 4, &[12, 0, 0, 0]), 0)), "general.alignment is 12, expected a power of two");
    assert!(refusal(&header(1, 0, &key(ALIGNMENT_KEY, 8, &[0; 8]), 0)).contains("general.alignment"));
}

#[test]
fn malformed_tensors_are_refused() {
    let one = |shape: &[u64], kind, offset| refusal(&header(0, 1, &entry("t", shape, kind, offset), 64));
    assert!(open(&header(0, 1, &entry("t", &[16], 0, 0), 64)).is_ok());
    assert!(one(&[], 0, 0).contains("0 dimensions"));
    assert!(one(&[1; 5], 0, 0).contains("5 dimensions"));
    assert!(one(&[4, 0], 0, 0).contains("dimension 1 is empty"));
    assert_eq!(one(&[4], 99, 0), "tensor \"t\" is of type 99, the size of which is not known");
    assert!(one(&[48], 8, 0).contains("multiple of 32, the block of Q8_0"));
    assert!(one(&[1 << 40, 1 << 40], 0, 0).contains("more than 2^64 bytes"));
    assert!(one(&[17], 0, 0).contains("takes 68 bytes at data offset 0, but the file has 64"));
    assert!(one(&[16], 0, 32).contains("takes 64 bytes at data offset 32"));
    assert!(one(&[1], 0, u64::MAX - 31).contains("takes 4 bytes"));
    assert!(one(&[1], 0, 4).contains("not a multiple of the alignment 32"));
    let two = |a: Vec<u8>, b: Vec<u8>| open(&header(0, 2, &[a, b].concat(), 128));
    let line = two(entry("a", &[16], 0, 0), entry("b", &[4], 0, 32)).unwrap_err().to_string();
    assert!(line.ends_with("tensors \"a\" (64 bytes at 96) and \"b\" (16 bytes at 128) overlap"), "{line}");
    assert!(two(entry("a", &[16], 0, 0), entry("a", &[4], 0, 64)).unwrap_err().to_string().contains("\"a\" occurs twice"));
    // Two tensors may have exactly the same range: synthetic files share experts so.
    let shared = two(entry("a", &[16], 0, 64), entry("b", &[4, 4], 0, 64)).unwrap();
    assert_eq!(shared.bytes(&shared.tensors()[0]).as_ptr(), shared.bytes(&shared.tensors()[1]).as_ptr());
    // A name with a line break does not break the error's line.
    assert!(refusal(&header(0, 1, &entry("a\nb", &[3], 8, 0), 0)).contains(r#"tensor "a\nb" has rows of 3"#));
}

#[test]
fn the_writer_refuses_what_no_reader_would_accept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    let create = |metadata, tensors, alignment| Writer::create(&path, metadata, tensors, alignment).map(drop).unwrap_err().to_string();
    assert!(create(vec![], vec![], 48).contains("alignment is 48"));
    assert!(create(vec![pair("k", Value::U8(1)), pair("k", Value::U8(2))], vec![], 32).contains("\"k\""));
    assert!(create(vec![], vec![("t".to_owned(), vec![7], GgmlType::Q4_K)], 32).contains("rows of 7 values"));
    let writer = Writer::create(&path, vec![], tensors(), 32).unwrap();
    assert!(writer.write_at(0, 9, &[0; 4]).unwrap_err().to_string().contains("4 bytes at 9 are written, but it has 12"));
    assert!(writer.write_at(0, u64::MAX, &[0; 4]).is_err() && writer.write_at(3, 0, &[]).is_err());
    assert!(Writer::create(&folder.path().join("none/x.gguf"), vec![], vec![], 32).is_err());
}

#[test]
fn dropping_an_unfinished_writer_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    std::fs::write(&path, "before").unwrap();
    let names = || std::fs::read_dir(folder.path()).unwrap().count();
    let writer = Writer::create(&path, all_values(), tensors(), 32).unwrap();
    assert_eq!(names(), 2);
    drop(writer);
    assert_eq!((names(), std::fs::read_to_string(&path).unwrap().as_str()), (1, "before"));
    Writer::create(&path, all_values(), tensors(), 32).unwrap().finish().unwrap();
    assert_eq!((names(), File::open(&path).unwrap().tensors().len()), (1, 3));
}

#[test]
fn several_threads_write_one_tensor() {
    fn shared_by_threads<T: Send + Sync>() {}
    shared_by_threads::<File>();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    let writer = Writer::create(&path, vec![], vec![("t".to_owned(), vec![4096, 16], GgmlType::I8)], 32).unwrap();
    std::thread::scope(|scope| {
        for row in 0..16u64 {
            let writer = &writer;
            scope.spawn(move || writer.write_at(0, row * 4096, &[row as u8; 4096]).unwrap());
        }
    });
    writer.finish().unwrap();
    let file = File::open(&path).unwrap();
    assert!(file.bytes(&file.tensors()[0]).chunks(4096).zip(0..).all(|(row, n)| row == [n; 4096]));
}

#[test]
fn folders_and_missing_and_empty_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(File::open(folder.path()).unwrap_err().to_string().ends_with("is not a regular file"));
    let missing = folder.path().join("missing.gguf");
    assert!(File::open(&missing).unwrap_err().to_string().starts_with(&missing.display().to_string()));
    let empty = folder.path().join("empty.gguf");
    std::fs::write(&empty, "").unwrap();
    assert!(File::open(&empty).unwrap_err().to_string().starts_with(&empty.display().to_string()));
}

/// The file is sparse, so that it takes no disk space. Other systems do not promise that for every file.
#[test]
#[cfg(target_os = "linux")]
fn files_may_have_more_than_four_gigabytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    let tensors = vec![("big".to_owned(), vec![1 << 20, 6 << 10], GgmlType::I8), ("last".to_owned(), vec![8], GgmlType::I8)];
    let writer = Writer::create(&path, vec![], tensors, 32).unwrap();
    writer.write_at(0, (6 << 30) - 2, &[1, 2]).unwrap();
    writer.write_at(1, 0, &[3; 8]).unwrap();
    writer.finish().unwrap();
    let file = File::open(&path).unwrap();
    let [big, last] = file.tensors() else { panic!("two tensors") };
    assert_eq!((big.bytes, last.offset - big.offset), (6 << 30, 6 << 30));
    assert_eq!((file.bytes(big).len(), &file.bytes(big)[(6 << 30) - 2..]), (6 << 30, &[1, 2][..]));
    assert_eq!(file.bytes(last), [3; 8]);
}
