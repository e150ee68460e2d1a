//! Floors: the least that each thing can cost on this machine, made by hand, and the judge who compares with them.
//!
//! A floor does the same work as an object of ours and nothing else: no types, no errors, no deadlines, no deaths. So
//! it is no library, and breaks if it is used as one. Invariants: nothing of ours is in a floor, it depends on libc and
//! rustix only; what is said to be in another process is in one, a forked child that dies with its parent and is
//! reaped when its handle is dropped; each floor is one file and is written once.
//!
//! | floor | its file | what it is the floor of |
//! |---|---|---|
//! | a line of cache from core to core and back | [`cache_line`] | everything across cores |
//! | futex mutex of three states | [`futex_lock`] | locks |
//! | the C library's robust mutex | [`robust_mutex`] | locks that survive their holders |
//! | flag and ping-pong over futexes | [`futex_ping_pong`] | events; whoever sleeps |
//! | number behind the futex mutex | [`locked_value`] | values with a lock |
//! | loop over a slice | [`mod@slice`] | arrays |
//! | ring whose ends spin | [`spin_ring`] | queues and pipes whose peers are awake |
//! | ring whose ends spin, yield, sleep | [`hybrid_ring`] | queues and pipes |
//! | server that forks on request | [`fork_server`] | starts |
//! | workers with a ring each way | [`ring_pool`] | pools |
//! | dictionary behind rings | [`served_dict`] | managers |
//!
//! [`scenario`] measures, with the same loops for a floor and for ours; [`judge`] compares both within one run.
//! [`fork`], [`memory`], [`cpu`], [`futex`] and [`ring`] are what they are made of.
//!
//! When *not* to use it: anywhere but in benches.

pub mod cache_line;
pub mod cpu;
pub mod fork;
pub mod fork_server;
pub mod futex;
pub mod futex_lock;
pub mod futex_ping_pong;
pub mod hybrid_ring;
pub mod judge;
pub mod kernel_pipe;
pub mod locked_value;
pub mod memory;
pub mod ring;
pub mod ring_pool;
pub mod robust_mutex;
pub mod scenario;
pub mod served_dict;
pub mod slice;
pub mod spin_ring;
