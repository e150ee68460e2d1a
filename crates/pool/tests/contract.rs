//! The contract of pools: `contract::pool::<implementation>::<start method>::<case>`.

mod suite;

mod contract {
    mod pool {
        mod pipes {
            crate::suite::contract!(spawn, procession_pool::Pool::builder);
        }
    }
}
