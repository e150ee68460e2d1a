//! The procedural macros of procession.
//!
//! # What works today
//! [`Plain`](macro@Plain), the derive that proves of a struct that it may live in shared memory. It expands to an
//! implementation of the trait `procession_shm::Plain`, whose page says what the mark means; `procession-shm`
//! re-exports it beside the trait. [`PlainInUmbrella`](macro@PlainInUmbrella) is the same for the crate `procession`.
//!
//! [`Shared`](macro@Shared), the derive that lays out a struct of locks, values and atomics in one piece of shared memory,
//! and [`SharedInUmbrella`](macro@SharedInUmbrella).
//!
//! [`remote`](macro@remote), the attribute that makes a proxy from a trait, for objects that live in a manager, and
//! [`remote_in_umbrella`](macro@remote_in_umbrella).
//!
//! # What it does not do
//! It registers nothing: no function needs an attribute to run in another process. It looks at no file and at no
//! manifest: which crate the expansion refers to is fixed by the name of the macro, or said by the user.
#![forbid(unsafe_code)]

mod advice;
mod plain;
mod remote;
mod shared;

use proc_macro::TokenStream;

/// Proves of a struct that it may live in shared memory, and marks it as `procession_shm::Plain`.
///
/// Every field must be `Plain` and there must be no padding between or after them; both are checked when the program
/// is compiled, and an error names the field and says what to do. The struct must also be `Copy`, `Send`, `Sync` and
/// without parameters. Enums and unions are refused.
///
/// Works in crates that forbid unsafe code. `#[plain(crate = path)]` says where the crate is, for those who have
/// it under another name: `#[plain(crate = procession::shm)]`.
#[proc_macro_derive(Plain, attributes(plain))]
pub fn derive_plain(input: TokenStream) -> TokenStream {
    plain::derive(input.into(), "procession_shm").into()
}

/// [`Plain`](macro@Plain) for those who depend on `procession` alone: the expansion refers to `::procession::shm`.
///
/// To be re-exported there under the name `Plain`.
#[proc_macro_derive(PlainInUmbrella, attributes(plain))]
pub fn derive_plain_in_umbrella(input: TokenStream) -> TokenStream {
    plain::derive(input.into(), "procession::shm").into()
}

/// Lays out a struct in one piece of shared memory, as one handle: implements `procession_shm::Shared`, `Serialize` and
/// `Deserialize`.
///
/// Every field must be `Shared`. The struct is made from a tuple of what its fields are made from, in their order; with
/// one field, from what that is made from. `#[shared(crate = path)]` says where the crate is. `#[shared(check = path)]`
/// names a `fn(&Self, made: bool) -> Result<(), ShmError>` that looks at what was made or found, and may finish it.
///
/// Works in crates that forbid unsafe code.
#[proc_macro_derive(Shared, attributes(shared))]
pub fn derive_shared(input: TokenStream) -> TokenStream {
    shared::derive(input.into(), "procession_shm").into()
}

/// [`Shared`](macro@Shared) for those who depend on `procession` alone. To be re-exported there under the name `Shared`.
#[proc_macro_derive(SharedInUmbrella, attributes(shared))]
pub fn derive_shared_in_umbrella(input: TokenStream) -> TokenStream {
    shared::derive(input.into(), "procession::shm").into()
}

/// Makes the objects of a trait usable from other processes: `procession_manager::remote` tells how.
///
/// For a trait `Bank` it makes `BankProxy`, with a method of the same name and arguments for each one of the trait, whose
/// answer is in a `Result` with `CallError`; and implements `Remote` for `dyn Bank`, so that `Manager::register` takes
/// constructors of it. Objects must be `Send` and `Sync`. `#[remote(crate = path)]` says where the crate is,
/// `#[remote(proxy = Name)]` what the proxy is called.
///
/// Works in crates that forbid unsafe code.
#[proc_macro_attribute]
pub fn remote(options: TokenStream, input: TokenStream) -> TokenStream {
    remote::attribute(options.into(), input.into(), "procession_manager").into()
}

/// [`remote`](macro@remote) for those who depend on `procession` alone. To be re-exported there under the name `remote`.
#[proc_macro_attribute]
pub fn remote_in_umbrella(options: TokenStream, input: TokenStream) -> TokenStream {
    remote::attribute(options.into(), input.into(), "procession::manager").into()
}
