//! The program whose objects live in a server: what it prints.

use std::process::Command;

use procession_testkit::guarded;

#[test]
fn managers() {
    guarded(|| {
        let test = std::env::current_exe().unwrap();
        let program = test.parent().unwrap().parent().unwrap().join("examples").join("managers");
        let output = Command::new(program).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let expected = "[(\"one\", 3), (\"three\", 1), (\"two\", 2)]\n\
                        [\"one two\", \"one died before this:\", \"one one\", \"three\"]\n";
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    });
}
