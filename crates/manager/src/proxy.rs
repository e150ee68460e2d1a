//! What every typed proxy has: clones, a way to other processes, equality of the object.

/// For a tuple struct of a `Raw`, and of a marker of its types if it has some: `proxy!(Dict<K, V>, Kind::Dict)`,
/// `proxy!(Event, Kind::Event)`.
macro_rules! proxy {
    ($name:ident, $kind:expr) => {
        proxy!(@ $name<>, $kind, []);
    };
    ($name:ident<$($ty:ident),+>, $kind:expr) => {
        proxy!(@ $name<$($ty),+>, $kind, [::std::marker::PhantomData]);
    };
    (@ $name:ident<$($ty:ident),*>, $kind:expr, [$($marker:expr)?]) => {
        impl<$($ty),*> $name<$($ty),*> {
            pub(crate) fn from_raw(raw: $crate::raw::Raw) -> Self {
                Self(raw $(, $marker)?)
            }

            /// Whether both are proxies to one object.
            pub fn is_same(&self, other: &Self) -> bool {
                self.0.is_same(&other.0)
            }
        }

        impl<$($ty),*> Clone for $name<$($ty),*> {
            fn clone(&self) -> Self {
                Self::from_raw(self.0.clone())
            }
        }

        impl<$($ty),*> ::serde::Serialize for $name<$($ty),*> {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }

        impl<'de, $($ty),*> ::serde::Deserialize<'de> for $name<$($ty),*> {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::raw::Raw::deserialize($kind, deserializer).map(Self::from_raw)
            }
        }

        impl<$($ty),*> ::std::fmt::Debug for $name<$($ty),*> {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.0).finish()
            }
        }
    };
}

pub(crate) use proxy;
