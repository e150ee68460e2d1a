//! `#[remote]`: from a trait to its proxy, and to the dispatcher that calls an object of it in a server.
//!
//! The expansion of a trait `Bank` holds:
//! - the trait itself, whose objects from now on must be `Send` and `Sync`, because threads of the server share them;
//! - `BankProxy`, with a method for each one of the trait, which encodes its arguments and asks the server;
//! - `impl Remote for dyn Bank`: the table of methods, and two dispatchers, for `&self` and for `&mut self`.
//!
//! A method is called by the hash of its name, together with the hash of its signature: names of types as they stand in the
//! source, without blanks and without names of arguments.
//!
//! Invariant: nothing but the methods in the table can be called. Held by `crates/manager/tests/remote.rs`.

mod advice;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, FnArg, GenericParam, Generics, Ident, ItemTrait, Pat, Path, ReceiverKind, Result,
    ReturnType, Safety, TraitItem, TraitItemFn, Type, WherePredicate, parse_quote, parse_str, parse2,
};

/// The trait with what is made of it, or the errors and the trait alone; `default` is the path of `procession-manager`.
pub(crate) fn attribute(options: TokenStream, input: TokenStream, default: &str) -> TokenStream {
    expand(options, input.clone(), default).unwrap_or_else(|error| {
        let error = error.into_compile_error();
        // So that those who implement it get no errors of their own.
        let input = parse2::<ItemTrait>(input).map(ItemTrait::into_token_stream).unwrap_or_default();
        quote!(#error #input)
    })
}

fn expand(options: TokenStream, input: TokenStream, default: &str) -> Result<TokenStream> {
    let Ok(mut item) = parse2::<ItemTrait>(input) else {
        let text = "`#[remote]` stands before a trait: the methods that can be called in a server";
        return Err(Error::new(Span::call_site(), text));
    };
    let options = Options::parse(options, default)?;
    let methods = methods(&item)?;
    let krate = &options.krate;
    let proxy = options.proxy.unwrap_or_else(|| format_ident!("{}Proxy", item.ident));
    let served = served(&item, krate, &proxy, &methods);
    let client = client(&item, krate, &proxy, &methods);
    item.supertraits.push(parse_quote!(::core::marker::Send));
    item.supertraits.push(parse_quote!(::core::marker::Sync));
    Ok(quote!(#item #client #served))
}

/// What `#[remote(..)]` says.
struct Options {
    krate: TokenStream,
    proxy: Option<Ident>,
}

impl Options {
    fn parse(tokens: TokenStream, default: &str) -> Result<Self> {
        let default: Path = parse_str(default)?;
        let mut options = Self { krate: quote!(::#default), proxy: None };
        let parser = syn::meta::parser(|meta| {
            if meta.path.is_ident("crate") {
                let path: Path = meta.value()?.parse()?;
                options.krate = quote!(#path);
            } else if meta.path.is_ident("proxy") {
                options.proxy = Some(meta.value()?.parse()?);
            } else {
                return Err(meta.error("unknown option: there are `crate = path` and `proxy = Name`"));
            }
            Ok(())
        });
        syn::parse::Parser::parse2(parser, tokens)?;
        Ok(options)
    }
}

/// A method that can be called from afar.
struct Method<'a> {
    item: &'a TraitItemFn,
    name: &'a Ident,
    is_exclusive: bool,
    arguments: Vec<Argument<'a>>,
    answer: Type,
}

struct Argument<'a> {
    name: Ident,
    ty: &'a Type,
    /// What the server decodes.
    owned: TokenStream,
    is_reference: bool,
}

fn refused<T>(what: impl ToTokens, why: &str) -> Result<T> {
    Err(Error::new_spanned(what, why))
}

/// All methods of the trait, or why it cannot be remote.
fn methods(item: &ItemTrait) -> Result<Vec<Method<'_>>> {
    if let Some(token) = &item.unsafety {
        return refused(
            token,
            "a remote trait is safe: nobody in another process can keep a promise of yours",
        );
    }
    if let Some(lifetime) = item.generics.lifetimes().next() {
        return refused(lifetime, "a remote trait has no lifetimes: its objects live in another process");
    }
    let mut methods: Vec<Method<'_>> = Vec::new();
    let mut errors: Option<Error> = None;
    for item in &item.items {
        let method = match item {
            TraitItem::Fn(item) if is_for_sized(item) => continue,
            TraitItem::Fn(item) => method(item),
            TraitItem::Type(item) => {
                refused(item, "a remote trait has no associated types: make it a parameter of the trait")
            }
            TraitItem::Const(item) => refused(item, "a remote trait has no constants: make it a method"),
            other => refused(other, "a remote trait has methods only"),
        };
        match method {
            Ok(method) => methods.push(method),
            Err(error) => match &mut errors {
                Some(errors) => errors.combine(error),
                None => errors = Some(error),
            },
        }
    }
    let mut numbers: Vec<u64> = methods.iter().map(Method::number).collect();
    numbers.sort_unstable();
    if numbers.windows(2).any(|pair| pair[0] == pair[1]) && errors.is_none() {
        return refused(&item.ident, "two methods have the same name, or names with one hash: rename one");
    }
    errors.map_or(Ok(methods), Err)
}

/// Whether it says of itself that objects of the trait do not have it.
fn is_for_sized(item: &TraitItemFn) -> bool {
    let Some(clause) = &item.sig.generics.where_clause else { return false };
    clause.predicates.iter().any(|predicate| match predicate {
        WherePredicate::Type(bound) => {
            bound.bounded_ty.to_token_stream().to_string() == "Self"
                && bound.bounds.to_token_stream().to_string() == "Sized"
        }
        _ => false,
    })
}

fn method(item: &TraitItemFn) -> Result<Method<'_>> {
    let sig = &item.sig;
    if let Some(token) = &sig.asyncness {
        let text = "a method runs in a thread of the server that it has for itself: make it a plain `fn`";
        return refused(token, text);
    }
    if let Safety::Unsafe(token) = &sig.safety {
        return refused(
            token,
            "a remote method is safe: nobody in another process can keep a promise of yours",
        );
    }
    if let Some(token) = &sig.abi {
        return refused(token, "a remote method is a plain `fn`");
    }
    if sig.generics.type_params().next().is_some() || sig.generics.const_params().next().is_some() {
        let text = "a method for every type cannot be called from afar: make it a parameter of the trait, as in `trait Store<T>`";
        return refused(&sig.generics, text);
    }
    let Some(receiver) = sig.receiver() else {
        let text = "it has no `self`: objects are made by the function given to `register`; say `where Self: Sized` if it is not for callers from afar";
        return refused(&sig.ident, text);
    };
    let is_exclusive = match &receiver.kind {
        ReceiverKind::Reference(_, _, mutable) => mutable.is_some(),
        _ => return refused(receiver, "the object stays in the server: take `&self` or `&mut self`"),
    };
    let inputs = sig.inputs.iter().skip(1).enumerate();
    let arguments = inputs.map(|(n, input)| argument(n, input)).collect::<Result<Vec<_>>>()?;
    if arguments.len() > MOST_ARGUMENTS {
        return refused(&sig.inputs, "more than 16 arguments: make them a struct");
    }
    let answer: Type = match &sig.output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, ty) => (**ty).clone(),
    };
    if let Some(why) = advice::of_answer(&answer) {
        return refused(&sig.output, why);
    }
    Ok(Method { item, name: &sig.ident, is_exclusive, arguments, answer })
}

/// As many fields as the tuples of serde have.
const MOST_ARGUMENTS: usize = 16;

fn argument(n: usize, input: &FnArg) -> Result<Argument<'_>> {
    let FnArg::Typed(typed) = input else { unreachable!("there is one receiver") };
    let name = match &*typed.pat {
        Pat::Ident(pat) => pat.ident.clone(),
        _ => format_ident!("argument_{n}"),
    };
    let ty = &*typed.ty;
    let (inner, is_reference) = match ty {
        Type::Reference(reference) if reference.mutability.is_some() => {
            let text = "what the method changes there stays in the server: take the value, and return it";
            return Err(Error::new_spanned(ty, text));
        }
        Type::Reference(reference) => (&*reference.elem, true),
        other => (other, false),
    };
    if let Some(why) = advice::of_argument(inner) {
        return Err(Error::new_spanned(ty, why));
    }
    let owned = match inner {
        Type::Slice(slice) if is_reference => {
            let item = &slice.elem;
            quote_spanned!(inner.span()=> ::std::vec::Vec<#item>)
        }
        _ if is_reference && is_unsized(inner) => {
            quote_spanned!(inner.span()=> <#inner as ::std::borrow::ToOwned>::Owned)
        }
        _ => inner.to_token_stream(),
    };
    Ok(Argument { name, ty, owned, is_reference })
}

/// Whether it looks as one of those that are always behind a reference.
fn is_unsized(ty: &Type) -> bool {
    match ty {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|last| ["str", "Path", "OsStr", "CStr"].iter().any(|name| last.ident == name)),
        _ => false,
    }
}

impl Method<'_> {
    /// Name and types, as in `deposit(i64)->i64`.
    fn signature(&self) -> String {
        let blankless = |tokens: TokenStream| tokens.to_string().replace(char::is_whitespace, "");
        let types: Vec<String> = self.arguments.iter().map(|a| blankless(a.ty.to_token_stream())).collect();
        let answer = blankless(self.answer.to_token_stream());
        format!("{}({})->{answer}", self.name, types.join(","))
    }

    fn number(&self) -> u64 {
        hash(&self.name.to_string())
    }

    fn row(&self, krate: &TokenStream) -> TokenStream {
        let (name, signature, is_exclusive) = (self.name.to_string(), self.signature(), self.is_exclusive);
        let (number, version) = (self.number(), hash(&signature));
        quote!(#krate::remote::Method::new(#name, #signature, #number, #version, #is_exclusive))
    }

    fn attributes(&self, wanted: &[&str]) -> Vec<&Attribute> {
        let is_wanted = |a: &&Attribute| wanted.iter().any(|name| a.path().is_ident(name));
        self.item.attrs.iter().filter(is_wanted).collect()
    }

    /// Its arm in a dispatcher.
    fn arm(&self, krate: &TokenStream, ty: &TokenStream) -> TokenStream {
        let [object, exchange, value] = LOCALS.map(local);
        let (cfgs, number, name) = (self.attributes(&["cfg"]), self.number(), self.name);
        let names: Vec<_> = self.arguments.iter().map(|a| &a.name).collect();
        let owned: Vec<_> = self.arguments.iter().map(|a| &a.owned).collect();
        let passed = self.arguments.iter().map(|argument| {
            let name = &argument.name;
            if argument.is_reference { quote!(&#name) } else { quote!(#name) }
        });
        let checks = owned.iter().map(|ty| quote_spanned!(ty.span()=> #krate::remote::travels::<#ty>();));
        let answer = &self.answer;
        let check = quote_spanned!(answer.span()=> #krate::remote::travels::<#answer>(););
        quote! {
            #(#cfgs)*
            #number => {
                #(#checks)*
                #check
                if let ::core::option::Option::Some((#(#names,)*)) = #exchange.arguments::<(#(#owned,)*)>() {
                    let #value = <#ty>::#name(#object, #(#passed),*);
                    #exchange.answer(&#value);
                }
            }
        }
    }

    /// Its method of the proxy.
    fn call(&self, krate: &TokenStream) -> TokenStream {
        let attributes = self.attributes(&["cfg", "doc", "deprecated", "must_use"]);
        let (name, answer, row) = (self.name, &self.answer, self.row(krate));
        let names: Vec<_> = self.arguments.iter().map(|a| &a.name).collect();
        let types = self.arguments.iter().map(|a| a.ty);
        let (lifetimes, ..) = self.item.sig.generics.split_for_impl();
        quote! {
            #(#attributes)*
            pub fn #name #lifetimes(
                &self, #(#names: #types),*
            ) -> ::core::result::Result<#answer, #krate::CallError> {
                self.0.call(&#row, &(#(&#names,)*))
            }
        }
    }
}

/// What the dispatchers call the object, the exchange and the answer.
const LOCALS: [&str; 3] = ["object", "exchange", "value"];

/// A name that no argument of the user's can be.
fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// The parameters with what the implementations demand of them.
fn bounded(generics: &Generics, krate: &TokenStream) -> Generics {
    let mut generics = generics.clone();
    for parameter in &mut generics.params {
        if let GenericParam::Type(ty) = parameter {
            ty.default = None;
            ty.bounds.push(parse_quote!(#krate::remote::Message));
            ty.bounds.push(parse_quote!('static));
        }
    }
    generics
}

/// The table and the dispatchers.
fn served(item: &ItemTrait, krate: &TokenStream, proxy: &Ident, methods: &[Method<'_>]) -> TokenStream {
    let name = &item.ident;
    let text = name.to_string();
    let number = hash(&text);
    let generics = bounded(&item.generics, krate);
    let (parameters, arguments, clause) = generics.split_for_impl();
    let object = quote!(dyn #name #arguments);
    let rows = methods.iter().map(|method| {
        let (cfgs, row) = (method.attributes(&["cfg"]), method.row(krate));
        quote!(#(#cfgs)* #row)
    });
    let arms = |is_exclusive| {
        let those = methods.iter().filter(move |method| method.is_exclusive == is_exclusive);
        those.map(|method| method.arm(krate, &object)).collect::<Vec<_>>()
    };
    let (shared, exclusive) = (arms(false), arms(true));
    let ([this, exchange, _], number_of) = (LOCALS.map(local), local("number"));
    quote! {
        #[automatically_derived]
        #[allow(clippy::all, clippy::pedantic, deprecated, unused_variables)]
        impl #parameters #krate::remote::Remote for #object #clause {
            type Proxy = #proxy #arguments;
            const NAME: &'static str = #text;
            const NUMBER: u64 = #number;
            const METHODS: &'static [#krate::remote::Method] = &[#(#rows),*];

            fn call_shared(#this: &Self, #number_of: u64, #exchange: &mut #krate::remote::Exchange) {
                match #number_of {
                    #(#shared)*
                    _ => {}
                }
            }

            fn call_exclusive(#this: &mut Self, #number_of: u64, #exchange: &mut #krate::remote::Exchange) {
                match #number_of {
                    #(#exclusive)*
                    _ => {}
                }
            }
        }
    }
}

/// The proxy.
fn client(item: &ItemTrait, krate: &TokenStream, proxy: &Ident, methods: &[Method<'_>]) -> TokenStream {
    let (name, vis) = (&item.ident, &item.vis);
    let (bare_parameters, arguments, bare_clause) = item.generics.split_for_impl();
    let generics = bounded(&item.generics, krate);
    let (parameters, _, clause) = generics.split_for_impl();
    let object = quote!(dyn #name #arguments);
    let defined = item.generics.params.iter();
    let mut with_de = generics.clone();
    with_de.params.insert(0, parse_quote!('de));
    let (de_parameters, ..) = with_de.split_for_impl();
    let calls = methods.iter().map(|method| method.call(krate));
    let about = format!(
        "A proxy to an object in a server that implements [`{name}`]; made by `Manager::register`. Send, Sync, Clone; a value that travels."
    );
    let serde = quote!(#krate::remote::serde);
    quote! {
        #[doc = #about]
        #vis struct #proxy <#(#defined),*> (#krate::remote::Handle<#object>) #bare_clause;

        #[allow(clippy::all, clippy::pedantic)]
        impl #parameters #proxy #arguments #clause {
            #(#calls)*
        }

        #[automatically_derived]
        impl #parameters #krate::remote::RemoteProxy for #proxy #arguments #clause {
            type Of = #object;

            fn from_handle(handle: #krate::remote::Handle<#object>) -> Self {
                Self(handle)
            }

            fn handle(&self) -> &#krate::remote::Handle<#object> {
                &self.0
            }
        }

        #[automatically_derived]
        impl #bare_parameters ::core::clone::Clone for #proxy #arguments #bare_clause {
            fn clone(&self) -> Self {
                Self(::core::clone::Clone::clone(&self.0))
            }
        }

        #[automatically_derived]
        impl #bare_parameters ::core::fmt::Debug for #proxy #arguments #bare_clause {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::Debug::fmt(&self.0, f)
            }
        }

        #[automatically_derived]
        impl #bare_parameters #serde::Serialize for #proxy #arguments #bare_clause {
            fn serialize<__S: #serde::Serializer>(
                &self, serializer: __S,
            ) -> ::core::result::Result<__S::Ok, __S::Error> {
                #serde::Serialize::serialize(&self.0, serializer)
            }
        }

        #[automatically_derived]
        impl #de_parameters #serde::Deserialize<'de> for #proxy #arguments #clause {
            fn deserialize<__D: #serde::Deserializer<'de>>(
                deserializer: __D,
            ) -> ::core::result::Result<Self, __D::Error> {
                ::core::result::Result::map(#serde::Deserialize::deserialize(deserializer), Self)
            }
        }
    }
}

/// FNV-1a: the same in every build.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests;
