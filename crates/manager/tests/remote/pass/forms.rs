//! All that a trait may have, in a crate that forbids unsafe code and has nothing in scope.
#![forbid(unsafe_code)]
#![deny(warnings)]

mod inner {
    /// Seen from everywhere.
    #[::procession_manager::remote(crate = ::procession_manager)]
    pub trait Open<T: Clone, const N: usize = 3>: Named {
        /// With a body, a pattern and words that are taken.
        fn body(&mut self, method: u64, exchange: T, object: [u8; 2], answer: Option<T>) -> (u64, Option<T>) {
            (method + object.len() as u64, answer.or(Some(exchange)))
        }
        #[cfg(any())]
        fn absent(&self, value: NotThere);
        fn lifetimes<'a>(&self, text: &'a str, rest: &'a [String]) -> usize;
        fn r#type(&self) -> ::std::borrow::Cow<'static, str>;
        fn only_here(&self, value: impl Copy) -> u8
        where
            Self: Sized,
        {
            let _ = value;
            1
        }
    }

    pub trait Named {
        fn name(&self) -> &str;
    }
}

struct Object;

impl inner::Named for Object {
    fn name(&self) -> &str {
        "object"
    }
}

impl inner::Open<u8> for Object {
    fn lifetimes<'a>(&self, text: &'a str, rest: &'a [String]) -> usize {
        text.len() + rest.len()
    }

    fn r#type(&self) -> ::std::borrow::Cow<'static, str> {
        inner::Named::name(self).to_owned().into()
    }
}

fn main() {
    use inner::Open;
    let manager = procession_manager::Manager::start().unwrap();
    let open = manager.register(|()| -> Box<dyn Open<u8>> { Box::new(Object) }, ()).unwrap();
    let open: inner::OpenProxy<u8, 3> = open;
    assert_eq!(open.body(5, 1, [0; 2], None).unwrap(), (7, Some(1)));
    assert_eq!(open.lifetimes("abc", &[String::new()]).unwrap(), 4);
    assert_eq!(open.r#type().unwrap(), "object");
    assert_eq!(Object.only_here(1), 1);
}
