use std::collections::BTreeSet;

use super::*;

#[test]
fn each_trial_says_what_follows() {
    let names: BTreeSet<&str> = table::TRIALS.iter().map(|trial| trial.name).collect();
    assert_eq!(names.len(), table::TRIALS.len(), "a name stands twice");
    for trial in table::TRIALS {
        assert!(!trial.without.is_empty() && !trial.fix.is_empty(), "{}", trial.name);
    }
}

#[test]
fn trials_do_not_disturb_each_other() {
    let all = features();
    assert_eq!(all, features(), "the same kernel, the same answers");
    let missing: Vec<&str> = probe().iter().map(|missing| missing.feature).collect();
    let required = all.iter().filter(|feature| feature.need == Need::Required && feature.absent.is_some());
    assert_eq!(required.map(|feature| feature.name).collect::<Vec<_>>(), missing);
}

#[test]
fn what_does_not_exist_is_absent() {
    assert!(programs::helper(programs::CLASSIFIER, 0, 9_999).is_err(), "no kernel has such a helper");
    // bpf_bind is for sock_addr programs alone.
    assert!(programs::helper(programs::CLASSIFIER, 0, 64).is_err(), "a helper of another kind of program");
    assert!(programs::kernel_function("bpf_gannet_has_no_such_function").is_err());
    assert!(programs::helper(programs::CLASSIFIER, 0, 1).is_ok(), "bpf_map_lookup_elem is everywhere");
}
