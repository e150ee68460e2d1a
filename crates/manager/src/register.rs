//! Objects of the user's traits: how a server makes them.
//!
//! Invariant: a function is taken from the process that started the server, over the channel between both, and from nobody
//! else. Held by `tests/remote.rs`.

use procession_codec::Message;
use procession_sys::image::FunctionToken;

use crate::error::CallError;
use crate::manager::Manager;
use crate::raw::Raw;
use crate::remote::{Exchange, Handle, Method, Remote, RemoteProxy};
use crate::wire::{Item, Load, Recipe};

impl Manager {
    /// Makes an object of a [`remote`](mod@crate::remote) trait: `constructor` runs in the server, with `argument`.
    ///
    /// `constructor` is a function, or a closure that captures nothing. What it makes lives there for as long as there is a
    /// proxy to it, and is then dropped, in some thread of the server.
    ///
    /// Blocks until it is made.
    ///
    /// # Errors
    /// [`CallError::Panicked`] if `constructor` did; the server is gone; the argument does not encode.
    ///
    /// ```
    /// use procession_manager::{Manager, remote};
    ///
    /// #[remote]
    /// trait Greeter {
    ///     fn greet(&self, name: &str) -> String;
    /// }
    ///
    /// struct Polite(String);
    ///
    /// impl Greeter for Polite {
    ///     fn greet(&self, name: &str) -> String {
    ///         format!("{} {name}", self.0)
    ///     }
    /// }
    ///
    /// fn polite(word: String) -> Box<dyn Greeter> {
    ///     Box::new(Polite(word))
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = Manager::start()?;
    /// let greeter = manager.register(polite, "Good evening,".to_owned())?;
    /// assert_eq!(greeter.greet("Ada")?, "Good evening, Ada");
    /// # Ok(()) }
    /// ```
    pub fn register<A: Message, T: ?Sized + Remote>(
        &self,
        constructor: fn(A) -> Box<T>,
        argument: A,
    ) -> Result<T::Proxy, CallError> {
        let mut load = Load::default();
        let argument = load.pack(&argument)?;
        let token = FunctionToken::<Making>::of(constructor, make::<A, T>).to_bytes().to_vec();
        let recipe = Recipe::Remote { number: T::NUMBER, token: token.into(), argument };
        let raw = Raw::make(self.session()?, recipe, load)?;
        Ok(T::Proxy::from_handle(Handle::from_raw(raw)))
    }
}

/// What goes into a constructor, and what comes out.
pub(crate) struct Making {
    argument: Option<Item>,
    made: Option<Result<Box<dyn Served>, String>>,
}

impl Making {
    /// Calls the function of this token. `None`: it is none of this program.
    pub(crate) fn resolve(
        token: &[u8],
    ) -> Option<impl FnOnce(Item) -> Result<Box<dyn Served>, String> + use<>> {
        let function = FunctionToken::<Self>::from_bytes(token.try_into().ok()?).resolve()?;
        Some(move |argument| {
            let mut making = Self { argument: Some(argument), made: None };
            function.call(&mut making);
            making.made.unwrap_or_else(|| Err("nothing was made".into()))
        })
    }
}

fn make<A: Message, T: ?Sized + Remote>(constructor: fn(A) -> Box<T>, making: &mut Making) {
    let Some(argument) = making.argument.take() else { return };
    making.made = Some(match argument.unpack() {
        Ok(argument) => Ok(Box::new(Holder(constructor(argument)))),
        Err(error) => Err(format!("the argument is not what the constructor takes: {error}")),
    });
}

/// An object of some remote trait.
pub(crate) trait Served: Send + Sync {
    fn methods(&self) -> &'static [Method];
    fn call_shared(&self, method: u64, exchange: &mut Exchange);
    fn call_exclusive(&mut self, method: u64, exchange: &mut Exchange);
}

struct Holder<T: ?Sized>(Box<T>);

impl<T: ?Sized + Remote> Served for Holder<T> {
    fn methods(&self) -> &'static [Method] {
        T::METHODS
    }

    fn call_shared(&self, method: u64, exchange: &mut Exchange) {
        T::call_shared(&self.0, method, exchange);
    }

    fn call_exclusive(&mut self, method: u64, exchange: &mut Exchange) {
        T::call_exclusive(&mut self.0, method, exchange);
    }
}
