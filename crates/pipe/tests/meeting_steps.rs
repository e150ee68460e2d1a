//! Kill points: a process that binds, closes, connects or accepts is killed wherever something changed.
//!
//! Whatever the moment: the name can be bound to again, nothing else is left behind, and who was met hears of the end.

mod meet;

use std::cell::RefCell;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use meet::{Directory, FAR, SOON};
use procession_pipe::{AcceptError, Address, Client, ConnectFault, Listener, RecvError, Refusal};
use procession_testkit::roles::Role;
use procession_testkit::{guarded_for, need, role, step};

const LIMIT: Duration = Duration::from_secs(240);

fn victim(role: &str) {
    let address: Address = std::env::var("ADDRESS").unwrap().parse().unwrap();
    match role {
        "binds" => {
            step::here();
            let listener = Listener::bind(address);
            step::end();
            drop(listener.unwrap());
        }
        "closes" => {
            let listener = Listener::bind(address).unwrap();
            step::here();
            drop(listener);
            step::end();
        }
        "connects" => {
            step::here();
            let end = Client::connect(&address);
            step::end();
            end.unwrap().send_bytes(b"in").unwrap();
        }
        "accepts" => {
            let listener = Listener::bind(address).unwrap();
            step::here();
            let end = listener.accept();
            step::end();
            end.unwrap().send_bytes(b"in").unwrap();
        }
        other => panic!("{other}"),
    }
}

fn role_at(name: &str, address: &Address) -> std::process::Command {
    Role::new(name).env("ADDRESS", address.to_string()).into_command()
}

/// Everybody can bind, once; and nothing but the name was ever in the directory.
fn is_free(directory: &Path, address: &Address) {
    for entry in fs::read_dir(directory).unwrap() {
        assert_eq!(entry.unwrap().file_name(), "name");
    }
    let listener = Listener::bind(address).unwrap();
    assert!(Listener::bind(address).is_err());
    let client = thread::scope(|s| {
        let client = s.spawn(|| Client::connect(address).unwrap());
        listener.accept_timeout(FAR).unwrap().send_bytes(b"free").unwrap();
        client.join().unwrap()
    });
    assert_eq!(client.recv_bytes().unwrap(), b"free");
    drop(listener);
    assert_eq!(fs::read_dir(directory).unwrap().count(), 0);
}

fn leave_dead(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
}

/// The name is dead, or there is none.
#[test]
fn killed_while_it_binds() {
    if let Some(role) = role() {
        return victim(&role);
    }
    if !need("ptrace") {
        return;
    }
    guarded_for(LIMIT, || {
        let directory = Directory::new();
        let address = Address::path(directory.name());
        let spawn = || {
            leave_dead(&directory.name());
            role_at("binds", &address)
        };
        step::sweep_changes("bind to a dead name", spawn, |_, _| is_free(&directory.0, &address));
        let spawn = || role_at("binds", &address);
        step::sweep_changes("bind to a free name", spawn, |_, _| is_free(&directory.0, &address));
    });
}

#[test]
fn killed_while_it_closes() {
    if let Some(role) = role() {
        return victim(&role);
    }
    if !need("ptrace") {
        return;
    }
    guarded_for(LIMIT, || {
        let directory = Directory::new();
        let address = Address::path(directory.name());
        let spawn = || role_at("closes", &address);
        step::sweep_changes("close a listener", spawn, |_, _| is_free(&directory.0, &address));
    });
}

/// The listener goes on: the dead one was refused, or was let in and is then gone.
#[test]
fn killed_while_it_connects() {
    if let Some(role) = role() {
        return victim(&role);
    }
    if !need("ptrace") {
        return;
    }
    guarded_for(LIMIT, || {
        let listener = Listener::bind(Address::unique().unwrap()).unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|s| {
            s.spawn(|| {
                while !is_over.load(SeqCst) {
                    match listener.accept_timeout(SOON) {
                        Ok(end) => match end.recv_bytes_timeout(FAR) {
                            Ok(bytes) => assert_eq!(bytes, b"in"),
                            Err(error) => assert!(matches!(error, RecvError::Closed), "{error}"),
                        },
                        Err(error) => assert!(matches!(error, AcceptError::TimedOut), "{error}"),
                    }
                    if let Some(refused) = listener.take_last_refused() {
                        assert!(matches!(refused.why, Refusal::Gone), "{refused}");
                    }
                }
            });
            let spawn = || role_at("connects", listener.address());
            step::sweep_changes("connect", spawn, |_, _| {
                let end = Client::builder().timeout(FAR).connect(listener.address()).unwrap();
                end.send_bytes(b"in").unwrap();
                assert!(matches!(end.recv_bytes(), Err(RecvError::Closed)));
            });
            is_over.store(true, SeqCst);
        });
    });
}

/// Who connects is refused with the reason, or is let in and then hears of the end; at once, both.
#[test]
fn killed_while_it_accepts() {
    if let Some(role) = role() {
        return victim(&role);
    }
    if !need("ptrace") {
        return;
    }
    guarded_for(LIMIT, || {
        let address = Address::unique().unwrap();
        let running = RefCell::new(None);
        let spawn = || {
            let is_over = Arc::new(AtomicBool::new(false));
            let (there, over) = (address.clone(), Arc::clone(&is_over));
            let thread = thread::spawn(move || {
                loop {
                    match Client::builder().timeout(FAR).connect(&there) {
                        Ok(end) => break end.recv_bytes_timeout(FAR).map_err(|e| e.to_string()),
                        Err(error) => match error.why {
                            ConnectFault::NobodyListens if !over.load(SeqCst) => thread::yield_now(),
                            ConnectFault::NobodyListens | ConnectFault::Closed => {
                                break Err(RecvError::Closed.to_string());
                            }
                            other => panic!("{other:?}"),
                        },
                    }
                }
            });
            *running.borrow_mut() = Some((thread, is_over));
            role_at("accepts", &address)
        };
        step::sweep_changes("accept", spawn, |_, _| {
            let (thread, is_over) = running.borrow_mut().take().unwrap();
            is_over.store(true, SeqCst);
            match thread.join().unwrap() {
                Ok(bytes) => assert_eq!(bytes, b"in"),
                Err(error) => assert_eq!(error, RecvError::Closed.to_string()),
            }
            drop(Listener::bind(&address).unwrap());
        });
    });
}
