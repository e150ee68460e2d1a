//! What the example `central_log` prints: all that its children logged, in order.

use std::process::Command;

use procession_testkit::guarded;

#[test]
fn central_log() {
    guarded(|| {
        let test = std::env::current_exe().unwrap();
        let program = test.parent().unwrap().parent().unwrap().join("examples/central_log");
        let output = Command::new(program).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let expected = "\
            INFO  worker-1: picture 1 is read\n\
            INFO  worker-1: picture 1 is written\n\
            INFO  worker-2: picture 2 is read\n\
            WARN  worker-2: picture 2 is too large\n\
            WARN  main: no picture 2: SIGABRT\n\
            INFO  worker-3: picture 3 is read\n\
            INFO  worker-3: picture 3 is written\n\
            7 records\n";
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    });
}
