use super::*;

fn costs(lines: &[&str]) -> Costs {
    parse(lines.iter().copied()).expect("the sample reads")
}

#[test]
fn what_is_written_is_read() {
    let kernels = BTreeMap::from([
        (Series(6, 1), costs(&["a 10 32"])),
        (Series(6, 12), costs(&["a 12 32", "longer_name 70000 512"])),
    ]);
    let text = render(&kernels);
    assert!(text.contains("program      stack      6.1     6.12\n"), "{text}");
    assert!(text.contains("longer_name    512        -    70000\n"), "{text}");
    assert_eq!(table(&text).expect("the sample reads"), kernels);
}

#[test]
fn growth_and_size_are_faults() {
    let kernel = Series::of("6.18.44-x").expect("the sample reads");
    let mut budget = Budget { path: PathBuf::new(), kernels: BTreeMap::from([(kernel, costs(&["a 1000 32"]))]) };
    assert!(budget.take(kernel, &costs(&["a 1200 32", "new 90000 32"]), Mode::Compare).is_empty());
    assert_eq!(budget.take(kernel, &costs(&["a 1201 32"]), Mode::Compare).len(), 1);
    assert!(budget.take(Series(7, 3), &costs(&["a 1201 32"]), Mode::Compare).is_empty());
    assert_eq!(budget.take(Series(7, 3), &costs(&["a 250001 32"]), Mode::Bless).len(), 1);
    assert!(budget.take(kernel, &costs(&["a 1201 32"]), Mode::Bless).is_empty());
    assert!(budget.take(kernel, &costs(&["a 1300 32"]), Mode::Compare).is_empty());
}

#[test]
fn series_are_in_order() {
    let [old, new, newer] = ["6.1.0-54-cloud-amd64", "6.12.107+deb13-cloud-amd64", "7.3-rc1"]
        .map(|r| Series::of(r).expect("the sample reads"));
    assert!(old < new && new < newer);
    assert_eq!(new.to_string(), "6.12");
    assert!(Series::of("unknown").is_err());
}
