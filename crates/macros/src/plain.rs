//! `#[derive(Plain)]`: from a struct to its proof.
//!
//! The expansion holds, for a struct `S`:
//! - for each field a constant that fails to evaluate where a gap follows the field, at the field's place in the source;
//! - for each field a function with the bound `Plain`, whose name says which field of which type it is, because the
//!   compiler's error shows that name;
//! - one call of the macro `procession_shm::__plain`, which writes the implementation. It is there and not here so that
//!   the dangerous word stands in the crate that answers for it.
//!
//! Invariant: the implementation is never written without all of the checks. Held by `crates/shm/tests/derive`.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Field, Fields, Ident, Index, Member, Path, Result, parse_str, parse2};

use crate::advice::advice;

/// The implementation for `input`, or the errors in its place; `default` is the path of `procession-shm`.
pub(crate) fn derive(input: TokenStream, default: &str) -> TokenStream {
    parse2(input).and_then(|input| expand(&input, default)).unwrap_or_else(Error::into_compile_error)
}

fn expand(input: &DeriveInput, default: &str) -> Result<TokenStream> {
    let krate = match attribute(input)? {
        Some(path) => quote!(#path),
        None => {
            let path: Path = parse_str(default)?;
            quote!(::#path)
        }
    };
    let fields = fields(input)?;
    let name = &input.ident;
    let text = name.to_string();
    let places = fields.iter().map(|field| {
        let (member, ty) = (&field.member, &field.field.ty);
        quote!((::core::mem::offset_of!(#name, #member), ::core::mem::size_of::<#ty>()))
    });
    let gaps = fields.iter().enumerate().map(|(at, field)| gap(&krate, name, at, field));
    let bounds = fields.iter().map(|field| bound(&krate, name, field));
    let prints = fields.iter().enumerate().map(|(at, field)| {
        let (print, ty, text) = (field.function(name), &field.field.ty, field.text());
        let call = quote_spanned!(ty.span()=> #print::<#ty>());
        quote!(.field(#text, __PROCESSION_FIELDS[#at].0, #call))
    });
    let n_fields = fields.len();
    Ok(quote! {
        const _: () = {
            const __PROCESSION_FIELDS: [(usize, usize); #n_fields] = [#(#places),*];
            #(#gaps)*
            #(#bounds)*
            #krate::__plain! {
                #name,
                __PROCESSION_FIELDS,
                #krate::Fingerprint::new(#text, ::core::mem::size_of::<#name>(), ::core::mem::align_of::<#name>())
                    #(#prints)*
            }
        };
    })
}

/// One field and how it is called: `x`, or `0` in a tuple struct.
struct Named<'a> {
    field: &'a Field,
    member: Member,
}

impl Named<'_> {
    fn text(&self) -> String {
        match &self.member {
            Member::Named(name) => name.to_string(),
            Member::Unnamed(index) => index.index.to_string(),
        }
    }

    /// The name that the compiler shows when the field is not plain.
    fn function(&self, of: &Ident) -> Ident {
        let text = self.text();
        format_ident!("field_{}_of_{}", text.trim_start_matches("r#"), of)
    }
}

fn gap(krate: &TokenStream, name: &Ident, at: usize, field: &Named<'_>) -> TokenStream {
    let text = format!(
        "padding after field `{}` of `{name}`: put larger fields first, or fill the gap with a field such as \
         `_padding: [u8; N]`",
        field.text()
    );
    // Placed at the field, but made by the macro: so lints of the user's crate leave it alone.
    let span = Span::call_site().located_at(field.field.span());
    let krate: TokenStream = krate
        .clone()
        .into_iter()
        .map(|mut token| {
            token.set_span(span);
            token
        })
        .collect();
    quote_spanned! {span=>
        const _: () = #krate::__private::no_gap_after(#at, &__PROCESSION_FIELDS, ::core::mem::size_of::<#name>(), #text);
    }
}

fn bound(krate: &TokenStream, name: &Ident, field: &Named<'_>) -> TokenStream {
    let function = field.function(name);
    quote! {
        #[allow(non_snake_case)]
        const fn #function<T: #krate::Plain>() -> #krate::Fingerprint {
            T::FINGERPRINT
        }
    }
}

/// The fields, unless one can see already that the type is not plain.
fn fields(input: &DeriveInput) -> Result<Vec<Named<'_>>> {
    let name = &input.ident;
    let refuse = |span: Span, text: String| Err(Error::new(span, text));
    let data = match &input.data {
        Data::Struct(data) => data,
        Data::Enum(_) => {
            let text = format!(
                "enum `{name}`: memory can hold values that are none of its variants: store an integer, and convert it \
                 to `{name}` after reading"
            );
            return refuse(name.span(), text);
        }
        Data::Union(_) => {
            let text = format!("union `{name}`: what its bytes mean is not known: use a struct or `[u8; N]`");
            return refuse(name.span(), text);
        }
    };
    if !input.generics.params.is_empty() {
        let text = format!(
            "`{name}` has parameters, so its layout is not known here: derive `Plain` for a struct without them"
        );
        return refuse(input.generics.params.span(), text);
    }
    let fields: Vec<Named<'_>> = named(&data.fields);
    let wrong = fields.iter().filter_map(|field| {
        let text = format!("field `{}` of `{name}`: {}", field.text(), advice(&field.field.ty)?);
        Some(Error::new(field.field.ty.span(), text))
    });
    let all = wrong.reduce(|mut all, one| {
        all.combine(one);
        all
    });
    all.map_or(Ok(fields), Err)
}

fn named(fields: &Fields) -> Vec<Named<'_>> {
    let member = |(at, field): (usize, &Field)| match &field.ident {
        Some(name) => Member::Named(name.clone()),
        None => Member::Unnamed(Index::from(at)),
    };
    fields.iter().enumerate().map(|(at, field)| Named { field, member: member((at, field)) }).collect()
}

/// The path in `#[plain(crate = path)]`.
fn attribute(input: &DeriveInput) -> Result<Option<Path>> {
    let mut path = None;
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("plain")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("unknown option: there is `crate = path`"));
            }
            path = Some(meta.value()?.parse()?);
            Ok(())
        })?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expansion_names_the_crate_it_was_told() {
        let with = |attribute: TokenStream, default| {
            derive(quote!(#attribute struct Foo { x: u8 }), default).to_string()
        };
        let umbrella = with(quote!(), "procession::shm");
        assert!(
            umbrella.contains(":: procession :: shm :: __plain !") && !umbrella.contains("procession_shm")
        );
        assert!(with(quote!(), "procession_shm").contains(":: procession_shm :: __plain !"));
        let told = with(quote!(#[plain(crate = crate::memory)]), "procession_shm");
        assert!(told.contains("crate :: memory :: __plain !") && !told.contains("procession_shm"));
        assert!(with(quote!(#[plain(nonsense)]), "procession_shm").contains("compile_error"));
    }
}
