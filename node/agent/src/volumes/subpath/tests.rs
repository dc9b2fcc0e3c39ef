use super::*;

#[test]
fn a_planted_link_does_not_lead_out_of_the_volume() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "x").unwrap();
    let volume = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), volume.path().join("trap")).unwrap();
    let found = resolve(volume.path(), "trap/secret");
    // The absolute link is followed below the volume's root, where a directory of that name is made, or it fails.
    if let Ok(fd) = found {
        let path = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
        assert!(path.starts_with(volume.path()), "{path:?}");
    }
    assert!(resolve(volume.path(), "../escape").is_err());
}

#[test]
fn missing_directories_are_made() {
    let volume = tempfile::tempdir().unwrap();
    resolve(volume.path(), "a/b/c").unwrap();
    assert!(volume.path().join("a/b/c").is_dir());
}

#[test]
fn links_inside_the_volume_work() {
    let volume = tempfile::tempdir().unwrap();
    fs::create_dir(volume.path().join("..data")).unwrap();
    fs::write(volume.path().join("..data/key"), "v").unwrap();
    std::os::unix::fs::symlink("..data/key", volume.path().join("key")).unwrap();
    let fd = resolve(volume.path(), "key").unwrap();
    let path = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
    assert_eq!(path, volume.path().canonicalize().unwrap().join("..data/key"));
}
