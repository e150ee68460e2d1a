//! `#[derive(Shared)]`: from a struct to its layout in shared memory.
//!
//! The expansion is one call of the macro `procession_shm::__shared`, which writes the implementations: it is there and
//! not here so that the dangerous word stands in the crate that answers for it.
//!
//! Invariant: every field is laid out and made as the type that it has. Held by `crates/shm/tests/shared.rs`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{
    Data, DeriveInput, Error, Expr, Field, GenericParam, Index, Member, Path, Result, parse_str, parse2,
};

/// The implementations for `input`, or the errors in their place; `default` is the path of `procession-shm`.
pub(crate) fn derive(input: TokenStream, default: &str) -> TokenStream {
    parse2(input).and_then(|input| expand(&input, default)).unwrap_or_else(Error::into_compile_error)
}

fn expand(input: &DeriveInput, default: &str) -> Result<TokenStream> {
    let Options { krate, check } = options(input, default)?;
    let fields = fields(input)?;
    let name = &input.ident;
    let text = name.to_string();
    let (_, arguments, clause) = input.generics.split_for_impl();
    let parameters = input.generics.params.iter().map(without_default);
    let inits = fields.iter().map(|(_, field)| {
        let ty = &field.ty;
        quote!(<#ty as #krate::Shared>::Init)
    });
    // One field is made from what it is made from, several from a tuple.
    let (init, split) = match fields.len() {
        1 => (quote!(#(#inits)*), quote!(|init| (init,))),
        _ => (quote!((#(#inits),*)), quote!(|init| init)),
    };
    let check = check.map_or_else(|| quote!(|_, _| ::core::result::Result::Ok(())), |check| quote!(#check));
    let rows = fields.iter().enumerate().map(|(at, (member, field))| {
        let (ty, label, at) = (&field.ty, member.to_token_stream().to_string(), Index::from(at));
        quote!((#member, #label, #ty, #at))
    });
    let first = &fields[0].0;
    Ok(quote! {
        #krate::__shared! {
            [#(#parameters),*] [#arguments] [#clause] #name, #text, [#init], [#split], [#check], [#first], #(#rows)*
        }
    })
}

fn without_default(parameter: &GenericParam) -> GenericParam {
    let mut parameter = parameter.clone();
    match &mut parameter {
        GenericParam::Type(ty) => ty.default = None,
        GenericParam::Const(value) => value.default = None,
        GenericParam::Lifetime(_) => {}
    }
    parameter
}

fn fields(input: &DeriveInput) -> Result<Vec<(Member, &Field)>> {
    let name = &input.ident;
    let Data::Struct(data) = &input.data else {
        let text = format!("`{name}` is no struct: only structs are laid out in shared memory");
        return Err(Error::new(name.span(), text));
    };
    if data.fields.is_empty() {
        return Err(Error::new(name.span(), format!("`{name}` has no fields: there is nothing to share")));
    }
    Ok(data.fields.members().zip(&data.fields).collect())
}

/// What `#[shared(..)]` says.
struct Options {
    krate: TokenStream,
    check: Option<Expr>,
}

fn options(input: &DeriveInput, default: &str) -> Result<Options> {
    let default: Path = parse_str(default)?;
    let mut options = Options { krate: quote!(::#default), check: None };
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("shared")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("crate") {
                let path: Path = meta.value()?.parse()?;
                options.krate = quote!(#path);
            } else if meta.path.is_ident("check") {
                options.check = Some(meta.value()?.parse()?);
            } else {
                return Err(meta.error("unknown option: there are `crate = path` and `check = path`"));
            }
            Ok(())
        })?;
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_laid_out_is_refused() {
        for input in [
            quote!(
                enum E {
                    A,
                }
            ),
            quote!(
                struct S;
            ),
            quote!(
                struct S {}
            ),
            quote!(union U { a: u8 }),
        ] {
            assert!(derive(input, "procession_shm").to_string().contains("compile_error"));
        }
        let wrong = quote!(
            #[shared(nonsense)]
            struct S(A);
        );
        assert!(derive(wrong, "procession_shm").to_string().contains("compile_error"));
    }

    #[test]
    fn the_expansion_names_the_crate_it_was_told() {
        let umbrella = derive(
            quote!(
                struct S(A);
            ),
            "procession::shm",
        )
        .to_string();
        assert!(umbrella.contains(":: procession :: shm :: __shared !"), "{umbrella}");
        let told = derive(
            quote!(
                #[shared(crate = crate::memory)]
                struct S(A);
            ),
            "procession_shm",
        )
        .to_string();
        assert!(told.contains("crate :: memory :: __shared !") && !told.contains("procession_shm"));
    }
}
