//! What to say about field types that one can see are not plain, and what to use in their place.
//!
//! Only for better words: a type that is not recognised here (an alias, a type of the user's) is refused by the bound
//! in the expansion. Nothing depends on this list being complete.

use syn::Type;

/// Why this type cannot live in shared memory, and what can; `None` for a type that might.
pub(crate) fn advice(ty: &Type) -> Option<&'static str> {
    match ty {
        Type::Array(array) => advice(&array.elem),
        Type::Group(group) => advice(&group.elem),
        Type::Paren(paren) => advice(&paren.elem),
        Type::Path(path) if path.qself.is_none() => named(&path.path.segments.last()?.ident.to_string()),
        Type::Reference(_) | Type::Ptr(_) | Type::FnPtr(_) => Some(ADDRESS),
        Type::Slice(_) => Some("a slice has no size of its own: use an array `[T; N]`"),
        Type::TraitObject(_) | Type::ImplTrait(_) => Some(ADDRESS),
        Type::Tuple(tuple) if !tuple.elems.is_empty() => {
            Some("nothing fixes the layout of a tuple: make it a struct that derives `Plain`")
        }
        _ => None,
    }
}

const ADDRESS: &str = "an address means nothing in another process: store the value itself, or an index";

/// By the last word of a path; a type of the user's with the name of one of std's gets the wrong words, and only where
/// it is refused anyway.
fn named(name: &str) -> Option<&'static str> {
    Some(match name {
        "bool" => "bool has bit patterns that are no bool: use u8 or Flag",
        "char" => "char has bit patterns that are no char: use u32 and `char::from_u32`",
        "Box" | "Rc" | "Arc" => ADDRESS,
        "String" => "a String keeps its text in this process's memory: use `[u8; N]` and a length",
        "str" => "a str has no size of its own: use `[u8; N]` and a length",
        "Vec" => "a Vec keeps its items in this process's memory: use an array `[T; N]` and a length",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_str;

    fn of(text: &str) -> Option<&'static str> {
        advice(&parse_str(text).unwrap())
    }

    #[test]
    fn what_is_seen_to_be_wrong_gets_advice() {
        for (ty, word) in [
            ("bool", "Flag"),
            ("[[bool; 2]; 3]", "Flag"),
            ("core::primitive::bool", "Flag"),
            ("char", "from_u32"),
            ("&'static u8", "address"),
            ("*mut u8", "address"),
            ("fn(u8) -> u8", "address"),
            ("Box<u8>", "address"),
            ("String", "length"),
            ("std::vec::Vec<u8>", "length"),
            ("(u8, u8)", "struct"),
        ] {
            assert!(of(ty).is_some_and(|text| text.contains(word)), "{ty}: {:?}", of(ty));
        }
    }

    #[test]
    fn what_might_be_plain_is_left_to_the_compiler() {
        for ty in ["u8", "[f64; 3]", "()", "mine::Type", "<u8 as Trait>::bool", "PhantomData<bool>"] {
            assert_eq!(of(ty), None, "{ty}");
        }
    }
}
