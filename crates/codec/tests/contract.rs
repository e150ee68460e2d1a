//! What every codec promises, run over each of them. The names of the tests are
//! `contract::codec::<implementation>::<start method>::<case>`; a codec starts no process, so the method
//! is `none`. The cases are in `contract/cases.rs`, `contract/bounds.rs` and `contract/handles.rs`.

#[path = "contract/bounds.rs"]
mod bounds;
#[path = "contract/cases.rs"]
mod cases;
#[path = "contract/handles.rs"]
mod handles;

/// One test for each case, for the codec in scope as `C`.
macro_rules! suite {
    ($($module:ident::$case:ident)*) => {
        /// The suite for one codec.
        macro_rules! implementation {
            ($name:ident, $codec:ty) => {
                mod $name {
                    mod none {
                        $(
                            #[test]
                            fn $case() {
                                crate::$module::$case::<$codec>();
                            }
                        )*
                    }
                }
            };
        }
    };
}

suite! {
    cases::every_kind_of_value_round_trips
    cases::unsized_values_are_encoded
    cases::encoding_appends
    cases::slice_and_vector_and_size_agree
    cases::too_small_names_the_size_that_suffices
    cases::trailing_bytes_are_refused
    cases::empty_input_is_truncated
    cases::output_is_as_before_after_an_error
    cases::output_is_as_before_after_a_panic
    cases::error_texts_are_kept
    cases::strings_are_borrowed
    cases::blocks_are_borrowed_where_there_are_blocks
    cases::bytes_are_one_block_where_there_are_blocks
    cases::bytes_agree_with_serde_bytes
    cases::flattened_and_untagged_types_work_or_are_refused
    cases::ambiguous_values_round_trip_or_are_refused
    cases::floats_keep_their_bits_or_are_refused
    bounds::lies_about_a_length_are_refused
    bounds::nesting_ends_where_the_receiver_ends
    bounds::each_kind_of_nesting_counts_alike
    bounds::nesting_fits_a_default_stack
    bounds::empty_elements_are_bounded_alike_on_both_sides
    cases::a_codec_may_be_used_inside_of_itself
    handles::a_descriptor_travels
    handles::many_descriptors_keep_their_places
    handles::outside_of_a_scope_nothing_is_carried
    handles::a_scope_that_refuses_hides_the_one_around
    handles::too_small_leaves_the_table
    handles::measuring_leaves_the_table
    handles::an_error_leaves_the_table
    handles::a_missing_handle_is_named
    handles::an_unrelated_error_is_not_blamed_on_a_handle
}

mod contract {
    mod codec {
        implementation!(postcard, procession_codec::Postcard);
        implementation!(message_pack, procession_codec::MessagePack);
        implementation!(json, procession_codec::Json);
    }
}
