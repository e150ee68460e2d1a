//! `spawn!`: spawning that reads like the call it is.

/// Spawns a call: `spawn!(area(3.0, 4.0))` runs `area(3.0, 4.0)` in a child; the arguments are evaluated here.
///
/// Expands to [`spawn`](fn@crate::spawn) with the arguments as a tuple, and answers the same. Up to eight arguments.
///
/// ```
/// fn join(a: String, b: char, c: u8) -> String {
///     format!("{a}{b}{c}")
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = String::from("x");
/// assert_eq!(procession_process::spawn!(join(text, '-', 7))?.join()?, "x-7");
/// assert_eq!(procession_process::spawn!(u64::pow(2, 10))?.join()?, 1024);
/// # Ok(()) }
/// ```
#[macro_export]
macro_rules! spawn {
    (@walk [$($path:tt)*] ($($argument:expr),* $(,)?)) => {
        $crate::spawn!(@call [$($path)*] [a b c d e f g h] [] $($argument,)*)
    };
    (@walk [$($path:tt)*] $next:tt $($rest:tt)+) => {
        $crate::spawn!(@walk [$($path)* $next] $($rest)+)
    };
    (@call [$($path:tt)*] [$($free:ident)*] [$(($name:ident $value:expr))*]) => {
        $crate::spawn(|($($name,)*)| $($path)*($($name),*), ($($value,)*))
    };
    (@call [$($path:tt)*] [$first:ident $($free:ident)*] [$($done:tt)*] $value:expr, $($rest:expr,)*) => {
        $crate::spawn!(@call [$($path)*] [$($free)*] [$($done)* ($first $value)] $($rest,)*)
    };
    ($($call:tt)+) => {
        $crate::spawn!(@walk [] $($call)+)
    };
}
