//! What the attribute refuses, and what its expansion refers to. What it makes is tested in `procession-manager`.

use super::*;

fn of(input: &str) -> String {
    let input: TokenStream = input.parse().unwrap();
    attribute(TokenStream::new(), input, "procession_manager").to_string()
}

#[test]
fn what_cannot_be_remote_is_refused_with_advice() {
    for (input, word) in [
        ("struct S;", "before a trait"),
        ("unsafe trait T {}", "is safe"),
        ("trait T<'a> {}", "no lifetimes"),
        ("trait T { type A; }", "parameter of the trait"),
        ("trait T { const A: u8; }", "make it a method"),
        ("trait T { async fn f(&self); }", "thread of the server"),
        ("trait T { unsafe fn f(&self); }", "is safe"),
        ("trait T { extern \"C\" fn f(&self); }", "plain `fn`"),
        ("trait T { fn f<A>(&self, a: A); }", "trait Store<T>"),
        ("trait T { fn f(); }", "where Self: Sized"),
        ("trait T { fn f(self); }", "`&mut self`"),
        ("trait T { fn f(self: &Self); }", "`&mut self`"),
        ("trait T { fn f(&self, a: &mut u8); }", "stays in the server"),
        ("trait T { fn f(&self, a: Option<&str>); }", "whole argument"),
        ("trait T { fn f(&self, a: impl Copy); }", "known"),
        ("trait T { fn f(&self, a: fn()); }", "function"),
        ("trait T { fn f(&self) -> &str; }", "owns its data"),
        ("trait T { fn f(&self, a: u8); fn f(&self); }", "same name"),
    ] {
        let expanded = of(input);
        assert!(expanded.contains("compile_error") && expanded.contains(word), "{input}: {expanded}");
    }
    let seventeen: String = (0..17).map(|n| format!("a{n}: u8,")).collect();
    assert!(of(&format!("trait T {{ fn f(&self, {seventeen}); }}")).contains("make them a struct"));
    let unknown = attribute(
        quote!(nonsense),
        quote!(
            trait T {}
        ),
        "procession_manager",
    )
    .to_string();
    assert!(unknown.contains("unknown option"), "{unknown}");
}

#[test]
fn all_errors_of_a_trait_are_told_at_once() {
    let expanded = of("trait T { fn f(self); fn g() ; fn h(&self); }");
    assert_eq!(expanded.matches("compile_error").count(), 2, "{expanded}");
}

#[test]
fn the_signature_has_no_blanks_and_no_names() {
    let of = |text: &str| {
        let item: ItemTrait = parse_str(text).unwrap();
        methods(&item).unwrap()[0].signature()
    };
    assert_eq!(
        of("trait T { fn f(&self, a: Vec< Option<u8> >, b: &str) -> Result<u8, E>; }"),
        "f(Vec<Option<u8>>,&str)->Result<u8,E>"
    );
    assert_eq!(
        of("trait T { fn f(&mut self, x: Vec<Option<u8>>, _: &str) -> Result<u8,E>; }"),
        of("trait T { fn f(&self, a: Vec<Option<u8>>, b: &str) -> Result<u8, E>; }")
    );
    assert_eq!(of("trait T { fn f(&self); }"), "f()->()");
}

#[test]
fn the_expansion_names_the_crate_and_the_proxy_it_was_told() {
    let input = quote!(
        trait T {
            fn f(&self);
        }
    );
    let umbrella = attribute(TokenStream::new(), input.clone(), "procession::manager").to_string();
    assert!(umbrella.contains(":: procession :: manager :: remote") && umbrella.contains("TProxy"));
    let told = attribute(quote!(crate = crate::served, proxy = Far), input, "procession_manager").to_string();
    assert!(told.contains("crate :: served :: remote") && told.contains("struct Far"), "{told}");
    assert!(!told.contains("procession_manager") && !told.contains("TProxy"));
}

#[test]
fn the_hash_is_the_same_in_every_build() {
    assert_eq!(hash(""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
}
