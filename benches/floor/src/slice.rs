//! Loops over plain slices: the floor of whatever is done to a shared array in bulk.

/// Negates every number.
#[inline(never)]
pub fn negate(numbers: &mut [f64]) {
    for number in numbers {
        *number = -*number;
    }
}
