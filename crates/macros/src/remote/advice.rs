//! What to say about types that cannot be arguments or answers of a remote method, and what to use in their place.
//!
//! Only for better words, as in [`crate::advice`]: what is not recognised here is refused by a bound in the expansion.

use syn::visit::{self, Visit};
use syn::{Lifetime, Type, TypeFnPtr, TypeImplTrait, TypePtr, TypeReference, TypeTraitObject};

/// Why this type cannot be an argument, once the reference around the whole of it is taken off.
pub(crate) fn of_argument(ty: &Type) -> Option<&'static str> {
    look(
        ty,
        "only a whole argument can be a reference: what is inside of one must own its data, as `String` does",
    )
}

/// Why this type cannot be an answer.
pub(crate) fn of_answer(ty: &Type) -> Option<&'static str> {
    look(ty, "an answer travels to another process: return a value that owns its data, as `String` does")
}

fn look(ty: &Type, on_references: &'static str) -> Option<&'static str> {
    let mut finder = Finder { on_references, found: None };
    finder.visit_type(ty);
    finder.found
}

struct Finder {
    on_references: &'static str,
    found: Option<&'static str>,
}

impl Finder {
    fn find(&mut self, words: &'static str) {
        self.found.get_or_insert(words);
    }
}

const FUNCTION: &str =
    "a function means nothing in another process: let the method take a value that says what to do";
const OPEN: &str = "the type must be known: name it, or make it a parameter of the trait";
const OBJECT: &str =
    "an object of a trait stays in its process: take its data, or the proxy of a remote trait";

impl<'ast> Visit<'ast> for Finder {
    fn visit_type_reference(&mut self, _: &'ast TypeReference) {
        self.find(self.on_references);
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if lifetime.ident != "static" {
            self.find(self.on_references);
        }
    }

    fn visit_type_ptr(&mut self, _: &'ast TypePtr) {
        self.find("an address means nothing in another process: send the value itself");
    }

    fn visit_type_fn_ptr(&mut self, _: &'ast TypeFnPtr) {
        self.find(FUNCTION);
    }

    fn visit_type_impl_trait(&mut self, _: &'ast TypeImplTrait) {
        self.find(OPEN);
    }

    fn visit_type_trait_object(&mut self, _: &'ast TypeTraitObject) {
        self.find(OBJECT);
    }

    fn visit_type_path(&mut self, path: &'ast syn::TypePath) {
        if let Some(last) = path.path.segments.last() {
            match last.ident.to_string().as_str() {
                "Rc" | "Weak" => self.find("a counted reference stays in its process: send the value itself"),
                "MutexGuard" | "RwLockReadGuard" | "RwLockWriteGuard" => {
                    self.find("a guard belongs to the thread that locked: send the value itself");
                }
                _ => {}
            }
        }
        visit::visit_type_path(self, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_str;

    #[test]
    fn what_is_seen_to_be_wrong_gets_advice() {
        for (ty, word) in [
            ("Option<&str>", "whole argument"),
            ("Cow<'_, str>", "whole argument"),
            ("(u8, &'static str)", "whole argument"),
            ("*const u8", "address"),
            ("Vec<fn(u8) -> u8>", "function"),
            ("impl Fn(u8)", "known"),
            ("Box<dyn Error>", "object"),
            ("std::rc::Rc<u8>", "counted"),
        ] {
            let found = of_argument(&parse_str(ty).unwrap());
            assert!(found.is_some_and(|text| text.contains(word)), "{ty}: {found:?}");
        }
        assert!(of_answer(&parse_str("&str").unwrap()).unwrap().contains("return a value"));
    }

    #[test]
    fn what_might_travel_is_left_to_the_compiler() {
        for ty in ["u8", "Vec<Option<T>>", "()", "mine::Type", "Cow<'static, str>", "[f64; 3]"] {
            assert_eq!(of_argument(&parse_str(ty).unwrap()), None, "{ty}");
        }
    }
}
