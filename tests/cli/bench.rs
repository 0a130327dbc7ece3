//! `dwarfstar bench` on the bundled model: several sessions, and where a step's time goes.

use super::{dwarfstar, gpu, ok, path, refused, run, stdout, tiny};
use serde_json::Value;

#[test]
fn sessions_decode_together_and_are_counted_together() {
    for device in [gpu(), "cpu"] {
        let output = run(&["bench", "--frontiers", "20,40", "-n", "3", "--sessions", "2", "--device", device]);
        let text = stdout(&output);
        // The first steps of two rows compile kernels of their own.
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(errors.matches(" compiled meanwhile: measured again\n").count() > 0, device == gpu(), "{errors}");
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!((lines.len(), lines[0].len()), (3, 9), "{text}");
        assert_eq!(&lines[0][7..], ["sessions", "total_decode_tps"]);
        for line in &lines[1..] {
            assert_eq!(line[7], "2");
            assert!(line[4].parse::<f64>().unwrap() > 0.0 && line[8].parse::<f64>().unwrap() > 0.0, "{text}");
        }
    }
    let alone: Value = serde_json::from_str(&ok(&["bench", "--frontiers", "20", "-n", "3", "--json"])).unwrap();
    assert_eq!((&alone["sessions"], &alone["total_decode_tps"]), (&1.into(), &alone["decode_tps"]));
}

#[test]
fn more_sessions_than_a_step_has_rows_take_turns() {
    let text = ok(&["bench", "--frontiers", "20", "-n", "3", "--rows", "2", "--sessions", "3"]);
    let total: f64 = text.lines().nth(1).unwrap().rsplit(',').next().unwrap().parse().unwrap();
    assert!(total > 0.0, "{text}");
}

#[test]
fn a_long_prompt_slows_the_sessions_beside_it_and_does_not_stop_them() {
    let text = ok(&["bench", "--frontiers", "20", "-n", "4", "--sessions", "3", "--beside", "130", "--json"]);
    let row: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&row["beside_prompt_tokens"], &row["others"]), (&130.into(), &2.into()));
    // How much of their speed the others keep depends on the machine; that they get tokens while the prompt runs does not.
    for figure in ["alone_tps_each", "beside_tps_each", "least_share", "longest_gap_s", "prompt_s"] {
        assert!(row[figure].as_f64().unwrap() > 0.0, "{row}");
    }
    assert_eq!(refused(&["bench", "--beside", "300"]), "dwarfstar: bench --beside needs at least 2 sessions");
}

#[test]
fn the_table_of_kernels_accounts_for_every_launch_of_a_step() {
    let text = ok(&["bench", "--frontiers", "60", "-n", "3", "--rows", "32", "--launches", "--json"]);
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (step, families) in [("decode", &["linear", "moe", "attention"][..]), ("prefill", &["linear", "moe"])] {
        let of_step: Vec<&Value> = rows.iter().filter(|row| row["step"] == step).collect();
        let (total, kinds) = of_step.split_last().unwrap();
        let number = |row: &Value, key: &str| row[key].as_f64().unwrap();
        for row in kinds {
            assert!(number(row, "launches") > 0.0 && number(row, "us") > 0.0, "{row}");
            assert!(step == "decode" || row["us_in_place"].is_null(), "{row}");
        }
        let sum = |key: &str| kinds.iter().map(|row| number(row, key)).sum::<f64>();
        assert_eq!(sum("launches"), number(total, "launches"), "{step}");
        assert!((sum("us_a_step") / number(total, "sum_us") - 1.0).abs() < 1e-6 && number(total, "pass_us") > 0.0, "{total}");
        for family in families {
            assert!(number(&total["families_us"], family) > 0.0, "{total}");
            let costs = |row: &&&Value| row["family"] == *family && row["tflops"].as_f64().is_some_and(|n| n > 0.0);
            assert!(kinds.iter().any(|row| costs(&row)), "no kind of {family} says what it computes\n{text}");
        }
    }
    for kernel in ["attention", "hc_mix", "sample", "embed"] {
        assert!(rows.iter().any(|row| row["step"] == "decode" && row["kernel"] == kernel), "{kernel} is not in\n{text}");
    }
    for start in ["matvec", "moe_gate_up", "moe_down"] {
        let is_row = |row: &Value| row["kernel"].as_str().is_some_and(|kernel| kernel.starts_with(start)) && row["gb_per_s"].is_f64();
        assert!(rows.iter().any(|row| row["step"] == "decode" && is_row(row)), "{start} is not in\n{text}");
    }
    let text = ok(&["bench", "--frontiers", "40", "-n", "2", "--rows", "32", "--sessions", "3", "--launches"]);
    let (_, decode) = text.split_once("\ndecode step of 3 row(s) at position 39: ").unwrap();
    // The launch has one workgroup more where the device prefetches weights.
    let is_of_three = |line: &str| line.starts_with("hc_pre") && [" 3x1x1 ", " 4x1x1 "].iter().any(|grid| line.contains(grid));
    assert!(decode.lines().any(is_of_three), "{text}");
    let line = refused(&["bench", "--frontiers", "20", "-n", "2", "--launches", "--device", "cpu"]);
    assert_eq!(line, "dwarfstar: the device cpu has no launches to measure");
}

#[test]
fn kernels_are_timed_without_a_model() {
    let cases = |args: &[&str]| -> Vec<Value> {
        let text = ok(&[&["bench", "--kernels", "--device", gpu(), "--json"], args].concat());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let norms = cases(&["--family", "norm", "--exact"]);
    // The rows are small, and in a cache whatever a benchmark does.
    assert!(norms.len() >= 2 && norms.iter().all(|row| row["kernel"] == "rms_norm" && row["copies"].is_null()), "{norms:?}");
    let router = cases(&["--family", "router", "--shapes", "flash"]);
    assert!(router.iter().all(|row| row["us"].as_f64().unwrap() > 0.0), "{router:?}");
    assert!(router.iter().any(|row| row["case"].as_str().unwrap().starts_with("6 of 256, ")), "{router:?}");
    // Of 4 MiB that are read once, 64 copies are more than a cache holds.
    let stream = cases(&["--family", "stream", "--shapes", "flash"]);
    let [row] = &stream[..] else { panic!("{stream:?}") };
    assert_eq!((&row["kernel"], &row["copies"], &row["cached"]), (&"stream_read".into(), &64.into(), &false.into()));
    assert!(row["gb_per_s"].as_f64().unwrap() > 0.0 && row["share_of_bandwidth"].as_f64().unwrap() > 0.0, "{row}");
    let table = ok(&["bench", "--kernels", "--device", gpu(), "--family", "stream"]);
    assert!(table.starts_with("kernel ") && table.lines().nth(1).unwrap().ends_with("; 1900 vectors by 3 workgroups"), "{table}");
}

#[test]
fn a_bench_of_kernels_takes_no_model() {
    assert_eq!(refused(&["bench", "--kernels", "--device", "cpu"]), "dwarfstar: the device cpu has no launches to measure");
    for args in
        [&["--kernels", "-m", "model.gguf"][..], &["--kernels", "--frontiers", "20"], &["--family", "hc"], &["--kernels", "--family", "x"]]
    {
        let output = dwarfstar(&[&["bench"], args].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn generated_steps_in_the_formats_of_large_models_take_few_launches() {
    // The launches of the prompt's last step are timed too, which takes the less the fewer rows it has.
    let text = ok(&["bench", "-m", path(tiny()), "--frontiers", "40", "-n", "2", "--rows", "2", "--launches"]);
    let (_, decode) = text.split_once("\ndecode step of 1 row(s) at position 39: ").unwrap();
    // A device without int8 products has other kernels and needs more launches.
    if decode.contains("matvec_int8") {
        for kernel in
            ["matvec_normed", "matvec_int8      FUSED_HC_MIX", "moe_gate_up_int8 ONE_TOKEN ROUTED", "moe_down_int8    SHARED FUSED_HC_MIX"]
        {
            assert!(decode.lines().any(|line| line.starts_with(kernel)), "{kernel} is not in\n{decode}");
        }
        // Two layers each of 14, 15 with a compressor and 18 with an indexer too, of which 3, 4 and 5 run beside others; and 5 around them, of
        // which the first has none to wait for.
        assert!(decode.starts_with("99 launches, 74 in turn\n"), "{decode}");
    }
}

#[test]
fn experts_that_fit_in_a_binding_take_one_launch_a_layer() {
    let args = ["bench", "-m", path(tiny()), "--frontiers", "4", "-n", "2", "--launches"];
    // The number of launches follows the grid, which is the only field of three numbers.
    let is_grid = |field: &str| field.split('x').filter(|number| number.parse::<u32>().is_ok()).count() == 3;
    let launches = |line: &str| -> Option<u32> { line.split_whitespace().skip_while(|field| !is_grid(field)).nth(1)?.parse().ok() };
    // With these sizes the first arena would end within the stack of gate or of down matrices.
    for cap in ["1100000", "1400000"] {
        let output = dwarfstar(&args).env("DWARFSTAR_BINDING_CAP", cap).output().unwrap();
        let (_, decode) = stdout(&output).split_once("\ndecode step of 1 row(s) at position 3: ").unwrap();
        for kernel in ["moe_gate_up", "moe_down"] {
            let counts: Vec<u32> = decode.lines().filter(|line| line.starts_with(kernel)).filter_map(launches).collect();
            assert_eq!(counts.iter().sum::<u32>(), 6, "{kernel}, bindings of {cap} bytes:\n{decode}");
        }
    }
}
