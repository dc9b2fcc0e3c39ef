use super::*;

fn files(list: &[(&str, &str)]) -> BTreeMap<String, File> {
    list.iter().map(|(p, d)| ((*p).to_owned(), File { data: d.as_bytes().to_vec(), mode: 0o644 })).collect()
}

#[test]
fn swaps_all_files_at_once() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &files(&[("a", "1"), ("deep/b", "2")]), None).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "1");
    assert_eq!(fs::read_to_string(dir.path().join("deep/b")).unwrap(), "2");
    assert_eq!(fs::read_link(dir.path().join("a")).unwrap(), Path::new("..data/a"));

    write(dir.path(), &files(&[("a", "3"), ("c", "4")]), None).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "3");
    assert_eq!(fs::read_to_string(dir.path().join("c")).unwrap(), "4");
    assert!(fs::symlink_metadata(dir.path().join("deep")).is_err(), "a name that is gone has no link left");
    let stamps = fs::read_dir(dir.path()).unwrap().filter(|e| e.as_ref().unwrap().file_type().unwrap().is_dir());
    assert_eq!(stamps.count(), 1, "the old data is removed");
}

#[test]
fn writes_nothing_when_nothing_changed() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = files(&[("a", "1")]);
    write(dir.path(), &wanted, None).unwrap();
    let before = fs::read_link(dir.path().join(DATA)).unwrap();
    write(dir.path(), &wanted, None).unwrap();
    assert_eq!(fs::read_link(dir.path().join(DATA)).unwrap(), before);
}

#[test]
fn an_empty_volume_is_fine() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &BTreeMap::new(), None).unwrap();
    assert!(dir.path().join(DATA).exists());
}
