//! The example for those who use `ipc-channel`: what it prints, and that it ends though one of its processes never comes.

use std::process::Command;

use procession_testkit::guarded;

#[test]
fn ipc_channel() {
    guarded(|| {
        let test = std::env::current_exe().unwrap();
        let program = test.parent().unwrap().parent().unwrap().join("examples/ipc_channel");
        let output = Command::new(program).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let expected = "\"one\" has 3 bytes\n\"three\" has 5 bytes\n\"\" has 0 bytes\n3 answers\n\
                        the process ended before it came\nexit code 3\n";
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    });
}
