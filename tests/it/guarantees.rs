//! The document of guarantees names tests: they must be there, and it must name every fault test.

use std::{collections::BTreeSet, path::Path, process::Command};

/// All tests of this binary.
fn tests() -> BTreeSet<String> {
    let program = std::env::current_exe().expect("this binary");
    let output = Command::new(program).args(["--list", "--format=terse"]).output().expect("a list");
    let list = String::from_utf8(output.stdout).expect("text");
    list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

/// What stands in backticks and looks like a test.
fn named() -> BTreeSet<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guarantees.md");
    let text = std::fs::read_to_string(file).expect("the document");
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|quoted| quoted.contains("::") && !quoted.contains('…')).map(str::to_owned).collect()
}

#[test]
fn every_test_that_is_named_exists() {
    let (tests, named) = (tests(), named());
    let is_there = |name: &&String| {
        tests.contains(*name)
            || tests.iter().any(|test| test.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with("::")))
    };
    let missing: Vec<_> = named.iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "docs/guarantees.md names tests that do not exist: {missing:#?}");
    assert!(named.len() > 20, "{named:?}");
}

#[test]
fn every_fault_test_is_named() {
    let named = named();
    let faults =
        tests().into_iter().filter(|test| test.starts_with("faults::") && !test.starts_with("faults::check::"));
    let missing: Vec<_> = faults.filter(|test| !named.contains(test)).collect();
    assert!(missing.is_empty(), "docs/guarantees.md does not name {missing:#?}");
}
