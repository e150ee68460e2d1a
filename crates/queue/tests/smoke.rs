//! Smoke.
use procession_queue::*;
#[test]
fn smoke() {
    let (tx, rx) = bounded::<String>(4).unwrap();
    for i in 0..4 {
        tx.send("x".repeat(i * 1000)).unwrap();
    }
    assert!(matches!(tx.try_send("y".into()).unwrap_err().fault(), SendFault::Full));
    for i in 0..4 {
        assert_eq!(rx.recv().unwrap().len(), i * 1000);
    }
    assert!(matches!(rx.try_recv().unwrap_err(), RecvError::Empty));
    let big = "z".repeat(5 << 20);
    for _ in 0..40 {
        tx.send(big.clone()).unwrap();
        assert!(rx.recv().unwrap() == big);
    }
    let t = {
        let tx = tx.clone();
        std::thread::spawn(move || {
            for i in 0..100_000u32 {
                tx.send(i.to_string()).unwrap()
            }
        })
    };
    for i in 0..100_000u32 {
        assert_eq!(rx.recv().unwrap(), i.to_string());
    }
    t.join().unwrap();
    drop(tx);
    assert!(matches!(rx.recv().unwrap_err(), RecvError::Disconnected));
    let (tx, rx) = bounded::<u32>(4).unwrap();
    drop(rx);
    assert!(matches!(tx.send(1).unwrap_err().fault(), SendFault::Disconnected));
    let (tx, rx) = bounded::<u32>(4).unwrap();
    tx.send(1).unwrap();
    tx.close();
    assert_eq!(rx.recv().unwrap(), 1);
    assert!(matches!(rx.recv().unwrap_err(), RecvError::Closed));
    assert!(matches!(tx.send(1).unwrap_err().fault(), SendFault::Closed));
}
